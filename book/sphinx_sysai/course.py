"""Which chapters exist: those that `_toc.yml` lists; what each is, its own page and folder say.

The home page, the syllabus, the tests and the workflows ask here, so that a new chapter is named in `_toc.yml` and
nowhere else. `python -m sphinx_sysai.course` prints the numbers as a JSON list, for the workflows' matrices.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from sysai.core.language import Text
from sysai.exercises.catalogue import Exercise, find_exercises

ROOT = Path(__file__).parents[2]
PAGE = re.compile(r"chapters/(\d\d)-([\w-]+)/chapter")
TITLE = re.compile(r'^\+\+\+ \{"lang": "(\w+)"\}\n+\(([\w.-]+)\)=\n# (.+)$', re.MULTILINE)
EXPLORABLE = re.compile(r"^from sysai\.explorables\.(\w+) import \1$", re.MULTILINE)
ENTRY = re.compile(r"^\(syllabus-(\d\d)\)=$", re.MULTILINE)


@dataclass(frozen=True)
class Chapter:
    """A chapter that exists: `page` is what `_toc.yml` calls it, `root` the folder that the book lies in."""

    page: str
    root: Path

    @property
    def number(self) -> str:
        """`07`, of its folder."""
        return PAGE.fullmatch(self.page)[1]

    @property
    def folder(self) -> Path:
        """The folder that holds its page and its exercises."""
        return (self.root / self.page).parent

    @cached_property
    def text(self) -> str:
        """The source of its page."""
        return self.folder.joinpath("chapter.md").read_text(encoding="utf-8")

    @cached_property
    def _titles(self) -> dict[str, re.Match]:
        found = {}
        for match in TITLE.finditer(self.text):
            found.setdefault(match[1], match)
        if set(found) != {"en", "zh"}:
            raise ValueError(
                f"{self.page}.md has no title in both languages: begin its first English and its first Chinese cell "
                "with `(label)=` and below it `# Title`"
            )
        return found

    @property
    def title(self) -> Text:
        """Its heading, in both languages."""
        return Text(**{language: match[3].strip() for language, match in self._titles.items()})

    @property
    def label(self) -> str:
        """The label of its heading."""
        return self._titles["en"][2]

    @cached_property
    def tests(self) -> tuple[str, ...]:
        """The folders of code/tests that its front matter names: `sysai: {tests: [compiler]}`."""
        before, matter, *_ = self.text.split("---\n", 2)
        return tuple(((yaml.safe_load(matter) if not before else {}).get("sysai") or {}).get("tests", ()))

    @property
    def explorables(self) -> list[str]:
        """The names of the explorables that it shows."""
        return EXPLORABLE.findall(self.text)

    @property
    def exercises(self) -> list[Exercise]:
        """Its exercises, in their order."""
        return [found for found in find_exercises(self.root / "chapters") if self.folder in found.folder.parents]


def chapters(root: Path = ROOT) -> list[Chapter]:
    """The chapters that exist, in the order of `_toc.yml`."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    pages = [entry["file"] for part in toc.get("parts", []) for entry in part["chapters"]]
    return [Chapter(page, root) for page in pages if PAGE.fullmatch(page)]


def entries(root: Path = ROOT) -> list[str]:
    """The numbers of all chapters, those that exist and those that are planned: the entries of the syllabus."""
    return sorted(set(ENTRY.findall((root / "book/syllabus.md").read_text(encoding="utf-8"))))


if __name__ == "__main__":
    print(json.dumps([chapter.number for chapter in chapters()]))
