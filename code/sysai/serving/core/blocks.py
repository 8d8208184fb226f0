"""Paged memory for keys and values: fixed-size blocks, lists of them as sequences' tables, and reference counts.

A sequence's position p lies in block `table.blocks[p // block_size]`, offset `p % block_size`, so a sequence may
grow a block at a time in memory that is nowhere contiguous. Only its last block can hold unused positions:

    waste < block_size positions a sequence       (contiguous: up to max_length - 1)

A fork shares all blocks of its parent, and a shared block is copied only when one of its holders must write into it
(copy on write). Nothing is copied here: the copies are returned as data, for whoever owns the memory.

    free          nobody holds it             ref_count 0
    evictable     only the prefix cache       ref_count 1, taken back when no free block is left
    in use        a sequence holds it         ref_count = sequences, + 1 if it is cached

Cost: O(1) for each block taken or given back. Source: Kwon et al., PagedAttention, arXiv 2309.06180, sections 4.2 to
4.4. Production (vLLM) adds pools for layers of different kinds, such as sliding windows.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import NamedTuple


class OutOfBlocksError(RuntimeError):
    """The pool has fewer free blocks than were asked for; nothing has been changed."""


class Copy(NamedTuple):
    """All layers' keys and values of block `source` are to be copied into block `destination`."""

    source: int
    destination: int


class BlockPool:
    """`num_blocks` blocks of `block_size` positions each, with a reference count for every one.

    The prefix cache may hold a block beside the sequences, in the hope that it is asked for again. A cached block that
    no sequence holds is evictable; evictable blocks stand in the order in which their last sequence gave them back.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        if num_blocks < 1 or block_size < 1:
            raise ValueError(f"a pool needs blocks and blocks need positions, got {num_blocks} of {block_size}")
        self.num_blocks, self.block_size = num_blocks, block_size
        self._free = list(reversed(range(num_blocks)))  # a stack: the block freed last is the likeliest in the caches
        self._ref_counts = [0] * num_blocks
        self._cached: set[int] = set()
        self._evictable: OrderedDict[int, None] = OrderedDict()

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    @property
    def num_evictable(self) -> int:
        """Blocks that only the prefix cache holds."""
        return len(self._evictable)

    @property
    def num_available(self) -> int:
        """Blocks that are free or evictable."""
        return len(self._free) + len(self._evictable)

    def ref_count(self, block: int) -> int:
        """How many hold `block`, the prefix cache included."""
        return self._ref_counts[block]

    def is_cached(self, block: int) -> bool:
        """Whether the prefix cache holds `block`."""
        return block in self._cached

    def is_evictable(self, block: int) -> bool:
        """Whether only the prefix cache holds `block`."""
        return block in self._evictable

    def least_recently_used(self) -> int | None:
        """Find the block that has been evictable for the longest time; None if none is."""
        return next(iter(self._evictable), None)

    def blocks_for(self, positions: int) -> int:
        """Count the blocks that hold `positions` positions from the start of one."""
        return -(-positions // self.block_size)

    def allocate(self) -> int:
        """Take a free block, with one holder.

        Raises:
            OutOfBlocksError: none is free.
        """
        if not self._free:
            raise OutOfBlocksError(f"all {self.num_blocks} blocks are held: evict, preempt or wait")
        block = self._free.pop()
        self._ref_counts[block] = 1
        return block

    def share(self, block: int) -> None:
        """Count one more holder of a block that has one."""
        assert self._ref_counts[block] > 0, f"block {block} is free: its content may be another's by now"
        self._evictable.pop(block, None)
        self._ref_counts[block] += 1

    def free(self, block: int) -> None:
        """Count one holder fewer; after the last the block is free, or evictable if the prefix cache has it."""
        assert self._ref_counts[block] > 0, f"block {block} was freed more often than it was held"
        self._ref_counts[block] -= 1
        if self._ref_counts[block] == 0:
            self._free.append(block)
        elif self._ref_counts[block] == 1 and block in self._cached:
            self._evictable[block] = None

    def cache(self, block: int) -> None:
        """Let the prefix cache be one more holder of a block that is in use."""
        assert block not in self._cached, f"block {block} is cached already"
        self.share(block)
        self._cached.add(block)

    def uncache(self, block: int) -> None:
        """End the prefix cache's hold."""
        self._cached.remove(block)
        self._evictable.pop(block, None)
        self.free(block)

    def check_invariants(self, held: Iterable[int] | None = None) -> None:
        """Assert that every block is free or held, never both, and that evictable ones are those of the cache alone.

        With `held`, the blocks of each holder but the prefix cache, no count is wrong either: no block has leaked.
        """
        free = set(self._free)
        assert len(free) == len(self._free), "a block stands in the free list twice"
        for block, count in enumerate(self._ref_counts):
            assert count >= (block in self._cached), f"block {block} is cached, with {count} holders"
            assert (count == 0) == (block in free), f"block {block} has {count} holders, is it free?"
        assert set(self._evictable) == {block for block in self._cached if self._ref_counts[block] == 1}
        if held is not None:
            actual = Counter(held) + Counter(self._cached)
            counted = {block: count for block, count in enumerate(self._ref_counts) if count}
            assert counted == actual, f"holders counted {counted}, holders there are {dict(actual)}"


