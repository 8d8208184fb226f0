"""The prefix cache: keys and values of texts seen before, found by the tokens themselves, block by block.

A position's keys and values depend on all tokens up to it, so that two sequences may share a block exactly where
they agree from the first token to the block's end. The tree has a node for each full block; the way from the root
spells the text. Children are found by their tokens, compared as such: no hash can take one text for another.

    a prompt of T tokens, of which M are found:   T - M to compute       look-up and insertion: O(T)

A node keeps its block until memory is short; then the blocks used longest ago go first. Each use marks a node
newer than its children, so that the oldest idle node is always a leaf, and no text loses its middle. Source: Zheng
et al., SGLang, arXiv 2312.07104, section 3 (RadixAttention); its edges carry several tokens, ours one block, as
do vLLM's hash chains. Production adds salts, so that tenants can't probe each other's cache by timing, and tiers
in host memory and on other machines (Mooncake, arXiv 2407.00079).
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sysai.serving.core.blocks import BlockPool, BlockTable

Tokens = tuple[int, ...]


@dataclass(eq=False)
class _Node:
    """One block of a text; the root has none."""

    tokens: Tokens = ()
    block: int = -1
    parent: "_Node | None" = None
    children: dict[Tokens, "_Node"] = field(default_factory=dict)


class PrefixCache:
    """Full blocks of `pool`, kept after their sequences are gone."""

    def __init__(self, pool: BlockPool) -> None:
        self.pool = pool
        self._root = _Node()
        self._by_age: OrderedDict[_Node, None] = OrderedDict()  # the node used longest ago stands first

    @property
    def num_blocks(self) -> int:
        """Blocks kept."""
        return len(self._by_age)

    def match(self, token_ids: Sequence[int]) -> list[int]:
        """The blocks of the longest text kept that `token_ids` begin with; the caller is their holder too."""
        node, found = self._root, []
        for tokens in self._cut(token_ids):
            if tokens not in node.children:
                break
            node = node.children[tokens]
            self.pool.share(node.block)
            found.append(node.block)
        self._use(node)
        return found

    def insert(self, token_ids: Sequence[int], table: BlockTable) -> None:
        """Keep the full blocks of `token_ids`, whose keys and values `table` holds.

        Where a text is kept already (two sequences computed it side by side), the table's own copy is given back and
        the one kept takes its place.
        """
        node = self._root
        for i, tokens in enumerate(self._cut(token_ids)):
            child = node.children.get(tokens)
            if child is None:
                child = node.children[tokens] = _Node(tokens, table.blocks[i], node)
                self.pool.keep(child.block)
            elif child.block != table.blocks[i]:
                self.pool.share(child.block)
                self.pool.free(table.blocks[i])
                table.blocks[i] = child.block
            node = child
        self._use(node)

    def evict(self, blocks: int) -> int:
        """Free up to `blocks` idle blocks, those used longest ago first; return how many."""
        victims = list(islice((node for node in self._by_age if self.pool.is_idle(node.block)), max(0, blocks)))
        for node in victims:
            assert not node.children, "a node must not be older than its children"
            del node.parent.children[node.tokens]
            del self._by_age[node]
            self.pool.drop(node.block)
        return len(victims)

    def check_invariants(self) -> None:
        """The tree and the order hold the same nodes; parents are newer than children, and in use where they are."""
        age = {node: i for i, node in enumerate(self._by_age)}
        nodes = [*self._root.children.values()]
        for node in nodes:
            nodes.extend(node.children.values())
        assert set(nodes) == set(age)
        assert len(nodes) == len({node.block for node in nodes}), "two nodes with one block"
        for node in nodes:
            assert len(node.tokens) == self.pool.block_size
            assert self.pool.references(node.block) > 0, f"block {node.block} is kept, and free"
            for child in node.children.values():
                assert child.parent is node
                assert age[child] < age[node]
                assert self.pool.is_idle(child.block) or not self.pool.is_idle(node.block)

    def _cut(self, token_ids: Sequence[int]) -> Iterator[Tokens]:
        """The full blocks of a text."""
        size = self.pool.block_size
        return (tuple(token_ids[i : i + size]) for i in range(0, len(token_ids) - size + 1, size))

    def _use(self, node: _Node) -> None:
        """Mark `node` and what it stands on as used now, the root-most last."""
        while node.parent is not None:
            self._by_age[node] = None
            self._by_age.move_to_end(node)
            node = node.parent
