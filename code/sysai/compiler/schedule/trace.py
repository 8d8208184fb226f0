"""A schedule as a list of steps, which can be printed, saved as JSON, and replayed on another function.

A step is a primitive's name and its arguments, all of them names, numbers and lists of those: a trace needs no
program. It applies to every function that has loops and blocks of the same names, for example the same operator at
another size. TVM's traces (Shao et al., arXiv 2205.13603, section 3) hold random choices too, which its search mutates.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


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
        made = f"  # makes {', '.join(self.results)}" if self.results else ""
        return f"schedule.{self.primitive}({', '.join(written)}){made}"


LEADING = ("block", "loop", "loops", "factor", "factors", "buffer")
"""Arguments that are written without their name."""
VARIADIC = ("fuse", "reorder")
"""Primitives that take loops one by one."""


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
        """What `to_json` wrote.

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
