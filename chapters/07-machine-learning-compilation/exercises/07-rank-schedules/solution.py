"""A cost model that ranks loop nests, fitted to measurements."""

import math

import numpy as np

LANES, CORES, LINE = 8, 4, 16  # LINE in numbers of 4 bytes
CACHES = (32, 128)  # lines

Nest = dict[str, list]


def predict(measured: list[tuple[Nest, float]], nests: list[Nest]) -> list[float]:
    """Return a predicted time of each nest: a sum of features, weighted so that relative errors are small."""
    x = np.array([features(nest) for nest, _ in measured])
    times = np.array([time for _, time in measured])
    weights = _fit(x / times[:, None])
    return [float(np.dot(features(nest), weights)) for nest in nests]


def features(nest: Nest) -> list[float]:
    """Instructions and cache misses, each a core's share of them, and parallel regions."""
    extents = [extent for _, extent, _ in nest["loops"]]
    kinds = [kind for _, _, kind in nest["loops"]]
    strides = list(nest["strides"].values())
    vectorized = kinds[-1] == "vectorized"
    steps = math.prod(extents) / (LANES if vectorized else 1)
    gathers = sum(vectorized and stride[-1] > 1 for stride in strides)
    jumps = sum(math.prod(extents[: k + 1]) for k in range(len(extents) - vectorized))
    share, regions = 1.0, 0
    if "parallel" in kinds:
        depth = kinds.index("parallel")
        share = math.ceil(extents[depth] / CORES) / extents[depth]
        regions = math.prod(extents[:depth])
    misses = [_misses(extents, strides, lines) for lines in CACHES]
    return [
        share * steps * (len(strides) + 1 - gathers),
        share * steps * gathers,
        share * jumps,
        share * misses[0],
        share * misses[1],
        misses[1],
        regions,
    ]


def _misses(extents: list[int], strides: list[list[int]], capacity: int) -> float:
    """Lines that come into a cache.

    If an iteration of a loop fits, the next one finds what they share, and the loop brings in each of its lines once;
    if not, each iteration brings in its own again. So find the outermost loop that fits in this sense, and count how
    often it is run.
    """
    for depth in range(len(extents)):
        inside = sum(_lines(extents[depth + 1 :], stride[depth + 1 :]) for stride in strides)
        if inside <= capacity:
            break
    return math.prod(extents[:depth]) * sum(_lines(extents[depth:], stride[depth:]) for stride in strides)


def _lines(extents: list[int], stride: list[int]) -> float:
    """Distinct cache lines that loops touch in one array: strips without holes, as often as the other loops run.

    A strip begins at a multiple of the greatest divisor that the other strides and a line have in common.
    """
    strip, apart, begins = 1, 1, LINE
    for step, extent in sorted((step, extent) for step, extent in zip(stride, extents, strict=True) if step):
        if step <= strip:
            strip += step * (extent - 1)
        else:
            apart *= extent
            begins = math.gcd(begins, step)
    whole = -(-strip // begins) * begins
    return apart * (whole + LINE - begins) / LINE


def _fit(x: np.ndarray) -> np.ndarray:
    """Weights w >= 0 with the smallest sum of |x w - 1|: least squares again and again, outliers counting less."""
    trust = np.ones(len(x))
    for _ in range(20):
        weights = _least_squares(x * trust[:, None], trust)
        trust = 1 / np.sqrt(np.maximum(abs(x @ weights - 1), 0.02))
    return weights


def _least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights w >= 0 for which x w is close to y, leaving out what would be negative."""
    used = list(range(x.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(x[:, used], y, rcond=None)
        if (found >= 0).all() or len(used) == 1:
            weights = np.zeros(x.shape[1])
            weights[used] = np.maximum(found, 0)
            return weights
        used.pop(int(np.argmin(found)))
