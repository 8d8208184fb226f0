"""Lets the last bucket leave at once, though the one before it is still on the wire."""


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
