"""Workloads: when requests arrive, how long they are, and what they share. Everything follows from a seed.

Gaps between arrivals are gamma distributed with a mean of 1 / rate and a coefficient of variation cv:

    cv = 1     Poisson: arrivals know nothing of each other        cv > 1     bursts and lulls        cv = 0     a clock

which is how `vllm bench serve --burstiness` (1 / cv^2) and BurstGPT (Wang et al., arXiv 2401.17644) model them.
Lengths are drawn from quantiles of a published trace: real ones have several peaks and heavy tails that no formula of
two parameters has. Prompt and output lengths are drawn independently (their correlation in the traces is -0.11 and
0.00), and so are arrivals of each other, which leaves out the hour of the day.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

PERCENTS = (0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.9, 100)


@dataclass(frozen=True)
class WorkItem:
    """A request to come: seconds of its arrival, tokens of its prompt, and how many it will generate.

    `max_tokens` is what it asks for at most, and what a scheduler may know; `patience` the seconds after which its
    client leaves.
    """

    arrival: float
    prompt_token_ids: tuple[int, ...]
    output_length: int
    max_tokens: int
    patience: float = math.inf

    def __post_init__(self) -> None:
        if not self.prompt_token_ids or not 1 <= self.output_length <= self.max_tokens or self.patience < 0:
            raise ValueError(f"a request needs a prompt, 1 <= output_length <= max_tokens, and patience >= 0: {self}")


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths by its quantiles at PERCENTS, linear in between."""

    quantiles: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.quantiles) != len(PERCENTS) or list(self.quantiles) != sorted(self.quantiles):
            raise ValueError(f"lengths need {len(PERCENTS)} ascending quantiles, got {self.quantiles}")
        if self.quantiles[0] < 1:
            raise ValueError(f"the shortest must have a token, got {self.quantiles[0]}")

    @classmethod
    def uniform(cls, low: int, high: int) -> "Lengths":
        """All from `low` to `high` alike; one length where they are equal."""
        return cls(tuple(low + (high - low) * percent / 100 for percent in PERCENTS))

    def scaled(self, factor: float, most: float = math.inf) -> "Lengths":
        """The same shape for a smaller model: times `factor`, at least 1 and at most `most`."""
        return Lengths(tuple(max(1.0, min(most, value * factor)) for value in self.quantiles))

    def sample(self, generator: random.Random) -> int:
        """One length, by inversion of the distribution function."""
        percent = 100 * generator.random()
        i = max(1, bisect_left(PERCENTS, percent))
        share = (percent - PERCENTS[i - 1]) / (PERCENTS[i] - PERCENTS[i - 1])
        return round(self.quantiles[i - 1] + share * (self.quantiles[i] - self.quantiles[i - 1]))


@dataclass(frozen=True)
class RequestTrace:
    """A published trace in numbers: requests a second, coefficient of variation of their gaps, lengths in tokens."""

    name: str
    rate: float
    cv: float
    prompt: Lengths
    output: Lengths


# Quantiles of the files AzureLLMInferenceTrace_conv.csv (19,366 requests) and _code.csv (8,819) of
# https://github.com/Azure/AzurePublicDataset (CC-BY), collected in November 2023; described in Patel et al.,
# Splitwise, ISCA 2024, arXiv 2311.18677, section 3. What is drawn has the trace's means within 2%, the code's output
# within 9%, because its tail is not linear.
AZURE_CONVERSATION = RequestTrace(
    "Azure 2023, conversation",
    rate=5.53,
    cv=1.09,
    prompt=Lengths((2, 29, 181, 207, 387, 403, 703, 1020, 1071, 1130, 1315, 2735, 4083, 4098, 4142, 6212, 14050)),
    output=Lengths((7, 16, 41, 54, 77, 91, 103, 129, 177, 384, 400, 424, 451, 540, 601, 954, 1000)),
)
AZURE_CODE = RequestTrace(
    "Azure 2023, code",
    rate=2.57,
    cv=13.2,
    prompt=Lengths((3, 17, 75, 147, 385, 770, 1075, 1469, 1909, 2433, 3193, 5194, 7315, 7436, 7436, 7437, 7437)),
    output=Lengths((6, 6, 6, 7, 8, 9, 11, 13, 16, 20, 29, 55, 90, 172, 252, 831, 1899)),
)


@dataclass(frozen=True)
class Sharing:
    """`fraction` of the requests begin with one of `prompts` system prompts of `length` tokens."""

    fraction: float
    prompts: int
    length: int

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1 or self.prompts < 1 or self.length < 1:
            raise ValueError(f"a fraction from 0 to 1 of at least one system prompt of at least one token: {self}")


def arrivals(rate: float, cv: float, generator: random.Random) -> Iterator[float]:
    """Seconds of arrival, without end, `rate` a second in the mean.

    Raises:
        ValueError: a rate that is not positive, or a negative cv.
    """
    if not 0 < rate < math.inf or not 0 <= cv < math.inf:
        raise ValueError(f"rate {rate} must be positive and cv {cv} not negative")
    now = 0.0
    while True:
        now += generator.gammavariate(1 / cv**2, cv**2 / rate) if cv else 1 / rate
        yield now


def make_workload(
    count: int,
    rate: float,
    prompt: Lengths,
    output: Lengths,
    seed: int,
    cv: float = 1.0,
    sharing: Sharing | None = None,
    max_tokens: int | None = None,
    vocabulary: int = 49_152,
) -> list[WorkItem]:
    """`count` requests with prompts of random tokens; one that shares is at least a token longer than what it shares.

    Without `max_tokens` each request asks for just what it will generate, as benchmarks do; with it for that many,
    and what is drawn beyond is cut.
    """
    generator = random.Random(seed)

    def text(length: int) -> tuple[int, ...]:
        return tuple(generator.randrange(vocabulary) for _ in range(length))

    systems = [text(sharing.length) for _ in range(sharing.prompts)] if sharing else []
    items = []
    for _, arrival in zip(range(count), arrivals(rate, cv, generator), strict=False):
        shares = sharing is not None and generator.random() < sharing.fraction
        system = generator.choice(systems) if shares else ()
        rest = max(1, prompt.sample(generator) - len(system))
        generated = min(output.sample(generator), max_tokens or math.inf)
        items.append(WorkItem(arrival, (*system, *text(rest)), generated, max_tokens or generated))
    return items
