"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

FORWARD = 'order.append(("F", warmup + j))'
WARMUP = "warmup = min(stages - stage, microbatches)"

FAULTS = [
    Fault(
        "flat",
        "Returns the numbers without their kind.",
        edits=[("    return order\n", "    return [j for _, j in order]\n")],
    ),
    Fault(
        "first_left_out",
        "Leaves the first micro-batch out.",
        edits=[("    return order\n", '    return [x for x in order if x != ("F", 0)]\n')],
    ),
    Fault(
        "backward_first",
        "Goes backward before it has been forward.",
        edits=[("    return order\n", "    return order[::-1]\n")],
    ),
    Fault(
        "more_warmup_than_batches",
        "Forgets that there may be fewer micro-batches than stages.",
        edits=[(WARMUP, "warmup = stages - stage")],
        hint=Text(
            "With fewer micro-batches than stages, the first stages have nothing left to warm up with.",
            "微批次比阶段少时，前几个阶段预热做不满那么多个前向。",
        ),
    ),
    Fault(
        "gpipe",
        "Runs all micro-batches forward, then all backward.",
        edits=[(WARMUP, "warmup = microbatches")],
        hint=Text(
            "All micro-batches are in flight at once, as in GPipe. Once the first gradients come back, do a "
            "backward for each forward.",
            "所有微批次同时在途，这就是GPipe。第一个梯度传回来之后，应做一个反向、再做一个前向。",
        ),
    ),
    Fault(
        "same_warmup",
        "Warms every stage up as long as the first.",
        edits=[(WARMUP, "warmup = min(stages, microbatches)")],
        hint=Text(
            "This stage warms up as long as the first one. The later a stage, the sooner its first gradient is "
            "there: stages - stage forwards are enough.",
            "这个阶段预热得和第一个阶段一样长。越靠后的阶段，第一个梯度来得越早：stages - stage个前向就够了。",
        ),
    ),
    Fault(
        "one_more",
        "Warms up by one forward too many.",
        edits=[(WARMUP, "warmup = min(stages - stage + 1, microbatches)")],
        hint=Text(
            "One too many. After the warm-up a stage first goes backward, then forward.",
            "多了一个。预热之后，应先做反向，再做前向。",
        ),
    ),
    Fault(
        "warmup_too_short",
        "Warms up by one forward too few, and waits for gradients.",
        edits=[(WARMUP, "warmup = min(max(stages - stage - 1, 1), microbatches)")],
        told="A stage turns to its first backward before it has done",
    ),
    Fault(
        "newest_first",
        "Goes backward with the newest micro-batch, as a stack would.",
        edits=[
            (
                "    for j in range(microbatches):\n",
                "    held = list(range(warmup))\n    for j in range(microbatches):\n",
            ),
            ('order.append(("B", j))', 'order.append(("B", held.pop()))'),
            (FORWARD, f"{FORWARD}\n            held.append(warmup + j)"),
        ],
        told="All stages must take micro-batches in the same order,",
    ),
    Fault(
        "last_stage_reversed",
        "Takes the micro-batches in reverse order on the last stage.",
        edits=[
            (
                "    return order\n",
                "    if stage == stages - 1:\n"
                "        order = [(kind, microbatches - 1 - j) for kind, j in order]\n"
                "    return order\n",
            )
        ],
        told="All stages must take micro-batches in the same order,",
    ),
]
