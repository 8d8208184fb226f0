"""The scheduler over random workloads: limits, results that don't depend on the schedule, no starvation, no leak."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_runner import PaperRunner, check_limits, expected_output, make_sequence, next_token, run
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.sequence import FinishReason, SequenceStatus

POLICIES = [FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first(5.0)]


@st.composite
def configs(draw):
    """Small enough that memory, budget and rows all run short."""
    block_size = draw(st.integers(1, 5))
    num_blocks = draw(st.integers(-(-30 // block_size), -(-70 // block_size)))
    max_num_seqs = draw(st.integers(1, 6))
    return SchedulerConfig(
        num_blocks=num_blocks,
        block_size=block_size,
        max_num_batched_tokens=draw(st.integers(max_num_seqs, 24)),
        max_num_seqs=max_num_seqs,
        num_cpu_blocks=draw(st.sampled_from([0, 0, 3, 50])),
        watermark=draw(st.sampled_from([0.0, 0.01, 0.2])),
        prefix_caching=draw(st.booleans()),
        eos_token_id=draw(st.sampled_from([None, 7])),
    )


@st.composite
def workloads(draw):
    """(prompt, max_tokens, step of arrival); many prompts begin alike."""
    system = draw(st.lists(st.integers(0, 3), max_size=12))
    prompts = st.lists(st.integers(0, 3), min_size=1, max_size=10)
    one = st.tuples(st.booleans(), prompts, st.integers(1, 8), st.integers(0, 20))
    return [(system * shared + prompt, n, at) for shared, prompt, n, at in draw(st.lists(one, min_size=1, max_size=12))]


@settings(max_examples=150, deadline=None)
@given(config=configs(), workload=workloads(), policy=st.sampled_from(POLICIES), data=st.data())
def test_any_schedule_gives_the_tokens_that_each_sequence_gives_alone(config, workload, policy, data):
    scheduler = Scheduler(config, policy)
    runner, sequences, expected = PaperRunner(scheduler), {}, {}
    some = st.sets(st.sampled_from(range(len(workload))), max_size=3)
    cancelled, forked = data.draw(some), data.draw(some)
    for now in range(2000):
        for i, (prompt, max_tokens, at) in enumerate(workload):
            if at == now:
                sequences[str(i)] = make_sequence(str(i), prompt, max_tokens, arrival=at)
                expected[str(i)] = expected_output(prompt, max_tokens, config.eos_token_id)
                scheduler.add(sequences[str(i)])
        step = scheduler.schedule()
        check_limits(scheduler, step)
        sampled = runner.execute(step)
        for i in cancelled:  # the client leaves while a step is in flight
            if now == workload[i][2] + i:
                scheduler.finish(str(i), FinishReason.ABORT)
        for i in forked:
            name, (prompt, max_tokens, at) = f"fork of {i}", workload[i]
            if str(i) in sampled and name not in sequences and not sequences[str(i)].output_token_ids:
                sequences[name] = make_sequence(name, prompt, max_tokens, arrival=at)
                first = next_token(prompt, draw=1)
                rest = expected_output([*prompt, first], max_tokens - 1, config.eos_token_id)
                expected[name] = [first, *(rest if first != config.eos_token_id else [])]
                scheduler.fork(sequences[str(i)], sequences[name], first)
        scheduler.update(step, sampled)
        scheduler.check_invariants()
        if now >= max(at for *_, at in workload) and not scheduler.has_work:
            break
    assert not scheduler.has_work, "a sequence starves"
    for name, sequence in sequences.items():
        assert sequence.is_finished
        if sequence.finish_reason is FinishReason.ABORT:
            assert sequence.output_token_ids == expected[name][: sequence.num_output_tokens]
        else:
            assert sequence.output_token_ids == expected[name]
    if scheduler.memory.cache is not None:
        assert scheduler.memory.pool.num_evictable == scheduler.memory.cache.num_blocks
    assert scheduler.memory.pool.num_available == config.num_blocks


def sequences_of(*lengths: tuple[int, int]):
    """Prompts that have nothing in common."""
    return [make_sequence(str(i), range(100 * i, 100 * i + prompt), n) for i, (prompt, n) in enumerate(lengths)]


def served(config: SchedulerConfig, sequences, policy=FIRST_COME_FIRST_SERVED) -> tuple[Scheduler, list]:
    scheduler = Scheduler(config, policy)
    for sequence in sequences:
        scheduler.add(sequence)
    steps = run(scheduler)
    for sequence in sequences:
        assert sequence.output_token_ids == expected_output(
            sequence.prompt_token_ids, sequence.sampling_params.max_tokens
        )
    return scheduler, steps


SMALL = SchedulerConfig(num_blocks=8, block_size=4, max_num_batched_tokens=16, max_num_seqs=4, watermark=0.0)


def test_decoding_goes_on_in_every_step_while_a_long_prompt_is_read_in_chunks():
    config = replace(SMALL, num_blocks=100, max_num_batched_tokens=8)
    short, long = sequences_of((4, 20), (60, 2))
    _, steps = served(config, [short, long])
    assert [[(seq.seq_id, len(seq.token_ids)) for seq in step.scheduled] for step in steps[:3]] == [
        [("0", 4), ("1", 4)],
        [("0", 1), ("1", 7)],
        [("0", 1), ("1", 7)],
    ]
    chunks = [len(seq.token_ids) for step in steps for seq in step.scheduled if seq.seq_id == "1"]
    assert sum(chunks) == 60 + 1
    assert [step.sampled for step in steps[:20]] >= [1] * 20, "the short sequence got a token in each of its steps"


def test_decoding_is_not_late_for_a_prompt_that_stands_before_it():
    scheduler = Scheduler(replace(SMALL, num_blocks=100, max_num_batched_tokens=8))
    runner = PaperRunner(scheduler)
    scheduler.add(make_sequence("decodes", range(4), 20, arrival=1.0))
    scheduler.update(step := scheduler.schedule(), runner.execute(step))
    scheduler.add(make_sequence("reads", range(100, 160), 2, arrival=0.0))
    for _ in range(8):
        step = scheduler.schedule()
        assert {seq.seq_id: len(seq.token_ids) for seq in step.scheduled} == {"decodes": 1, "reads": 7}
        scheduler.update(step, runner.execute(step))


def test_a_prompt_abandoned_between_its_chunks_leaves_what_was_computed_in_the_cache():
    scheduler = Scheduler(replace(SMALL, num_blocks=100, max_num_batched_tokens=8))
    runner = PaperRunner(scheduler)
    scheduler.add(make_sequence("abandoned", range(50), 4))
    for _ in range(2):
        scheduler.update(step := scheduler.schedule(), runner.execute(step))
        scheduler.check_invariants()
    scheduler.finish("abandoned", FinishReason.ABORT)
    again = make_sequence("again", range(50), 4)
    scheduler.add(again)
    run(scheduler, runner)
    assert again.output_token_ids == expected_output(range(50), 4)
    assert scheduler.memory.stats.hit == 16, "two chunks of 8"


@pytest.mark.parametrize(("num_cpu_blocks", "kind"), [(0, "recomputed"), (8, "swapped"), (1, "recomputed")])
def test_preemption_by_either_way_keeps_results(num_cpu_blocks, kind):
    config = replace(
        SMALL, num_blocks=7, max_num_batched_tokens=24, num_cpu_blocks=num_cpu_blocks, prefix_caching=False
    )
    sequences = sequences_of((8, 16), (8, 16), (8, 8))
    scheduler, steps = served(config, sequences)
    assert scheduler.num_preemptions > 0
    swapped = sum(step.swapped for step in steps)
    computed = sum(step.tokens for step in steps)
    alone = sum(r.num_prompt_tokens + r.num_output_tokens - 1 for r in sequences)
    assert (swapped > 0, computed > alone) == ((True, False) if kind == "swapped" else (False, True))
    first = next(step for step in steps if step.preempted)
    assert first.preempted == ("2",), "the last to arrive is the first to go"


def test_nobody_is_admitted_in_the_step_that_preempts():
    scheduler = Scheduler(replace(SMALL, max_num_batched_tokens=40))
    runner = PaperRunner(scheduler)
    scheduler.add(make_sequence("grows", range(8), 8, arrival=1.0))
    scheduler.add(make_sequence("leaves", range(100, 123), 8, arrival=2.0))
    scheduler.update(step := scheduler.schedule(), runner.execute(step))
    scheduler.add(make_sequence("before both", range(200, 204), 8, arrival=0.0))
    step = scheduler.schedule()
    assert (step.preempted, [seq.seq_id for seq in step.scheduled]) == (("leaves",), ["grows"])
    scheduler.update(step, runner.execute(step))
    assert [seq.seq_id for seq in scheduler.schedule().scheduled] == ["grows", "before both"]


def test_a_shared_prompt_is_computed_once():
    config = replace(SMALL, num_blocks=40)
    system = list(range(16))
    sequences = [make_sequence(str(i), [*system, 100 + i], 3, arrival=i) for i in range(4)]
    scheduler, _ = served(config, sequences[:1])
    for sequence in sequences[1:]:
        scheduler.add(sequence)
    assert [len(seq.token_ids) for seq in scheduler.schedule().scheduled] == [1, 1, 1]
    assert (scheduler.memory.stats.queried, scheduler.memory.stats.hit) == (4 * 17, 3 * 16)


def test_a_prompt_that_is_cached_as_a_whole_still_computes_its_last_token():
    scheduler, _ = served(SMALL, [make_sequence("0", range(8), 4)])
    scheduler.add(make_sequence("1", range(8), 4))
    (seq,) = scheduler.schedule().scheduled
    assert (seq.start, seq.samples) == (4, True)


@pytest.mark.parametrize(("max_num_seqs", "copies"), [(4, 3), (2, 1)])
def test_forks_share_the_prompt_and_copy_only_what_they_write_into(max_num_seqs, copies):
    prompt, n = list(range(10)), 4  # two blocks and a half
    scheduler = Scheduler(replace(SMALL, num_blocks=40, max_num_seqs=max_num_seqs))
    runner = PaperRunner(scheduler)
    sequences = [make_sequence(str(i), prompt, 6) for i in range(n)]
    scheduler.add(sequences[0])
    step = scheduler.schedule()
    sampled = runner.execute(step)
    for draw, child in enumerate(sequences[1:], start=1):
        scheduler.fork(sequences[0], child, next_token(prompt, draw))
    scheduler.update(step, sampled)
    scheduler.check_invariants()
    assert scheduler.config.num_blocks - scheduler.memory.pool.num_free == 3, "nothing is copied before a write"
    steps = run(scheduler, runner)
    assert sum(len(step.copies) for step in steps) == copies
    for draw, sequence in enumerate(sequences):
        first = next_token(prompt, draw)
        assert sequence.output_token_ids == [first, *expected_output([*prompt, first], 5)]


def test_a_fork_may_outlive_the_blocks_before_its_own_in_the_cache():
    """Two prompts computed side by side share what they have in common, but the fork keeps its own copy of it."""
    scheduler = Scheduler(replace(SMALL, num_blocks=16, max_num_batched_tokens=40))
    runner = PaperRunner(scheduler)
    beside, parent, child = (
        make_sequence(name, range(n), 9) for name, n in (("beside", 8), ("parent", 12), ("child", 12))
    )
    scheduler.add(beside)
    scheduler.add(parent)
    step = scheduler.schedule()
    sampled = runner.execute(step)
    scheduler.fork(parent, child, 3)
    scheduler.update(step, sampled)
    for sequence in (beside, parent):
        scheduler.finish(sequence.seq_id, FinishReason.ABORT)
        scheduler.check_invariants()
    scheduler.add(make_sequence("needs the room", range(100, 140), 9))
    run(scheduler, runner)
    assert child.output_token_ids == [3, *expected_output([*range(12), 3], 8)]


def test_a_fork_whose_first_token_ends_it_never_runs():
    scheduler = Scheduler(replace(SMALL, eos_token_id=7))
    parent, child = sequences_of((4, 4), (4, 4))[0], make_sequence("child", range(4), 4)
    scheduler.add(parent)
    step = scheduler.schedule()
    scheduler.fork(parent, child, 7)
    assert child.is_finished
    scheduler.update(step, PaperRunner(scheduler).execute(step))
    with pytest.raises(ValueError, match="in flight"):
        scheduler.fork(parent, make_sequence("late", range(4), 4), 1)


@pytest.mark.parametrize(("watermark", "admitted"), [(0.0, 2), (0.1, 2), (0.2, 1)])
def test_admission_leaves_the_watermark_free_unless_nobody_runs(watermark, admitted):
    config = replace(SMALL, num_blocks=10, max_num_batched_tokens=64, watermark=watermark)
    scheduler = Scheduler(config)
    for sequence in sequences_of((16, 2), (20, 2)):  # 4 and 5 blocks of 10
        scheduler.add(sequence)
    assert len(scheduler.schedule().scheduled) == admitted
    alone = Scheduler(replace(config, watermark=0.9))
    alone.add(sequences_of((38, 2))[0])
    assert len(alone.schedule().scheduled) == 1


def test_static_batching_admits_a_batch_when_the_last_is_done():
    sequences = sequences_of((2, 2), (2, 6), (2, 2), (2, 2))
    config = replace(SMALL, max_num_seqs=2)
    _, steps = served(config, sequences, STATIC_BATCHING)
    who = [{seq.seq_id for seq in step.scheduled} for step in steps]
    assert who == [{"0", "1"}] * 2 + [{"1"}] * 4 + [{"2", "3"}] * 2
    _, continuous = served(config, sequences_of((2, 2), (2, 6), (2, 2), (2, 2)))
    assert len(continuous) == 6


def test_shortest_first_lets_short_ones_pass_and_ageing_ends_it():
    """A long sequence beside an endless stream of short ones, which alone fill the one row there is."""
    config = replace(SMALL, max_num_seqs=1)
    for aging in (1.0, 10.0):
        scheduler = Scheduler(config, shortest_first(aging))
        runner = PaperRunner(scheduler)
        long = make_sequence("long", range(1, 13), 8, arrival=0.0)  # 20 tokens of work, a short one has 4
        scheduler.add(long)
        scheduler.add(make_sequence("first", [0, 0], 2, arrival=0.0))
        now = 0
        while not long.output_token_ids:
            now += 1
            scheduler.add(make_sequence(str(now), [0, 0], 2, arrival=float(now)))
            step = scheduler.schedule()
            scheduler.update(step, runner.execute(step))
            assert now < 100, "starved"
        passed = [int(name) for name in map(str, range(1, now + 1)) if name not in scheduler.sequences]
        assert all(4 + aging * arrival <= 20 for arrival in passed), "none passes that arrived too late for it"
        assert len(passed) >= 16 // aging - 2, "and until then the short ones do pass"


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_no_sequence_is_passed_by_one_that_comes_after_it_in_the_policys_order(policy):
    """Under a load that only grows, first tokens come in the order of the policy: with finitely many before it, and
    a token computed in every step, each sequence's turn comes."""
    scheduler = Scheduler(replace(SMALL, num_cpu_blocks=3), policy)
    runner, sequences, first_token = PaperRunner(scheduler), [], {}
    for now in range(400):
        sequences.append(make_sequence(str(now), [now] * (1 + now % 13), 1 + now % 17, arrival=now))
        scheduler.add(sequences[-1])
        step = scheduler.schedule()
        check_limits(scheduler, step)
        scheduler.update(step, runner.execute(step))
        first_token |= {r: now for r in sequences if r.output_token_ids and r not in first_token}
    assert scheduler.num_preemptions > 0 or policy is STATIC_BATCHING
    assert 20 < len(first_token) < len(sequences) - 20, "the load should be more than can be served"
    for i, later in enumerate(sequences):
        for earlier in sequences[:i]:
            if policy.order(earlier) <= policy.order(later):
                assert first_token.get(earlier, 400) <= first_token.get(later, 400)


