"""Every exercise of the book: its starter fails, its solution passes, each planted fault is caught by comparison."""

import ast
from pathlib import Path

import pytest
from sysai.exercises.catalogue import Exercise, find_exercises
from sysai.exercises.grader import Grader

EXERCISES = find_exercises()
CAUGHT = {"wrong_value", "wrong_type", "too_much"}
LANGUAGES = ("en", "zh")

every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=[exercise.id for exercise in EXERCISES])
FAULTS = [(exercise, file) for exercise in EXERCISES for file in sorted(exercise.folder.glob("wrong/*.py"))]


@pytest.fixture(scope="module")
def grader():
    with Grader(EXERCISES) as grader:
        yield grader


@pytest.fixture
def grade(grader, record_property):
    """grade(exercise, file, seed) -> Report; its seconds are summed a chapter (conftest prints them)."""

    def grade(exercise: Exercise, file: Path, seed: int):
        report = grader.grade(exercise, file.read_text(encoding="utf-8"), seed)
        record_property(f"chapter {exercise.chapter:02}", report.seconds)
        return report

    return grade


def test_the_book_has_exercises():
    assert len(EXERCISES) >= 5


@every_exercise
def test_the_starter_is_refused_as_not_written(grade, exercise):
    report = grade(exercise, exercise.folder / "starter.py", 1)
    assert (report.verdict, report.reason) == ("failed", "not_implemented"), report.text("en")


@every_exercise
@pytest.mark.parametrize("seed", [1, 20_261])
def test_the_solution_passes(grade, exercise, seed):
    report = grade(exercise, exercise.folder / "solution.py", seed)
    assert report.passed, report.text("en")
    assert report.held >= 3
    assert report.printed.head == ""


@pytest.mark.parametrize(("exercise", "file"), FAULTS, ids=[f"{e.id}/{file.stem}" for e, file in FAULTS])
def test_a_planted_fault_is_caught_by_comparison(grade, exercise, file):
    name = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert name
    assert len(name.splitlines()) == 1
    report = grade(exercise, file, 1)
    assert report.verdict == "failed"
    assert report.reason in CAUGHT, report.text("en")


@every_exercise
def test_there_are_at_least_two_planted_faults(exercise):
    assert len(list(exercise.folder.glob("wrong/*.py"))) >= 2


@every_exercise
def test_statement_and_explanation_are_in_both_languages(exercise):
    assert set(exercise.title) == set(LANGUAGES)
    assert all(exercise.title.values())
    assert type(exercise.minutes) is int
    for name in ("statement.md", "explanation.md"):
        text = (exercise.folder / name).read_text(encoding="utf-8")
        counts = [text.count(f'+++ {{"lang": "{language}"}}') for language in LANGUAGES]
        assert counts[0] == counts[1] >= 1


@every_exercise
def test_all_files_are_there(exercise):
    names = {path.name for path in exercise.folder.iterdir()}
    assert {"statement.md", "starter.py", "check.py", "solution.py", "explanation.md", "wrong"} <= names
