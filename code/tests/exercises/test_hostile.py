"""Answers that are broken or try to get by: each fails for the right reason, in bounded time, and harms no other."""

import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

HONEST = "import math\narea = lambda width, height: width * height\ndiagonal = math.hypot\n"
RIGHT_IF_BELIEVED = "area = lambda width, height: 1\ndiagonal = lambda width, height: 1.0\n"

HOSTILE = {
    "patch the trial": (
        "wrong_value",
        """
        import sysai.exercises.trial as t, sysai.exercises.compare as c, sysai.exercises.grader as g
        for name in dir(t.Trial):
            if name.startswith(("expect", "_hold")):
                setattr(t.Trial, name, lambda *a, **k: None)
        c.first_difference = lambda *a, **k: None
        c.close = lambda *a, **k: True
        """,
    ),
    "patch builtins": (
        "wrong_value ended",
        """
        import builtins, json, math
        builtins.isinstance = lambda *a: True
        math.sqrt = lambda x: 1.0
        """,
    ),
    "exit": ("ended", "import sys; sys.exit(0)"),
    "exit at once": ("ended", "import os; os._exit(0)"),
    "exit in the call": ("ended", "import os\ndef area(width, height): os._exit(0)"),
    "recursion": ("exception", "def area(width, height): return area(width, height)"),
    "recursion without a limit": (
        "ended memory exception time",
        """
        import sys
        sys.setrecursionlimit(10**9)
        class A:
            def __getattr__(self, name): return getattr(self, name + "x")
        def area(width, height): return f(f)
        def f(g): return [g(g) for _ in range(1)][0]
        """,
    ),
    "fork and let the copy answer": ("ended", "import os\nif os.fork(): os._exit(0)\n" + HONEST),
    "fork and answer twice": ("tampering wrong_value processes", "import os\nos.fork()\n" + HONEST),
    "daemonize": (
        "processes",
        dedent("""
        import os, time
        if not os.fork():
            os.setsid()
            if not os.fork():
                for fd in range(3, 64):
                    try: os.close(fd)
                    except OSError: pass
                time.sleep(600)
            os._exit(0)
        os.wait()
        """)
        + HONEST,
    ),
    "chain of processes": (
        "processes",
        dedent("""
        import os, time
        if not os.fork():
            os.setsid()
            end = time.time() + 15
            while time.time() < end:
                if os.fork(): os._exit(0)
        """)
        + HONEST,
    ),
    "fork bomb": (
        "processes",
        """
        import os, time
        def area(width, height):
            for _ in range(40):
                if not os.fork():
                    time.sleep(600)
            time.sleep(600)
        """,
    ),
    "equal to everything": (
        "wrong_type",
        """
        class Any:
            def __eq__(self, other): return True
            def __ne__(self, other): return False
            __hash__ = None
        def area(width, height): return Any()
        """,
    ),
    "subclass of int": (
        "wrong_type",
        """
        class Any(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        def area(width, height): return Any(5)
        """,
    ),
    "subclass of float": (
        "wrong_type",
        """
        class Any(float):
            def __sub__(self, other): return 0.0
        def area(width, height): return width * height
        def diagonal(width, height): return Any(5)
        """,
    ),
    "bool for a number": ("wrong_type", "def area(width, height): return True"),
    "whole number beyond all floats": (
        "wrong_value",
        "area = lambda width, height: width * height\ndiagonal = lambda *a: -(10**2000)",
    ),
    "NaN": ("wrong_value", "area = lambda width, height: width * height\ndiagonal = lambda *a: float('nan')"),
    "infinity": ("wrong_value", "area = lambda width, height: width * height\ndiagonal = lambda *a: float('inf')"),
    "keyboard interrupt": ("exception", "def area(width, height): raise KeyboardInterrupt"),
    "base exception": ("exception", "class Quiet(BaseException): pass\ndef area(width, height): raise Quiet"),
    "exception that cannot be shown": (
        "exception",
        """
        class Odd(Exception):
            def __str__(self): raise SystemExit
        def area(width, height): raise Odd
        """,
    ),
    "endless loop": ("time", "def area(width, height):\n    while True:\n        pass"),
    "endless loop while loading": ("time", "while True: pass"),
    "endless loop that ignores signals": (
        "time",
        """
        import signal
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        def area(width, height):
            while True:
                try:
                    while True: pass
                except BaseException: pass
        """,
    ),
    "stops itself": ("time", "import os, signal\ndef area(width, height): os.kill(os.getpid(), signal.SIGSTOP)"),
    "print flood": ("output", "def area(width, height):\n    while True:\n        print('x' * 1000)"),
    "memory": ("memory", "def area(width, height):\n    hoard = []\n    while True: hoard.append(bytearray(10**7))"),
    "shared memory": (
        "memory",
        """
        import mmap
        def area(width, height):
            hoard = []
            while True:
                hoard.append(mmap.mmap(-1, 2**26))
                hoard[-1].write(b"x" * 2**26)
        """,
    ),
    "memory of children": (
        "memory processes",
        """
        import os, time
        def area(width, height):
            for _ in range(4):
                if not os.fork():
                    hoard = bytearray(b"x") * (100 * 2**20)
                    time.sleep(600)
            time.sleep(600)
        """,
    ),
    "garbage into every pipe": (
        "tampering",
        """
        import os
        def area(width, height):
            for fd in range(64):
                try: os.write(fd, b"\\xff" * 100)
                except OSError: pass
            return width * height
        """,
    ),
    "forged reply": (
        "tampering",
        """
        import os, struct
        def area(width, height):
            for fd in range(3, 64):
                try: os.write(fd, struct.pack("<Q", 24) + struct.pack("<Q", 16) + b'{"tensor": [0,1]}'[:16])
                except OSError: pass
            return width * height
        """,
    ),
    "flood of replies": (
        "tampering wrong_value",
        """
        from sysai.exercises import child
        from sysai.exercises.encoding import encode
        def area(width, height):
            while True: child._server.send(encode({"number": child._server.number, "value": 1}))
        """,
    ),
    "kills its parent": ("tampering ended", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n" + HONEST),
    "stops its parent": (
        "time tampering ended wrong_value",
        "import os, signal\nos.kill(os.getppid(), signal.SIGSTOP)\n" + HONEST,
    ),
    "result of 1 GB": ("too_large memory", "def area(width, height): return 'x' * 10**9"),
    "result that is nested": (
        "too_large",
        """
        def area(width, height):
            x = []
            for _ in range(10**5): x = [x]
            return x
        """,
    ),
    "result that holds itself": ("too_large", "def area(width, height):\n    x = []\n    x.append(x)\n    return x"),
    "integer without end": ("too_large", "def area(width, height): return 1 << 10**6"),
    "generator": ("wrong_type", "def area(width, height): yield width * height"),
    "thread that loops": (
        "wrong_value",
        dedent("""
        import threading
        def loop():
            while True: pass
        threading.Thread(target=loop).start()
        """)
        + RIGHT_IF_BELIEVED,
    ),
    "exit handlers": (
        "wrong_value",
        dedent("""
        import atexit, time
        class Late:
            def __del__(self): time.sleep(600)
        late = Late()
        atexit.register(time.sleep, 600)
        """)
        + RIGHT_IF_BELIEVED,
    ),
    "seeds": (
        "wrong_value",
        dedent("""
        import random
        random.seed(0)
        random.Random.randint = lambda self, a, b: a
        """)
        + RIGHT_IF_BELIEVED,
    ),
    "reads its standard input": ("exception", "def area(width, height): return int(input())"),
    "fills the disk": (
        "exception",
        """
        def area(width, height):
            with open("big", "wb") as file:
                while True: file.write(bytes(2**20))
        """,
    ),
}


def check_report(report, reasons: str, started: float) -> None:
    assert report.verdict == "failed"
    assert report.reason in reasons.split(), (report.reason, report.text("en"))
    assert time.monotonic() - started < 30
    for language in ("en", "zh"):
        assert report.message[language]
        assert report.text(language)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_fails_and_the_next_is_judged_fairly(grade, name):
    reasons, source = HOSTILE[name]
    started = time.monotonic()
    source = dedent(source)
    if "area" not in source:
        source += "\n" + RIGHT_IF_BELIEVED
    check_report(grade(source), reasons, started)
    assert grade(HONEST).passed


WRITERS = {
    "writes to the check": "open({folder!r} + '/check.py', 'w').write('def check(trial): pass')",
    "writes to the solution": "open({folder!r} + '/solution.py', 'a').write('x = 1')",
    "removes the exercise": "import shutil; shutil.rmtree({folder!r})",
    "puts a link in place of the check": "import os; os.remove({folder!r} + '/check.py'); "
    "os.symlink('/dev/null', {folder!r} + '/check.py')",
    "puts a folder in place of the check": "import os; os.remove({folder!r} + '/check.py'); "
    "os.mkdir({folder!r} + '/check.py')",
    "puts a file in place of the exercise": "import shutil; shutil.rmtree({folder!r}); open({folder!r}, 'w').close()",
    "puts a pipe in place of the check": "import os; os.remove({folder!r} + '/check.py'); "
    "os.mkfifo({folder!r} + '/check.py')",
    "writes to another exercise": "open({other!r} + '/check.py', 'w').write('def check(trial): pass')",
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_exercises_are_put_back(grade, exercises, name):
    folder, other = exercises["area"].folder, exercises["running-mean"].folder
    before = {path: path.read_bytes() for path in folder.parent.rglob("*.*") if path.is_file()}
    deed = WRITERS[name].format(folder=str(folder), other=str(other))
    report = grade(HONEST + deed)
    assert (report.verdict, report.reason) == ("failed", "tampering")
    assert {path: path.read_bytes() for path in folder.parent.rglob("*.*") if path.is_file()} == before
    assert grade(HONEST).passed


def test_an_answer_that_is_edited_during_its_check_is_left_alone(grade, exercises):
    answer = exercises["area"].answer
    report = grade(HONEST + f"open({str(answer)!r}, 'w').write('newer')")
    assert report.passed
    assert answer.read_text() == "newer"


def test_files_that_nobody_may_read_any_more_are_put_back(tmp_path):
    (tmp_path / "check.py").write_text("honest")
    code = f"""if True:
        import os
        from pathlib import Path
        from sysai.exercises.guard import Guard
        folder = Path({str(tmp_path)!r})
        if os.geteuid() == 0:  # root may read everything
            os.chown(folder, 65534, 65534), os.chown(folder / "check.py", 65534, 65534)
            for parent in folder.parents[:3]:
                os.chmod(parent, 0o755)
            os.setuid(65534)
        guard = Guard([folder])
        (folder / "check.py").chmod(0)
        folder.chmod(0)
        changed, _ = guard.restore()
        assert changed == [folder / "check.py"], changed
        assert (folder / "check.py").read_text() == "honest"
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_an_editor_saves_beside_the_exercise_is_left_alone(grade, exercises):
    swap = exercises["area"].folder / ".answer.py.swp"
    assert grade(HONEST + f"open({str(swap)!r}, 'w').write('unsaved')").passed
    assert swap.read_text() == "unsaved"


def test_folders_nested_deeper_than_pythons_stack_are_removed(grade, exercises):
    dig = "import os\nhere = os.getcwd()\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\n"
    report = grade(HONEST + dig + "area = lambda width, height: here")
    assert not Path(report.got["en"].split("'")[1]).exists()
    assert grade(HONEST).passed


def test_an_answer_that_calls_back_without_end_is_ended(grade):
    report = grade("def running_mean(x_T, add):\n    while True: add(1.0, 2.0)", "running-mean")
    assert report.reason == "time"
    assert grade(HONEST).passed


def test_a_flood_of_prints_between_callbacks_is_ended(grade):
    source = "def running_mean(x_T, add):\n    while True:\n        print('x' * 10**6)\n        add(1.0, 2.0)"
    assert grade(source, "running-mean").reason == "output"


FORGED = {
    "exception": {"error": {"type": "X" * 10**6, "ancestors": [], "message": "y" * 10**7, "frames": [[5, ""]] * 10**4}},
    "type": {"unsendable": {"type": "X" * 10**7, "where": "z" * 10**7, "why": "type"}},
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_refusal_cannot_flood_the_report(grade, kind):
    source = f"""
        from sysai.exercises import child
        from sysai.exercises.encoding import encode
        def area(width, height):
            child._server.send(encode({{"number": child._server.number, **{FORGED[kind]}}}))
        """
    report = grade(dedent(source))
    assert report.verdict == "failed"
    assert all(len(text) < 10_000 for text in (report.text("en"), report.markdown("zh"), str(report.data())))


def test_a_tensor_of_another_class_is_not_accepted(grade):
    source = """
        import torch
        class Equal(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None): return torch.tensor(True)
        def running_mean(x_T, add): return torch.ones(len(x_T)).as_subclass(Equal)
        """
    assert grade(dedent(source), "running-mean").reason == "wrong_type"


def test_counts_cannot_be_faked(grade):
    source = """
        import torch
        def running_mean(x_T, add):
            for name in list(vars(add)):
                if "call" in name: pass
            add.calls = 0
            for _ in range(100): add(1.0, 2.0)
            return x_T.cumsum(0) / torch.arange(1, len(x_T) + 1)
        """
    report = grade(dedent(source), "running-mean")
    assert report.reason == "too_much"
    assert report.got["en"] == "100"


def test_the_environment_of_a_workflow_is_hidden(grade, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/tmp/summary")
    assert grade(HONEST + "import os\nassert 'GITHUB_STEP_SUMMARY' not in os.environ").passed
