"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "gathered_once",
        "Gathers the weights of stage 3 for the forward pass only.",
        told="The weights are gathered twice for each micro-batch: the",
        edits=[
            (
                "rounds = [g + g, g + w, micro_batches * g + w, micro_batches * (g + w + w)]",
                "rounds = [g + g, g + w, micro_batches * g + w, micro_batches * (g + w)]",
            ),
        ],
    ),
    Fault(
        "highest_first",
        "Takes the stage that holds least, not the lowest that fits.",
        told="Stage 3 fits, but a lower one does, too.",
        edits=[
            ("for stage in range(4):", "for stage in reversed(range(4)):"),
        ],
    ),
    Fault(
        "no_activations",
        "Leaves no room for activations.",
        told="The activations are missing.",
        edits=[
            (
                """\
        if held[stage] + activations <= memory:
            sent = rounds[stage] * shard * (devices - 1)
            return stage, held[stage] + activations, sent, sent / bandwidth""",
                """\
        if held[stage] <= memory:
            sent = rounds[stage] * shard * (devices - 1)
            return stage, held[stage], sent, sent / bandwidth""",
            ),
        ],
    ),
    Fault(
        "once_a_step",
        "Lets stages 2 and 3 reduce and gather once a step, whatever the micro-batches.",
        told="Here every micro-batch communicates: this stage has no room",
        edits=[
            (
                "rounds = [g + g, g + w, micro_batches * g + w, micro_batches * (g + w + w)]",
                "rounds = [g + g, g + w, g + w, (g + w + w)]",
            ),
        ],
    ),
    Fault(
        "units_forgotten",
        "Forgets the units that stage 3 gathers.",
        told="The two gathered units are missing: 2 largest_unit weights",
        edits=[
            (
                """\
    gathered = 2 * largest_unit * w
""",
                "",
            ),
            ("(w + g + o) * shard + gathered,", "(w + g + o) * shard,"),
        ],
    ),
    Fault(
        "whole_vectors",
        "Counts N shards for each collective; the ring sends N - 1.",
        told="This counts N shards. In a ring a device sends N - 1: one",
        edits=[
            ("sent = rounds[stage] * shard * (devices - 1)", "sent = rounds[stage] * shard * devices"),
        ],
    ),
]
