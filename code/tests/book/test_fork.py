"""Exercises in a fork: the workflow's steps run as GitHub runs them, and the page's commands run as a student would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sysai.exercises.faults import fault_sources
from sysai.exercises.limits import Limits
from sysai.exercises.messages import LABELS, VERDICTS

ROOT = Path(__file__).resolve().parents[3]
SOLVED, WRONG = "01-speed-limit", "02-cache-outweighs"
EXERCISES = "chapters/01-ai-workloads/exercises"
PAGE = (ROOT / "book/exercises.md").read_text(encoding="utf-8")


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
    _, wrong = next(iter(fault_sources(exercises / WRONG).values()))
    (exercises / WRONG / "answer.py").write_text(wrong, encoding="utf-8")
    return tmp_path


def run_step(fork: Path, language: str) -> subprocess.CompletedProcess:
    """Run the step that calls `sysai`, with the shell that the workflow names."""
    definition = workflow("exercises")
    assert definition["defaults"]["run"]["shell"] == "bash"
    environment = os.environ | {
        "PATH": f"{fork / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(fork / "code"),
        "GITHUB_STEP_SUMMARY": str(fork / "summary.md"),
        "GITHUB_RUN_NUMBER": "17",
        "SYSAI_LANGUAGE": language,
    }
    steps = definition["jobs"]["check"]["steps"]
    (line,) = [step["run"] for step in steps if "sysai check" in step.get("run", "")]
    (upload,) = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert (upload["if"], upload["with"]["path"]) == ("always()", "reports.json")
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", line],
        cwd=fork, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_wrong_answer_fails_the_run_and_the_summary_holds_both_reports(fork, language):
    done = run_step(fork, language)
    assert done.returncode == 1, done.stderr
    summary = (fork / "summary.md").read_text(encoding="utf-8")
    assert summary == done.stdout
    titles = {"en": ("A speed limit", "When the cache outweighs the model"), "zh": ("速度上限", "KV缓存何时比模型还重")}
    headlines = [line for line in summary.splitlines() if line.startswith("### ")]
    for headline, title, verdict in zip(headlines, titles[language], ("passed", "failed"), strict=True):
        assert title in headline
        assert VERDICTS[verdict][language] in headline
    assert LABELS["expected"][language] in summary
    assert "--seed 17" in summary
    reports = json.loads((fork / "reports.json").read_text(encoding="utf-8"))
    assert {report["id"]: report["verdict"] for report in reports} == {
        "01/speed-limit": "passed",
        "01/cache-outweighs": "failed",
    }
    assert {report["seed"] for report in reports} == {17}


def test_right_answers_pass_and_no_answer_is_no_failure(fork):
    (fork / EXERCISES / WRONG / "answer.py").unlink()
    done = run_step(fork, "en")
    assert done.returncode == 0, done.stderr
    assert VERDICTS["passed"]["en"] in done.stdout
    (fork / EXERCISES / SOLVED / "answer.py").unlink()
    done = run_step(fork, "en")
    assert done.returncode == 0, done.stderr
    assert "No exercise has been started" in done.stdout
    assert json.loads((fork / "reports.json").read_text(encoding="utf-8")) == []


def test_answers_start_this_workflow_and_no_other():
    answer = Path(EXERCISES) / SOLVED / "answer.py"
    started = workflow("exercises")["on"]["push"]["paths"]
    assert [pattern for pattern in started if answer.match(pattern)]
    assert not answer.with_name("solution.py").match(started[0])
    for name in ("ci", "publish"):
        assert workflow(name)["on"]["push"]["paths-ignore"] == started


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Reader", "-c", "user.email=reader@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def page_command(start: str) -> list[str]:
    """A command of the page, word by word."""
    lines = [line for line in PAGE.splitlines() if line.startswith(start)]
    assert len(lines) == 1, lines
    return lines[0].split()[1:]


@pytest.mark.parametrize("change", ["a starter rewritten", "an exercise renumbered"])
def test_pulling_a_later_edition_keeps_the_answers(fork, tmp_path, change):
    upstream, clone = tmp_path / "upstream", tmp_path / "clone"
    (fork / EXERCISES / WRONG / "answer.py").unlink()
    answer = (fork / EXERCISES / SOLVED / "answer.py").read_bytes()
    (fork / EXERCISES / SOLVED / "answer.py").unlink()
    upstream.mkdir()
    shutil.move(fork / "chapters", upstream)
    git(upstream, "init", "--quiet", "--initial-branch=main")
    git(upstream, "add", ".")
    git(upstream, "commit", "--quiet", "--message", "First edition")
    git(tmp_path, "clone", "--quiet", str(upstream), str(clone))
    git(clone, *page_command("git remote add upstream")[:-1], str(upstream))
    git(clone, *page_command("git config"))
    (clone / EXERCISES / SOLVED / "answer.py").write_bytes(answer)
    git(clone, *page_command("git add"))
    git(clone, "commit", "--quiet", "--message", "Solve exercise 1.1")

    number = SOLVED
    if change == "a starter rewritten":
        starter = upstream / EXERCISES / SOLVED / "starter.py"
        starter.write_text('"""Another task."""\n' + starter.read_text(encoding="utf-8"), encoding="utf-8")
    else:
        number = SOLVED.replace("01", "09", 1)
        git(upstream, "mv", f"{EXERCISES}/{SOLVED}", f"{EXERCISES}/{number}")
    git(upstream, "add", ".")
    git(upstream, "commit", "--quiet", "--message", "Second edition")
    git(clone, *page_command("git pull"))
    assert (clone / EXERCISES / number / "answer.py").read_bytes() == answer
    for name in ("starter.py", "check.py"):
        assert (clone / EXERCISES / number / name).read_bytes() == (upstream / EXERCISES / number / name).read_bytes()
    assert git(clone, "status", "--porcelain") == ""


def test_students_can_commit_their_answers():
    ignored = subprocess.run(["git", "check-ignore", "--quiet", f"{EXERCISES}/{SOLVED}/answer.py"], cwd=ROOT)
    assert ignored.returncode == 1, "answer.py must not be ignored"


def test_the_page_gives_the_limits_and_the_lines_of_a_report_as_they_are():
    limits = Limits()
    values = [f"{limits.seconds:g} s", f"{limits.memory / 2**30:g} GiB", str(limits.processes)]
    values += [f"{size / 2**20:g} MiB" for size in (limits.printed, limits.file_size)]
    for value in values:
        assert PAGE.count(f"| {value} |") == 2, f"{value} in the tables of both languages"
    for name in ("call", "expected", "got", "hint", "error", "where", "printed"):
        for label in LABELS[name].values():
            assert f"**{label}**" in PAGE
