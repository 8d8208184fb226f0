"""The scheduler over random workloads: limits, results that don't depend on the schedule, no starvation, no leak."""

from hypothesis import given, settings
from hypothesis import strategies as st
from paper_runner import PaperRunner, check_limits, expected_output, make_request
from sysai.serving.policies import FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first
from sysai.serving.request import FinishReason
from sysai.serving.scheduler import Scheduler
from sysai.serving.scheduler_config import SchedulerConfig

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
    runner, requests = PaperRunner(scheduler), {}
    cancelled = data.draw(st.sets(st.integers(0, len(workload) - 1), max_size=3))
    for now in range(2000):
        for i, (prompt, max_tokens, at) in enumerate(workload):
            if at == now:
                requests[i] = make_request(str(i), prompt, max_tokens, arrival=at)
                scheduler.add(requests[i])
        step = scheduler.schedule()
        check_limits(scheduler, step)
        for i in cancelled & requests.keys():  # while the step is in flight
            if now == workload[i][2] + i:
                scheduler.finish(str(i), FinishReason.ABORT)
        scheduler.update(step, runner.execute(step))
        scheduler.check_invariants()
        if len(requests) == len(workload) and not scheduler.has_work:
            break
    assert not scheduler.has_work, "a request starves"
    for i, (prompt, max_tokens, _) in enumerate(workload):
        expected = expected_output(prompt, max_tokens, config.eos_token_id)
        output = requests[i].output_token_ids
        assert requests[i].is_finished
        if requests[i].finish_reason is FinishReason.ABORT:
            assert i in cancelled
            assert output == expected[: len(output)]
        else:
            assert output == expected
    if scheduler.memory.cache:
        assert scheduler.memory.pool.num_idle == len(scheduler.memory.cache)
    assert scheduler.memory.pool.num_available == config.num_blocks
