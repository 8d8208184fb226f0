"""Where forking is not safe, a fresh Python serves each answer; the same verdicts come out."""

import pytest

RIGHT = "import math\narea = lambda width, height: width * height\ndiagonal = math.hypot\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (RIGHT, None),
        (RIGHT.replace("width * height", "1"), "wrong_value"),
        ("import os; os._exit(3)", "ended"),
        ("while True: pass", "time"),
        ("while True: print('x' * 1000)", "output"),
        ("hoard = []\nwhile True: hoard.append(bytearray(10**7))", "memory"),
        (RIGHT + "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'while True: pass'])", "processes"),
    ],
)
def test_a_fresh_python_gives_the_same_verdict(grade, monkeypatch, source, reason):
    monkeypatch.setattr("sysai.exercises.grader.zygotes_work", lambda: False)
    report = grade(source)
    assert report.reason == reason, report.text("en")
    assert report.passed == (reason is None)
