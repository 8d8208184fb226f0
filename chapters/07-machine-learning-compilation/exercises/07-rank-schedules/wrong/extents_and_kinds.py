"""Looks at the sizes and kinds of the loops, whatever they touch and in whatever order they stand."""

import math

import numpy as np


def predict(measured, nests):
    x = np.array([features(nest) for nest, _ in measured])
    weights, *_ = np.linalg.lstsq(x, np.log([time for _, time in measured]), rcond=None)
    return [float(np.dot(features(nest), weights)) for nest in nests]


def features(nest):
    extents = [extent for _, extent, _ in nest["loops"]]
    kinds = [kind for _, _, kind in nest["loops"]]
    iterations = math.log(math.prod(extents))
    return [1.0, iterations, len(extents), float("parallel" in kinds), float("vectorized" in kinds)]
