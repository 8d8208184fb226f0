"""Which gradients travel together: the rule alone, without torch, so that the reader's browser can apply it too.

Li et al. 2020, PyTorch Distributed, arXiv 2006.15704, section 3.2; `buckets` sends by it, `overlap` times it.
"""

from collections.abc import Sequence

MIB = 2**20


def assign_buckets(sizes: Sequence[int], bucket_bytes: int) -> list[list[int]]:
    """Which tensors share a bucket: indices, from the last tensor to the first.

    A bucket is closed when the next tensor would make it larger than `bucket_bytes`; a tensor that is larger
    alone has a bucket of its own.

    Args:
        sizes: bytes of each tensor, in order of registration.

    Raises:
        ValueError: bucket_bytes is not positive.
    """
    if bucket_bytes < 1:
        raise ValueError(f"bucket_bytes must be positive, got {bucket_bytes}")
    buckets: list[list[int]] = []
    room = 0
    for index in reversed(range(len(sizes))):
        if not buckets or sizes[index] > room:
            buckets.append([])
            room = bucket_bytes
        buckets[-1].append(index)
        room -= sizes[index]
    return buckets
