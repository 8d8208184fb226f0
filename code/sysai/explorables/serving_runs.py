"""Twelve requests through the engine's own scheduler, with what a figure shows of every step: who computes what, where.

The clock is the simulator's, its prices those of a small model on a laptop, so that a run is short enough to be seen
step by step. Half of the requests begin with the same system prompt.
"""

from dataclasses import dataclass
from functools import lru_cache

from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, STATIC_BATCHING, shortest_first
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.simulation.cost_model import StepCostModel
from sysai.serving.simulation.latency import LatencyReport, summarize
from sysai.serving.simulation.simulator import SimulationResult, simulate
from sysai.serving.simulation.workload import Lengths, Sharing, WorkItem, make_workload

# Fitted to a plain PyTorch forward pass of SmolLM2-135M in fp32 on two cores (AVX2): 17, 80, 199 and 248 tokens a
# second decoded in batches of 1, 8, 32 and 64, and a prompt of 512 tokens read at 396 a second; within 15% of each.
COST = StepCostModel(fixed=60e-3, per_token=2.4e-3, per_sampled=0.8e-3)

POLICIES = {"static": STATIC_BATCHING, "first_come": FIRST_COME_FIRST_SERVED, "shortest": shortest_first(aging=20)}
REQUESTS, MAX_NUM_SEQS, BLOCK_SIZE = 12, 8, 16
LONGEST_PROMPT, LONGEST_OUTPUT = 160, 32
SYSTEM_PROMPT = Sharing(fraction=0.5, prompts=1, length=64)
WAITING, PREFILL, RECOMPUTATION, DECODE, PREEMPTED = "waiting", "prefill", "recomputation", "decode", "preempted"


@dataclass(frozen=True)
class RequestInterval:
    """The state of a request from one time to another, in seconds; one for each step that computes anything of it."""

    request: int
    state: str
    start: float
    end: float


@dataclass(frozen=True)
class Moment:
    """A step as it is computed: its tokens, and all blocks; `filled` counts positions that its end will find there."""

    start: float
    seconds: float
    tokens: int
    computing: int  # requests
    waiting: int  # requests, the preempted ones included
    tables: dict[int, tuple[int, ...]]  # blocks of each request that runs
    filled: dict[int, int]
    evictable: frozenset[int]  # blocks that only the prefix cache holds


@dataclass(frozen=True)
class ServingRun:
    """The workload, and all that happened to it; `recomputed` counts tokens that were computed more than once."""

    workload: list[WorkItem]
    intervals: list[RequestInterval]
    moments: list[Moment]
    recomputed: int
    result: SimulationResult
    report: LatencyReport  # with percentiles 50 and 100


class _Recorder:
    """The simulator's observer: turns steps into intervals and moments."""

    def __init__(self, workload: list[WorkItem]) -> None:
        self.intervals: list[RequestInterval] = []
        self.moments: list[Moment] = []
        self.recomputed = 0
        self._since = [item.arrival for item in workload]  # when the last interval of each request ended
        self._idle_state = [WAITING] * len(workload)
        self._prompts = [len(item.prompt_token_ids) for item in workload]
        self._computed = [0] * len(workload)  # the most positions that each ever had

    def observe(self, start: float, seconds: float, step: SchedulerOutput, scheduler: Scheduler) -> None:
        """Note a step that has been scheduled and is about to be computed."""
        for request in map(int, step.preempted):
            self._pause(request, start)
            self._idle_state[request] = PREEMPTED
        filled = {int(sequence.seq_id): sequence.num_computed_tokens for sequence in scheduler.running}
        for seq in step.scheduled:
            request = int(seq.seq_id)
            filled[request] = seq.end
            self._pause(request, start)
            computed_before = self._computed[request]
            self.recomputed += max(0, min(seq.end, computed_before) - seq.start)
            if seq.start < computed_before:
                state = RECOMPUTATION
            else:
                state = DECODE if seq.start >= self._prompts[request] else PREFILL
            self.intervals.append(RequestInterval(request, state, start, start + seconds))
            self._since[request], self._idle_state[request] = start + seconds, WAITING
            self._computed[request] = max(computed_before, seq.end)
        memory = scheduler.memory
        tables = {int(sequence.seq_id): memory.block_table(sequence) for sequence in scheduler.running}
        evictable = frozenset(filter(memory.pool.is_evictable, range(memory.pool.num_blocks)))
        sizes = (step.tokens, len(step.scheduled), len(scheduler.waiting))
        self.moments.append(Moment(start, seconds, *sizes, tables, filled, evictable))

    def _pause(self, request: int, until: float) -> None:
        if until > self._since[request]:
            self.intervals.append(RequestInterval(request, self._idle_state[request], self._since[request], until))
            self._since[request] = until


def step_budget(policy: str, budget: int) -> int:
    """Tokens that a step may compute: static batching reads whole prompts, a full batch of them at once."""
    return MAX_NUM_SEQS * LONGEST_PROMPT if policy == "static" else budget


@lru_cache(maxsize=4)
def serve(policy: str, budget: int, rate: float, blocks: int, prefix_caching: bool, seed: int) -> ServingRun:
    """Serve the requests of `seed`, `rate` a second in the mean."""
    lengths = (Lengths.uniform(16, LONGEST_PROMPT), Lengths.uniform(4, LONGEST_OUTPUT))
    workload = make_workload(REQUESTS, rate, *lengths, seed, sharing=SYSTEM_PROMPT)
    config = SchedulerConfig(
        num_blocks=blocks,
        block_size=BLOCK_SIZE,
        max_num_batched_tokens=step_budget(policy, budget),
        max_num_seqs=MAX_NUM_SEQS,
        prefix_caching=prefix_caching,
    )
    recorder = _Recorder(workload)
    result = simulate(workload, config, COST, POLICIES[policy], recorder.observe)
    report = summarize(result.timings, percents=(50, 100))
    return ServingRun(workload, recorder.intervals, recorder.moments, recorder.recomputed, result, report)
