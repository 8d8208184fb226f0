"""The block pool and tables against lists of positions: what a sequence wrote is what it reads, and no block leaks."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from sysai.serving.core.blocks import BlockPool, BlockTable, Copy, OutOfBlocksError


class Tables(RuleBasedStateMachine):
    """Tables beside plain lists of what each position holds; `memory` is where the blocks lie."""

    tables = Bundle("tables")

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(num_blocks=7, block_size=3)
        self.memory = [[None] * 3 for _ in range(7)]
        self.written = {}
        self.stamp = 0

    @rule(target=tables)
    def new(self):
        table = BlockTable(self.pool)
        self.written[table] = []
        return table

    @rule(table=tables, positions=st.integers(0, 8))
    def write(self, table, positions):
        before, needed = (list(table.blocks), table.length), table.blocks_needed(positions)
        if needed > self.pool.num_free:
            with pytest.raises(OutOfBlocksError):
                table.reserve(positions)
            assert (table.blocks, table.length) == before, "a refusal has changed the table"
            return
        free = self.pool.num_free
        for source, destination in table.reserve(positions):
            self.memory[destination] = list(self.memory[source])
        assert self.pool.num_free == free - needed
        for _ in range(positions):
            self.stamp += 1
            slot = table.slot(len(self.written[table]))
            self.memory[slot // 3][slot % 3] = self.stamp
            self.written[table].append(self.stamp)

    @rule(target=tables, table=tables)
    def fork(self, table):
        child = table.fork()
        self.written[child] = list(self.written[table])
        return child

    @rule(table=consumes(tables))
    def release(self, table):
        table.release()
        del self.written[table]

    @invariant()
    def every_sequence_reads_what_it_wrote(self):
        for table, expected in self.written.items():
            table.check_invariants()
            slots = [table.slot(position) for position in range(table.length)]
            assert [self.memory[slot // 3][slot % 3] for slot in slots] == expected

    @invariant()
    def no_block_is_lost(self):
        held = [block for table in self.written for block in table.blocks]
        self.pool.check_invariants(held)
        assert self.pool.num_free == 7 - len(set(held))


TestTables = Tables.TestCase
TestTables.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_shared_block_is_copied_by_the_first_writer_only():
    pool = BlockPool(4, 4)
    parent = BlockTable(pool)
    parent.reserve(6)
    child = parent.fork()
    shared = list(parent.blocks)
    assert child.reserve(1) == [Copy(shared[1], child.blocks[1])]
    assert parent.reserve(1) == [], "the parent alone holds its block now"
    assert (parent.blocks, child.blocks[0]) == (shared, shared[0])


def test_a_full_shared_block_is_never_copied():
    pool = BlockPool(4, 4)
    parent = BlockTable(pool)
    parent.reserve(4)
    assert parent.fork().reserve(1) == []


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="needs blocks"):
        BlockPool(0, 4)
    pool = BlockPool(1, 4)
    table = BlockTable(pool)
    table.reserve(2)
    with pytest.raises(ValueError, match="reserve it first"):
        table.slot(2)
    with pytest.raises(OutOfBlocksError, match="evict, preempt or wait"):
        pool.allocate()


def test_planted_faults_are_caught():
    pool = BlockPool(3, 4)
    table = BlockTable(pool)
    table.reserve(5)
    fork = table.fork()
    pool.share(table.blocks[0])  # a holder that nobody is: a leak
    with pytest.raises(AssertionError, match="holders"):
        pool.check_invariants([*table.blocks, *fork.blocks])
    pool.free(table.blocks[0])
    pool.check_invariants([*table.blocks, *fork.blocks])
    blocks = list(table.blocks)
    table.release()
    fork.release()
    with pytest.raises(AssertionError, match="more often"):
        pool.free(blocks[0])
