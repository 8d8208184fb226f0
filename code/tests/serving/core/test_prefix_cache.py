"""The prefix cache against a set of all texts kept, spelled out; and that it evicts in the right order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from sysai.serving.core.blocks import BlockPool, BlockTable
from sysai.serving.core.prefix_cache import PrefixCache

SIZE, BLOCKS = 2, 10
TEXTS = st.lists(st.integers(0, 1), max_size=9).map(tuple)  # of two letters, so that many begin alike


def prefixes(tokens) -> list[tuple[int, ...]]:
    return [tuple(tokens[:end]) for end in range(SIZE, len(tokens) + 1, SIZE)]


def insert(cache: PrefixCache, tokens, table: BlockTable) -> None:
    cache.insert(table, len(tokens) // cache.pool.block_size, lambda start, end: tuple(tokens[start:end]))


class Cache(RuleBasedStateMachine):
    """The model: the texts kept, and for each that no running table holds, when its last one gave it back."""

    running = Bundle("running")

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(BLOCKS, SIZE)
        self.cache = PrefixCache(self.pool)
        self.kept: set[tuple[int, ...]] = set()
        self.given_back: dict[tuple[int, ...], int] = {}
        self.content: dict[int, tuple[int, ...]] = {}  # block -> the text that ends with it
        self.tables: dict[BlockTable, tuple[int, ...]] = {}
        self.clock = 0

    def note_given_back(self):
        """Texts in use have no such time; those that are not any more have the present one."""
        self.clock += 1
        held = {block for table in self.tables for block in table.blocks}
        texts = self.cached_texts()
        idle = {prefix for prefix in self.kept if texts[prefix] not in held}
        self.given_back = {prefix: self.given_back.get(prefix, self.clock) for prefix in idle}

    @rule(target=running, tokens=TEXTS)
    def start(self, tokens):
        """Look up, compute the rest; too little memory gives an empty table."""
        blocks = self.cache.match(tokens)
        expected = [prefix for prefix in prefixes(tokens) if prefix in self.kept]
        assert [self.content[block] for block in blocks] == expected
        for prefix in expected:  # in use, if only for a moment
            self.given_back.pop(prefix, None)
        table = BlockTable(self.pool, blocks, len(blocks) * SIZE, len(blocks))
        rest = len(tokens) - table.length
        if table.blocks_needed(rest) > self.pool.num_free:
            table.release()
            tokens = ()
        else:
            table.reserve(rest)
        self.tables[table] = tokens
        self.compute(table)
        self.note_given_back()
        return table

    @rule(target=running, table=running, tokens=TEXTS)
    def start_beside(self, table, tokens):
        """The same text again, without looking: two copies of the same blocks."""
        twin = BlockTable(self.pool)
        tokens = self.tables[table] + tokens
        self.tables[twin] = tokens if twin.blocks_needed(len(tokens)) <= self.pool.num_free else ()
        twin.reserve(len(self.tables[twin]))
        self.compute(twin)
        return twin

    @rule(target=running, table=running)
    def fork(self, table):
        child = table.fork()
        self.tables[child] = self.tables[table]
        self.note_given_back()
        return child

    def compute(self, table):
        for prefix, block in zip(prefixes(self.tables[table]), table.blocks, strict=False):
            self.content[block] = prefix

    @rule(table=running)
    def keep(self, table):
        tokens = self.tables[table]
        self.kept.update(prefixes(tokens))
        insert(self.cache, tokens, table)
        assert [self.content[block] for block in table.blocks[: len(tokens) // SIZE]] == prefixes(tokens)
        self.note_given_back()

    @rule(table=consumes(running))
    def finish(self, table):
        table.release()
        del self.tables[table]
        self.note_given_back()

    @rule(blocks=st.integers(0, 3))
    def evict(self, blocks):
        """Of texts that nobody holds the one given back longest ago, of those given back at once the longest.

        Whatever goes on from a text that is evicted goes with it: no look-up could find it.
        """
        free = self.pool.num_free
        self.cache.evict(blocks)
        enough, evicted = min(blocks, len(self.given_back)), 0
        while evicted < enough:
            gone = min(self.given_back, key=lambda prefix: (self.given_back[prefix], -len(prefix)))
            for prefix in [prefix for prefix in self.kept if prefix[: len(gone)] == gone]:
                self.kept.remove(prefix)
                evicted += self.given_back.pop(prefix, None) is not None
        assert self.pool.num_free == free + evicted

    def cached_texts(self) -> dict[tuple[int, ...], int]:
        """The texts that the tree's nodes spell, from the root to each, and the block of each."""
        spelled = {None: ()}
        for node in self.cache.nodes():
            spelled[node.block] = spelled[node.parent] + node.tokens
        return {text: block for block, text in spelled.items() if text}

    @invariant()
    def sound(self):
        self.cache.check_invariants()
        self.pool.check_invariants(block for table in self.tables for block in table.blocks)
        for table in self.tables:
            table.check_invariants()
        texts = self.cached_texts()
        assert texts.keys() == self.kept
        assert self.cache.num_blocks == len(texts)
        assert all(self.content[block] == text for text, block in texts.items())
        assert self.pool.num_evictable == len(self.given_back)


TestCache = Cache.TestCase
TestCache.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def cache():
    return PrefixCache(BlockPool(8, 2))


def keep(cache: PrefixCache, tokens) -> list[int]:
    """Compute a text, keep it, and finish."""
    table = BlockTable(cache.pool)
    table.reserve(len(tokens))
    insert(cache, tokens, table)
    blocks = list(table.blocks)
    table.release()
    return blocks


def test_only_full_blocks_from_the_start_are_found(cache):
    blocks = keep(cache, [1, 2, 3, 4, 5])
    assert cache.match([1, 2, 3, 4, 9]) == blocks[:2]
    assert cache.match([1, 2, 3]) == blocks[:1]
    assert cache.match([3, 4]) == []
    assert cache.match([1]) == []


def test_texts_of_equal_hash_are_told_apart(cache):
    assert hash((-1, 0)) == hash((-2, 0)), "two keys that Python's hash can't tell apart"
    keep(cache, [-1, 0])
    assert cache.match([-2, 0]) == []


def test_the_text_used_longest_ago_goes_first_from_its_end(cache):
    keep(cache, [1, 1, 2, 2])
    keep(cache, [3, 3])
    for block in cache.match([1, 1]):
        cache.pool.free(block)
    cache.evict(2)
    assert cache.num_blocks == 1
    assert len(cache.match([1, 1, 2, 2])) == 1, "the end of the older text went, its start had just been used"
    assert cache.match([3, 3]) == []


def test_what_is_in_use_stays(cache):
    keep(cache, [1, 1, 2, 2])
    held = cache.match([1, 1, 2, 2])
    keep(cache, [3, 3])
    cache.evict(8)
    assert cache.num_blocks == 2
    assert cache.match([1, 1, 2, 2]) == held


def test_a_text_computed_twice_is_kept_once(cache):
    first, second = BlockTable(cache.pool), BlockTable(cache.pool)
    for table in (first, second):
        table.reserve(5)
    free = cache.pool.num_free
    for table in (first, second):
        insert(cache, [1, 2, 3, 4, 5], table)
    assert first.blocks[:2] == second.blocks[:2]
    assert first.blocks[2] != second.blocks[2], "the last block is not full: each has its own"
    assert cache.pool.num_free == free + 2
