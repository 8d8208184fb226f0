"""When the all-reduce of gradients hides behind the backward pass: buckets, and their timeline in the alpha-beta model.

The backward pass goes from the last tensor to the first. A bucket starts when its last gradient is there and the
bucket before it has been sent, and takes what a ring takes (`sysai.distributed.costs`) for its N bytes on n devices:

    2 (n - 1) alpha + 2 (n - 1) / n N beta

What ends after the last gradient is exposed: the price of data parallelism. Buckets cannot be too large, because the
last one is exposed whole, nor too small, because each pays alpha. Li et al. 2020, PyTorch Distributed, arXiv
2006.15704, section 3.2. Left out: what sending takes from computing (copies, sums, memory bandwidth), and several
messages at a time. Standard library only, because it also runs in the reader's browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sysai.parallel.bucket_policy import assign_buckets


@dataclass(frozen=True)
class BucketMessage:
    """One bucket's all-reduce: `bytes`, and in seconds when its gradients were there, when it began and ended."""

    bucket: tuple[int, ...]
    bytes: int
    ready: float
    start: float
    end: float


@dataclass(frozen=True)
class Overlap:
    """A backward pass that ends after `computed` seconds, and its messages in the order in which they are sent."""

    computed: float
    messages: tuple[BucketMessage, ...]

    @property
    def sending(self) -> float:
        """Seconds in which the network is busy."""
        return sum(message.end - message.start for message in self.messages)

    @property
    def exposed(self) -> float:
        """Seconds from the last gradient to the end of the last message."""
        return max((message.end for message in self.messages), default=self.computed) - self.computed


def ring_all_reduce_seconds(size: int, devices: int, alpha: float, beta: float) -> float:
    """Seconds for `size` bytes on a ring of `devices`, given seconds a step and seconds a byte."""
    return 2 * (devices - 1) * (alpha + size / devices * beta)


def overlap(
    sizes: Sequence[int], seconds: Sequence[float], bucket_bytes: int, devices: int, alpha: float, beta: float
) -> Overlap:
    """The timeline of one backward pass.

    Args:
        sizes: bytes of each gradient, in order of registration.
        seconds: what the backward pass takes to compute each of them.
        bucket_bytes: largest bucket; see `assign_buckets`.
        alpha: seconds of latency in each step of the ring.
        beta: seconds a byte, the inverse of a device's bandwidth in one direction.

    Raises:
        ValueError: lengths differ, no device, or a negative time.
    """
    if len(sizes) != len(seconds):
        raise ValueError(f"{len(sizes)} sizes and {len(seconds)} times: give one of each for every gradient")
    if devices < 1 or min(alpha, beta, *seconds) < 0:
        raise ValueError(f"devices {devices}, alpha {alpha}, beta {beta}: at least one device, no negative time")
    ready, now = [0.0] * len(sizes), 0.0
    for index in reversed(range(len(sizes))):
        now += seconds[index]
        ready[index] = now
    messages: list[BucketMessage] = []
    free = 0.0
    for bucket in assign_buckets(sizes, bucket_bytes):
        size, complete = sum(sizes[index] for index in bucket), max(ready[index] for index in bucket)
        start = max(free, complete)
        free = start + ring_all_reduce_seconds(size, devices, alpha, beta)
        messages.append(BucketMessage(tuple(bucket), size, complete, start, free))
    return Overlap(now, tuple(messages))
