"""Timing that can be believed: warm-up, repeats, and two programs interleaved in one run.

A clock reading mixes the program with whatever else the machine did. `measure` repeats and keeps every sample;
`compare` runs ours, theirs, theirs, ours in each round, so that a drift of the machine (heat, neighbours)
which is linear within a round cancels in that round's ratio. The ratio is the result, seconds are its context.
Production suites (MLPerf, torch.utils.benchmark) add fixed clocks, isolation of cores, and many machines.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

from sysai.core.device import synchronize


@dataclass(frozen=True)
class RepeatedTiming:
    """Seconds that each repeat took."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample, seconds."""
        return median(self.samples)

    @property
    def minimum(self) -> float:
        """The fastest sample, seconds: the program with the least disturbance."""
        return min(self.samples)

    def __str__(self) -> str:
        return f"{_seconds(self.median)} (best {_seconds(self.minimum)}, {len(self.samples)} runs)"


@dataclass(frozen=True)
class Comparison:
    """Two programs timed in alternation. `ratio` is first / second: below 1 the first is faster."""

    timings: dict[str, RepeatedTiming]
    round_ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Median over rounds of (seconds of the first) / (seconds of the second)."""
        return median(self.round_ratios)

    @property
    def ratio_low(self) -> float:
        """The smallest ratio of a round."""
        return min(self.round_ratios)

    @property
    def ratio_high(self) -> float:
        """The largest ratio of a round."""
        return max(self.round_ratios)

    def __str__(self) -> str:
        (first, ours), (second, theirs) = self.timings.items()
        return (
            f"{first} {_seconds(ours.median)}, {second} {_seconds(theirs.median)}: {first}/{second} = "
            f"{self.ratio:.2f} ({self.ratio_low:.2f} to {self.ratio_high:.2f} over {len(self.round_ratios)} rounds)"
        )


def measure(
    fn: Callable[[], object], *, repeats: int = 5, warmup: int = 1, device: torch.device | None = None
) -> RepeatedTiming:
    """Time `fn()` `repeats` times after `warmup` untimed calls; with a CUDA `device`, wait for its work.

    Raises:
        ValueError: repeats < 1 or warmup < 0.
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"repeats {repeats} must be at least 1 and warmup {warmup} at least 0")
    for _ in range(warmup):
        fn()
    return RepeatedTiming(tuple(_time_once(fn, device) for _ in range(repeats)))


def compare(
    programs: Mapping[str, Callable[[], object]],
    rounds: int = 5,
    *,
    warmup: int = 1,
    device: torch.device | None = None,
) -> Comparison:
    """Time two programs in the order first, second, second, first within each round.

    Args:
        programs: exactly two, by name, e.g. {"ours": f, "theirs": g}.

    Raises:
        ValueError: not two programs, or no round.
    """
    if len(programs) != 2 or rounds < 1:
        raise ValueError(f"compare needs two programs and a round, got {len(programs)} and {rounds}")
    first, second = programs
    for _ in range(warmup):
        for fn in programs.values():
            fn()
    samples: dict[str, list[float]] = {first: [], second: []}
    for _ in range(rounds):
        for name in (first, second, second, first):
            samples[name].append(_time_once(programs[name], device))
    ratios = tuple(
        sum(samples[first][2 * i : 2 * i + 2]) / sum(samples[second][2 * i : 2 * i + 2]) for i in range(rounds)
    )
    return Comparison({name: RepeatedTiming(tuple(values)) for name, values in samples.items()}, ratios)


def _time_once(fn: Callable[[], object], device: torch.device | None) -> float:
    synchronize(device)
    start = perf_counter()
    fn()
    synchronize(device)
    return perf_counter() - start


def _seconds(value: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-6:.3g} us"
