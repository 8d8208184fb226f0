"""The command as users run it, in a checkout of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RIGHT = "import math\narea = lambda width, height: width * height\ndiagonal = math.hypot\n"
PERIMETER = RIGHT.replace("width * height", "2 * (width + height)")


@pytest.fixture
def answers(checkout):
    """Where answer.py of the two exercises go; removed again."""
    folder = checkout / "chapters" / "07-shapes" / "exercises"
    files = [folder / "01-area" / "answer.py", folder / "02-running-mean" / "answer.py"]
    yield files
    for file in files:
        file.unlink(missing_ok=True)


@pytest.fixture
def sysai(checkout):
    def sysai(*arguments: str, language: str | None = "en", **variables: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(checkout / "code")} | variables
        environment.pop("SYSAI_LANGUAGE", None)
        if language:
            environment["SYSAI_LANGUAGE"] = language
        return subprocess.run(
            [sys.executable, "-m", "sysai", *arguments],
            env=environment,
            cwd=checkout,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    return sysai


def test_list_start_check_and_start_again(sysai, answers):
    listed = sysai("exercises")
    assert listed.returncode == 0
    assert "7.1   07/area          An area · 5 min · not started" in listed.stdout
    started = sysai("start", "area")
    assert started.returncode == 0
    assert str(Path("chapters", "07-shapes", "exercises", "01-area", "answer.py")) in started.stdout
    assert "sysai check 07/area" in started.stdout
    assert answers[0].read_text() == (answers[0].parent / "starter.py").read_text()
    assert not answers[1].exists()
    answers[0].write_text(RIGHT)
    assert "left as it is" in sysai("start", "area").stdout
    assert answers[0].read_text() == RIGHT
    assert "started" in sysai("exercises", "area").stdout
    checked = sysai("check", "area")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "✓ 7.1 An area (07/area): passed" in checked.stdout


def test_exit_codes(sysai, answers, tmp_path):
    assert sysai("check").returncode == 1  # not started
    assert sysai("check", "--started").returncode == 0  # nothing to check
    answers[0].write_text(RIGHT)
    assert sysai("check", "--started").returncode == 0
    assert sysai("check").returncode == 1
    answers[1].write_text("def running_mean(")
    assert sysai("check", "--started").returncode == 1
    for wrong in (
        ("check", "07/nothing"),
        ("check", "--file", "x.py"),
        ("check", "07", "--file", str(answers[0])),
        ("check", "area", "--file", str(tmp_path / "absent.py")),
        ("check", "area", "--seed", "x"),
        ("check", "area", "--save", str(tmp_path / "absent" / "x.json")),
        ("frobnicate",),
        (),
    ):
        done = sysai(*wrong)
        assert done.returncode == 2, wrong
        assert done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


def test_without_an_answer_the_remedy_is_shown(sysai, answers):
    done = sysai("check", "area")
    assert "sysai start 07/area" in done.stdout
    assert "1" not in done.stderr
    assert "sysai start 07/area" in sysai("check", "area", language="zh").stdout


def test_a_file_elsewhere_is_checked_and_the_shown_command_repeats_it(sysai, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PERIMETER)
    first = sysai("check", "area", "--file", str(file))
    assert first.returncode == 1
    assert "That is the perimeter" in first.stdout
    (command,) = [line.split() for line in first.stdout.splitlines() if line.strip().startswith("sysai check")]
    assert sysai(*command[1:]).stdout == first.stdout
    assert sysai(*command[1:-1], "77").stdout != first.stdout


def test_an_answer_that_windows_saved_with_a_byte_order_mark_is_read(sysai, answers, tmp_path):
    answers[0].write_text(RIGHT, encoding="utf-8-sig")
    assert sysai("check", "07/area").returncode == 0
    file = tmp_path / "mine.py"
    file.write_text(RIGHT, encoding="utf-8-sig")
    assert sysai("check", "07/area", "--file", str(file)).returncode == 0


def test_json_holds_all_reports_in_both_languages(sysai, answers):
    answers[0].write_text(PERIMETER)
    answers[1].write_text("import os; os._exit(3)")
    done = sysai("check", "--json", "--seed", "5")
    assert done.returncode == 1
    area, mean = json.loads(done.stdout)
    assert (area["id"], area["verdict"], area["reason"], area["seed"]) == ("07/area", "failed", "wrong_value", 5)
    assert area["hint"]["zh"] == "这是周长。"
    assert mean["reason"] == "ended"
    answers[0].unlink()
    assert json.loads(sysai("check", "area", "--json").stdout)[0]["verdict"] == "not started"


def test_markdown_for_a_summary(sysai, answers):
    answers[0].write_text("print('``` <b>')\n" + PERIMETER)
    done = sysai("check", "--started", "--markdown", "--seed", "5", language="zh")
    assert done.stdout.startswith("### ✗ 7.1 面积（07/area）：未通过")
    assert "```` ``` <b> ````" in done.stdout
    assert "sysai check 07/area --seed 5" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "word"),
    [
        ((), {"LC_ALL": "C.UTF-8"}, "not started"),
        ((), {"SYSAI_LANGUAGE": "zh"}, "未开始"),
        (("--language", "zh"), {"SYSAI_LANGUAGE": "en"}, "未开始"),
    ],
)
def test_language(sysai, arguments, variables, word):
    language = variables.pop("SYSAI_LANGUAGE", None)
    assert word in sysai("check", "area", *arguments, language=language, **variables).stdout


def test_an_unknown_language_is_one_clear_line(sysai):
    done = sysai("check", "area", language="fr")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "SYSAI_LANGUAGE" in done.stderr


def test_help_and_lists_need_no_torch(checkout):
    code = "import sys, sysai.exercises, sysai.cli, sysai.exercises.grader; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(checkout / "code")}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
