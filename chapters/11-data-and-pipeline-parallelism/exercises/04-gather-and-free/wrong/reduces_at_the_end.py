"""Collects the gradients of all units and reduces them together at the end."""


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
