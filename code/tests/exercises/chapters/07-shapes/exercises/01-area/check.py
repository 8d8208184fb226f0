"""Gates on the areas and diagonals of 20 random rectangles."""

import math

from sysai.core.language import Text
from sysai.exercises.limits import Limits
from sysai.exercises.trial import Trial

LIMITS = Limits(seconds=2.0, load_seconds=4.0, memory=256 * 2**20, processes=8, printed=2**20)
AREA = Text("cm²", "平方厘米")
LENGTH = Text("cm", "厘米")


def check(trial: Trial) -> None:
    for _ in range(20):
        width, height = trial.random.randint(3, 99), trial.random.randint(100, 999)
        got = trial.call("area", width, height=height)
        trial.expect_equal(got, width * height, unit=AREA)
        got = trial.call("diagonal", width, height)
        trial.expect_close(got, math.sqrt(width**2 + height**2), unit=LENGTH)
