"""Closes a bucket once it has reached its limit, which the last tensor may exceed by far."""


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
