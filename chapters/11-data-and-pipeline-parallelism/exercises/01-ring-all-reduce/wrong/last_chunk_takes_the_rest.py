"""Gives the last chunk all that size // ranks leaves, so that its messages are long."""


def ring_all_reduce(rank, ranks, size):
    length = size // ranks

    def chunk(number):
        number %= ranks
        return number * length, size if number == ranks - 1 else (number + 1) * length

    steps = [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(ranks - 1)]
    return steps + [(chunk(rank - k), chunk(rank - 1 - k), False) for k in range(ranks - 1)]
