"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "frees_too_late",
        "Frees a unit only after the one after the next has been asked for.",
        told="Three neighbouring units were whole at once. Free the unit",
        text="""\
def run_step(units, gather, free, forward, backward, reduce):
    gather(0)
    if units > 1:
        gather(1)
    for i in range(units):
        forward(i)
        if i + 2 < units:
            gather(i + 2)
        if i + 1 < units:
            free(i)
    for i in reversed(range(units)):
        if i > 0:
            gather(i - 1)
        backward(i)
        free(i)
        reduce(i)
""",
    ),
    Fault(
        "last_unit_twice",
        "Frees the last unit between its forward and its backward pass.",
        told="Every unit was gathered twice. The backward pass begins",
        text="""\
def run_step(units, gather, free, forward, backward, reduce):
    gather(0)
    for i in range(units):
        if i + 1 < units:
            gather(i + 1)
        forward(i)
        free(i)
        if i + 1 == units:
            gather(i)
    for i in reversed(range(units)):
        if i > 0:
            gather(i - 1)
        backward(i)
        free(i)
        reduce(i)
""",
    ),
    Fault(
        "never_frees_forward",
        "Keeps all units whole from the forward to the backward pass.",
        told="At one moment all units were whole. Free a unit when its",
        text="""\
def run_step(units, gather, free, forward, backward, reduce):
    gather(0)
    for i in range(units):
        if i + 1 < units:
            gather(i + 1)
        forward(i)
    for i in reversed(range(units)):
        backward(i)
        free(i)
        reduce(i)
""",
    ),
    Fault(
        "no_prefetch",
        "Gathers each unit when it is needed, and waits for the network every time.",
        told="Gathered only when it is needed, a unit keeps the device",
        text="""\
def run_step(units, gather, free, forward, backward, reduce):
    for i in range(units):
        gather(i)
        forward(i)
        free(i)
    for i in reversed(range(units)):
        gather(i)
        backward(i)
        free(i)
        reduce(i)
""",
    ),
    Fault(
        "reduces_at_the_end",
        "Collects the gradients of all units and reduces them together at the end.",
        told="Reduce a unit's gradients as soon as they are there: in",
        text="""\
def run_step(units, gather, free, forward, backward, reduce):
    gather(0)
    for i in range(units):
        if i + 1 < units:
            gather(i + 1)
        forward(i)
        if i + 1 < units:
            free(i)
    for i in reversed(range(units)):
        if i > 0:
            gather(i - 1)
        backward(i)
        free(i)
    for i in range(units):
        reduce(i)
""",
    ),
]
