"""What one rank of a ring does in an all-reduce."""

Range = tuple[int, int]


def ring_all_reduce(rank: int, ranks: int, size: int) -> list[tuple[Range, Range, bool]]:
    """Return the steps of a reduce-scatter and of an all-gather."""

    def chunk(number: int) -> Range:
        number %= ranks
        return size * number // ranks, size * (number + 1) // ranks

    steps = []
    for k in range(ranks - 1):  # partial sums go around
        steps.append((chunk(rank - 1 - k), chunk(rank - 2 - k), True))
    for k in range(ranks - 1):  # totals go around
        steps.append((chunk(rank - k), chunk(rank - 1 - k), False))
    return steps
