"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "as_it_was",
        "The colleague's code: micro-batches count in full, tied weights on their own.",
        told="Each micro-batch's mean loss counts in full here, so that",
        edits=[
            (
                "loss = cross_entropy(x, y) * len(y) / len(targets)  # its part of the batch's mean",
                "loss = cross_entropy(x, y)",
            ),
            (
                """\
    for one, other in tied:
        gradients[one] = gradients[other] = gradients[one] + gradients[other]
""",
                "",
            ),
        ],
    ),
    Fault(
        "equal_shares",
        "Divides by the number of micro-batches, also where they differ in size.",
        told="Every micro-batch counts the same here, also the smaller",
        edits=[
            (
                "loss = cross_entropy(x, y) * len(y) / len(targets)  # its part of the batch's mean",
                "loss = cross_entropy(x, y) / len(sizes)",
            ),
        ],
    ),
    Fault(
        "tied_averaged",
        "Averages the two copies' gradients.",
        told="The two copies' gradients were averaged. They are parts of",
        edits=[
            (
                "gradients[one] = gradients[other] = gradients[one] + gradients[other]",
                "gradients[one] = gradients[other] = (gradients[one] + gradients[other]) / 2",
            ),
        ],
    ),
    Fault(
        "tied_forgotten",
        "Leaves each copy of a tied parameter its own gradient.",
        told="This is the gradient of one copy alone. The parameter is",
        edits=[
            (
                """\
    for one, other in tied:
        gradients[one] = gradients[other] = gradients[one] + gradients[other]
""",
                "",
            ),
        ],
    ),
    Fault(
        "tied_one_way",
        "Gives the sum to the embedding alone, and leaves the head's copy behind.",
        told="This is the gradient of one copy alone. The parameter is",
        edits=[
            (
                "gradients[one] = gradients[other] = gradients[one] + gradients[other]",
                "gradients[one] = gradients[one] + gradients[other]",
            ),
        ],
    ),
]
