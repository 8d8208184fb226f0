"""Which exercises there are, and where: in a checkout the folder `chapters`, in an installed package its own copy."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from sysai.core.language import Text


@dataclass(frozen=True)
class Exercise:
    """One exercise: chapter 1, number 1, slug "speed-limit", and the folder that holds its files."""

    chapter: int
    index: int
    slug: str
    folder: Path

    @property
    def id(self) -> str:
        """Chapter and slug: ``01/speed-limit``."""
        return f"{self.chapter:02}/{self.slug}"

    @property
    def number(self) -> str:
        """Chapter and position in it: ``1.1``."""
        return f"{self.chapter}.{self.index}"

    @property
    def answer(self) -> Path:
        """The student's file, which may not exist."""
        return self.folder / "answer.py"

    @cached_property
    def _front_matter(self) -> dict:
        text = (self.folder / "statement.md").read_text(encoding="utf-8")
        parts = text.split("---\n", 2)
        if len(parts) < 3 or parts[0]:
            raise ValueError(f"{self.folder / 'statement.md'} must begin with a front matter between lines of ---")
        return yaml.safe_load(parts[1])

    @property
    def title(self) -> Text:
        """The title in both languages."""
        return self._front_matter["title"]

    @property
    def minutes(self) -> int:
        """About how many minutes it takes."""
        return self._front_matter["minutes"]


class UnknownExercise(ValueError):  # noqa: N818
    """A name for which there is no exercise, or more than one."""

    def __init__(self, name: str, known: list[Exercise]):
        self.name, self.known = name, known
        super().__init__(f"no exercise {name!r}; there are {', '.join(e.id for e in known)}")


def chapters_folder() -> Path:
    """The chapters of the checkout that this package lies in, else those that were installed with it."""
    package = Path(__file__).resolve().parent
    checkout = package.parents[2]
    if (checkout / "pyproject.toml").exists() and (checkout / "chapters").is_dir():
        return checkout / "chapters"
    return package / "chapters"


def find_exercises(chapters: Path | None = None) -> list[Exercise]:
    """All exercises, in the order of the book."""
    found = []
    for check in sorted((chapters or chapters_folder()).glob("[0-9]*/exercises/[0-9]*/check.py")):
        folder = check.parent
        chapter = folder.parents[1].name.partition("-")[0]
        index, _, slug = folder.name.partition("-")
        found.append(Exercise(int(chapter), int(index), slug, folder))
    return found


def select(names: list[str], known: list[Exercise]) -> list[Exercise]:
    """The exercises that `names` name (01, 01/01, 01/speed-limit, 1.1, speed-limit), each once; all if none is named.

    Raises:
        UnknownExercise: a name that fits none, or a bare slug that fits several.
    """
    chosen = [exercise for name in names for exercise in _matches(name, known)] if names else known
    return list(dict.fromkeys(chosen))


def _matches(name: str, known: list[Exercise]) -> list[Exercise]:
    if name.isdigit():
        found = [e for e in known if e.chapter == int(name)]
    else:
        found = [e for e in known if name in (e.id, e.slug, e.number, f"{e.chapter:02}/{e.index:02}")]
    if not found or (len(found) > 1 and not name.isdigit()):
        raise UnknownExercise(name, found or known)
    return found
