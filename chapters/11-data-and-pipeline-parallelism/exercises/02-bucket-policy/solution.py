"""Which gradients travel together, and how much of their journey is seen."""


def assign_buckets(sizes: list[int], ready: list[int], first_bytes: int, bucket_bytes: int) -> list[list[int]]:
    """Return the buckets: the next gradient joins the last one if it fits."""
    buckets: list[list[int]] = []
    room = 0
    for index in ready:
        if not buckets or sizes[index] > room:
            room = bucket_bytes if buckets else first_bytes
            buckets.append([])
        buckets[-1].append(index)
        room -= sizes[index]
    return buckets


def exposed_seconds(
    buckets: list[list[int]], sizes: list[int], ready_at: list[float], alpha: float, beta: float
) -> float:
    """Return the seconds from the last gradient to the end of the last message."""
    free = 0.0
    for bucket in buckets:
        complete = max(ready_at[index] for index in bucket)
        free = max(free, complete) + alpha + beta * sum(sizes[index] for index in bucket)
    return free - max(ready_at)
