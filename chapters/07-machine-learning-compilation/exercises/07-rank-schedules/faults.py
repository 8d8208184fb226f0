"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "extents_and_kinds",
        "Looks at the sizes and kinds of the loops, whatever they touch and in whatever order they stand.",
        told="The two nests in the picture differ most in: misses of the",
        text="""\
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
""",
    ),
    Fault(
        "no_memory",
        "Counts instructions and cores, but nothing that the caches miss.",
        told="The two nests in the picture differ most in: misses of the",
        edits=[("        share * misses[0],\n        share * misses[1],\n        misses[1],\n", "")],
    ),
    Fault(
        "one_core",
        "Takes a parallel loop for a serial one.",
        told="The two nests in the picture differ most in: share of the",
        edits=[
            (
                "LANES, CORES, LINE = 8, 4, 16  # LINE in numbers of 4 bytes",
                "LANES, LINE = 8, 16  # LINE in numbers of 4 bytes",
            ),
            (
                """\
    share, regions = 1.0, 0
    if "parallel" in kinds:
        depth = kinds.index("parallel")
        share = math.ceil(extents[depth] / CORES) / extents[depth]
        regions = math.prod(extents[:depth])
""",
                "",
            ),
            (
                """\
        share * steps * (len(strides) + 1 - gathers),
        share * steps * gathers,
        share * jumps,
        share * misses[0],
        share * misses[1],
        misses[1],
        regions,""",
                """\
        steps * (len(strides) + 1 - gathers),
        steps * gathers,
        jumps,
        misses[0],
        misses[1],""",
            ),
        ],
    ),
    Fault(
        "upside_down",
        "Predicts speed instead of time.",
        told="The order is upside down: the nest with the longest time",
        edits=[
            (
                "return [float(np.dot(features(nest), weights)) for nest in nests]",
                "return [-float(np.dot(features(nest), weights)) for nest in nests]",
            ),
        ],
    ),
    Fault(
        "an_array",
        "Returns whole numbers in place of floats.",
        edits=[
            (
                "return [float(np.dot(features(nest), weights)) for nest in nests]",
                "return [round(float(np.dot(features(nest), weights))) for nest in nests]",
            )
        ],
    ),
]
