"""The KV cache manager: block tables of running sequences, CPU blocks of those swapped out, and the prefix cache.

The scheduler decides who should have memory; here it is found, or not. A request for blocks that cannot be met is
refused as a whole (None), and nothing has changed. Evictable blocks of the prefix cache count as free until the last
moment: they are evicted only for a sequence that gets all that it asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sysai.serving.core.blocks import BlockPool, BlockTable, Copy
from sysai.serving.core.prefix_cache import PrefixCache
from sysai.serving.core.sequence import Sequence


@dataclass
class PrefixCacheStats:
    """Tokens of the sequences admitted so far: `queried` in the prefix cache, and `hit` there."""

    queried: int = 0
    hit: int = 0


class KVCacheManager:
    """`num_blocks` on the device, `num_cpu_blocks` beside it; a sequence has blocks in one of the two or in neither."""

    def __init__(self, num_blocks: int, block_size: int, num_cpu_blocks: int = 0, prefix_caching: bool = True) -> None:
        self.pool = BlockPool(num_blocks, block_size)
        self.cpu_pool = BlockPool(num_cpu_blocks, block_size) if num_cpu_blocks else None
        self.cache = PrefixCache(self.pool) if prefix_caching else None
        self.stats = PrefixCacheStats()
        self._tables: dict[Sequence, BlockTable] = {}
        self._cpu_blocks: dict[Sequence, list[int]] = {}

    def block_table(self, sequence: Sequence) -> tuple[int, ...]:
        """The blocks of a running sequence, in the order of its positions."""
        return tuple(self._tables[sequence].blocks)

    def allocate(self, sequence: Sequence, watermark_blocks: int) -> list[Copy] | None:
        """Give blocks for all present tokens to a sequence that has none, if `watermark_blocks` more stay available.

        Sets its computed tokens to those found in the prefix cache, all but the last at most: that one is computed,
        for its logits; none for a prompt that is scored, which needs the logits of all. One that was swapped out
        keeps what it had computed, and gets the copies CPU -> device.
        """
        cpu_blocks = self._cpu_blocks.get(sequence, [])
        cached_blocks = []
        if self.cache is not None and not cpu_blocks and not sequence.scores_prompt:
            cached_blocks = self.cache.match(sequence.token_ids(0, sequence.num_tokens - 1))
        table = BlockTable(self.pool, cached_blocks, len(cached_blocks) * self.pool.block_size, len(cached_blocks))
        new_positions = sequence.num_tokens - table.length
        if not self._make_room(table.blocks_needed(new_positions), watermark_blocks):
            table.release()
            return None
        table.reserve(new_positions)
        self._tables[sequence] = table
        if not cpu_blocks:
            sequence.num_computed_tokens = len(cached_blocks) * self.pool.block_size
            self.stats.queried += sequence.num_tokens if self.cache is not None else 0
            self.stats.hit += sequence.num_computed_tokens
        swap_in = [Copy(*pair) for pair in zip(cpu_blocks, table.blocks, strict=False)]
        self._release_cpu_blocks(sequence)
        return swap_in

    def append_slots(self, sequence: Sequence) -> list[Copy] | None:
        """Reserve what a running sequence lacks for its present tokens; the copies (on write) come before the write."""
        table = self._tables[sequence]
        new_positions = sequence.num_tokens - table.length
        return table.reserve(new_positions) if self._make_room(table.blocks_needed(new_positions)) else None

    def fork(self, parent: Sequence, child: Sequence) -> None:
        """Let `child` share all blocks of a running `parent`."""
        self._tables[child] = self._tables[parent].fork()

    def cache_blocks(self, sequence: Sequence) -> None:
        """Put the computed full blocks of a running sequence into the prefix cache, those that are not there yet."""
        if self.cache is not None:
            num_full_blocks = sequence.num_computed_tokens // self.pool.block_size
            self.cache.insert(self._tables[sequence], num_full_blocks, sequence.token_ids)

    def swap_out(self, sequence: Sequence) -> list[Copy] | None:
        """Exchange a running sequence's blocks for CPU blocks, as many as its computed tokens fill; device -> CPU."""
        used = self._tables[sequence].blocks[: self.pool.blocks_for(sequence.num_computed_tokens)]
        if self.cpu_pool is None or len(used) > self.cpu_pool.num_free:
            return None
        self._cpu_blocks[sequence] = [self.cpu_pool.allocate() for _ in used]
        copies = [Copy(*pair) for pair in zip(used, self._cpu_blocks[sequence], strict=True)]
        self._tables.pop(sequence).release()
        return copies

    def release(self, sequence: Sequence) -> None:
        """Free all that a sequence has, if anything."""
        if sequence in self._tables:
            self._tables.pop(sequence).release()
        self._release_cpu_blocks(sequence)

    def check_invariants(self, running: Iterable[Sequence], waiting: Iterable[Sequence]) -> None:
        """Assert that running sequences have blocks for what they have computed, no other has any, no count is wrong.

        The prefix cache has none of their blocks that is not computed to its end: others would read it.
        """
        running, waiting = list(running), list(waiting)
        assert set(self._tables) == set(running)
        assert set(self._cpu_blocks) <= set(waiting)
        for sequence, table in self._tables.items():
            table.check_invariants()
            assert sequence.num_computed_tokens <= table.length <= sequence.num_tokens
            not_computed = table.blocks[sequence.num_computed_tokens // self.pool.block_size :]
            assert not any(map(self.pool.is_cached, not_computed)), f"cached before they are computed: {not_computed}"
        for sequence in waiting:
            blocks = self._cpu_blocks.get(sequence, [])
            assert len(blocks) == self.pool.blocks_for(sequence.num_computed_tokens)
        self.pool.check_invariants(block for table in self._tables.values() for block in table.blocks)
        if self.cpu_pool is not None:
            self.cpu_pool.check_invariants(block for blocks in self._cpu_blocks.values() for block in blocks)
        if self.cache is not None:
            self.cache.check_invariants()

    def _make_room(self, blocks: int, watermark_blocks: int = 0) -> bool:
        """See that `blocks` are free and that `watermark_blocks` more could be, if need be by eviction."""
        if blocks + watermark_blocks > self.pool.num_available:
            return False
        if self.cache is not None:
            self.cache.evict(blocks - self.pool.num_free)
        return True

    def _release_cpu_blocks(self, sequence: Sequence) -> None:
        for block in self._cpu_blocks.pop(sequence, []):
            self.cpu_pool.free(block)
