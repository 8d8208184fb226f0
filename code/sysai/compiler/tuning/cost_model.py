"""A learned model of cost: which of many candidates is fast, without running them.

Gradient boosting (Friedman, Annals of Statistics 29, 2001) fits trees to a score of what was measured, the logarithm
of speed against the best of the same workload:

    score = log(fastest seconds / seconds)          0 for the fastest, -1 for 2.7 times slower

A search needs the order of candidates rather than their times, so what counts is whether pairs are ordered right.
Production: TVM (Chen et al., NeurIPS 2018, arXiv 1805.08166) trains XGBoost on a rank loss, on records of many
workloads; TenSet (2021) found networks trained on millions of them better.
"""

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sysai.compiler.errors import ModelUnavailable

Features = Sequence[float]
LEAST_SAMPLES = 8


@dataclass
class CostModel:
    """Scores candidates; until it has seen LEAST_SAMPLES of them, all alike.

    Attributes:
        seed: of the trees' subsampling.
    """

    seed: int = 0
    _rows: list[tuple[str, list[float], float]] = field(default_factory=list)
    _trees: object = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("sklearn") is None:
            raise ModelUnavailable(
                "the cost model needs scikit-learn: `pip install scikit-learn`, or search without a model (model=None)"
            )

    def add(self, workload: str, features: Features, seconds: float) -> None:
        """A measurement; `fit` makes use of it. What failed counts as infinitely slow, and is not learned from."""
        if math.isfinite(seconds) and seconds > 0:
            self._rows.append((workload, list(features), seconds))

    def fit(self) -> None:
        """Learn from all measurements."""
        if len(self._rows) < LEAST_SAMPLES:
            return
        from sklearn.ensemble import GradientBoostingRegressor

        self._trees = GradientBoostingRegressor(
            n_estimators=120, max_depth=4, learning_rate=0.1, subsample=0.8, random_state=self.seed
        )
        self._trees.fit([features for _, features, _ in self._rows], self._scores())

    def predict(self, candidates: Sequence[Features]) -> list[float]:
        """A score for each: larger is faster."""
        if self._trees is None or not candidates:
            return [0.0] * len(candidates)
        return [float(score) for score in self._trees.predict([list(features) for features in candidates])]

    def _scores(self) -> list[float]:
        fastest: dict[str, float] = {}
        for workload, _, seconds in self._rows:
            fastest[workload] = min(seconds, fastest.get(workload, math.inf))
        return [math.log(fastest[workload] / seconds) for workload, _, seconds in self._rows]


def pairs_in_order(scores: Sequence[float], seconds: Sequence[float]) -> float:
    """The part of all pairs with different times of which the faster has the larger score; ties count as half.

    Raises:
        ValueError: there is no such pair.
    """
    right = total = 0.0
    for a in range(len(seconds)):
        for b in range(a):
            if seconds[a] == seconds[b]:
                continue
            total += 1
            ahead = (scores[a] - scores[b]) * (seconds[b] - seconds[a])
            right += 1.0 if ahead > 0 else 0.5 if ahead == 0 else 0.0
    if not total:
        raise ValueError("no two of the times differ: measure more candidates")
    return right / total
