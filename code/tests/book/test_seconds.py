"""The table of seconds: what a test costs is its chapter's, a part's time is divided in proportion."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import seconds
from sphinx_sysai.course import ROOT

# Each test takes as many tenths of a second as its chapter has to have.
TESTS = {
    "code/tests/compiler/test_loops.py": "import time\ndef test_it(): time.sleep(0.4)\n",
    "code/tests/core/test_device.py": "import time\ndef test_it(): time.sleep(0.2)\n",
    "code/tests/browser/test_explorables.py": """\
import pytest
from types import SimpleNamespace
@pytest.mark.parametrize("box", [SimpleNamespace(path="en/chapters/14-llm/chapter.html")])
def test_mechanism(box): pass
""",
    "code/tests/browser/test_pages.py": """\
import time
import pytest
@pytest.mark.parametrize("path", ["en/chapters/11-data/chapter.html", "en/book/index.html"])
def test_it(path): time.sleep(0.2)
""",
    "code/tests/explorables/test_numbers.py": """\
import time
import pytest
@pytest.fixture
def slow(): time.sleep(0.1)
@pytest.mark.parametrize("name", ["kv_waste", "kv_cache"])
def test_it(slow, name): time.sleep(0.1)
""",
    "code/tests/explorables/test_kv_waste.py": "def test_it(subtests):\n  with subtests.test('part'): pass\n",
    "code/tests/exercises/test_proofs.py": """\
import time
import pytest
from types import SimpleNamespace
@pytest.mark.parametrize("exercise", [SimpleNamespace(chapter=1)])
def test_it(exercise): time.sleep(0.2)
""",
}


def run(folder: Path, *options: str) -> str:
    for name, text in TESTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    path = [ROOT / "code/tests", ROOT / "book", ROOT / "code"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "seconds", "-q", "-rA", *options, "."], cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("shared", [[], ["-p", "xdist.plugin", "-n", "2"]])
def test_the_seconds_of_a_test_are_its_chapters(tmp_path, shared):
    run(tmp_path, "--seconds", "times/unit.json", *shared)
    spent = json.loads((tmp_path / "times/unit.json").read_text(encoding="utf-8"))
    slept = {"fixed": 0.4, "01": 0.4, "07": 0.4, "11": 0.2, "14": 0.2}
    assert spent.keys() == slept.keys()
    assert [chapter for chapter in slept if spent[chapter] < slept[chapter]] == []


def test_a_tests_setup_call_and_teardown_count_and_its_subtests_not_again(tmp_path):
    recorder = seconds.Recorder(tmp_path / "unit.json")
    whole = SimpleNamespace(user_properties=[("chapter", "07")])
    for duration in (1.0, 2.5, 0.5):
        recorder.pytest_runtest_logreport(SimpleNamespace(**vars(whole), duration=duration))
    recorder.pytest_runtest_logreport(SimpleNamespace(**vars(whole), duration=2.0, context="part"))
    recorder.pytest_sessionfinish()
    assert json.loads((tmp_path / "unit.json").read_text(encoding="utf-8")) == {"07": 4.0}


def test_one_chapter_alone(tmp_path):
    said = run(tmp_path, "--chapter", "14")
    assert "2 passed, 7 deselected" in said
    assert "test_it[kv_waste]" in said


def test_the_table_divides_what_a_part_took_and_projects(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(seconds, "TIMES", tmp_path)
    monkeypatch.setattr(seconds.time, "time", lambda: 1700)
    monkeypatch.setattr(sys, "argv", ["seconds.py"])
    (tmp_path / "starts").write_text("lint 1000\n.venv/installed 1060\nunit 1400\nbrowser 1640\n")
    (tmp_path / "unit.json").write_text(json.dumps({"fixed": 60, "01": 0, "07": 180, "11": 120, "14": 120}))
    seconds.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:-1]] == [
        ["seconds", "lint", "unit", "browser", "total"],
        ["fixed", "60", "30", "60", "150"],
        ["01", "0", "0", "0", "0"],
        ["07", "0", "90", "0", "90"],
        ["11", "0", "60", "0", "60"],
        ["14", "0", "60", "0", "60"],
        ["total", "60", "240", "60", "360"],
    ]
    assert lines[-1] == (
        "fixed 2.5 min, within its 8; a chapter on average 0.9 min, within its 3; 17 chapters would take 17 min"
    )
    monkeypatch.setattr(seconds, "LIMITS", {"fixed": 8, "chapter": 0.5})
    seconds.main()
    assert "a chapter on average 0.9 min, OVER its 0.5" in capsys.readouterr().out
