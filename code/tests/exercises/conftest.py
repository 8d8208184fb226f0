"""Two small exercises of the tests' own, so that the grader is tested without the book's."""

import shutil
from pathlib import Path

import pytest
import sysai
from sysai.exercises.catalogue import find_exercises
from sysai.exercises.grader import Grader

CHAPTERS = Path(__file__).parent / "chapters"


@pytest.fixture
def chapters(tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(CHAPTERS, tmp_path / "chapters"))


@pytest.fixture
def exercises(chapters) -> dict:
    return {exercise.slug: exercise for exercise in find_exercises(chapters)}


@pytest.fixture(scope="module")
def zygotes():
    """Those of all Graders of a file, so that torch is imported once; one that an answer has ended is replaced."""
    with Grader([]) as grader:
        yield grader._zygotes


@pytest.fixture
def grade(exercises, zygotes):
    """grade(source, slug="area", seed=1) -> CheckReport, all in one Grader."""
    grader = Grader(list(exercises.values()))
    grader._zygotes = zygotes
    return lambda source, slug="area", seed=1: grader.grade(exercises[slug], source, seed)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    """A checkout with the package as it is and the tests' exercises; run with PYTHONPATH=checkout/code."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(sysai.__path__[0]), root / "code" / "sysai", ignore=ignored)
    shutil.copytree(CHAPTERS, root / "chapters", ignore=ignored)
    (root / "pyproject.toml").touch()
    return root
