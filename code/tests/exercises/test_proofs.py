"""Every exercise of the book: its starter fails, its solution passes, and each planted fault is caught by comparison.

A check holds no comparison and no hint that nothing shows: each is met by some fault of the exercise.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from sysai.exercises.catalogue import Exercise, find_exercises
from sysai.exercises.failure import BY_COMPARISON
from sysai.exercises.faults import fault_sources
from sysai.exercises.grader import Grader
from sysai.exercises.report import CheckReport

EXERCISES = find_exercises()
LANGUAGES = ("en", "zh")
FILES = {"statement.md", "starter.py", "check.py", "solution.py", "explanation.md", "faults.py"}

every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=[exercise.id for exercise in EXERCISES])


@pytest.fixture(scope="module")
def grader():
    with Grader(EXERCISES) as grader:
        yield grader


def read(exercise: Exercise, name: str) -> str:
    return (exercise.folder / name).read_text(encoding="utf-8")


def test_the_book_has_exercises():
    assert len(EXERCISES) >= 5


@every_exercise
def test_the_starter_is_refused_as_not_written(grader, exercise):
    report = grader.grade(exercise, read(exercise, "starter.py"), 1)
    assert (report.verdict, report.reason) == ("failed", "not_implemented"), report.text("en")


@every_exercise
@pytest.mark.parametrize("seed", [1, 20_261])
def test_the_solution_passes(grader, exercise, seed):
    report = grader.grade(exercise, read(exercise, "solution.py"), seed)
    assert report.passed, report.text("en")
    assert report.held >= 3
    assert report.printed.head == ""


@every_exercise
def test_planted_faults_are_caught_and_show_all_that_the_check_can_say(grader, exercise, subtests):
    """One test an exercise, as what all faults together show belongs to it."""
    sources = fault_sources(exercise.folder)
    assert len(sources) >= 2
    reports = []
    for name, (fault, source) in sources.items():
        with subtests.test(name):
            report = grader.grade(exercise, source, 1)
            reports.append(report)
            assert report.verdict == "failed"
            assert report.reason in BY_COMPARISON, report.text("en")
            assert fault.description
            assert "\n" not in fault.description
            told = report.hint["en"] if report.hint else ""
            if fault.hint:
                assert report.hint == fault.hint, report.text("en")
            else:
                assert told.startswith(fault.told) if fault.told else not told, f"told: {told!r}"
    check = Check(exercise.folder / "check.py")
    assert check.never_failed(reports) == [], "comparisons of check.py that no fault fails"
    assert check.never_told(reports) == [], "hints of check.py that no fault gets"


class Check:
    """The comparisons and hints that the text of a check holds."""

    def __init__(self, file: Path):
        self._lines = file.read_text(encoding="utf-8").splitlines()
        module = ast.parse("\n".join(self._lines))
        self._calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
        assignments = [node for node in module.body if isinstance(node, ast.Assign)]
        self._constants = {getattr(node.targets[0], "id", ""): node.value for node in assignments}

    def never_failed(self, reports: list[CheckReport]) -> list[str]:
        """The comparisons (calls of a method `expect...`) at which no report ended."""
        ended = {line for report in reports for line in report.check_lines}
        lines = [(call, range(call.lineno, call.end_lineno + 1)) for call in self._comparisons()]
        return [self._show(call) for call, its in lines if not ended & set(its)]

    def never_told(self, reports: list[CheckReport]) -> list[str]:
        """The hints (what a `Hint` or an argument `hint` holds, also by the name of a constant) in no report."""
        told = {report.hint["en"] for report in reports if report.hint}
        hints = [hint for call in self._calls if getattr(call.func, "id", "") == "Hint" for hint in call.args]
        hints += [word.value for call in self._calls for word in call.keywords if word.arg == "hint"]
        hints += [call.args[2] for call in self._comparisons() if call.func.attr == "expect" and len(call.args) > 2]
        named = {node.id for hint in hints for node in ast.walk(hint) if isinstance(node, ast.Name)}
        hints += [self._constants[name] for name in named & self._constants.keys()]
        nodes = {node for hint in hints for node in ast.walk(hint)}
        texts = [node for node in nodes if getattr(getattr(node, "func", 0), "id", "") == "Text"]
        return sorted(self._show(text) for text in texts if not any(map(_pattern(text.args[0]).fullmatch, told)))

    def _comparisons(self) -> list[ast.Call]:
        return [call for call in self._calls if getattr(call.func, "attr", "").lstrip("_").startswith("expect")]

    def _show(self, node: ast.expr) -> str:
        return f"check.py:{node.lineno}: {self._lines[node.lineno - 1].strip()}"


@cache
def _pattern(text: ast.expr) -> re.Pattern:
    """What a string in the source, formatted or not, can become."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return re.compile("".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".*" for p in parts), re.DOTALL)


@every_exercise
def test_statement_and_explanation_are_in_both_languages(exercise):
    assert set(exercise.title) == set(LANGUAGES)
    assert all(exercise.title.values())
    assert type(exercise.minutes) is int
    for name in ("statement.md", "explanation.md"):
        text = read(exercise, name)
        counts = [text.count(f'+++ {{"lang": "{language}"}}') for language in LANGUAGES]
        assert counts[0] == counts[1] >= 1


@every_exercise
def test_an_exercise_is_six_files(exercise):
    names = {path.name for path in exercise.folder.iterdir()}
    assert names - {"__pycache__", "answer.py"} == FILES
