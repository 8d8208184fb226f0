"""The cost of admission, leaving, insertion and eviction, counted: the same whatever else waits or is cached.

Bytecode instructions in `sysai.serving` are counted, and what a single instruction may hide in C: comparisons of ranks,
tokens read. Seconds are not.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from paper_runner import make_sequence
from sysai.serving.core.blocks import BlockTable
from sysai.serving.core.kv_cache_manager import KVCacheManager
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.sequence import Sequence
from sysai.serving.engine.llm_engine import Engine
from tiny_models import byte_tokenizer, tiny_model

CONFIG = SchedulerConfig(num_blocks=64, block_size=4, max_num_batched_tokens=32, max_num_seqs=8)


def instructions(program: Callable[[], object]) -> int:
    """How many bytecode instructions of `sysai.serving` a program executes."""
    count, outer = 0, sys.gettrace()

    def trace(frame, event, _):
        nonlocal count
        if not frame.f_globals.get("__name__", "").startswith("sysai.serving"):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        program()
    finally:
        sys.settrace(outer)
    return count


def add(engine: Engine, count: int) -> None:
    for _ in range(count):
        engine.add_request((1, 2, 3), SamplingParams(n=3, seed=0))


def test_a_prompt_costs_the_same_however_many_wait():
    engine = Engine(tiny_model(), byte_tokenizer(), CONFIG)
    add(engine, 1)
    first = instructions(lambda: add(engine, 20))
    add(engine, 500)
    assert instructions(lambda: add(engine, 20)) == first > 20


def test_a_client_that_leaves_costs_the_same_however_many_wait():
    engine = Engine(tiny_model(), byte_tokenizer(), CONFIG)
    add(engine, 20)
    few = instructions(lambda: engine.abort("10"))
    add(engine, 500)
    assert instructions(lambda: engine.abort("300")) == few > 20


class CountedRank(float):
    """A place in the policy's order that counts what it is compared with."""

    comparisons = 0

    def __eq__(self, other):
        CountedRank.comparisons += 1
        return float(self) == float(other)

    def __lt__(self, other):
        CountedRank.comparisons += 1
        return float(self) < float(other)

    __hash__ = float.__hash__


@pytest.mark.parametrize("count", [250, 1000])
def test_admission_compares_a_request_with_logarithmically_many(count, monkeypatch):
    """The last to come is the first in order, so that each goes all the way up the heap, and down again."""
    monkeypatch.setattr(CountedRank, "comparisons", 0)
    policy = replace(FIRST_COME_FIRST_SERVED, order=lambda sequence: CountedRank(-sequence.arrival_time))
    config = replace(CONFIG, num_blocks=count, max_num_batched_tokens=count, max_num_seqs=1)
    scheduler = Scheduler(config, policy)
    for i in range(count):
        scheduler.add(make_sequence(str(i), [i], 1, arrival=i))
    for i in reversed(range(count)):
        step = scheduler.schedule()
        assert [seq.seq_id for seq in step.scheduled] == [str(i)]
        scheduler.update(step, {str(i): 0})
    assert CountedRank.comparisons <= 8 * count * math.log2(count) < count**2


def computed(manager: KVCacheManager, sequence: Sequence, blocks: int) -> None:
    """So many more blocks are computed, and cached one after the other."""
    for _ in range(blocks):
        sequence.num_computed_tokens += manager.pool.block_size
        manager.cache_blocks(sequence)


def test_a_block_is_inserted_at_the_same_cost_however_long_the_text_before_it(monkeypatch):
    tokens_read, token_ids = [], Sequence.token_ids

    def counted(sequence: Sequence, start: int, end: int) -> tuple[int, ...]:
        tokens_read.append(end - start)
        return token_ids(sequence, start, end)

    manager, blocks = KVCacheManager(num_blocks=700, block_size=4), 600
    sequence = make_sequence("long", range(4 * blocks), 1)
    manager.allocate(sequence, 0)
    monkeypatch.setattr(Sequence, "token_ids", counted)
    computed(manager, sequence, 1)
    early = instructions(lambda: computed(manager, sequence, 20))
    computed(manager, sequence, blocks - 41)
    assert instructions(lambda: computed(manager, sequence, 20)) == early > 20
    assert manager.cache.num_blocks == blocks
    assert sum(tokens_read) == 4 * blocks, "each token is read once"


def test_a_block_is_evicted_at_the_same_cost_however_many_are_in_use():
    manager = KVCacheManager(num_blocks=700, block_size=4)
    costs = []
    for blocks in (5, 500):
        texts = range(1000 * blocks, 1000 * blocks + 12), range(2000 * blocks, 2000 * blocks + 4 * blocks)
        done, runs = (make_sequence(f"{blocks} {text[0]}", text, 1) for text in texts)
        for sequence in (done, runs):
            manager.allocate(sequence, 0)
            computed(manager, sequence, sequence.num_tokens // 4)
        manager.release(done)
        costs.append(instructions(lambda: manager.cache.evict(1)))
        manager.cache.evict(2)
    assert costs[0] == costs[1] > 0


def test_a_scan_would_be_counted():
    """The count itself: a fork's blocks are shared one by one, and so their number is seen."""
    manager = KVCacheManager(num_blocks=700, block_size=4)
    counts = []
    for blocks in (10, 100):
        table = BlockTable(manager.pool)
        table.reserve(4 * blocks)
        counts.append(instructions(table.fork))
    assert counts[1] > 5 * counts[0]
