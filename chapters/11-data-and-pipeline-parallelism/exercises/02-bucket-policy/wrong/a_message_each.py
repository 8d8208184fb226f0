"""Sends every gradient by itself: no limit is exceeded, and every latency is paid."""


def assign_buckets(sizes, ready, first_bytes, bucket_bytes):
    return [[index] for index in ready]


def exposed_seconds(buckets, sizes, ready_at, alpha, beta):
    free = 0.0
    for bucket in buckets:
        complete = max(ready_at[index] for index in bucket)
        free = max(free, complete) + alpha + beta * sum(sizes[index] for index in bucket)
    return free - max(ready_at)
