"""The scheduler over random workloads: limits, results that don't depend on the schedule, no starvation, no leak."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_runner import PaperRunner, check_limits, expected_output, make_request, next_token, run
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first
from sysai.serving.core.request import FinishReason, RequestStatus
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig

POLICIES = [FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first(5.0)]


@st.composite
def configs(draw):
    """Small enough that memory, budget and rows all run short."""
    block_size = draw(st.integers(1, 5))
    num_blocks = draw(st.integers(-(-30 // block_size), -(-70 // block_size)))
    max_running = draw(st.integers(1, 6))
    return SchedulerConfig(
        num_blocks=num_blocks,
        block_size=block_size,
        token_budget=draw(st.integers(max_running, 24)),
        max_running=max_running,
        host_blocks=draw(st.sampled_from([0, 0, 3, 50])),
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
def test_any_schedule_gives_the_tokens_that_each_request_gives_alone(config, workload, policy, data):
    scheduler = Scheduler(config, policy)
    runner, requests, expected = PaperRunner(scheduler), {}, {}
    some = st.sets(st.sampled_from(range(len(workload))), max_size=3)
    cancelled, forked = data.draw(some), data.draw(some)
    for now in range(2000):
        for i, (prompt, max_tokens, at) in enumerate(workload):
            if at == now:
                requests[str(i)] = make_request(str(i), prompt, max_tokens, arrival=at)
                expected[str(i)] = expected_output(prompt, max_tokens, config.eos_token_id)
                scheduler.add(requests[str(i)])
        step = scheduler.schedule()
        check_limits(scheduler, step)
        sampled = runner.execute(step)
        for i in cancelled:  # the client leaves while a step is in flight
            if now == workload[i][2] + i:
                scheduler.finish(str(i), FinishReason.ABORT)
        for i in forked:
            name, (prompt, max_tokens, at) = f"fork of {i}", workload[i]
            if str(i) in sampled and name not in requests and not requests[str(i)].output_token_ids:
                requests[name] = make_request(name, prompt, max_tokens, arrival=at)
                first = next_token(prompt, draw=1)
                rest = expected_output([*prompt, first], max_tokens - 1, config.eos_token_id)
                expected[name] = [first, *(rest if first != config.eos_token_id else [])]
                scheduler.fork(requests[str(i)], requests[name], first)
        scheduler.update(step, sampled)
        scheduler.check_invariants()
        if now >= max(at for *_, at in workload) and not scheduler.has_work:
            break
    assert not scheduler.has_work, "a request starves"
    for name, request in requests.items():
        assert request.is_finished
        if request.finish_reason is FinishReason.ABORT:
            assert request.output_token_ids == expected[name][: request.num_output_tokens]
        else:
            assert request.output_token_ids == expected[name]
    if scheduler.memory.cache is not None:
        assert scheduler.memory.pool.num_idle == scheduler.memory.cache.num_blocks
    assert scheduler.memory.pool.num_available == config.num_blocks


def requests_of(*lengths: tuple[int, int]):
    """Prompts that have nothing in common."""
    return [make_request(str(i), range(100 * i, 100 * i + prompt), n) for i, (prompt, n) in enumerate(lengths)]


def served(config: SchedulerConfig, requests, policy=FIRST_COME_FIRST_SERVED) -> tuple[Scheduler, list]:
    scheduler = Scheduler(config, policy)
    for request in requests:
        scheduler.add(request)
    steps = run(scheduler)
    for request in requests:
        assert request.output_token_ids == expected_output(request.prompt_token_ids, request.sampling_params.max_tokens)
    return scheduler, steps


SMALL = SchedulerConfig(num_blocks=8, block_size=4, token_budget=16, max_running=4, watermark=0.0)


def test_decoding_goes_on_in_every_step_while_a_long_prompt_is_read_in_chunks():
    config = replace(SMALL, num_blocks=100, token_budget=8)
    short, long = requests_of((4, 20), (60, 2))
    _, steps = served(config, [short, long])
    assert [[(part.request_id, len(part.token_ids)) for part in step.parts] for step in steps[:3]] == [
        [("0", 4), ("1", 4)],
        [("0", 1), ("1", 7)],
        [("0", 1), ("1", 7)],
    ]
    chunks = [len(part.token_ids) for step in steps for part in step.parts if part.request_id == "1"]
    assert sum(chunks) == 60 + 1
    assert [step.sampled for step in steps[:20]] >= [1] * 20, "the short request got a token in each of its steps"


def test_decoding_is_not_late_for_a_prompt_that_stands_before_it():
    scheduler = Scheduler(replace(SMALL, num_blocks=100, token_budget=8))
    runner = PaperRunner(scheduler)
    scheduler.add(make_request("decodes", range(4), 20, arrival=1.0))
    scheduler.update(step := scheduler.schedule(), runner.execute(step))
    scheduler.add(make_request("reads", range(100, 160), 2, arrival=0.0))
    for _ in range(8):
        step = scheduler.schedule()
        assert {part.request_id: len(part.token_ids) for part in step.parts} == {"decodes": 1, "reads": 7}
        scheduler.update(step, runner.execute(step))


def test_a_prompt_abandoned_between_its_chunks_leaves_what_was_computed_in_the_cache():
    scheduler = Scheduler(replace(SMALL, num_blocks=100, token_budget=8))
    runner = PaperRunner(scheduler)
    scheduler.add(make_request("abandoned", range(50), 4))
    for _ in range(2):
        scheduler.update(step := scheduler.schedule(), runner.execute(step))
        scheduler.check_invariants()
    scheduler.finish("abandoned", FinishReason.ABORT)
    again = make_request("again", range(50), 4)
    scheduler.add(again)
    run(scheduler, runner)
    assert again.output_token_ids == expected_output(range(50), 4)
    assert scheduler.memory.counts.hit == 16, "two chunks of 8"


@pytest.mark.parametrize(("host_blocks", "kind"), [(0, "recomputed"), (8, "swapped"), (1, "recomputed")])
def test_preemption_by_either_way_keeps_results(host_blocks, kind):
    config = replace(SMALL, num_blocks=7, token_budget=24, host_blocks=host_blocks, prefix_caching=False)
    requests = requests_of((8, 16), (8, 16), (8, 8))
    scheduler, steps = served(config, requests)
    assert scheduler.num_preemptions > 0
    swapped = sum(step.swapped for step in steps)
    computed = sum(step.tokens for step in steps)
    alone = sum(r.num_prompt_tokens + r.num_output_tokens - 1 for r in requests)
    assert (swapped > 0, computed > alone) == ((True, False) if kind == "swapped" else (False, True))
    first = next(step for step in steps if step.preempted)
    assert first.preempted == ("2",), "the last to arrive is the first to go"


def test_nobody_is_admitted_in_the_step_that_preempts():
    scheduler = Scheduler(replace(SMALL, token_budget=40))
    runner = PaperRunner(scheduler)
    scheduler.add(make_request("grows", range(8), 8, arrival=1.0))
    scheduler.add(make_request("leaves", range(100, 123), 8, arrival=2.0))
    scheduler.update(step := scheduler.schedule(), runner.execute(step))
    scheduler.add(make_request("before both", range(200, 204), 8, arrival=0.0))
    step = scheduler.schedule()
    assert (step.preempted, [part.request_id for part in step.parts]) == (("leaves",), ["grows"])
    scheduler.update(step, runner.execute(step))
    assert [part.request_id for part in scheduler.schedule().parts] == ["grows", "before both"]


def test_a_shared_prompt_is_computed_once():
    config = replace(SMALL, num_blocks=40)
    system = list(range(16))
    requests = [make_request(str(i), [*system, 100 + i], 3, arrival=i) for i in range(4)]
    scheduler, _ = served(config, requests[:1])
    for request in requests[1:]:
        scheduler.add(request)
    assert [len(part.token_ids) for part in scheduler.schedule().parts] == [1, 1, 1]
    assert (scheduler.memory.counts.queried, scheduler.memory.counts.hit) == (4 * 17, 3 * 16)


def test_a_prompt_that_is_cached_as_a_whole_still_computes_its_last_token():
    scheduler, _ = served(SMALL, [make_request("0", range(8), 4)])
    scheduler.add(make_request("1", range(8), 4))
    (part,) = scheduler.schedule().parts
    assert (part.start, part.samples) == (4, True)


@pytest.mark.parametrize(("max_running", "copies"), [(4, 3), (2, 1)])
def test_forks_share_the_prompt_and_copy_only_what_they_write_into(max_running, copies):
    prompt, n = list(range(10)), 4  # two blocks and a half
    scheduler = Scheduler(replace(SMALL, num_blocks=40, max_running=max_running))
    runner = PaperRunner(scheduler)
    requests = [make_request(str(i), prompt, 6) for i in range(n)]
    scheduler.add(requests[0])
    step = scheduler.schedule()
    sampled = runner.execute(step)
    for draw, child in enumerate(requests[1:], start=1):
        scheduler.fork(requests[0], child, next_token(prompt, draw))
    scheduler.update(step, sampled)
    scheduler.check_invariants()
    assert scheduler.config.num_blocks - scheduler.memory.pool.num_free == 3, "nothing is copied before a write"
    steps = run(scheduler, runner)
    assert sum(len(step.copies) for step in steps) == copies
    for draw, request in enumerate(requests):
        first = next_token(prompt, draw)
        assert request.output_token_ids == [first, *expected_output([*prompt, first], 5)]


def test_a_fork_whose_first_token_ends_it_never_runs():
    scheduler = Scheduler(replace(SMALL, eos_token_id=7))
    parent, child = requests_of((4, 4), (4, 4))[0], make_request("child", range(4), 4)
    scheduler.add(parent)
    step = scheduler.schedule()
    scheduler.fork(parent, child, 7)
    assert child.is_finished
    scheduler.update(step, PaperRunner(scheduler).execute(step))
    with pytest.raises(ValueError, match="in flight"):
        scheduler.fork(parent, make_request("late", range(4), 4), 1)


@pytest.mark.parametrize(("watermark", "admitted"), [(0.0, 2), (0.1, 2), (0.2, 1)])
def test_admission_leaves_the_watermark_free_unless_nobody_runs(watermark, admitted):
    config = replace(SMALL, num_blocks=10, token_budget=64, watermark=watermark)
    scheduler = Scheduler(config)
    for request in requests_of((16, 2), (20, 2)):  # 4 and 5 blocks of 10
        scheduler.add(request)
    assert len(scheduler.schedule().parts) == admitted
    alone = Scheduler(replace(config, watermark=0.9))
    alone.add(requests_of((38, 2))[0])
    assert len(alone.schedule().parts) == 1


def test_static_batching_admits_a_batch_when_the_last_is_done():
    requests = requests_of((2, 2), (2, 6), (2, 2), (2, 2))
    config = replace(SMALL, max_running=2)
    _, steps = served(config, requests, STATIC_BATCHING)
    who = [{part.request_id for part in step.parts} for step in steps]
    assert who == [{"0", "1"}] * 2 + [{"1"}] * 4 + [{"2", "3"}] * 2
    _, continuous = served(config, requests_of((2, 2), (2, 6), (2, 2), (2, 2)))
    assert len(continuous) == 6


def test_shortest_first_lets_short_ones_pass_and_ageing_ends_it():
    """A long request beside an endless stream of short ones, which alone fill the one row there is."""
    config = replace(SMALL, max_running=1)
    for aging in (1.0, 10.0):
        scheduler = Scheduler(config, shortest_first(aging))
        runner = PaperRunner(scheduler)
        long = make_request("long", range(1, 13), 8, arrival=0.0)  # 20 tokens of work, a short one has 4
        scheduler.add(long)
        scheduler.add(make_request("first", [0, 0], 2, arrival=0.0))
        now = 0
        while not long.output_token_ids:
            now += 1
            scheduler.add(make_request(str(now), [0, 0], 2, arrival=float(now)))
            step = scheduler.schedule()
            scheduler.update(step, runner.execute(step))
            assert now < 100, "starved"
        passed = [int(name) for name in map(str, range(1, now + 1)) if name not in scheduler._requests]
        assert all(4 + aging * arrival <= 20 for arrival in passed), "none passes that arrived too late for it"
        assert len(passed) >= 16 // aging - 2, "and until then the short ones do pass"


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_no_request_is_passed_by_one_that_comes_after_it_in_the_policys_order(policy):
    """Under a load that only grows, first tokens come in the order of the policy: with finitely many before it, and
    a token computed in every step, each request's turn comes."""
    scheduler = Scheduler(replace(SMALL, host_blocks=3), policy)
    runner, requests, first_token = PaperRunner(scheduler), [], {}
    for now in range(400):
        requests.append(make_request(str(now), [now] * (1 + now % 13), 1 + now % 17, arrival=now))
        scheduler.add(requests[-1])
        step = scheduler.schedule()
        check_limits(scheduler, step)
        scheduler.update(step, runner.execute(step))
        first_token |= {r: now for r in requests if r.output_token_ids and r not in first_token}
    assert scheduler.num_preemptions > 0 or policy is STATIC_BATCHING
    assert 20 < len(first_token) < len(requests) - 20, "the load should be more than can be served"
    for i, later in enumerate(requests):
        for earlier in requests[:i]:
            if policy.order(earlier) <= policy.order(later):
                assert first_token.get(earlier, 400) <= first_token.get(later, 400)


