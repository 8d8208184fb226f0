"""The offline engine under a workload in real time: requests come when they are due, and every step is timed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.simulation.latency import RequestTiming
from sysai.serving.simulation.workload import WorkItem


@dataclass(frozen=True)
class MeasuredRun:
    """The requests' timings, in the workload's order, and each step with its seconds, from scheduler to text."""

    timings: list[RequestTiming]
    steps: list[tuple[SchedulerOutput, float]]


def serve(engine: Engine, workload: Sequence[WorkItem], clock: Callable[[], float] = time.perf_counter) -> MeasuredRun:
    """Let `engine`, which nobody else uses, serve a workload in the order of its arrivals.

    Args:
        clock: seconds. One that stands still while the engine sleeps (CPU time) suits a workload that is there at once.
    """
    request_ids = map(str, count())
    token_times: dict[str, list[float]] = {}
    steps: list[tuple[SchedulerOutput, float]] = []
    scheduled: list[SchedulerOutput] = []
    start, schedule = clock(), engine.scheduler.schedule

    def remembered() -> SchedulerOutput:
        scheduled.append(schedule())
        return scheduled[-1]

    engine.scheduler.schedule = remembered
    engine.clock = lambda: clock() - start
    try:
        while engine.has_work or len(token_times) < len(workload):
            if not engine.has_work:
                time.sleep(max(0.0, workload[len(token_times)].arrival - engine.clock()))
            while len(token_times) < len(workload) and workload[len(token_times)].arrival <= engine.clock():
                item = workload[len(token_times)]
                params = SamplingParams(max_tokens=item.output_length, temperature=0, ignore_eos=True)
                token_times[engine.add_request(item.prompt_token_ids, params, next(request_ids))] = []
            if not engine.has_work:
                continue
            before = engine.clock()
            chunks = engine.step()
            now = engine.clock()
            steps.append((scheduled[-1], now - before))
            for chunk in chunks:
                token_times[chunk.request_id].append(now)
    finally:
        engine.scheduler.schedule = schedule
    timings = [
        RequestTiming(item.arrival, tuple(times)) for item, times in zip(workload, token_times.values(), strict=True)
    ]
    return MeasuredRun(timings, steps)
