"""Gives the first bucket the limit of all the others."""


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