def test_cancelling_frees_everything_in_any_state():
    scheduler = Scheduler(replace(SMALL, host_blocks=8))
    runner = PaperRunner(scheduler)
    requests = requests_of((8, 16), (8, 16), (8, 16), (8, 16), (8, 16))
    for request in requests:
        scheduler.add(request)
    while not any(request.status is RequestStatus.PREEMPTED for request in requests):
        step = scheduler.schedule()
        scheduler.update(step, runner.execute(step))
    assert {request.status for request in requests} >= {RequestStatus.RUNNING, RequestStatus.PREEMPTED}
    step = scheduler.schedule()
    for request in requests:
        assert scheduler.finish(request.request_id, FinishReason.ABORT)
        assert not scheduler.finish(request.request_id, FinishReason.ABORT)
        scheduler.check_invariants()
    assert scheduler.update(step, {}) == []
    assert not scheduler.has_work
    assert scheduler.memory.pool.num_available == 8
    assert scheduler.memory.host_pool.num_free == 8
    assert scheduler.schedule().parts == ()


def test_wrong_use_is_refused_with_a_remedy():
    scheduler = Scheduler(SMALL)
    scheduler.add(make_request("0", range(4), 4))
    with pytest.raises(ValueError, match="id of its own"):
        scheduler.add(make_request("0", range(4), 4))
    with pytest.raises(ValueError, match="shorten it"):
        scheduler.add(make_request("1", range(32), 4))
    step = scheduler.schedule()
    with pytest.raises(ValueError, match="in flight"):
        scheduler.schedule()
    with pytest.raises(ValueError, match="not the step in flight"):
        scheduler.update(replace(step), {"0": 1})
    for wrong in (
        {"num_blocks": 0},
        {"token_budget": 3},
        {"watermark": 1.0},
        {"max_model_len": 33},
        {"host_blocks": -1},
    ):
        with pytest.raises(ValueError):
            replace(SMALL, **wrong)
    with pytest.raises(ValueError, match="positive"):
        shortest_first(0)


def test_output_ends_at_the_models_positions():
    scheduler, request = Scheduler(replace(SMALL, max_model_len=10)), make_request("0", range(8), 9)
    scheduler.add(request)
    run(scheduler)
    assert (request.num_tokens, request.finish_reason) == (10, FinishReason.LENGTH)


def test_a_planted_leak_is_caught():
    scheduler = Scheduler(SMALL)
    scheduler.add(make_request("0", range(4), 4))
    step = scheduler.schedule()
    scheduler.memory.pool.share(step.parts[0].block_table[0])
    with pytest.raises(AssertionError, match="holders"):
        scheduler.check_invariants()
