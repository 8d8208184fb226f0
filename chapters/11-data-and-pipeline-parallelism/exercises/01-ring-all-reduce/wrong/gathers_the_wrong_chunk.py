"""Begins the second half with the chunk of the next rank, whose total it does not have."""


def ring_all_reduce(rank, ranks, size):
    def chunk(number):
        number %= ranks
        return size * number // ranks, size * (number + 1) // ranks

    steps = [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(ranks - 1)]
    return steps + [(chunk(rank + 1 - k), chunk(rank - k), False) for k in range(ranks - 1)]
