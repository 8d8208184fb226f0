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
    """Run all units forward, then all backward.

    Args:
        units: how many units the model has, at least 1.
        gather: begins to collect a unit's whole weights, and returns at once.
        free: gives the memory of a unit's whole weights back.
        forward: computes a unit forward; units 0, 1, 2 ...
        backward: computes a unit backward; units ..., 2, 1, 0.
        reduce: adds up a unit's gradients over the ranks, and frees them.

    Whenever a unit computes, the next one to compute has been gathered. At most
    2 * units - 1 gathers; never more whole weights than those of two
    neighbouring units, never the gradients of more than one unit.
    """
    raise NotImplementedError
