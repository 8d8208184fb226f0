"""What a step costs, in seconds: linear in the few counts that a step has, fitted to measured ones.

    seconds(step) = fixed + per_token * tokens + per_attended * attended + per_sampled * sampled + per_swapped * swapped

`fixed` is the reading of all weights, which every step pays whatever its size: the reason why batching pays.
`per_token` is the arithmetic of the linear layers, `per_attended` the reading of a past position's keys and values
for one token, `per_sampled` the vocabulary's row and the choice, `per_swapped` a block's way between device and host.
A line has no bend where a step turns from bound by memory to bound by arithmetic: fit it to steps like those priced.

Vidur (Agrawal et al., arXiv 2405.05465) learns the time of each operator by itself instead, from its profile.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from sysai.serving.step import Step


@dataclass(frozen=True)
class CostModel:
    """Seconds each; none negative."""

    fixed: float
    per_token: float = 0.0
    per_attended: float = 0.0
    per_sampled: float = 0.0
    per_swapped: float = 0.0

    def __post_init__(self) -> None:
        prices = [getattr(self, field.name) for field in fields(self)]
        if min(prices) < 0 or not any(prices):
            raise ValueError(f"prices must not be negative, and not all be 0: {self}")

    def seconds(self, step: Step) -> float:
        """The price of a step."""
        prices = (getattr(self, field.name) for field in fields(self))
        return sum(price * count for price, count in zip(prices, counts(step), strict=True))


def counts(step: Step) -> tuple[int, int, int, int, int]:
    """What the prices are multiplied with, in the order of `CostModel`."""
    return (1, step.tokens, step.attended, step.sampled, step.swapped)


def fit(measured: Iterable[tuple[Step, float]]) -> CostModel:
    """The prices, none negative, that minimize the sum of squared relative errors over measured (step, seconds).

    Relative, so that a decoding step counts as much as a prefill that takes a hundred times as long. A count that
    never varies can't be told from `fixed`: measure steps of many shapes.

    Raises:
        ValueError: fewer steps than prices, or a time that is not positive.
    """
    import numpy as np  # a page that simulates in the browser has the standard library only
    from scipy.optimize import nnls

    measured = list(measured)
    if len(measured) < len(fields(CostModel)) or min(seconds for _, seconds in measured) <= 0:
        raise ValueError(f"fitting takes at least {len(fields(CostModel))} steps, each with a positive time")
    rows = np.array([[count / seconds for count in counts(step)] for step, seconds in measured])
    scale = np.where(rows.any(axis=0), np.abs(rows).max(axis=0), 1.0)  # columns differ by many orders of magnitude
    prices, _ = nnls(rows / scale, np.ones(len(rows)))
    return CostModel(*(float(price) for price in prices / scale))
