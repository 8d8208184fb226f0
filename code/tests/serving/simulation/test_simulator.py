"""The simulator: conservation laws, known queues, determinism; and what scheduling policies are known to do."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.simulation.cost_model import StepCostModel
from sysai.serving.simulation.latency import summarize
from sysai.serving.simulation.simulator import simulate
from sysai.serving.simulation.workload import AZURE_CONVERSATION, Lengths, Sharing, WorkItem, make_workload

COST = StepCostModel(fixed=0.02, per_token=1e-3, per_attended=1e-6, per_sampled=2e-4, per_swapped=1e-3)
CONFIG = SchedulerConfig(num_blocks=600, block_size=16, max_num_batched_tokens=256, max_num_seqs=32)
PROMPT, OUTPUT = AZURE_CONVERSATION.prompt.scaled(0.1, 400), AZURE_CONVERSATION.output.scaled(0.1, 60)


def workload(count: int = 150, rate: float = 4.0, seed: int = 1, **more) -> list[WorkItem]:
    return make_workload(count, rate, PROMPT, OUTPUT, seed, **more)


class Watch:
    """Collects what the conservation laws are about, and checks the invariants now and then."""

    def __init__(self, every: int = 1):
        self.every, self.steps, self.scheduler = every, [], None

    def __call__(self, start, seconds, step, scheduler):
        self.scheduler = scheduler
        self.steps.append((start, seconds, step))
        if len(self.steps) % self.every == 0:
            scheduler.check_invariants()


@pytest.mark.parametrize("policy", [FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first(20.0)])
@pytest.mark.parametrize("cv", [1.0, 4.0])
def test_work_is_conserved(policy, cv):
    """Without preemption each token of a prompt that no cache had, and each of output but the last, is computed once;
    the clock never stands still while there is work, and no one gets a token before he has arrived."""
    items, watch = workload(cv=cv, sharing=Sharing(0.5, 2, 32)), Watch(every=20)
    result = simulate(items, CONFIG, COST, policy, watch)
    assert result.preemptions == 0
    assert result.cached_tokens > 0
    computed = sum(step.tokens for _, _, step in watch.steps)
    assert computed == sum(len(i.prompt_token_ids) + i.output_length - 1 for i in items) - result.cached_tokens
    assert [len(timing.token_times) for timing in result.timings] == [item.output_length for item in items]
    assert sum(seconds for _, seconds, _ in watch.steps) == pytest.approx(result.busy_seconds)
    arrivals = {item.arrival for item in items}
    for (start, seconds, _), (after, _, _) in pairwise(watch.steps):
        assert after == pytest.approx(start + seconds) or after in arrivals, "idle with work to do"
    gaps = (after - (start + seconds) for (start, seconds, _), (after, _, _) in pairwise(watch.steps))
    idle = sum(gaps) + watch.steps[0][0]
    assert idle + result.busy_seconds == pytest.approx(watch.steps[-1][0] + watch.steps[-1][1])


def test_littles_law():
    """Requests in the system, averaged over time, equal the rate of arrivals times the mean time in the system."""
    items, watch = workload(rate=6.0), Watch(every=20)
    result = simulate(items, CONFIG, COST, observe=watch)
    end = watch.steps[-1][0] + watch.steps[-1][1]
    events = sorted([(item.arrival, 1) for item in items] + [(t.token_times[-1], -1) for t in result.timings])
    area = present = before = 0.0
    for time, change in events:
        area, present, before = area + present * (time - before), present + change, time
    mean_time = sum(timing.token_times[-1] - timing.arrival for timing in result.timings) / len(items)
    assert area / end == pytest.approx(len(items) / end * mean_time)
    assert area / end > 1


def test_one_row_and_one_token_each_is_a_queue_that_theory_knows():
    """Lindley: wait of the next = max(0, wait + service - gap between arrivals), exactly; Pollaczek and Khinchine: its
    mean for Poisson arrivals and constant service (M/D/1) is rho / (2 (1 - rho)) of a service."""
    service, rho = 1.0, 0.5
    items = make_workload(5000, rho / service, Lengths.uniform(1, 1), Lengths.uniform(1, 1), seed=5)
    config = SchedulerConfig(num_blocks=2, block_size=1, max_num_batched_tokens=1, max_num_seqs=1, prefix_caching=False)
    result = simulate(items, config, StepCostModel(fixed=service))
    waits = [0.0]
    for before, after in pairwise(items):
        waits.append(max(0.0, waits[-1] + service - (after.arrival - before.arrival)))
    assert [timing.ttft - service for timing in result.timings] == pytest.approx(waits, abs=1e-6)
    assert sum(waits) / len(waits) == pytest.approx(service * rho / (2 * (1 - rho)), rel=0.1)
    assert result.busy_seconds == pytest.approx(len(items) * service)


def test_a_run_follows_from_its_seed():
    runs = [simulate(workload(seed=seed, cv=3.0), CONFIG, COST, shortest_first(20.0)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(("patience", "tokens"), [(0.55, 6), (0.6, 6), (0.65, 7)])
def test_a_client_leaves_between_the_steps_at_which_its_patience_ends(patience, tokens):
    """One that is served and one that waits; each step takes a tenth of a second."""
    served, waits = (WorkItem(0.0, (i,), 50, 50, patience) for i in range(2))
    config = replace(CONFIG, max_num_seqs=1)
    result = simulate([served, waits, WorkItem(0.0, (2,), 3, 3)], config, StepCostModel(fixed=0.1))
    assert [timing.completed for timing in result.timings] == [False, False, True]
    assert [len(timing.token_times) for timing in result.timings] == [tokens, 0, 3]
    assert result.timings[2].ttft == pytest.approx(0.1 * (tokens + 1))


def test_ten_thousand_requests_with_clients_that_leave_leak_no_block():
    items = make_workload(10_000, 130.0, Lengths.uniform(1, 60), Lengths.uniform(1, 12), 3, cv=2.0, max_tokens=20)
    items = [replace(item, patience=0.3) if i % 4 == 0 else item for i, item in enumerate(items)]
    config = SchedulerConfig(
        num_blocks=50, block_size=8, max_num_batched_tokens=128, max_num_seqs=24, num_cpu_blocks=20
    )
    watch = Watch(every=100)
    result = simulate(items, config, StepCostModel(0.01, 1e-4), observe=watch)
    left = sum(not timing.completed for timing in result.timings)
    assert 100 < left < 2500
    assert result.preemptions > 100
    assert Counter(bool(step.swap_in) for _, _, step in watch.steps)[True] > 10
    memory = watch.scheduler.memory
    memory.check_invariants([], [])
    assert memory.pool.num_available == 50
    assert memory.cpu_pool.num_free == 20
    memory.cache.evict(50)
    assert memory.pool.num_free == 50
    assert all(len(t.token_times) == i.output_length for t, i in zip(result.timings, items, strict=True) if t.completed)


def test_continuous_batching_beats_static_and_the_budget_bounds_the_longest_gap():
    items = workload(rate=50.0)
    runs = {policy.name: simulate(items, CONFIG, COST, policy) for policy in (FIRST_COME_FIRST_SERVED, STATIC_BATCHING)}
    continuous, static = (summarize(run.timings) for run in runs.values())
    assert continuous.throughput > 1.5 * static.throughput
    assert continuous.ttft[50] < static.ttft[50]
    longest = {}
    for budget in (32, 64, 512):
        watch = Watch(every=1000)
        result = simulate(items, replace(CONFIG, max_num_batched_tokens=budget), COST, observe=watch)
        longest[budget] = summarize(result.timings, percents=[100]).gap[100]
        assert longest[budget] <= max(seconds for _, seconds, _ in watch.steps) + 1e-9, "no one waits for two steps"
    assert longest[32] < longest[64] < longest[512]


def test_shortest_first_lowers_the_median_wait_under_load():
    items = workload(rate=50.0)
    medians = [
        summarize(simulate(items, CONFIG, COST, policy).timings).ttft[50]
        for policy in (FIRST_COME_FIRST_SERVED, shortest_first(1.0))
    ]
    assert medians[1] < 0.8 * medians[0]


def test_prefix_caching_lowers_the_wait_of_shared_prompts():
    items = workload(rate=1.0, sharing=Sharing(1.0, 1, 320))
    waits = [
        summarize(simulate(items, replace(CONFIG, prefix_caching=caching), COST).timings).ttft[50]
        for caching in (True, False)
    ]
    assert waits[0] < 0.5 * waits[1]


def test_wrong_use_is_refused():
    late, early = WorkItem(2.0, (1,), 1, 1), WorkItem(1.0, (1,), 1, 1)
    with pytest.raises(ValueError, match="sort it"):
        simulate([late, early], CONFIG, COST)


def test_a_page_can_simulate_with_the_standard_library_alone():
    script = (
        "import sys; from sysai.serving.simulation import fragmentation, simulator, workload\n"
        "item = workload.WorkItem(0.0, (1, 2), 2, 2)\n"
        "simulator.simulate([item], simulator.SchedulerConfig(num_blocks=4), simulator.StepCostModel(1.0))\n"
        "sys.exit(', '.join({'numpy', 'scipy', 'torch'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
