"""A step's cost in seconds: linear in the few counts that a step has but for one bend, fitted to measured ones.

    seconds(step) = fixed + per_token * max(tokens, bend) + per_sequence * sequences + per_position * positions
                    + per_attended * attended + per_sampled * sampled + per_swapped * swapped

A step reads all weights whatever its size, and up to `bend` tokens their arithmetic is hidden by that reading: the
ridge of the roofline, and the reason why batching pays. `per_token` is the arithmetic of the linear layers;
`per_sequence` a sequence's share of attention's calls; `per_position` the reading of a past position's keys and values,
once for all tokens of a sequence, `per_attended` the arithmetic with it, for each; `per_sampled` the vocabulary's row
and the choice; `per_swapped` a block's way between device and host; `fixed` what is left.

Vidur (Agrawal et al., arXiv 2405.05465) learns the time of each operator by itself instead, from its profile.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from sysai.serving.core.scheduler_output import SchedulerOutput

_MOST_BEND = 256  # tokens; a GPU's ridge lies there, a CPU's far below


@dataclass(frozen=True)
class StepCostModel:
    """Prices in seconds for each unit of a count, and `bend` in tokens; none negative."""

    fixed: float = 0.0
    per_token: float = 0.0
    per_attended: float = 0.0
    per_sampled: float = 0.0
    per_swapped: float = 0.0
    per_sequence: float = 0.0
    per_position: float = 0.0
    bend: float = 0.0

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if min(values) < 0 or not any(values[:-1]):
            raise ValueError(f"prices must not be negative, and not all be 0: {self}")

    def seconds(self, step: SchedulerOutput) -> float:
        """The price of a step, in seconds."""
        prices = (getattr(self, field.name) for field in fields(self)[:-1])
        return sum(price * count for price, count in zip(prices, counts(step, self.bend), strict=True))


def counts(step: SchedulerOutput, bend: float = 0.0) -> tuple[float, ...]:
    """The counts that the prices are multiplied with, in the order of `StepCostModel`."""
    positions = sum(seq.start + len(seq.token_ids) for seq in step.scheduled)
    tokens = max(step.tokens, bend)
    return (1, tokens, step.attended, step.sampled, step.swapped, len(step.scheduled), positions)


def fit(measured: Iterable[tuple[SchedulerOutput, float]]) -> StepCostModel:
    """The prices, none negative, that minimize the sum of squared relative errors over measured (step, seconds).

    Relative, so that a decoding step counts as much as a prefill that takes a hundred times as long. A count that
    never varies can't be told from `fixed`: measure steps of many shapes. For each bend the prices are a linear
    problem; every number of tokens up to 256 is tried.

    Raises:
        ValueError: fewer steps than prices, or a time that is not positive.
    """
    import numpy as np  # a page that simulates in the browser has the standard library only
    from scipy.optimize import nnls

    measured = list(measured)
    prices = len(fields(StepCostModel)) - 1
    if len(measured) < prices or min(seconds for _, seconds in measured) <= 0:
        raise ValueError(f"fitting takes at least {prices} steps, each with a positive time")
    seconds = np.array([seconds for _, seconds in measured])
    rows = np.array([counts(step) for step, _ in measured], dtype=float)
    tokens = rows[:, 1].copy()
    least_error, model = np.inf, None
    for bend in range(int(min(tokens.max(), _MOST_BEND)) + 1):
        rows[:, 1] = np.maximum(tokens, bend)
        relative = rows / seconds[:, None]
        largest = relative.max(axis=0)
        scale = np.where(largest > 0, largest, 1.0)  # columns differ by many orders of magnitude
        scaled, error = nnls(relative / scale, np.ones(len(rows)))
        if error < least_error * (1 - 1e-9):
            least_error, model = error, StepCostModel(*(float(price) for price in scaled / scale), bend=float(bend))
    return model
