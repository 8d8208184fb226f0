"""Three ways to search a small space of schedules, in which every measurement has its price.

    random      any schedule that was not measured yet
    evolution   a neighbour of one of the best: one tile a step larger or smaller, sometimes both
    model       many neighbours and a few at random, of which a model picks those to measure

The space is all tiles of two loops of the matrix product of `loop_nest`, what is measured the bytes that it moves: they
stand for the seconds that `sysai.compiler.tuning` measures, where each takes a compilation and a run. The search there
goes the same way, over programs; its model, trees on their features, needs a library that the browser has not. The
model here is about the least that can learn, a quadratic in the logarithms x, y of the two tiles:

    log bytes = mean + w . (x, y, x^2, xy, y^2)        w by least squares over what was measured, with a small ridge
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul, sub
from statistics import fmean

from sysai.explorables.loop_nest import total

SIDES = tuple(2**power for power in range(1, 10))
ORDER, TILE_K = "ijk", 16
STRATEGIES = ("random", "evolution", "model")
TRIALS = 32
PARENTS = 3
"""How many of the best have children."""
CANDIDATES = 24
"""Neighbours that the model chooses a batch from, and a third as many at random; it leaves every fifth to chance."""
RIDGE = 0.01

Place = tuple[int, int]
"""Which of SIDES the tiles of i and of j have."""
PLACES: tuple[Place, ...] = tuple((i, j) for i in range(len(SIDES)) for j in range(len(SIDES)))
NEIGHBOURS = {
    (i, j): [place for place in PLACES if abs(place[0] - i) <= 1 and abs(place[1] - j) <= 1] for i, j in PLACES
}
"""The places at most one step away in each direction, itself included."""


@lru_cache(maxsize=8192)
def cost(place: Place, cache: int) -> int:
    """Bytes that the product moves with these tiles, with a cache of so many KiB."""
    i, j = place
    return total(order=ORDER, tile_i=SIDES[i], tile_j=SIDES[j], tile_k=TILE_K, cache=cache)


@lru_cache(maxsize=1024)
def search(strategy: str, cache: int, batch: int, seed: int) -> tuple[Place, ...]:
    """The places that a strategy measures, TRIALS of them in order."""
    rng = random.Random(seed)
    measured: dict[Place, int] = {}
    while len(measured) < TRIALS:
        count = min(batch, TRIALS - len(measured))
        for place in _STRATEGIES[strategy](measured, count, rng):
            measured[place] = cost(place, cache)
    return tuple(measured)


def _random(measured: Mapping[Place, int], count: int, rng: random.Random) -> list[Place]:
    return rng.sample([place for place in PLACES if place not in measured], count)


def _evolution(measured: Mapping[Place, int], count: int, rng: random.Random) -> list[Place]:
    return _children(measured, count, rng) if measured else _random(measured, count, rng)


def _children(measured: Mapping[Place, int], count: int, rng: random.Random) -> list[Place]:
    """Neighbours, not measured yet, of the best few; of more where those have not so many."""
    children: dict[Place, None] = {}
    for number, place in enumerate(sorted(measured, key=measured.get), 1):
        children |= dict.fromkeys(neighbour for neighbour in NEIGHBOURS[place] if neighbour not in measured)
        if number >= PARENTS and len(children) >= count:
            break
    return rng.sample(list(children), min(count, len(children)))


def _model(measured: Mapping[Place, int], count: int, rng: random.Random) -> list[Place]:
    if not measured:
        return _random(measured, count, rng)
    model = learn(measured)
    pool = dict.fromkeys(_children(measured, CANDIDATES, rng) + _random(measured, CANDIDATES // 3, rng))
    ranked = sorted(pool, key=model.predict)
    chance = count // 5
    chosen = ranked[: count - chance]
    return chosen + rng.sample([place for place in PLACES if place not in measured and place not in chosen], chance)


_STRATEGIES = {"random": _random, "evolution": _evolution, "model": _model}


def best_so_far(places: Sequence[Place], cache: int) -> list[int]:
    """The least bytes after each measurement."""
    found: list[int] = []
    for place in places:
        found.append(min(cost(place, cache), found[-1] if found else math.inf))
    return found


@dataclass(frozen=True)
class LearnedModel:
    """Means over what was measured, and the weights of what differs from them."""

    level: float
    middle: tuple[float, ...]
    weights: tuple[float, ...]

    def predict(self, place: Place) -> float:
        """The logarithm to base 2 of the bytes, as the model expects it."""
        return self.level + sum(map(mul, self.weights, map(sub, _features(place), self.middle)))


def learn(measured: Mapping[Place, int]) -> LearnedModel:
    """Least squares: the normal equations, solved by elimination."""
    logs = [math.log2(size) for size in measured.values()]
    level = fmean(logs)
    features = [_features(place) for place in measured]
    middle = tuple(map(fmean, zip(*features, strict=True)))
    rows = [[x - mean for x, mean in zip(row, middle, strict=True)] for row in features]
    n, columns, rises = len(middle), list(zip(*rows, strict=True)), [log - level for log in logs]
    system = [
        [sum(map(mul, columns[a], columns[b])) + (RIDGE if a == b else 0) for b in range(n)]
        + [sum(map(mul, columns[a], rises))]
        for a in range(n)
    ]
    for column in range(n):  # positive definite by the ridge, so that no pivot is 0
        pivot = system[column][column]
        system[column] = [number / pivot for number in system[column]]
        for row in range(n):
            if row != column:
                factor = system[row][column]
                system[row] = [a - factor * b for a, b in zip(system[row], system[column], strict=True)]
    return LearnedModel(level, middle, tuple(row[-1] for row in system))


@lru_cache(maxsize=len(PLACES))
def _features(place: Place) -> tuple[float, ...]:
    middle = (len(SIDES) - 1) / 2
    x, y = ((index - middle) / middle for index in place)
    return x, y, x * x, x * y, y * y
