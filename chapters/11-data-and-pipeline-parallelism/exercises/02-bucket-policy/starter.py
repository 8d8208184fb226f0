"""Which gradients travel together, and how much of their journey is seen."""


def assign_buckets(sizes: list[int], ready: list[int], first_bytes: int, bucket_bytes: int) -> list[list[int]]:
    """Return the buckets in the order in which they are sent.

    Args:
        sizes: bytes of each gradient.
        ready: all indices 0 .. len(sizes) - 1, in the order in which the
            backward pass delivers them.
        first_bytes: most bytes of the first bucket.
        bucket_bytes: most bytes of each other bucket.

    Returns:
        Lists of indices, as few as possible, none empty; behind one another
        they are `ready`. Only a bucket with a single tensor may hold more than
        its limit.

    Example: sizes [6, 2, 4, 4, 1], ready [4, 3, 2, 1, 0], 4 and 8 bytes:
        [[4], [3, 2], [1, 0]].
    """
    raise NotImplementedError


def exposed_seconds(
    buckets: list[list[int]], sizes: list[int], ready_at: list[float], alpha: float, beta: float
) -> float:
    """Return the seconds from the last gradient to the end of the last message.

    Args:
        buckets: indices of the tensors in each bucket, in the order of sending.
        sizes: bytes of each gradient.
        ready_at: the second at which each gradient is there.
        alpha: seconds of an all-reduce, whatever its size.
        beta: seconds for each byte.

    Example: buckets [[4], [3, 2], [1, 0]], sizes [6, 2, 4, 4, 1], ready_at
    [1.0, 0.8, 0.6, 0.4, 0.2], alpha 0.1, beta 0.05: 0.6 s.
    """
    raise NotImplementedError
