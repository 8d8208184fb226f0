"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

RESULT = "return [float(np.dot(features(nest), weights)) for nest in nests]"
MISSES = "misses = [_misses(extents, strides, lines) for lines in CACHES]"

FAULTS = [
    Fault(
        "extents_and_kinds",
        "Looks at the sizes and kinds of the loops, whatever they touch.",
        told="The two nests in the picture differ most in: misses of the",
        edits=[
            ("share * steps * (len(strides) + 1 - gathers)", "share * steps"),
            ("share * steps * gathers", "float(vectorized)"),
            (MISSES, "misses = [0.0, 0.0]"),
        ],
    ),
    Fault(
        "no_memory",
        "Counts instructions and cores, but nothing that the caches miss.",
        told="The two nests in the picture differ most in: misses of the",
        edits=[(MISSES, "misses = [0.0, 0.0]")],
    ),
    Fault(
        "one_core",
        "Takes a parallel loop for a serial one.",
        told="The two nests in the picture differ most in: share of the",
        edits=[('if "parallel" in kinds:', "if False:")],
    ),
    Fault(
        "upside_down",
        "Predicts speed instead of time.",
        told="The order is upside down: the nest with the longest time",
        edits=[(RESULT, RESULT.replace("float", "-float"))],
    ),
    Fault(
        "one_nest_missing",
        "Returns no number for the last nest.",
        edits=[(RESULT, RESULT.replace("in nests", "in nests[:-1]"))],
    ),
]
