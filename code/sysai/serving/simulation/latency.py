"""Latency as a user feels it: time to the first token, time of each after it, and how many users a service satisfies.

    TTFT = first token - arrival                                  waiting and prefill
    TPOT = (last token - first token) / (tokens - 1)              the pace of reading; mean of the request's gaps
    attainment = requests within both limits (SLO) / all          goodput = those / second

The gaps between tokens are kept too: one long gap is a stall that a mean over the request hides. The same report
reads the simulator's clock and the load generator's. Percentiles interpolate linearly, as NumPy's default does.
Sources: the words are vLLM's (`vllm bench serve`); goodput is DistServe's (Zhong et al., arXiv 2401.09670, section 2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class RequestTiming:
    """The times of one request, in seconds on one clock; `completed` is False if its client left or it failed."""

    arrival: float
    token_times: tuple[float, ...]
    completed: bool = True

    def __post_init__(self) -> None:
        times = (self.arrival, *self.token_times)
        if list(times) != sorted(times) or (self.completed and not self.token_times):
            raise ValueError(
                f"tokens come after the arrival, in order, and at least one to a completed request: {self}"
            )

    @property
    def ttft(self) -> float:
        """Seconds from arrival to the first token."""
        return self.token_times[0] - self.arrival

    @property
    def tpot(self) -> float:
        """Mean seconds of a token after the first; 0 if there is none."""
        return (self.token_times[-1] - self.token_times[0]) / max(1, len(self.token_times) - 1)

    @property
    def gaps(self) -> list[float]:
        """Seconds between one token and the next."""
        return [after - before for before, after in pairwise(self.token_times)]


@dataclass(frozen=True)
class SLO:
    """A service-level objective: limits on a request's latencies, in seconds."""

    ttft: float = math.inf
    tpot: float = math.inf

    def holds(self, timing: RequestTiming) -> bool:
        """Whether a request was completed within the limits."""
        return timing.completed and timing.ttft <= self.ttft and timing.tpot <= self.tpot


@dataclass(frozen=True)
class LatencyReport:
    """A run in numbers: latencies as percentiles by percent; rates over the time from first arrival to last token."""

    requests: int
    completed: int
    seconds: float
    output_tokens: int
    ttft: dict[float, float]
    tpot: dict[float, float]
    gap: dict[float, float]
    attainment: float

    @property
    def throughput(self) -> float:
        """Tokens of output a second."""
        return self.output_tokens / self.seconds

    @property
    def goodput(self) -> float:
        """Requests within the SLO a second."""
        return self.attainment * self.requests / self.seconds


def summarize(
    timings: Sequence[RequestTiming], slo: SLO = SLO(), percents: Sequence[float] = (50, 90, 99)
) -> LatencyReport:
    """The report of a run; its latencies are those of completed requests, its tokens those of all.

    Raises:
        ValueError: no request was completed.
    """
    completed = [timing for timing in timings if timing.completed]
    if not completed:
        raise ValueError("no request was completed: there is nothing to summarize")
    end = max(timing.token_times[-1] for timing in timings if timing.token_times)
    gaps = [gap for timing in completed for gap in timing.gaps]
    return LatencyReport(
        requests=len(timings),
        completed=len(completed),
        seconds=end - min(timing.arrival for timing in timings),
        output_tokens=sum(len(timing.token_times) for timing in timings),
        ttft=percentiles([timing.ttft for timing in completed], percents),
        tpot=percentiles([timing.tpot for timing in completed if len(timing.token_times) > 1], percents),
        gap=percentiles(gaps, percents),
        attainment=sum(map(slo.holds, timings)) / len(timings),
    )


def percentiles(values: Sequence[float], percents: Sequence[float]) -> dict[float, float]:
    """The percentile of each percent, by linear interpolation; empty if there are no values."""
    ordered = sorted(values)
    return {percent: _percentile(ordered, percent) for percent in percents} if ordered else {}


def _percentile(ordered: Sequence[float], percent: float) -> float:
    position = (len(ordered) - 1) * percent / 100
    low, high = math.floor(position), math.ceil(position)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
