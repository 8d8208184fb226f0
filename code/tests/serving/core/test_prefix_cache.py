"""The prefix cache against a set of all texts kept, spelled out; and that it forgets in the right order."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from sysai.serving.core.blocks import BlockPool, BlockTable
from sysai.serving.core.prefix_cache import PrefixCache

SIZE, BLOCKS = 2, 10
TEXTS = st.lists(st.integers(0, 1), max_size=9)  # of two letters, so that many begin alike


def prefixes(tokens) -> list[tuple[int, ...]]:
    return [tuple(tokens[:end]) for end in range(SIZE, len(tokens) + 1, SIZE)]


class Cache(RuleBasedStateMachine):
    """The model: for each text kept, when it was last used. A text in use is one that a running table holds."""

    running = Bundle("running")

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(BLOCKS, SIZE)
        self.cache = PrefixCache(self.pool)
        self.used: dict[tuple[int, ...], int] = {}
        self.content: dict[int, tuple[int, ...]] = {}  # block -> the text that ends with it
        self.tables: dict[BlockTable, list[int]] = {}
        self.clock = 0

    def use(self, tokens):
        self.clock += 1
        for prefix in prefixes(tokens):
            if prefix in self.used:
                self.used[prefix] = self.clock

    @rule(target=running, tokens=TEXTS)
    def start(self, tokens):
        """Look up, compute the rest; too little memory gives an empty table."""
        found = self.cache.match(tokens)
        expected = [prefix for prefix in prefixes(tokens) if prefix in self.used]
        assert [self.content[block] for block in found] == expected
        self.use(tokens)
        table = BlockTable(self.pool, found, len(found) * SIZE)
        rest = len(tokens) - table.length
        if table.blocks_needed(rest) > self.pool.num_free:
            table.release()
            self.tables[table] = []
            return table
        table.reserve(rest)
        self.tables[table] = tokens
        self.compute(table)
        return table

    @rule(target=running, table=running, tokens=TEXTS)
    def start_beside(self, table, tokens):
        """The same text again, without looking: two copies of the same blocks."""
        twin = BlockTable(self.pool)
        tokens = self.tables[table] + tokens
        self.tables[twin] = tokens if twin.blocks_needed(len(tokens)) <= self.pool.num_free else []
        twin.reserve(len(self.tables[twin]))
        self.compute(twin)
        return twin

    def compute(self, table):
        for prefix, block in zip(prefixes(self.tables[table]), table.blocks, strict=False):
            self.content[block] = prefix

    @rule(table=running)
    def keep(self, table):
        tokens = self.tables[table]
        for prefix in prefixes(tokens):
            self.used.setdefault(prefix, self.clock)
        self.cache.insert(tokens, table)
        self.use(tokens)
        assert [self.content[block] for block in table.blocks[: len(tokens) // SIZE]] == prefixes(tokens)

    @rule(table=consumes(running))
    def finish(self, table):
        table.release()
        del self.tables[table]

    @rule(blocks=st.integers(0, 3))
    def evict(self, blocks):
        """Of texts that nobody holds the one used longest ago; of those used at once, which end each other, the end."""
        held = {block for table in self.tables for block in table.blocks}
        idle = [prefix for prefix in self.used if self.block_of(prefix) not in held]
        gone = sorted(idle, key=lambda prefix: (self.used[prefix], -len(prefix)))[:blocks]
        assert self.cache.evict(blocks) == len(gone)
        for prefix in gone:
            assert self.block_of(prefix) is None
            del self.used[prefix]

    def block_of(self, prefix) -> int | None:
        node = self.cache._root
        for end in range(SIZE, len(prefix) + 1, SIZE):
            node = node.children.get(prefix[end - SIZE : end])
            if node is None:
                return None
        return node.block

    @invariant()
    def sound(self):
        self.cache.check_invariants()
        self.pool.check_invariants(block for table in self.tables for block in table.blocks)
        assert self.cache.num_blocks == len(self.used)
        assert all(self.content[self.block_of(prefix)] == prefix for prefix in self.used)


TestCache = Cache.TestCase
TestCache.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def cache():
    return PrefixCache(BlockPool(8, 2))


def keep(cache: PrefixCache, tokens) -> list[int]:
    """Compute a text, keep it, and finish."""
    table = BlockTable(cache.pool)
    table.reserve(len(tokens))
    cache.insert(tokens, table)
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
    assert cache.evict(2) == 2
    assert len(cache.match([1, 1, 2, 2])) == 1, "the end of the older text went, its start had just been used"
    assert cache.match([3, 3]) == []


def test_what_is_in_use_stays(cache):
    keep(cache, [1, 1, 2, 2])
    held = cache.match([1, 1, 2, 2])
    keep(cache, [3, 3])
    assert cache.evict(8) == 1
    assert cache.match([1, 1, 2, 2]) == held


def test_a_text_computed_twice_is_kept_once(cache):
    first, second = BlockTable(cache.pool), BlockTable(cache.pool)
    for table in (first, second):
        table.reserve(5)
    free = cache.pool.num_free
    for table in (first, second):
        cache.insert([1, 2, 3, 4, 5], table)
    assert first.blocks[:2] == second.blocks[:2]
    assert first.blocks[2] != second.blocks[2], "the last block is not full: each has its own"
    assert cache.pool.num_free == free + 2
