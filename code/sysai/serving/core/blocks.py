"""Paged memory for keys and values: fixed-size blocks, lists of them as sequences' tables, counts of their holders.

A sequence's position p lies in block `table.blocks[p // block_size]`, offset `p % block_size`, so a sequence may
grow a block at a time in memory that is nowhere contiguous. Only its last block can hold unused positions:

    waste < block_size positions a sequence       (contiguous: up to max_length - 1)

Blocks are counted references: a fork shares all of them, and a shared block is copied only when one of its holders
must write into it (copy on write). Nothing is copied here: the copies are returned as data, for whoever owns the
memory. Cost: O(1) for each block taken or given back. Source: Kwon et al., PagedAttention, arXiv 2309.06180,
sections 4.2 to 4.4. Production (vLLM) adds pools for layers of different kinds, such as sliding windows.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class OutOfBlocksError(RuntimeError):
    """The pool has fewer free blocks than were asked for; nothing has been changed."""


class Copy(NamedTuple):
    """All layers' keys and values of block `source` are to be copied into block `destination`."""

    source: int
    destination: int


class BlockPool:
    """`num_blocks` blocks of `block_size` positions each, with the number of holders of every one.

    One holder may be the prefix cache, which keeps a block in the hope that it is asked for again. A block that
    nobody else holds is idle: it can be had back at any time.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        if num_blocks < 1 or block_size < 1:
            raise ValueError(f"a pool needs blocks and blocks need positions, got {num_blocks} of {block_size}")
        self.num_blocks, self.block_size = num_blocks, block_size
        self.num_idle = 0
        self._free = list(reversed(range(num_blocks)))  # a stack: the block freed last is the likeliest in the caches
        self._references = [0] * num_blocks
        self._kept: set[int] = set()

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    @property
    def num_available(self) -> int:
        """Blocks that are free or idle."""
        return len(self._free) + self.num_idle

    def references(self, block: int) -> int:
        """How many hold `block`, the prefix cache included."""
        return self._references[block]

    def is_kept(self, block: int) -> bool:
        """Whether the prefix cache holds `block`."""
        return block in self._kept

    def is_idle(self, block: int) -> bool:
        """Whether only the prefix cache holds `block`."""
        return block in self._kept and self._references[block] == 1

    def blocks_for(self, positions: int) -> int:
        """Blocks that hold `positions` positions from the start of one."""
        return -(-positions // self.block_size)

    def allocate(self) -> int:
        """A free block, with one holder.

        Raises:
            OutOfBlocksError: none is free.
        """
        if not self._free:
            raise OutOfBlocksError(f"all {self.num_blocks} blocks are held: evict, preempt or wait")
        block = self._free.pop()
        self._references[block] = 1
        return block

    def share(self, block: int) -> None:
        """Count one more holder of a block that has one."""
        assert self._references[block] > 0, f"block {block} is free: its content may be another's by now"
        self.num_idle -= self.is_idle(block)
        self._references[block] += 1

    def free(self, block: int) -> None:
        """Count one holder fewer; after the last the block is free."""
        assert self._references[block] > 0, f"block {block} was freed more often than it was held"
        self._references[block] -= 1
        self.num_idle += self.is_idle(block)
        if self._references[block] == 0:
            self._free.append(block)

    def keep(self, block: int) -> None:
        """Let the prefix cache be one more holder of a block that is held."""
        assert block not in self._kept, f"block {block} is kept already"
        self.share(block)
        self._kept.add(block)

    def drop(self, block: int) -> None:
        """End the prefix cache's hold."""
        self.num_idle -= self.is_idle(block)
        self._kept.remove(block)
        self.free(block)

    def check_invariants(self, held: Iterable[int] | None = None) -> None:
        """Every block is free or held, never both; with `held`, each holder's blocks, no count is wrong (no leak)."""
        free = set(self._free)
        assert len(free) == len(self._free), "a block stands in the free list twice"
        for block, count in enumerate(self._references):
            assert count >= (block in self._kept), f"block {block} is kept, with {count} holders"
            assert (count == 0) == (block in free), f"block {block} has {count} holders, is it free?"
        assert self.num_idle == sum(map(self.is_idle, range(self.num_blocks)))
        if held is not None:
            actual = Counter(held) + Counter(self._kept)
            counted = {block: count for block, count in enumerate(self._references) if count}
            assert counted == actual, f"holders counted {counted}, holders there are {dict(actual)}"


class BlockTable:
    """The blocks of one sequence, in order, and how many positions of them it has reserved."""

    def __init__(self, pool: BlockPool, blocks: Iterable[int] = (), length: int = 0) -> None:
        """Take over `blocks`, which the caller holds, of which `length` positions are in use."""
        self.pool, self.blocks, self.length = pool, list(blocks), length
        self.check_invariants()

    def blocks_needed(self, positions: int) -> int:
        """Free blocks that `reserve(positions)` takes."""
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
        """Where `position` lies, counted in positions over the whole pool (vLLM's slot_mapping)."""
        if not 0 <= position < self.length:
            raise ValueError(f"position {position} is not among the {self.length} reserved: reserve it first")
        return self.blocks[position // self.pool.block_size] * self.pool.block_size + position % self.pool.block_size

    def fork(self) -> "BlockTable":
        """A second sequence with the same past, in the same blocks."""
        for block in self.blocks:
            self.pool.share(block)
        return BlockTable(self.pool, self.blocks, self.length)

    def release(self) -> None:
        """Give all blocks back, the last first: a prefix cache then misses the end of a text and not its start."""
        while self.blocks:
            self.pool.free(self.blocks.pop())
        self.length = 0

    def check_invariants(self) -> None:
        """As many blocks as the positions need, each held, none twice."""
        assert len(self.blocks) == self.pool.blocks_for(self.length), (self.blocks, self.length)
        assert len(set(self.blocks)) == len(self.blocks), f"a block stands twice in {self.blocks}"
        assert all(self.pool.references(block) for block in self.blocks), f"a free block stands in {self.blocks}"

    def _must_copy(self, positions: int) -> bool:
        """Only a last block that is partly filled is written into, and another holder must not see it."""
        partly_filled = self.length % self.pool.block_size > 0
        return positions > 0 and partly_filled and self.pool.references(self.blocks[-1]) > 1
