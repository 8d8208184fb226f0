"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "a_message_each",
        "Sends every gradient by itself: no limit is exceeded, and every latency is paid.",
        told="Each gradient has a message of its own, and each message",
        text="""\
def assign_buckets(sizes, ready, first_bytes, bucket_bytes):
    return [[index] for index in ready]


def exposed_seconds(buckets, sizes, ready_at, alpha, beta):
    free = 0.0
    for bucket in buckets:
        complete = max(ready_at[index] for index in bucket)
        free = max(free, complete) + alpha + beta * sum(sizes[index] for index in bucket)
    return free - max(ready_at)
""",
    ),
    Fault(
        "closes_too_late",
        "Closes a bucket once it has reached its limit, which the last tensor may exceed by far.",
        told="The last tensor of this bucket no longer fitted. Close a",
        text="""\
def assign_buckets(sizes, ready, first_bytes, bucket_bytes):
    buckets, filled, limit = [[]], 0, first_bytes
    for index in ready:
        if buckets[-1] and (filled >= limit or (len(buckets) == 1 and filled + sizes[index] > limit)):
            buckets.append([])
            filled, limit = 0, bucket_bytes
        buckets[-1].append(index)
        filled += sizes[index]
    return buckets


def exposed_seconds(buckets, sizes, ready_at, alpha, beta):
    free = 0.0
    for bucket in buckets:
        complete = max(ready_at[index] for index in bucket)
        free = max(free, complete) + alpha + beta * sum(sizes[index] for index in bucket)
    return free - max(ready_at)
""",
    ),
    Fault(
        "first_bucket_as_large",
        "Gives the first bucket the limit of all the others.",
        told="The first bucket has a limit of its own, `first_bytes`: the",
        text="""\
def assign_buckets(sizes, ready, first_bytes, bucket_bytes):
    buckets, room = [], 0
    for index in ready:
        if not buckets or sizes[index] > room:
            room = bucket_bytes
            buckets.append([])
        buckets[-1].append(index)
        room -= sizes[index]
    return buckets


def exposed_seconds(buckets, sizes, ready_at, alpha, beta):
    free = 0.0
    for bucket in buckets:
        complete = max(ready_at[index] for index in bucket)
        free = max(free, complete) + alpha + beta * sum(sizes[index] for index in bucket)
    return free - max(ready_at)
""",
    ),
    Fault(
        "never_waits",
        "Lets the last bucket leave at once, though the one before it is still on the wire.",
        told="You took the last bucket alone. It may have to wait: the",
        text="""\
def assign_buckets(sizes, ready, first_bytes, bucket_bytes):
    buckets, room = [], 0
    for index in ready:
        if not buckets or sizes[index] > room:
            room = bucket_bytes if buckets else first_bytes
            buckets.append([])
        buckets[-1].append(index)
        room -= sizes[index]
    return buckets


def exposed_seconds(buckets, sizes, ready_at, alpha, beta):
    return alpha + beta * sum(sizes[index] for index in buckets[-1])
""",
    ),
    Fault(
        "registration_order",
        "Fills buckets in the reverse order of registration, whatever order gradients come in.",
        told="This is the order of registration, backwards. A graph's",
        text="""\
def assign_buckets(sizes, ready, first_bytes, bucket_bytes):
    buckets, room = [], 0
    for index in reversed(range(len(sizes))):
        if not buckets or sizes[index] > room:
            room = bucket_bytes if buckets else first_bytes
            buckets.append([])
        buckets[-1].append(index)
        room -= sizes[index]
    return buckets


def exposed_seconds(buckets, sizes, ready_at, alpha, beta):
    free = 0.0
    for bucket in buckets:
        complete = max(ready_at[index] for index in bucket)
        free = max(free, complete) + alpha + beta * sum(sizes[index] for index in bucket)
    return free - max(ready_at)
""",
    ),
]
