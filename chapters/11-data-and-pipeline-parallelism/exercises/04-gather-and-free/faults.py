"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

AHEAD = "        if i + 1 < units:\n            gather(i + 1)\n"
RELEASED = "        if i + 1 < units:  # the last one is needed again at once\n            free(i)\n"
BACK = "        if i > 0:\n            gather(i - 1)\n"
END = "        backward(i)\n        free(i)\n        reduce(i)\n"

FAULTS = [
    Fault(
        "frees_too_late",
        "Frees a unit only after the one after the next has been asked for.",
        edits=[
            ("    gather(0)\n", "    gather(0)\n    if units > 1:\n        gather(1)\n"),
            (AHEAD, ""),
            (RELEASED, f"        if i + 2 < units:\n            gather(i + 2)\n{RELEASED}"),
        ],
        told="Three neighbouring units were whole at once. Free the unit",
    ),
    Fault(
        "last_unit_twice",
        "Frees the last unit between its forward and its backward pass.",
        edits=[(RELEASED, "        free(i)\n        if i + 1 == units:\n            gather(i)\n")],
        told="Every unit was gathered twice. The backward pass begins",
    ),
    Fault(
        "never_frees_forward",
        "Keeps all units whole from the forward to the backward pass.",
        edits=[(RELEASED, ""), (BACK, "")],
        told="At one moment all units were whole. Free a unit when its",
    ),
    Fault(
        "no_prefetch",
        "Gathers a unit when it is needed.",
        edits=[
            ("    gather(0)\n", ""),
            (AHEAD, "        gather(i)\n"),
            (BACK, "        if i + 1 < units:\n            gather(i)\n"),
        ],
        told="Gathered only when it is needed",
    ),
    Fault(
        "reduces_at_the_end",
        "Keeps all gradients until the step is over.",
        edits=[(END, END.replace("        reduce(i)\n", "    for i in range(units):\n        reduce(i)\n"))],
        told="Reduce a unit's gradients as soon as they are there",
    ),
    Fault(
        "gathers_twice", "Gathers the first unit twice.", edits=[("    gather(0)\n", "    gather(0)\n    gather(0)\n")]
    ),
    Fault("frees_twice", "Frees a unit twice.", edits=[(END, f"{END}        free(i)\n")]),
    Fault("reduces_twice", "Reduces gradients twice.", edits=[(END, f"{END}        reduce(i)\n")]),
    Fault(
        "forgets_to_reduce",
        "Leaves the last gradients whole.",
        edits=[("        reduce(i)\n", "        if i:\n            reduce(i)\n")],
    ),
    Fault(
        "forgets_to_free",
        "Leaves the first unit whole.",
        edits=[(END, END.replace("free(i)", "free(i) if i else None"))],
    ),
    Fault("forward_alone", "Ends after the forward pass.", edits=[("reversed(range(units))", "()")]),
    Fault(
        "backward_from_the_start",
        "Goes backward in the order of the forward pass.",
        edits=[("reversed(range(units))", "range(units)")],
    ),
    Fault(
        "not_gathered_again",
        "Takes weights for the backward pass that were freed.",
        edits=[(BACK, "")],
        told="Gathered only when it is needed",
    ),
    Fault(
        "freed_too_early",
        "Frees a unit before its forward pass.",
        edits=[("        forward(i)\n", ""), (RELEASED, f"{RELEASED}        forward(i)\n")],
    ),
    Fault(
        "freed_before_backward",
        "Frees a unit before its backward pass.",
        edits=[(END, "        free(i)\n        backward(i)\n        reduce(i)\n")],
        told="A unit that was freed after its forward pass must be gathered again",
    ),
    Fault("one_too_far", "Asks for a unit that does not exist.", edits=[(AHEAD, "        gather(i + 1)\n")]),
    Fault(
        "forward_too_far",
        "Computes a unit that does not exist.",
        edits=[("        forward(i)\n", "        forward(i + 1)\n")],
    ),
    Fault(
        "backward_too_far",
        "Goes backward with a unit that does not exist.",
        edits=[("        backward(i)\n", "        backward(i - units)\n")],
    ),
]
