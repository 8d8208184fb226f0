"""A cost model that ranks loop nests, fitted to measurements."""

import numpy as np

LANES, CORES = 8, 4
LINE = 16  # numbers in a cache line
CACHES = (32, 128)  # lines in the first and in the second cache

Nest = dict[str, list]


def predict(measured: list[tuple[Nest, float]], nests: list[Nest]) -> list[float]:
    """Return a number for each nest that is the larger, the longer the nest takes.

    Args:
        measured: 100 nests of several kernels and sizes, each with the cycles
            that it took.
        nests: 20 schedules of one kernel of one size. Only their order counts.

    A nest is a dict:
        "loops": (name, iterations, kind) from the outermost loop to the
            innermost; kind is "serial", "parallel" or "vectorized". At most one
            loop is parallel; only the innermost one may be vectorized, and has
            LANES iterations then.
        "strides": for each array, for each loop in the same order: by how many
            elements an iteration moves in the array. The innermost body uses
            one element of each array; all begin at element 0 of a cache line.

    Example: a product of 16 x 16 matrices, C += A B, j in vectors of 8:
        {"loops": [("i", 16, "parallel"), ("k", 16, "serial"),
                   ("j_0", 2, "serial"), ("j_1", 8, "vectorized")],
         "strides": {"A": [16, 1, 0, 0], "B": [0, 16, 8, 1],
                     "C": [16, 0, 8, 1]}}
    """
    raise NotImplementedError
