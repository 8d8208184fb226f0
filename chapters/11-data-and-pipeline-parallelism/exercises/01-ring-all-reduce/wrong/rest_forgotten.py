"""Cuts chunks of size // ranks elements and forgets the rest."""


def ring_all_reduce(rank, ranks, size):
    length = size // ranks

    def chunk(number):
        number %= ranks
        return number * length, (number + 1) * length

    steps = [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(ranks - 1)]
    return steps + [(chunk(rank - k), chunk(rank - 1 - k), False) for k in range(ranks - 1)]
