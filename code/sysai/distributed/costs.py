"""The cost of a collective to one rank, before it is run: steps, messages and bytes.

In the alpha-beta model a message of m bytes takes alpha + m beta seconds (alpha: latency, beta: seconds a byte),
and what a collective takes is counted along its longest path. For N bytes on n ranks, in equal chunks:

    ring reduce-scatter, all-gather   (n - 1) alpha + (n - 1) / n N beta
    ring all-reduce                   2 (n - 1) alpha + 2 (n - 1) / n N beta
    ring broadcast in S segments      (n - 2 + S) (alpha + N / S beta)
    shared-memory all-reduce          2 alpha + 2 (n - 1) / n N beta      (alpha: a barrier)

No all-reduce can send fewer than 2 (n - 1) / n N bytes from every rank, and the ring is optimal in that; it is
not in its steps, of which a tree needs 2 log2 n (Patarasuk and Yuan, 2009; Thakur et al., 2005).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sysai.distributed.chunks import chunk_sizes
from sysai.distributed.ring import SEGMENT_BYTES
from sysai.distributed.staging import PIECE_BYTES


@dataclass(frozen=True)
class Cost:
    """One rank's part in a collective: `messages` and `bytes` that it sends, and the longest path of all ranks."""

    steps: int
    messages: int
    bytes: int
    path_bytes: int

    def time(self, alpha: float, beta: float) -> float:
        """Seconds, given seconds a step and seconds a byte."""
        return self.steps * alpha + self.path_bytes * beta

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.steps + other.steps,
            self.messages + other.messages,
            self.bytes + other.bytes,
            self.path_bytes + other.path_bytes,
        )


def ring_reduce_scatter_cost(sizes: Sequence[int], itemsize: int, rank: int) -> Cost:
    """Rank `rank` sends every chunk but its own; `sizes` are elements of `itemsize` bytes."""
    return _ring_pass(sizes, itemsize, kept=rank)


def ring_all_gather_cost(sizes: Sequence[int], itemsize: int, rank: int) -> Cost:
    """Rank `rank` sends every chunk but that of the next rank, which has it already."""
    return _ring_pass(sizes, itemsize, kept=(rank + 1) % len(sizes))


def ring_all_reduce_cost(numel: int, itemsize: int, size: int, rank: int) -> Cost:
    """A reduce-scatter and an all-gather of `numel` elements in chunks as equal as they can be."""
    sizes = chunk_sizes(numel, size)
    return ring_reduce_scatter_cost(sizes, itemsize, rank) + ring_all_gather_cost(sizes, itemsize, rank)


def ring_broadcast_cost(numel: int, itemsize: int, size: int, rank: int, source: int) -> Cost:
    """Every rank but the last of the chain sends the whole tensor on, segment by segment."""
    segments = _messages(numel, itemsize, SEGMENT_BYTES)
    if size == 1 or not segments:
        return Cost(0, 0, 0, 0)
    sends = (rank - source) % size < size - 1
    first_segment = min(numel, SEGMENT_BYTES // itemsize) * itemsize
    path_bytes = numel * itemsize + (size - 2) * first_segment
    return Cost(size - 2 + segments, segments * sends, numel * itemsize * sends, path_bytes)


def shared_memory_reduce_scatter_cost(sizes: Sequence[int], itemsize: int, rank: int) -> Cost:
    """Rank `rank` puts a part of every chunk but its own where the chunk's owner reads it."""
    part_bytes = PIECE_BYTES // itemsize // len(sizes) * itemsize
    sent = [numel for other, numel in enumerate(sizes) if other != rank]
    messages = sum(_messages(numel, itemsize, part_bytes) for numel in sent)
    return Cost(int(len(sizes) > 1), messages, sum(sent) * itemsize, (sum(sizes) - min(sizes)) * itemsize)


def shared_memory_all_gather_cost(sizes: Sequence[int], itemsize: int, rank: int) -> Cost:
    """Rank `rank` puts its chunk where each of the others reads it."""
    part_bytes = PIECE_BYTES // itemsize // len(sizes) * itemsize
    readers = len(sizes) - 1
    messages = readers * _messages(sizes[rank], itemsize, part_bytes)
    path_bytes = (sum(sizes) - min(sizes)) * itemsize
    return Cost(int(readers > 0), messages, readers * sizes[rank] * itemsize, path_bytes)


def shared_memory_all_reduce_cost(numel: int, itemsize: int, size: int, rank: int) -> Cost:
    """A reduce-scatter and an all-gather of `numel` elements in chunks as equal as they can be."""
    sizes = chunk_sizes(numel, size)
    scatter, gather = shared_memory_reduce_scatter_cost, shared_memory_all_gather_cost
    return scatter(sizes, itemsize, rank) + gather(sizes, itemsize, rank)


def _ring_pass(sizes: Sequence[int], itemsize: int, kept: int) -> Cost:
    """Once around the ring: in each of n - 1 steps a rank sends a chunk, in the end all but the one it keeps."""
    sent = [numel for chunk, numel in enumerate(sizes) if chunk != kept]
    messages = sum(_messages(numel, itemsize, SEGMENT_BYTES) for numel in sent)
    return Cost(len(sent), messages, sum(sent) * itemsize, len(sent) * max(sizes) * itemsize)


def _messages(numel: int, itemsize: int, most_bytes: int) -> int:
    """Messages of at most `most_bytes` for `numel` elements, none for none."""
    return -(-numel // (most_bytes // itemsize))
