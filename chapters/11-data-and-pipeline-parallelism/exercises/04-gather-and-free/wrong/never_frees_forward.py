"""Keeps all units whole from the forward to the backward pass."""


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
