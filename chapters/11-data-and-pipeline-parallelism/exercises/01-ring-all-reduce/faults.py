"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "chain",
        "Sends the whole vector down a chain of ranks and back: the right sum, twice the bytes, idle links.",
        told="A message holds the whole vector, as in a chain from the",
        text="""\
def ring_all_reduce(rank, ranks, size):
    whole, nothing = (0, size), (0, 0)
    steps = []
    for k in range(2 * (ranks - 1)):
        sender, add = k % ranks, k < ranks - 1
        send = whole if rank == sender else nothing
        receive = whole if rank == (sender + 1) % ranks else nothing
        steps.append((send, receive, add))
    return steps
""",
    ),
    Fault(
        "gathers_the_wrong_chunk",
        "Begins the second half with the chunk of the next rank, whose total it does not have.",
        told="Follow one chunk: the rank that received it in step k sends",
        text="""\
def ring_all_reduce(rank, ranks, size):
    def chunk(number):
        number %= ranks
        return size * number // ranks, size * (number + 1) // ranks

    steps = [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(ranks - 1)]
    return steps + [(chunk(rank + 1 - k), chunk(rank - k), False) for k in range(ranks - 1)]
""",
    ),
    Fault(
        "last_chunk_takes_the_rest",
        "Gives the last chunk all that size // ranks leaves, so that its messages are long.",
        told="One chunk took the whole rest of size / ranks. A step takes",
        text="""\
def ring_all_reduce(rank, ranks, size):
    length = size // ranks

    def chunk(number):
        number %= ranks
        return number * length, size if number == ranks - 1 else (number + 1) * length

    steps = [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(ranks - 1)]
    return steps + [(chunk(rank - k), chunk(rank - 1 - k), False) for k in range(ranks - 1)]
""",
    ),
    Fault(
        "rest_forgotten",
        "Cuts chunks of size // ranks elements and forgets the rest.",
        told="Only the last 2 elements are wrong: 14 is no multiple of 4,",
        text="""\
def ring_all_reduce(rank, ranks, size):
    length = size // ranks

    def chunk(number):
        number %= ranks
        return number * length, (number + 1) * length

    steps = [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(ranks - 1)]
    return steps + [(chunk(rank - k), chunk(rank - 1 - k), False) for k in range(ranks - 1)]
""",
    ),
    Fault(
        "second_half_adds",
        "Adds also when the totals go around, so that parts are counted more than once.",
        told="Once a chunk is complete it is only copied: the second time",
        text="""\
def ring_all_reduce(rank, ranks, size):
    def chunk(number):
        number %= ranks
        return size * number // ranks, size * (number + 1) // ranks

    return [(chunk(rank - 1 - k), chunk(rank - 2 - k), True) for k in range(2 * (ranks - 1))]
""",
    ),
]
