"""Adds also when the totals go around, so that parts are counted more than once."""


def ring_all_reduce(rank, ranks, size):
    def chunk(number):
        number %= ranks
        return size * number // ranks, size * (number + 1) // ranks

    return [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(2 * (ranks - 1))]
