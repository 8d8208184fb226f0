"""Counts instructions and cores, but nothing that the caches miss."""

import math

import numpy as np

LANES, CORES = 8, 4

Nest = dict[str, list]


def predict(measured: list[tuple[Nest, float]], nests: list[Nest]) -> list[float]:
    """Return a predicted time of each nest: a sum of features, weighted so that relative errors are smallest."""
    x = np.array([features(nest) for nest, _ in measured])
    times = np.array([time for _, time in measured])
    weights = _positive_fit(x / times[:, None])
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
    return [
        share * steps * (len(strides) + 1 - gathers),
        share * steps * gathers,
        share * jumps,
        regions,
    ]


def _positive_fit(x: np.ndarray) -> np.ndarray:
    """Weights w >= 0 for which x w is close to 1: least squares, leaving out what would be negative."""
    used = list(range(x.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(x[:, used], np.ones(len(x)), rcond=None)
        if (found >= 0).all() or len(used) == 1:
            weights = np.zeros(x.shape[1])
            weights[used] = np.maximum(found, 0)
            return weights
        used.pop(int(np.argmin(found)))
