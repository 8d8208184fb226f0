"""What one rank of a ring does in an all-reduce."""

Range = tuple[int, int]


def ring_all_reduce(rank: int, ranks: int, size: int) -> list[tuple[Range, Range, bool]]:
    """Return the steps (send, receive, add) of rank `rank`.

    In a step the rank sends the elements `send` of its vector to the next rank
    (rank + 1 modulo ranks), and puts what comes from the rank before it into the
    elements `receive`: it adds if `add` is True, and overwrites if it is False.
    What it sends are the values from before the step.

    Args:
        rank: this rank, 0 to ranks - 1.
        ranks: how many ranks the ring has, at least 1.
        size: elements of the vector, any number.

    Returns:
        2 * (ranks - 1) steps. Ranges are (first, last) without last; no range
        is longer than size / ranks, rounded up.

    Example: rank 0 of 2, 4 elements: it sends one half, adds to the other, and
    sends on what it has added up:
        [((2, 4), (0, 2), True), ((0, 2), (2, 4), False)].
    """
    raise NotImplementedError
