"""One training step of a fully sharded model, unit by unit."""

from collections.abc import Callable


def run_step(
    units: int,
    gather: Callable[[int], None],
    free: Callable[[int], None],
    forward: Callable[[int], None],
    backward: Callable[[int], None],
    reduce: Callable[[int], None],
) -> None:
    """Run all units forward, then all backward, the next one on its way."""
    gather(0)
    for i in range(units):
        if i + 1 < units:
            gather(i + 1)
        forward(i)
        if i + 1 < units:  # the last one is needed again at once
            free(i)
    for i in reversed(range(units)):
        if i > 0:
            gather(i - 1)
        backward(i)
        free(i)
        reduce(i)
