"""Frees the last unit between its forward and its backward pass."""


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
