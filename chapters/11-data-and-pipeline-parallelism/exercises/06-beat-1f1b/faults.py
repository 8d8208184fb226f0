"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "held_until_b",
        "Counts a micro-batch as held until its B, and forgets what W needs.",
        told="A micro-batch is held from its F to its W, not only to its",
        edits=[
            (
                'if count["F"] < microbatches and count["F"] - count["W"] < held:',
                'if count["F"] < microbatches and count["F"] - count["B"] < held:',
            ),
        ],
    ),
    Fault(
        "one_f_one_b",
        "1F1B itself, with the backward in one piece.",
        told="This is the time of 1F1B. The stage ahead waits for B",
        text="""\
def schedule(forward, backward, weight, message, microbatches, held):
    orders = []
    for stage in range(len(forward)):
        warmup = min(len(forward) - stage, microbatches)
        order = [("F", j) for j in range(warmup)]
        for j in range(microbatches):
            order.append(("BW", j))
            if warmup + j < microbatches:
                order.append(("F", warmup + j))
        orders.append(order)
    return orders
""",
    ),
    Fault(
        "weights_at_once",
        "Does every W directly behind its B, so that splitting the backward gains nothing.",
        told="Every W directly follows its B, as if they were one. While",
        edits=[
            ('PRIORITY = "BFW"  # others wait for B soonest; nobody waits for W', 'PRIORITY = "WBF"'),
        ],
    ),
    Fault(
        "weights_at_the_end",
        "Puts all W at the end, with all micro-batches still held.",
        told="All micro-batches are held at once. A W frees a",
        text="""\
from sysai.parallel.pipeline import schedules


def schedule(forward, backward, weight, message, microbatches, held):
    orders = []
    for order in schedules.zb_h1(len(forward), microbatches).orders:
        passes = [(operation.kind, operation.microbatch) for operation in order]
        orders.append([x for x in passes if x[0] != "W"] + [x for x in passes if x[0] == "W"])
    return orders
""",
    ),
    Fault(
        "zb_h1",
        "ZB-H1, whose pattern is made for equal stages and free messages.",
        told="This is the time of ZB-H1, a pattern for equal stages.",
        text="""\
from sysai.parallel.pipeline import schedules


def schedule(forward, backward, weight, message, microbatches, held):
    pattern = schedules.zb_h1(len(forward), microbatches)
    return [[(operation.kind, operation.microbatch) for operation in order] for order in pattern.orders]
""",
    ),
]
