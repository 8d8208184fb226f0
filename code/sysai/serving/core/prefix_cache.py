"""The prefix cache: keys and values of texts seen before, found by the tokens themselves, block by block.

A position's keys and values depend on all tokens up to it, so that two sequences may share a block exactly where
they agree from the first token to the block's end. The tree has a node for each full block; the way from the root
spells the text. Children are found by their tokens, compared as such: no hash can take one text for another.

    a prompt of T tokens, of which M are found:   T - M to compute       look-up: O(T)
    a block that a sequence has filled:           insertion: O(block), from the node of the block before it

A node keeps its block until memory is short; then the evictable block goes first that its last sequence gave back
longest ago. A sequence gives its blocks back from the last to the first, so that the end of a text goes before its
start. Source: Zheng et al., SGLang, arXiv 2312.07104, section 3 (RadixAttention); its edges carry several tokens, ours
one block, as do vLLM's hash chains. Production adds salts, so that tenants can't probe each other's cache by timing,
and tiers in host memory and on other machines (Mooncake, arXiv 2407.00079).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sysai.serving.core.blocks import BlockPool, BlockTable

BlockTokens = tuple[int, ...]


class CachedBlock(NamedTuple):
    """A node of the tree: its block, the block of the text before it (None at a text's start), and its tokens."""

    block: int
    parent: int | None
    tokens: BlockTokens


@dataclass(eq=False)
class _Node:
    """One block of a text; the root has none."""

    tokens: BlockTokens = ()
    block: int = -1
    parent: "_Node | None" = None
    children: dict[BlockTokens, "_Node"] = field(default_factory=dict)


class PrefixCache:
    """Full blocks of `pool`, kept after their sequences are gone."""

    def __init__(self, pool: BlockPool) -> None:
        self.pool = pool
        self._root = _Node()
        self._nodes: dict[int, _Node] = {}  # by block

    @property
    def num_blocks(self) -> int:
        """How many blocks the cache holds, in use or evictable."""
        return len(self._nodes)

    def nodes(self) -> list[CachedBlock]:
        """List all cached blocks, a text's beginning before what follows it."""
        return [
            CachedBlock(node.block, None if node.parent is self._root else node.parent.block, node.tokens)
            for node in self._below(self._root)
        ]

    def match(self, token_ids: Sequence[int]) -> list[int]:
        """Find the blocks of the longest cached text that `token_ids` begin with; the caller becomes their holder."""
        size, node, blocks = self.pool.block_size, self._root, []
        for start in range(0, len(token_ids) - size + 1, size):
            node = node.children.get(tuple(token_ids[start : start + size]))
            if node is None:
                break
            self.pool.share(node.block)
            blocks.append(node.block)
        return blocks

    def insert(self, table: BlockTable, num_full_blocks: int, tokens_of: Callable[[int, int], BlockTokens]) -> None:
        """Cache the first `num_full_blocks` blocks of `table`, all of which are computed; those it has are skipped.

        Where a text is cached already (two sequences computed it side by side), the table's own copy is given back and
        the cached block takes its place.

        Args:
            tokens_of: the tokens of the table's sequence from one position to another.
        """
        size, num_cached = self.pool.block_size, table.num_cached_blocks
        node = self._nodes[table.blocks[num_cached - 1]] if num_cached else self._root
        for i in range(num_cached, num_full_blocks):
            tokens, block = tokens_of(i * size, (i + 1) * size), table.blocks[i]
            child = node.children.get(tokens)
            if child is None:
                child = node.children[tokens] = self._nodes[block] = _Node(tokens, block, node)
                self.pool.cache(block)
            elif child.block != block:
                self.pool.share(child.block)
                self.pool.free(block)
                table.blocks[i] = child.block
            node = child
        table.num_cached_blocks = max(num_cached, num_full_blocks)

    def evict(self, blocks: int) -> None:
        """Free `blocks` evictable blocks or all there are, those given back longest ago first."""
        enough = self.pool.num_free + blocks
        while self.pool.num_free < enough and (block := self.pool.least_recently_used()) is not None:
            self._remove(self._nodes[block])

    def check_invariants(self) -> None:
        """Assert that the tree holds just the blocks that the pool counts as cached, each once and in full."""
        nodes = self._below(self._root)
        assert {node.block: node for node in nodes} == self._nodes
        assert len(nodes) == len(self._nodes), "two nodes with one block"
        for node in nodes:
            assert len(node.tokens) == self.pool.block_size
            assert self.pool.is_cached(node.block), f"block {node.block} stands in the tree, and is not cached"
            assert node.parent.children[node.tokens] is node

    def _remove(self, node: _Node) -> None:
        """Forget a node and all below it, which no look-up could reach any more.

        Below an evictable block there may be one in use: a fork that has its own copy of the first and has given a
        later one to the cache.
        """
        del node.parent.children[node.tokens]
        for lost in (node, *self._below(node)):
            del self._nodes[lost.block]
            self.pool.uncache(lost.block)

    def _below(self, node: _Node) -> list[_Node]:
        """All nodes of the texts that go on from a node, without recursion: a text may have thousands of blocks."""
        nodes = list(node.children.values())
        for child in nodes:  # which grows meanwhile
            nodes.extend(child.children.values())
        return nodes
