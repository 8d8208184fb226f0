"""The workflow `Exercises`, its steps run as GitHub runs them, in a copy of the repository that holds answers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
SOLVED, WRONG = "01-speed-limit", "02-cache-outweighs"
EXERCISES = "chapters/01-ai-workloads/exercises"


def workflow(name: str) -> dict:
    text = (ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=yaml.BaseLoader)  # `on` stays a string


@pytest.fixture
def fork(tmp_path):
    """A fork with one right and one wrong answer."""
    ignore = shutil.ignore_patterns("__pycache__", "answer.py")
    for folder in ("code/sysai", "chapters"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = tmp_path / "bin/sysai"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sysai "$@"\n')
    command.chmod(0o755)
    exercises = tmp_path / EXERCISES
    shutil.copy(exercises / SOLVED / "solution.py", exercises / SOLVED / "answer.py")
    shutil.copy(sorted((exercises / WRONG / "wrong").glob("*.py"))[0], exercises / WRONG / "answer.py")
    return tmp_path


def run_steps(fork: Path, language: str) -> list[subprocess.CompletedProcess]:
    """Run the steps that call `sysai`, with the shell that the workflow names."""
    definition = workflow("exercises")
    assert definition["defaults"]["run"]["shell"] == "bash"
    environment = os.environ | {
        "PATH": f"{fork / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(fork / "code"),
        "GITHUB_STEP_SUMMARY": str(fork / "summary.md"),
        "GITHUB_RUN_NUMBER": "17",
        "SYSAI_LANGUAGE": language,
    }
    lines = [step["run"] for step in definition["jobs"]["check"]["steps"] if "sysai check" in step.get("run", "")]
    assert len(lines) == 2
    return [
        subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", line],
            cwd=fork, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300,
        )
        for line in lines
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("A speed limit (01/speed-limit): passed", "(01/cache-outweighs): not yet", "**expected**", "1 of 2")),
        ("zh", ("速度上限（01/speed-limit）：通过", "（01/cache-outweighs）：未通过", "**应得**", "2题中通过1题")),
    ],
)
def test_a_wrong_answer_fails_the_run_and_the_summary_holds_both_reports(fork, language, words):
    machines, people = run_steps(fork, language)
    assert machines.returncode == 0, machines.stderr
    assert people.returncode == 1, people.stderr
    summary = (fork / "summary.md").read_text(encoding="utf-8")
    assert summary == people.stdout
    for expected in words:
        assert expected in summary
    assert "--seed 17" in summary
    reports = json.loads((fork / "reports.json").read_text(encoding="utf-8"))
    assert {report["id"]: report["verdict"] for report in reports} == {
        "01/speed-limit": "passed",
        "01/cache-outweighs": "failed",
    }
    assert {report["seed"] for report in reports} == {17}


def test_right_answers_pass_and_no_answer_is_no_failure(fork):
    (fork / EXERCISES / WRONG / "answer.py").unlink()
    machines, people = run_steps(fork, "en")
    assert (machines.returncode, people.returncode) == (0, 0), people.stderr
    assert "passed" in (fork / "summary.md").read_text(encoding="utf-8")
    (fork / EXERCISES / SOLVED / "answer.py").unlink()
    machines, people = run_steps(fork, "en")
    assert (machines.returncode, people.returncode) == (0, 0), people.stderr
    assert "No exercise has been started" in people.stdout
    assert json.loads((fork / "reports.json").read_text(encoding="utf-8")) == []


def test_answers_start_this_workflow_and_no_other():
    answer = Path(EXERCISES) / SOLVED / "answer.py"
    started = workflow("exercises")["on"]["push"]["paths"]
    assert [pattern for pattern in started if answer.match(pattern)]
    assert not answer.with_name("solution.py").match(started[0])
    for name in ("ci", "publish"):
        assert workflow(name)["on"]["push"]["paths-ignore"] == started
