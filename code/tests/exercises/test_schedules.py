"""A trace that a check replays: the program that it makes, and what is said of one that does not fit."""

import pytest
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.text import parse
from sysai.exercises.failure import Failed
from sysai.exercises.limits import Limits
from sysai.exercises.schedules import MOST_LOOPS, MOST_STEPS, replayed
from sysai.exercises.submission import Submission
from sysai.exercises.trial import Trial

COPY = parse("""
def copy(X: float32[64], Y: float32[64]):
    for i in range(64):
        with block("Y"):
            vi = spatial(64, i)
            Y[vi] = X[vi]
""")


@pytest.fixture
def trial() -> Trial:
    return Trial(Submission(None, "", Limits()), seed=1)


def split(times: int) -> Schedule:
    """`times` steps, after which as many loops more are around the block."""
    schedule, inner = Schedule(COPY), "i"
    for _ in range(times):
        _, inner = schedule.split(inner, 1)
    return schedule


def test_a_trace_makes_of_the_program_what_its_schedule_made(trial):
    schedule = split(MOST_LOOPS - 1)
    assert replayed(trial, schedule.trace.to_json(), COPY) == schedule.function


@pytest.mark.parametrize("text", ["no trace", split(1).trace.to_json().replace('"i"', '"j"')])
def test_what_does_not_fit_the_program_is_told_where_it_comes_from(trial, text):
    with pytest.raises(Failed) as caught:
        replayed(trial, text, COPY)
    assert "can't be replayed" in caught.value.message["en"]
    assert "`copy`" in caught.value.hint["zh"]


def test_a_trace_that_takes_too_long_to_count_is_refused(trial):
    vectorized = Schedule(COPY)
    vectorized.vectorize("i")
    many = "[" + ",".join([vectorized.trace.to_json().strip()[1:-1]] * (MOST_STEPS + 1)) + "]"
    for text in (split(MOST_LOOPS).trace.to_json(), many):
        with pytest.raises(Failed) as caught:
            replayed(trial, text, COPY)
        assert f"{MOST_STEPS} steps" in caught.value.message["en"]
