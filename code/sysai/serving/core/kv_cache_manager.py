"""Who has which blocks: tables of running requests, host blocks of those swapped out, and the prefix cache.

The scheduler decides who should have memory; here it is found, or not. What cannot be given is refused as a whole
(None), and nothing has changed. Idle blocks of the prefix cache count as free until the last moment: they are evicted
only for someone who gets all that he asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sysai.serving.core.blocks import BlockPool, BlockTable, Copy
from sysai.serving.core.prefix_cache import PrefixCache
from sysai.serving.core.request import Request


@dataclass
class CacheCounts:
    """Tokens that were looked up in the prefix cache at admission, and those that it had."""

    queried: int = 0
    hit: int = 0


class KVCacheManager:
    """`num_blocks` on the device, `host_blocks` beside it; every request stands in one of the two, or in neither."""

    def __init__(self, num_blocks: int, block_size: int, host_blocks: int = 0, prefix_caching: bool = True) -> None:
        self.pool = BlockPool(num_blocks, block_size)
        self.host_pool = BlockPool(host_blocks, block_size) if host_blocks else None
        self.cache = PrefixCache(self.pool) if prefix_caching else None
        self.counts = CacheCounts()
        self._tables: dict[Request, BlockTable] = {}
        self._host_blocks: dict[Request, list[int]] = {}

    def block_table(self, request: Request) -> tuple[int, ...]:
        """The blocks of a running request, in the order of its positions."""
        return tuple(self._tables[request].blocks)

    def admit(self, request: Request, spare: int) -> list[Copy] | None:
        """Give blocks for all present tokens of a request that has none, so that `spare` more blocks stay available.

        Sets its computed tokens to those found in the prefix cache, all but the last at most: that one is computed,
        for its logits. One that was swapped out keeps what it had computed, and gets the copies host -> device.
        """
        kept = self._host_blocks.get(request, [])
        found = [] if kept or self.cache is None else self.cache.match(token_ids(request, 0, request.num_tokens - 1))
        table = BlockTable(self.pool, found, len(found) * self.pool.block_size)
        growth = request.num_tokens - table.length
        if not self._make_room(table.blocks_needed(growth), spare):
            table.release()
            return None
        table.reserve(growth)
        self._tables[request] = table
        if not kept:
            request.num_computed_tokens = len(found) * self.pool.block_size
            self.counts.queried += request.num_tokens if self.cache is not None else 0
            self.counts.hit += request.num_computed_tokens
        swap_in = [Copy(*pair) for pair in zip(kept, table.blocks, strict=False)]
        self._release_host(request)
        return swap_in

    def grow(self, request: Request) -> list[Copy] | None:
        """Reserve what a running request lacks for its present tokens; the copies (on write) come before the write."""
        table = self._tables[request]
        growth = request.num_tokens - table.length
        return table.reserve(growth) if self._make_room(table.blocks_needed(growth)) else None

    def fork(self, parent: Request, child: Request) -> None:
        """Let `child` share all blocks of a running `parent`."""
        self._tables[child] = self._tables[parent].fork()

    def keep_computed(self, request: Request) -> None:
        """Put the computed full blocks of a running request into the prefix cache."""
        if self.cache is not None:
            self.cache.insert(token_ids(request, 0, request.num_computed_tokens), self._tables[request])

    def swap_out(self, request: Request) -> list[Copy] | None:
        """Exchange a running request's blocks for those of the host that its computed tokens fill; device -> host."""
        used = self._tables[request].blocks[: self.pool.blocks_for(request.num_computed_tokens)]
        if self.host_pool is None or len(used) > self.host_pool.num_free:
            return None
        self._host_blocks[request] = [self.host_pool.allocate() for _ in used]
        copies = [Copy(*pair) for pair in zip(used, self._host_blocks[request], strict=True)]
        self._tables.pop(request).release()
        return copies

    def release(self, request: Request) -> None:
        """Free all that a request has, if anything."""
        if request in self._tables:
            self._tables.pop(request).release()
        self._release_host(request)

    def check_invariants(self, running: Sequence[Request], waiting: Sequence[Request]) -> None:
        """Those who run have blocks for what they have computed, and no one else has any; every count is right.

        Of their blocks the prefix cache keeps none that is not computed to its end: others would read it.
        """
        assert set(self._tables) == set(running)
        assert set(self._host_blocks) <= set(waiting)
        for request, table in self._tables.items():
            table.check_invariants()
            assert request.num_computed_tokens <= table.length <= request.num_tokens
            not_computed = table.blocks[request.num_computed_tokens // self.pool.block_size :]
            assert not any(map(self.pool.is_kept, not_computed)), f"kept before they are computed: {not_computed}"
        for request in waiting:
            blocks = self._host_blocks.get(request, [])
            assert len(blocks) == self.pool.blocks_for(request.num_computed_tokens)
        self.pool.check_invariants(block for table in self._tables.values() for block in table.blocks)
        if self.host_pool is not None:
            self.host_pool.check_invariants(block for blocks in self._host_blocks.values() for block in blocks)
        if self.cache is not None:
            self.cache.check_invariants()

    def _make_room(self, blocks: int, spare: int = 0) -> bool:
        """See that `blocks` are free and that `spare` more could be, if need be at the cost of the prefix cache."""
        if blocks + spare > self.pool.num_available:
            return False
        if self.cache is not None:
            self.cache.evict(blocks - self.pool.num_free)
        return True

    def _release_host(self, request: Request) -> None:
        for block in self._host_blocks.pop(request, []):
            self.host_pool.free(block)


def token_ids(request: Request, start: int, end: int) -> tuple[int, ...]:
    """Tokens at positions `start` to `end` (excluded) of prompt and output."""
    prompt = request.num_prompt_tokens
    output = request.output_token_ids[max(0, start - prompt) : max(0, end - prompt)]
    return (*request.prompt_token_ids[start:end], *output)
