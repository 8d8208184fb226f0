"""Checks answers, one after the other, each in its own process; keeps what they must not touch.

with Grader(exercises) as grader:
    report = grader.grade(exercise, source, seed=1)
"""

import pickle
import time
import traceback
from dataclasses import replace
from pathlib import Path

from sysai.core.language import Text
from sysai.exercises import messages
from sysai.exercises.annotations import returned_types
from sysai.exercises.catalogue import Exercise
from sysai.exercises.child import MESSAGE_CHARACTERS
from sysai.exercises.compare import alike
from sysai.exercises.failure import BY_COMPARISON, Failed, both
from sysai.exercises.faults import BASES, read_faults
from sysai.exercises.guard import Guard
from sysai.exercises.limits import Limits
from sysai.exercises.processes import LostZygote, Zygote, adopt_orphans, zygotes_work
from sysai.exercises.report import CheckReport
from sysai.exercises.show import shorten, show
from sysai.exercises.submission import Callback, Submission
from sysai.exercises.trial import Trial

_NOTHING = object()
_SAID_IN_THE_MESSAGE = ("not_implemented", "missing_function")  # which call it was


class Grader:
    """Holds the exercises' files as they were before any answer ran, and the processes that answers are forked from."""

    def __init__(self, exercises: list[Exercise]):
        adopt_orphans()
        self._guard = Guard([exercise.folder for exercise in exercises])
        self._zygotes: dict[tuple[str, ...], Zygote] = {}
        self._returned: dict[tuple[str, bytes], dict[str, object]] = {}  # of an exercise and call: value by source

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        for zygote in self._zygotes.values():
            zygote.close()

    def answer(self, exercise: Exercise) -> str | None:
        """The student's text as it was when the grader began, None if there is none."""
        data = self._guard.content(exercise.answer)
        return None if data is None else data.decode("utf-8", errors="replace")

    def grade(self, exercise: Exercise, source: str, seed: int, repeat: str | None = None) -> CheckReport:
        """Check `source` as the answer of `exercise`, on inputs that follow from `seed`.

        Args:
            repeat: the command, without the seed, that the report gives for the same check again.
        """
        started = time.monotonic()
        source = source.removeprefix("\ufeff")  # some editors on Windows begin a file with it
        check_file = exercise.folder / "check.py"
        code = self._guard.content(check_file)
        check = {"__name__": f"check of {exercise.id}", "__file__": str(check_file)}
        exec(compile(code, str(check_file), "exec", dont_inherit=True), check)  # a fault here is an author's
        zygote = self._zygote(check.get("PRELOAD", ()))
        limits = check.get("LIMITS", Limits())
        submission = Submission(zygote, source, limits)
        starter = self._guard.content(exercise.folder / "starter.py")
        trial = Trial(submission, seed, returned_types(starter))
        failure = None
        try:
            with submission:
                submission.load()
                check["check"](trial)
                trial.last_call = None
                submission.finish()
        except Failed as caught:
            failure = caught
            if caught.reason in BY_COMPARISON:
                failure.hint = self._recognize(exercise, trial, zygote, limits) or caught.hint
        except LostZygote:
            failure = Failed("tampering", messages.grader_process_killed())
        except Exception as error:
            failure = _check_failed(error, check_file, trial)
        changed, aside = self._guard.restore()
        if changed:
            failure = Failed("tampering", messages.files_changed([path.name for path in changed], str(aside)))
        report = CheckReport(
            exercise.id,
            exercise.number,
            exercise.title,
            "failed" if failure else "passed",
            printed=submission.printed,
            held=trial.held,
            loaded=submission.loaded,
            seed=seed,
            repeat=f"{repeat} --seed {seed}" if repeat else None,
            seconds=round(time.monotonic() - started, 3),
        )
        return _explain(report, failure, trial, source, check_file) if failure else report

    def _recognize(self, exercise: Exercise, trial: Trial, zygote: Zygote | None, limits: Limits) -> Text | None:
        """The hint of the first fault that returns, for the call that failed, what the answer returned."""
        file = exercise.folder / "faults.py"
        if trial.last_request is None or (code := self._guard.content(file)) is None:
            return None
        hinting = [fault for fault in read_faults(code, file) if fault.hint]
        if not hinting:
            return None
        bases = {base: self._guard.content(exercise.folder / f"{base}.py").decode("utf-8") for base in BASES}
        name, args, kwargs = trial.last_request
        is_data = not any(isinstance(value, Callback) for value in (*args, *kwargs.values()))
        returned = self._returned.setdefault((exercise.id, pickle.dumps(trial.last_request)), {}) if is_data else {}
        with Submission(zygote, bases["solution"], limits) as submission:  # all are ours: one process serves them

            def returns_the_same(source: str) -> bool:
                if source not in returned:
                    submission.source = source
                    try:
                        submission.load()
                        returned[source] = submission.call(name, args, kwargs)
                    except Failed:
                        returned[source] = _NOTHING
                return returned[source] is not _NOTHING and alike(returned[source], trial.last_value)

            if returns_the_same(bases["solution"]):  # then something else than the value is wrong
                return None
            return next((fault.hint for fault in hinting if returns_the_same(fault.source(bases))), None)

    def _zygote(self, preload: tuple[str, ...]) -> Zygote | None:
        if not zygotes_work():
            return None
        zygote = self._zygotes.get(preload)
        if zygote is None or zygote.popen.poll() is not None:
            zygote = self._zygotes[preload] = Zygote(preload)
        return zygote


def not_started(exercise: Exercise) -> CheckReport:
    """The report of an exercise without an answer."""
    message = messages.not_started(exercise.id)
    return CheckReport(exercise.id, exercise.number, exercise.title, "not started", message=message)


def _check_failed(error: Exception, check_file: Path, trial: Trial) -> Failed:
    """The check met a result that it was not written for; the other exercises go on."""
    lines = _lines_of(check_file, error)
    if not lines:
        raise error
    text = f"{shorten(f'{type(error).__name__}: {error}')} (check.py:{lines[-1]})"
    return Failed("check_failed", messages.check_failed(), got=both(show(trial.last_value)), error=text)


def _lines_of(check_file: Path, error: Exception) -> tuple[int, ...]:
    """The lines of check.py that were being executed, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    return tuple(frame.lineno for frame in frames if frame.filename == str(check_file))


def _explain(report: CheckReport, failure: Failed, trial: Trial, source: str, check_file: Path) -> CheckReport:
    lines = source.splitlines()
    frames = tuple((line, shorten(lines[line - 1].strip())) for line, _ in failure.frames if 0 < line <= len(lines))
    returned = None
    if failure.got and trial.last_value is not None:
        returned = show(trial.last_value)
        if type(trial.last_value) not in (list, tuple, dict) or returned == failure.got["en"]:
            returned = None
    return replace(
        report,
        reason=failure.reason,
        message={language: shorten(text, MESSAGE_CHARACTERS) for language, text in failure.message.items()},
        call=None if failure.reason in _SAID_IN_THE_MESSAGE else trial.last_call,
        expected=failure.expected,
        got=failure.got,
        returned=returned,
        hint=failure.hint,
        error=failure.error,
        frames=frames,
        check_lines=_lines_of(check_file, failure),
        picture=failure.picture,
    )
