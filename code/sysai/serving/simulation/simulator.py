"""A discrete-event simulator: the engine's own scheduler, on a clock that a cost model moves.

Nothing of the scheduling is modelled: policies, preemption and prefix cache are the very code that serves. Only the
pass over the model is replaced, by its price:

    now += cost.seconds(step)          tokens of a step are there at its end; idle, the clock jumps to the next arrival

Arrivals and clients that leave are seen between two steps, as by the engine. A model's output is unknown before, so
the scheduler is told `max_tokens` and learns of the end from an end-of-sequence token. Cost: microseconds for each
sequence of each step, so that hours of service take seconds. Left out: the server around the engine (HTTP, text), and
that the price of a step scatters. Source: Vidur, arXiv 2405.05465, which also simulates clusters.
"""

from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, Policy
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.core.sequence import FinishReason, Sequence
from sysai.serving.simulation.cost_model import StepCostModel
from sysai.serving.simulation.latency import RequestTiming
from sysai.serving.simulation.workload import WorkItem

END = -1  # no token of a prompt is negative


@dataclass(frozen=True)
class SimulationResult:
    """The requests' timings, in the workload's order, and what the run took and did."""

    timings: tuple[RequestTiming, ...]
    steps: int
    busy_seconds: float
    preemptions: int
    queried_tokens: int
    cached_tokens: int


def simulate(
    workload: abc.Sequence[WorkItem],
    config: SchedulerConfig,
    cost: StepCostModel,
    policy: Policy = FIRST_COME_FIRST_SERVED,
    observe: Callable[[float, float, SchedulerOutput, Scheduler], None] | None = None,
) -> SimulationResult:
    """Serve `workload`, ascending in arrival, from time 0 until all are done or gone.

    `observe(start, seconds, step, scheduler)` is called after each step is scheduled, before it is executed.

    Raises:
        ValueError: a workload out of order, or a prompt that the scheduler refuses.
    """
    if any(before.arrival > after.arrival for before, after in pairwise(workload)):
        raise ValueError("a workload must be in the order of its arrivals: sort it")
    scheduler = Scheduler(replace(config, eos_token_id=END), policy)
    sequences: list[Sequence] = []
    token_times: list[list[float]] = [[] for _ in workload]
    now = busy = 0.0
    steps = 0
    while scheduler.has_work or len(sequences) < len(workload):
        if not scheduler.has_work:  # idle: the clock jumps to the next arrival
            now = max(now, workload[len(sequences)].arrival)
        while len(sequences) < len(workload) and workload[len(sequences)].arrival <= now:
            sequences.append(_sequence(len(sequences), workload[len(sequences)]))
            scheduler.add(sequences[-1])
        for sequence in list(scheduler.sequences.values()):
            if sequence.arrival_time + workload[int(sequence.seq_id)].patience <= now:
                scheduler.finish(sequence.seq_id, FinishReason.ABORT)
        if not scheduler.has_work:  # all that were left have lost patience
            continue
        step = scheduler.schedule()
        seconds = cost.seconds(step)
        if observe:
            observe(now, seconds, step, scheduler)
        now, busy, steps = now + seconds, busy + seconds, steps + 1
        sampled = {}
        for seq in step.scheduled:
            if seq.samples:  # its token is there at the end of the step, and is END where the workload says so
                i = int(seq.seq_id)
                token_times[i].append(now)
                sampled[seq.seq_id] = END if len(token_times[i]) == workload[i].output_length else _token(i)
        scheduler.update(step, sampled)
    timings = (
        RequestTiming(item.arrival, tuple(times), sequence.finish_reason is not FinishReason.ABORT)
        for item, times, sequence in zip(workload, token_times, sequences, strict=True)
    )
    prefix_cache = scheduler.memory.stats
    return SimulationResult(
        tuple(timings), steps, busy, scheduler.num_preemptions, prefix_cache.queried, prefix_cache.hit
    )


def _sequence(i: int, item: WorkItem) -> Sequence:
    return Sequence(str(i), item.prompt_token_ids, SamplingParams(max_tokens=item.max_tokens, seed=0), item.arrival)


def _token(i: int) -> int:
    """A token that no other sequence has, so that an output is never found as another's prefix."""
    return END - 1 - i
