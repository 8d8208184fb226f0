"""What the tests cost, by part and chapter: `make test` ends with this table.

As a plugin of pytest (`--seconds FILE`) it adds up the seconds of each chapter's tests. Run as a script it prints the
table: the time that a part took, divided in proportion to what its tests took; and what a book of all chapters would
take at this price. `--chapter 11` runs the tests of one chapter alone.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sphinx_sysai.course import ROOT, chapters, entries

TIMES = ROOT / "_build/times"
FIXED = "fixed"
FOLDER = re.compile(r"chapters/(\d\d)-")
LIMITS = {FIXED: 8, "chapter": 3}  # minutes

CHAPTERS = chapters()
OWNER = {folder: chapter.number for chapter in CHAPTERS for folder in chapter.tests}
SHARED = {"exercises", "explorables", "browser"}
"""The folders in which a test's parameters say whose it is."""
SHOWN = {name: chapter.number for chapter in reversed(CHAPTERS) for name in chapter.explorables}
"""The chapter of each explorable, the first that shows it."""


def chapter_of(item: pytest.Item) -> str:
    """The number of the chapter that a test is for; FIXED for the rest, which a new chapter makes no dearer."""
    path = item.path.as_posix()
    folder = path.partition("code/tests/")[2].partition("/")[0]
    values = list(item.callspec.params.values()) if hasattr(item, "callspec") else []
    for value in [path, *values]:
        if isinstance(value, str) and (found := FOLDER.search(value)):
            return found[1]
        if isinstance(chapter := getattr(value, "chapter", None), int):  # an exercise
            return f"{chapter:02}"
    if folder == "explorables":
        names = [*values, item.originalname.removeprefix("test_"), item.path.stem.removeprefix("test_")]
        return next((SHOWN[name] for name in names if isinstance(name, str) and name in SHOWN), FIXED)
    return OWNER.get(folder, FIXED)


def pytest_addoption(parser) -> None:
    """Add the two options."""
    parser.addoption("--seconds", metavar="FILE", help="write the seconds of each chapter's tests into FILE")
    numbers = [chapter.number for chapter in CHAPTERS]
    parser.addoption("--chapter", choices=numbers, help="run the tests of this chapter alone")


def pytest_ignore_collect(collection_path, config) -> bool | None:
    """Where one chapter is asked for, do not even read the folders that hold none of its tests."""
    if config.option.chapter and collection_path.parent == ROOT / "code/tests" and collection_path.is_dir():
        owner = OWNER.get(collection_path.name)
        return True if owner != config.option.chapter and collection_path.name not in SHARED else None
    return None


def pytest_collection_modifyitems(config, items) -> None:
    """Note each test's chapter; leave out those of others where one is asked for."""
    for item in items:
        item.user_properties.append(("chapter", chapter_of(item)))
    if config.option.chapter:
        wanted = [item for item in items if ("chapter", config.option.chapter) in item.user_properties]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted


def pytest_configure(config) -> None:
    """Record in the process that hears of all tests."""
    if config.option.seconds and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(config.option.seconds)))


class Recorder:
    """Adds up the seconds of a run's tests."""

    def __init__(self, file: Path):
        self.file, self.seconds = file, Counter()

    def pytest_runtest_logreport(self, report) -> None:
        """Count a test's setup, call or teardown; a subtest is part of its test's call."""
        if hasattr(report, "context"):
            return
        self.seconds[dict(report.user_properties).get("chapter", FIXED)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Keep what was counted."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.seconds), encoding="utf-8")


def walls() -> dict[str, float]:
    """How long each part took: from the line that it wrote when it began to the next one's, or to now."""
    lines = (TIMES / "starts").read_text(encoding="utf-8").splitlines()
    starts = [(name, float(second)) for name, second in map(str.split, lines)]
    ends = [*(second for _, second in starts[1:]), time.time()]
    spent = Counter()
    for (name, start), end in zip(starts, ends, strict=True):
        if "/" not in name:  # installation is none of the parts
            spent[name] += end - start
    return dict(spent)


def divide(part: str, wall: float) -> dict[str, float]:
    """A part's time by chapter, in proportion to the seconds that it wrote; fixed where it wrote none."""
    file = TIMES / f"{part}.json"
    seconds = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    whole = sum(seconds.values())
    return {row: wall * spent / whole for row, spent in seconds.items()} if whole else {FIXED: wall}


def table(parts: dict[str, dict[str, float]]) -> str:
    """Seconds, a row for what is fixed and for each chapter, a column for each part."""
    rows = [FIXED, *(chapter.number for chapter in CHAPTERS)]
    totals = {row: sum(spent.get(row, 0) for spent in parts.values()) for row in rows}
    cells = [["seconds", *parts, "total"]]
    cells += [[row, *(f"{spent.get(row, 0):.0f}" for spent in parts.values()), f"{totals[row]:.0f}"] for row in rows]
    cells.append(["total", *(f"{sum(spent.values()):.0f}" for spent in parts.values()), f"{sum(totals.values()):.0f}"])
    return "\n".join("".join(f"{cell:>{max(8, len(cells[0][i]) + 2)}}" for i, cell in enumerate(row)) for row in cells)


def projection(parts: dict[str, dict[str, float]]) -> str:
    """What a book of all the syllabus's chapters would take, and whether the limits are kept."""
    spent = Counter()
    for seconds in parts.values():
        spent.update(seconds)
    fixed, chapter = spent[FIXED] / 60, sum(spent[c.number] for c in CHAPTERS) / len(CHAPTERS) / 60
    number = len(entries())

    def kept(minutes: float, limit: float) -> str:
        return f"{minutes:.1f} min, {'within' if minutes <= limit else 'OVER'} its {limit}"

    return (
        f"fixed {kept(fixed, LIMITS[FIXED])}; a chapter on average {kept(chapter, LIMITS['chapter'])}; "
        f"{number} chapters would take {fixed + number * chapter:.0f} min"
    )


def main() -> None:
    """Print the table of the last `make test`."""
    parts = {part: divide(part, wall) for part, wall in walls().items()}
    print(table(parts))
    if len(sys.argv) == 1:  # of the whole book
        print(projection(parts))


if __name__ == "__main__":
    main()