class BlockTable:
    """The blocks of one sequence, in order, and how many positions of them it has reserved.

    `num_cached_blocks` of them, from the first on, are known to be the prefix cache's own.
    """

    def __init__(
        self, pool: BlockPool, blocks: Iterable[int] = (), length: int = 0, num_cached_blocks: int = 0
    ) -> None:
        """Take over `blocks`, which the caller holds, of which `length` positions are in use."""
        self.pool, self.blocks, self.length = pool, list(blocks), length
        self.num_cached_blocks = num_cached_blocks
        self.check_invariants()

    def blocks_needed(self, positions: int) -> int:
        """Count the free blocks that `reserve(positions)` takes."""
        return self.pool.blocks_for(self.length + positions) - len(self.blocks) + self._must_copy(positions)

    def reserve(self, positions: int) -> list[Copy]:
        """Make room to write `positions` more; the copies must be made before they are written.

        Raises:
            OutOfBlocksError: too few are free; the table is as it was.
        """
        needed = self.blocks_needed(positions)
        if needed > self.pool.num_free:
            raise OutOfBlocksError(f"{needed} blocks needed, {self.pool.num_free} free: evict, preempt or wait")
        copies = []
        if self._must_copy(positions):
            source, self.blocks[-1] = self.blocks[-1], self.pool.allocate()
            self.pool.free(source)
            copies.append(Copy(source, self.blocks[-1]))
        self.length += positions
        while len(self.blocks) < self.pool.blocks_for(self.length):
            self.blocks.append(self.pool.allocate())
        return copies

    def slot(self, position: int) -> int:
        """Find where `position` lies, counted in positions over the whole pool (vLLM's slot_mapping)."""
        if not 0 <= position < self.length:
            raise ValueError(f"position {position} is not among the {self.length} reserved: reserve it first")
        return self.blocks[position // self.pool.block_size] * self.pool.block_size + position % self.pool.block_size

    def fork(self) -> "BlockTable":
        """Make the table of a second sequence with the same past, in the same blocks."""
        for block in self.blocks:
            self.pool.share(block)
        return BlockTable(self.pool, self.blocks, self.length, self.num_cached_blocks)

    def release(self) -> None:
        """Give all blocks back, the last first: a prefix cache then misses the end of a text and not its start."""
        while self.blocks:
            self.pool.free(self.blocks.pop())
        self.length = self.num_cached_blocks = 0

    def check_invariants(self) -> None:
        """Assert that there are as many blocks as the positions need, each held, none twice."""
        assert len(self.blocks) == self.pool.blocks_for(self.length), (self.blocks, self.length)
        assert len(set(self.blocks)) == len(self.blocks), f"a block stands twice in {self.blocks}"
        assert all(self.pool.ref_count(block) for block in self.blocks), f"a free block stands in {self.blocks}"
        assert all(map(self.pool.is_cached, self.blocks[: self.num_cached_blocks])), "a cached block was evicted in use"

    def _must_copy(self, positions: int) -> bool:
        """Whether the next write goes into a block that another holder sees: only a partly filled last one can be."""
        partly_filled = self.length % self.pool.block_size > 0
        return positions > 0 and partly_filled and self.pool.ref_count(self.blocks[-1]) > 1
