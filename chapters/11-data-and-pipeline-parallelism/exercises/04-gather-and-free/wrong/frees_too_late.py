"""Frees a unit only after the one after the next has been asked for."""


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
