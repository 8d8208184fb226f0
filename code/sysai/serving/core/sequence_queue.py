"""A queue of sequences in the policy's order: O(log n) to push and to pop, O(1) to remove one from its middle.

    heap of ranks        the smallest rank stands on top; it is never searched
    rank -> sequence     the truth about who waits: a rank in the heap that is missing here has been removed

A client that leaves is removed from the dictionary only. Its rank stays in the heap until it comes to the top, where
it is thrown away (lazy deletion). vLLM's `PriorityRequestQueue` is such a heap, too; one that removes by a search pays
O(n) for each client that leaves.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

from sysai.serving.core.sequence import Sequence


class SequenceQueue:
    """Sequences by `Sequence.rank`, the smallest first. Ranks are distinct, and a sequence's never changes."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._by_rank: dict[tuple[float, int], Sequence] = {}

    def __len__(self) -> int:
        return len(self._by_rank)

    def __iter__(self) -> Iterator[Sequence]:
        """All sequences in order, O(n log n)."""
        return (self._by_rank[rank] for rank in sorted(self._by_rank))

    def push(self, sequence: Sequence) -> None:
        """Add a sequence that is not in the queue."""
        assert sequence.rank not in self._by_rank, f"sequence {sequence.seq_id} waits already"
        heappush(self._heap, sequence.rank)
        self._by_rank[sequence.rank] = sequence

    def first(self) -> Sequence:
        """Look at the sequence whose turn it is; the queue must not be empty."""
        while self._heap[0] not in self._by_rank:
            heappop(self._heap)
        return self._by_rank[self._heap[0]]

    def pop(self) -> Sequence:
        """Take out the sequence whose turn it is; the queue must not be empty."""
        sequence = self.first()
        self.remove(sequence)
        return sequence

    def remove(self, sequence: Sequence) -> None:
        """Take out a sequence, wherever it stands."""
        del self._by_rank[sequence.rank]
