"""Wrong answers that tempt: an exercise's `faults.py` keeps each as edits of its solution or its starter.

    FAULTS = [
        Fault(
            "times_added",
            "Adds the two times of the roofline.",
            edits=[("max(traffic, arithmetic)", "traffic + arithmetic")],
            hint=Text("You added the two times; they overlap.", "你把两个时间加了起来，它们是重叠的。"),
        ),
    ]

The tests prove that the check refuses every one. A fault with a `hint` also serves the student: the report gives the
hint of the first fault that returns, for the call that failed, what the student's answer returned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sysai.core.language import Text

BASES = ("solution", "starter")


@dataclass(frozen=True)
class Fault:
    """A wrong answer: `edits` (old, new) of the file `base`, or the whole `text` where that is shorter.

    Attributes:
        name: a Python identifier, unique in the exercise.
        description: the mistake, in one line.
        hint: told to a student whose answer returns what this one returns.
        told: how the English hint begins that the check itself gives this fault; "" where it gives none.
    """

    name: str
    description: str
    edits: Sequence[tuple[str, str]] = ()
    text: str = ""
    base: str = "solution"
    hint: Text | None = None
    told: str = ""

    def __post_init__(self) -> None:
        if bool(self.edits) == bool(self.text):
            raise ValueError(f"fault {self.name!r}: give either edits or the whole text")
        if self.base not in BASES:
            raise ValueError(f"fault {self.name!r}: base is {self.base!r}, it must be one of {', '.join(BASES)}")
        if self.hint and self.told:
            raise ValueError(f"fault {self.name!r}: give a hint of its own or the beginning of the check's, not both")

    def source(self, bases: Mapping[str, str]) -> str:
        """The wrong answer as a whole file; `bases` are the texts of the solution and the starter.

        Raises:
            ValueError: the old text of an edit does not occur exactly once.
        """
        if self.text:
            return self.text
        source = bases[self.base]
        for old, new in self.edits:
            if (count := source.count(old)) != 1:
                raise ValueError(
                    f"fault {self.name!r}: {old!r} occurs {count} times in {self.base}.py, it must occur exactly once"
                )
            source = source.replace(old, new)
        return source


def read_faults(code: str | bytes, file: Path) -> list[Fault]:
    """The faults that the text of a `faults.py` lists, in its order."""
    names: dict = {"__name__": "faults", "__file__": str(file)}
    exec(compile(code, str(file), "exec", dont_inherit=True), names)
    return names["FAULTS"]


def fault_sources(folder: Path) -> dict[str, tuple[Fault, str]]:
    """Every fault of the exercise in `folder` and its wrong answer, by name.

    Raises:
        ValueError: two faults of one name, or an edit that does not fit.
    """
    file = folder / "faults.py"
    faults = read_faults(file.read_bytes(), file)
    bases = {base: (folder / f"{base}.py").read_text(encoding="utf-8") for base in BASES}
    sources = {fault.name: (fault, fault.source(bases)) for fault in faults}
    if len(sources) < len(faults):
        raise ValueError(f"{file}: two faults have the same name")
    return sources