def test_cancelling_frees_everything_in_any_state():
    scheduler = Scheduler(replace(SMALL, num_cpu_blocks=8))
    runner = PaperRunner(scheduler)
    sequences = sequences_of((8, 16), (8, 16), (8, 16), (8, 16), (8, 16))
    for sequence in sequences:
        scheduler.add(sequence)
    while not any(sequence.status is SequenceStatus.PREEMPTED for sequence in sequences):
        step = scheduler.schedule()
        scheduler.update(step, runner.execute(step))
    assert {sequence.status for sequence in sequences} >= {SequenceStatus.RUNNING, SequenceStatus.PREEMPTED}
    step = scheduler.schedule()
    for sequence in sequences:
        assert scheduler.finish(sequence.seq_id, FinishReason.ABORT)
        assert not scheduler.finish(sequence.seq_id, FinishReason.ABORT)
        scheduler.check_invariants()
    assert scheduler.update(step, {}) == []
    assert not scheduler.has_work
    assert scheduler.memory.pool.num_available == 8
    assert scheduler.memory.cpu_pool.num_free == 8
    assert scheduler.schedule().scheduled == ()


def test_wrong_use_is_refused_with_a_remedy():
    scheduler = Scheduler(SMALL)
    scheduler.add(make_sequence("0", range(4), 4))
    with pytest.raises(ValueError, match="id of its own"):
        scheduler.add(make_sequence("0", range(4), 4))
    with pytest.raises(ValueError, match="shorten it"):
        scheduler.add(make_sequence("1", range(32), 4))
    step = scheduler.schedule()
    with pytest.raises(ValueError, match="in flight"):
        scheduler.schedule()
    with pytest.raises(ValueError, match="not the step in flight"):
        scheduler.update(replace(step), {"0": 1})
    for wrong in (
        {"num_blocks": 0},
        {"max_num_batched_tokens": 3},
        {"watermark": 1.0},
        {"max_model_len": 33},
        {"num_cpu_blocks": -1},
    ):
        with pytest.raises(ValueError):
            replace(SMALL, **wrong)
    with pytest.raises(ValueError, match="positive"):
        shortest_first(0)


def test_output_ends_at_the_models_positions():
    scheduler, sequence = Scheduler(replace(SMALL, max_model_len=10)), make_sequence("0", range(8), 9)
    scheduler.add(sequence)
    run(scheduler)
    assert (sequence.num_tokens, sequence.finish_reason) == (10, FinishReason.LENGTH)


def test_a_planted_leak_is_caught():
    scheduler = Scheduler(SMALL)
    scheduler.add(make_sequence("0", range(4), 4))
    step = scheduler.schedule()
    scheduler.memory.pool.share(step.scheduled[0].block_table[0])
    with pytest.raises(AssertionError, match="holders"):
        scheduler.check_invariants()
