"""The notebook's cell magic `%%exercise`: the cell is the answer.

The check runs the very command of the terminal in a process of its own: nothing that is done in the notebook can
change it. If the answer loads there, the cell runs in the notebook too, so that it can be tried on.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from IPython.core.error import UsageError
from IPython.display import display

from sysai.core.language import LANGUAGES, reader_language
from sysai.exercises.report import FAILED, PASSED, CheckReport


def register(shell) -> None:
    """Add the magic to an IPython shell."""

    def exercise(line: str, cell: str) -> None:
        options = _options(line)
        report = check(options.which, cell, options.seed)
        if report.loaded:
            shell.run_cell(cell, store_history=False)
        language = options.language or reader_language()
        display({"text/html": report.html(language), "text/plain": report.text(language)}, raw=True)

    shell.register_magic_function(exercise, "cell", "exercise")


def check(which: str, source: str, seed: int | None = None) -> CheckReport:
    """The report on `source` as the answer of the exercise `which`.

    Raises:
        UsageError: no such exercise.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answer.py")
        file.write_text(source, encoding="utf-8")
        command = [sys.executable, "-m", "sysai", "check", which, "--file", str(file), "--json"]
        command += [] if seed is None else ["--seed", str(seed)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode not in (PASSED, FAILED) or not done.stdout:
        raise UsageError(done.stderr.strip())
    report = CheckReport.from_data(json.loads(done.stdout)[0])
    return dataclasses.replace(report, repeat=f"%%exercise {report.id} --seed {report.seed}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UsageError(f"{message}\n{self.format_usage()}".strip())


def _options(line: str) -> argparse.Namespace:
    parser = _Parser(prog="%%exercise", add_help=False)
    parser.add_argument("which", metavar="EXERCISE")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--language", choices=LANGUAGES)
    return parser.parse_args(line.split())
