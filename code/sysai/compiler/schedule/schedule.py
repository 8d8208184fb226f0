"""A schedule: a function that is transformed step by step without changing what it computes.

    schedule = Schedule(matmul)
    i_0, j_0, i_1, j_1 = schedule.tile(["i", "j"], [6, 16])
    schedule.reorder(i_0, j_0, "k", i_1, j_1)
    schedule.vectorize(j_1)
    print(schedule.trace)

What to compute stays in the blocks; when, where and how often is the schedule's (Ragan-Kelley et al., Halide, PLDI
2013; Feng et al., TensorIR, arXiv 2207.04296, section 3.2). Loops are named by their variable, blocks and
buffers by their name. Each primitive checks first whether it keeps the function's values, up to the rounding of sums
in another order. Production adds primitives for tensor cores, asynchronous copies and GPU threads.

A trace is the list of the primitives that were applied, which can be printed, saved as JSON, and replayed on every
function that has loops and blocks of the same names, for example the same operator at another size. TVM's traces (Shao
et al., arXiv 2205.13603, section 3) hold random choices too, which its search mutates.
"""

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import caching, loops, placement, reduction
from sysai.compiler.schedule.tree import find_block, loops_around, with_unique_loops
from sysai.compiler.tir.statement import PrimFunc

PRIMITIVES: set[str] = set()
"""The names that a trace may hold."""
LEADING = ("block", "loop", "loops", "factor", "factors", "buffer")
"""Arguments that are written without their name."""
VARIADIC = ("fuse", "reorder")
"""Primitives that take loops one by one."""


@dataclass(frozen=True)
class Step:
    """One application of a primitive; `results` are the names that it made."""

    primitive: str
    arguments: dict[str, Any]
    results: tuple[str, ...] = ()

    def __str__(self) -> str:
        written = []
        for name, value in self.arguments.items():
            if name == "loops" and self.primitive in VARIADIC:
                written += map(repr, value)
            else:
                written.append(repr(value) if name in LEADING else f"{name}={value!r}")
        suffix = f"  # makes {', '.join(self.results)}" if self.results else ""
        return f"schedule.{self.primitive}({', '.join(written)}){suffix}"


@dataclass
class Trace:
    """The steps of a schedule, in order."""

    steps: list[Step] = field(default_factory=list)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))

    def to_json(self) -> str:
        """One step a line, as `from_json` reads it."""
        lines = [json.dumps([step.primitive, step.arguments, list(step.results)]) for step in self.steps]
        return "[\n" + ",\n".join(lines) + "\n]\n"

    @classmethod
    def from_json(cls, text: str) -> "Trace":
        """The trace that `to_json` wrote.

        Raises:
            ValueError: the text is something else.
        """
        try:
            loaded = json.loads(text)
            if not isinstance(loaded, list):
                raise TypeError("it is no list of steps")
            steps = [Step(str(name), dict(arguments), tuple(results)) for name, arguments, results in loaded]
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a trace: {error}; give the text that Trace.to_json wrote") from error
        return cls(steps)


def _primitive(transform: Callable) -> Callable:
    """The method that applies `transform` and records the step; a refused call leaves function and trace as they were.

    Args:
        transform: (function, arguments) -> the new function, or that and the name or names that it made.
    """
    signature = inspect.signature(transform)
    PRIMITIVES.add(transform.__name__)

    @functools.wraps(transform)
    def recorded(self: "Schedule", *args: object, **kwargs: object) -> str | tuple[str, ...] | None:
        arguments = signature.bind(self.function, *args, **kwargs).arguments
        result = transform(self.function, *args, **kwargs)
        self.function, names = result if isinstance(result, tuple) else (result, None)
        arguments = {name: _plain(value) for name, value in arguments.items() if name != "function"}
        self.trace.steps.append(Step(transform.__name__, arguments, _as_tuple(names)))
        return names

    return recorded


def _as_tuple(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names or ()


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


class Schedule:
    """A function under transformation.

    Args:
        function: where a loop's name occurs again, the later loops get a number after it.

    Attributes:
        function: as the primitives have transformed it so far.
        trace: the primitives that were applied.

    Its primitives are the functions of these names, applied to `function`; they return the names that they made. They
    raise IllegalSchedule where they would change what the function computes, or where a name is unknown.
    """

    def __init__(self, function: PrimFunc) -> None:
        self.function = with_unique_loops(function)
        self.trace = Trace()

    def loops_of(self, block: str) -> tuple[str, ...]:
        """The names of the loops around a block, from the outermost."""
        find_block(self.function, block)
        return tuple(loop.var.name for loop in loops_around(self.function.body, block))

    split = _primitive(loops.split)
    fuse = _primitive(loops.fuse)
    reorder = _primitive(loops.reorder)
    tile = _primitive(loops.tile)
    vectorize = _primitive(loops.vectorize)
    parallel = _primitive(loops.parallel)
    unroll = _primitive(loops.unroll)
    compute_at = _primitive(placement.compute_at)
    reverse_compute_at = _primitive(placement.reverse_compute_at)
    compute_inline = _primitive(placement.compute_inline)
    cache_read = _primitive(caching.cache_read)
    cache_write = _primitive(caching.cache_write)
    rfactor = _primitive(reduction.rfactor)
    decompose_reduction = _primitive(reduction.decompose_reduction)


def replay(trace: Trace, function: PrimFunc) -> Schedule:
    """The schedule of `function` by the steps of a trace.

    Raises:
        IllegalSchedule: a step is unknown, does not fit this function, or makes other names than it did when recorded.
    """
    schedule = Schedule(function)
    for number, step in enumerate(trace):
        if step.primitive not in PRIMITIVES:
            raise IllegalSchedule(f"step {number}, {step}: there is no primitive {step.primitive!r}")
        arguments = dict(step.arguments)
        names = arguments.pop("loops", ()) if step.primitive in VARIADIC else ()
        try:
            result = getattr(schedule, step.primitive)(*names, **arguments)
        except (TypeError, IllegalSchedule) as error:
            raise IllegalSchedule(f"step {number}, {step}: {error}") from error
        if _as_tuple(result) != step.results:
            raise IllegalSchedule(f"step {number}, {step}, makes {', '.join(_as_tuple(result))} in this function")
    return schedule
