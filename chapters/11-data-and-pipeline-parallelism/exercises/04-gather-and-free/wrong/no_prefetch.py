"""Gathers each unit when it is needed, and waits for the network every time."""


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
