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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import caching, placement, reduction
from sysai.compiler.schedule import loops as _loops
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


def _primitive(method: Callable) -> Callable:
    """Record each successful call; a refused one leaves function and trace as they were."""
    signature = inspect.signature(method)
    PRIMITIVES.add(method.__name__)

    @functools.wraps(method)
    def recorded(self: "Schedule", *args: object, **kwargs: object) -> object:
        bound = signature.bind(self, *args, **kwargs)
        result = method(self, *args, **kwargs)
        arguments = {name: _plain(value) for name, value in bound.arguments.items() if name != "self"}
        results = (result,) if isinstance(result, str) else result or ()
        self.trace.steps.append(Step(method.__name__, arguments, tuple(results)))
        return result

    return recorded


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


class Schedule:
    """A function under transformation.

    Args:
        function: where a loop's name occurs again, the later loops get a number after it.

    Attributes:
        function: as the primitives have transformed it so far.
        trace: the primitives that were applied.

    Every primitive raises IllegalSchedule where it would change what the function computes, or where a name is unknown.
    """

    def __init__(self, function: PrimFunc) -> None:
        self.function = with_unique_loops(function)
        self.trace = Trace()

    def loops_of(self, block: str) -> tuple[str, ...]:
        """The names of the loops around a block, from the outermost."""
        find_block(self.function, block)
        return tuple(loop.var.name for loop in loops_around(self.function.body, block))

    @_primitive
    def split(self, loop: str, factor: int | Sequence[int | None]) -> tuple[str, ...]:
        """Cut a loop into nested ones; see `loops.split`. A number f means [None, f]."""
        factors = [None, factor] if isinstance(factor, int) else factor
        self.function, names = _loops.split(self.function, loop, factors)
        return names

    @_primitive
    def fuse(self, *loops: str) -> str:
        """Make one loop of perfectly nested ones, and return its name."""
        self.function, name = _loops.fuse(self.function, loops)
        return name

    @_primitive
    def reorder(self, *loops: str) -> None:
        """Put loops of one perfect nest into this order."""
        self.function = _loops.reorder(self.function, loops)

    @_primitive
    def tile(self, loops: Sequence[str], factors: Sequence[int]) -> tuple[str, ...]:
        """Split each loop by its factor and bring the loops over tiles outside; return the names in their order."""
        self.function, names = _loops.tile(self.function, loops, factors)
        return names

    @_primitive
    def vectorize(self, loop: str) -> None:
        """Execute one iteration in each lane of a vector; see `loops.vectorize`."""
        self.function = _loops.vectorize(self.function, loop)

    @_primitive
    def parallel(self, loop: str) -> None:
        """Distribute the iterations over cores; see `loops.parallel`."""
        self.function = _loops.parallel(self.function, loop)

    @_primitive
    def unroll(self, loop: str) -> None:
        """Write the iterations one after another; see `loops.unroll`."""
        self.function = _loops.unroll(self.function, loop)

    @_primitive
    def compute_at(self, block: str, loop: str) -> None:
        """Compute, in each iteration of a consumer's loop, just what it needs; see `placement.compute_at`."""
        self.function = placement.compute_at(self.function, block, loop)

    @_primitive
    def reverse_compute_at(self, block: str, loop: str) -> None:
        """Consume, in each iteration of a producer's loop, what it made; see `placement.reverse_compute_at`."""
        self.function = placement.reverse_compute_at(self.function, block, loop)

    @_primitive
    def compute_inline(self, block: str) -> None:
        """Put a block's value where its elements are read, and drop its buffer."""
        self.function = placement.compute_inline(self.function, block)

    @_primitive
    def cache_read(self, block: str, buffer: str, scope: str = "local", layout: str | None = None) -> str:
        """Let a block read a copy of a buffer; return the copying block's name. See `caching.cache_read`."""
        self.function, name = caching.cache_read(self.function, block, buffer, scope, layout)
        return name

    @_primitive
    def cache_write(self, block: str, scope: str = "local") -> str:
        """Let a block write a copy, and copy that back; return the copying block's name. See `caching.cache_write`."""
        self.function, name = caching.cache_write(self.function, block, scope)
        return name

    @_primitive
    def rfactor(self, block: str, loop: str) -> str:
        """Reduce into one partial result for each iteration of a loop; return the name of the block that does.

        The block itself then combines the partial results. See `reduction.rfactor`.
        """
        self.function, name = reduction.rfactor(self.function, block, loop)
        return name

    @_primitive
    def decompose_reduction(self, block: str, loop: str) -> str:
        """Initialize before a loop instead of in its first iteration; return the initializing block's name."""
        self.function, name = reduction.decompose_reduction(self.function, block, loop)
        return name

    def save(self, path: str | Path) -> None:
        """Write the trace as JSON."""
        Path(path).write_text(self.trace.to_json())


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
        results = (result,) if isinstance(result, str) else result or ()
        if tuple(results) != step.results:
            raise IllegalSchedule(f"step {number}, {step}, makes {', '.join(results)} in this function")
    return schedule
