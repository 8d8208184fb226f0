"""Installed from a wheel, without a checkout, the exercises are there and can be checked."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sysai.exercises.catalogue import chapters_folder, find_exercises

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder that a wheel of a clean copy was unpacked into: installing one of plain Python does no more."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "answer.py", "build", "*.egg-info")
    for name in ("code", "chapters"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)], check=True, timeout=300
    )
    (wheel,) = folder.glob("*-py3-none-any.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(installed), "SYSAI_LANGUAGE": "en"}
    command = [sys.executable, "-m", "sysai", *arguments]
    return subprocess.run(
        command, env=environment, cwd=installed.parent, capture_output=True, encoding="utf-8", timeout=120
    )


def test_all_exercises_are_in_the_wheel_and_no_answer_is(installed):
    listed = run(installed, "exercises").stdout
    assert [line.split()[1] for line in listed.splitlines()] == [exercise.id for exercise in find_exercises()]
    assert not list(installed.rglob("answer.py"))
    for path in chapters_folder().glob("*/exercises/*/*/*.py"):
        assert (installed / "sysai" / "exercises" / "chapters" / path.relative_to(chapters_folder())).exists()


def test_files_that_are_no_modules_are_in_the_wheel(installed):
    files = [path for path in (ROOT / "code" / "sysai").rglob("*.*") if path.suffix in (".h", ".json")]
    assert files
    for path in files:
        assert (installed / path.relative_to(ROOT / "code")).exists()


def test_a_solution_passes_and_a_starter_fails_from_the_wheel(installed):
    exercise = find_exercises()[0]
    solution = run(installed, "check", exercise.id, "--file", str(exercise.folder / "solution.py"))
    assert solution.returncode == 0, solution.stdout + solution.stderr
    starter = run(installed, "check", exercise.id, "--file", str(exercise.folder / "starter.py"))
    assert starter.returncode == 1
    assert "NotImplementedError" in starter.stdout
