"""The workflows are valid (GitHub's schema) and safe (zizmor finds nothing), and both checks can fail."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))
FILES = {
    **dict.fromkeys(WORKFLOWS, "github-workflows"),
    **dict.fromkeys(sorted(GITHUB.glob("actions/*/action.yml")), "github-actions"),
    GITHUB / "dependabot.yml": "dependabot",
}
files = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(GITHUB)))


def run(*command: str | Path) -> subprocess.CompletedProcess:
    tool, *arguments = command
    return subprocess.run(
        [Path(sys.executable).with_name(str(tool)), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={name: value for name, value in os.environ.items() if name != "CI"},  # no annotations
    )


def check_schema(schema: str, *paths: Path) -> subprocess.CompletedProcess:
    return run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths)


def audit(path: Path) -> subprocess.CompletedProcess:
    return run("zizmor", "--offline", "--persona=regular", "--strict-collection", "--color=never", path)


def copy(source: Path, folder: Path, find: str, put: str) -> Path:
    """A copy of a workflow with a fault planted."""
    text = source.read_text(encoding="utf-8")
    faulty, count = re.subn(find, put, text, count=1)
    assert count == 1, f"{source.name} has no {find!r} to plant a fault in"
    target = folder / ".github" / "workflows" / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(faulty, encoding="utf-8")
    return target


def test_the_five_workflows_are_there():
    assert {path.stem for path in WORKFLOWS} == {"ci", "gpu", "publish", "colab", "exercises"}


@pytest.mark.parametrize("schema", sorted(set(FILES.values())))
def test_schema(schema):
    result = check_schema(schema, *(path for path, its_schema in FILES.items() if its_schema == schema))
    assert result.returncode == 0, f"GitHub's schema is broken:\n{result.stdout}{result.stderr}"


@files
def test_audit(path):
    result = audit(path)
    assert result.returncode == 0, f"zizmor on {path.name}:\n{result.stdout}{result.stderr}"


@pytest.mark.parametrize(
    ("find", "put", "named"),
    [
        ("runs-on:", "run-on:", "run-on"),
        ("timeout-minutes: \\d+", "timeout-minutes: soon", "timeout-minutes"),
        ("permissions: {}", "permissions: some", "permissions"),
    ],
)
def test_schema_catches(tmp_path, find, put, named):
    copies = [copy(path, tmp_path, find, put) for path in WORKFLOWS]
    result = check_schema("github-workflows", *copies)
    assert result.returncode != 0, f"the schema lets {put!r} pass"
    assert named in result.stdout + result.stderr
    assert all(str(path) in result.stdout for path in copies), "in every workflow"


@pytest.mark.parametrize(
    ("name", "find", "put", "finding"),
    [
        ("ci", "actions/checkout@[0-9a-f]{40} # v[0-9.]+", "actions/checkout@v7", "unpinned-uses"),
        ("ci", "  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("ci", "run: .ci/run", "run: echo ${{ github.head_ref }}", "template-injection"),
        ("gpu", "permissions:\n      contents: read", "permissions: write-all", "excessive-permissions"),
        ("publish", "permissions:\n      contents: read", "permissions: write-all", "excessive-permissions"),
        ("colab", " # zizmor: ignore.*", "", "unpinned-images"),
        ("exercises", "with:\n          persist-credentials: false", "with: {}", "artipacked"),
        ("exercises", '"\\$GITHUB_RUN_NUMBER"', "${{ github.event.head_commit.message }}", "template-injection"),
    ],
)
def test_audit_catches(tmp_path, name, find, put, finding):
    result = audit(copy(GITHUB / "workflows" / f"{name}.yml", tmp_path, find, put))
    assert result.returncode != 0, f"zizmor lets {put!r} pass in {name}.yml"
    assert finding in result.stdout
