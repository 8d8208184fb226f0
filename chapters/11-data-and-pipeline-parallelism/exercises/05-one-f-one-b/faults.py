"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "gpipe",
        "Runs all micro-batches forward, then all backward.",
        told="All micro-batches are in flight at once, as in GPipe. Once",
        text="""\
def one_f_one_b(stage, stages, microbatches):
    return [("F", j) for j in range(microbatches)] + [("B", j) for j in range(microbatches)]
""",
    ),
    Fault(
        "more_warmup_than_batches",
        "Forgets that there may be fewer micro-batches than stages.",
        told="With fewer micro-batches than stages, the first stages have",
        text="""\
def one_f_one_b(stage, stages, microbatches):
    warmup = stages - stage
    order = [("F", j) for j in range(warmup)]
    for j in range(microbatches):
        order.append(("B", j))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
    return order
""",
    ),
    Fault(
        "newest_first",
        "Goes backward with the newest micro-batch, as a stack would.",
        told="All stages must take micro-batches in the same order,",
        text="""\
def one_f_one_b(stage, stages, microbatches):
    warmup = min(stages - stage, microbatches)
    order = [("F", j) for j in range(warmup)]
    stack = list(range(warmup))
    for j in range(microbatches):
        order.append(("B", stack.pop()))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
            stack.append(warmup + j)
    return order
""",
    ),
    Fault(
        "same_warmup",
        "Warms every stage up as long as the first.",
        told="This stage warms up as long as the first one. The later a",
        text="""\
def one_f_one_b(stage, stages, microbatches):
    warmup = min(stages, microbatches)
    order = [("F", j) for j in range(warmup)]
    for j in range(microbatches):
        order.append(("B", j))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
    return order
""",
    ),
    Fault(
        "warmup_too_short",
        "Warms up by one forward too few, and waits for gradients.",
        told="A stage turns to its first backward before it has done",
        text="""\
def one_f_one_b(stage, stages, microbatches):
    warmup = min(max(1, stages - stage - 1), microbatches)
    order = [("F", j) for j in range(warmup)]
    for j in range(microbatches):
        order.append(("B", j))
        if warmup + j < microbatches:
            order.append(("F", warmup + j))
    return order
""",
    ),
]
