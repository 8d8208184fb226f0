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
        edits=[
            (
                """\
LANES, CORES, LINE = 8, 4, 16  # LINE in numbers of 4 bytes
CACHES = (32, 128)  # lines""",
                "LANES, CORES = 8, 4",
            ),
            (
                """\
    misses = [_misses(extents, strides, lines) for lines in CACHES]
""",
                "",
            ),
            (
                """\
        share * misses[0],
        share * misses[1],
        misses[1],
""",
                "",
            ),
            (
                '''\


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
''',
                "",
            ),
        ],
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
        "Returns an array in place of a list of floats.",
        edits=[
            (
                "return [float(np.dot(features(nest), weights)) for nest in nests]",
                "return [round(float(np.dot(features(nest), weights))) for nest in nests]",
            )
        ],
    ),
]
