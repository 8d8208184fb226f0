"""Workloads: they follow from their seed, and have the rates, lengths and sharing that they were asked for."""

import math
import random
import statistics
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.serving.simulation.workload import (
    AZURE_CODE,
    AZURE_CONVERSATION,
    PERCENTS,
    Lengths,
    Sharing,
    WorkItem,
    arrivals,
    make_workload,
)

ONE = Lengths.uniform(1, 1)


@pytest.mark.parametrize("cv", [0.0, 1.0, 3.0])
def test_arrivals_have_their_rate_and_their_coefficient_of_variation(cv):
    times = [time for _, time in zip(range(20_000), arrivals(4.0, cv, random.Random(1)), strict=False)]
    gaps = [after - before for before, after in pairwise(times)]
    assert statistics.mean(gaps) == pytest.approx(0.25, rel=0.05)
    assert statistics.pstdev(gaps) / statistics.mean(gaps) == pytest.approx(cv, rel=0.1, abs=1e-6)


def test_poisson_counts_have_a_variance_equal_to_their_mean():
    times = [time for _, time in zip(range(20_000), arrivals(5.0, 1.0, random.Random(2)), strict=False)]
    counts = Counter(map(int, times[:-1]))
    seconds = [counts[second] for second in range(int(times[-1]))]
    assert statistics.pvariance(seconds) / statistics.mean(seconds) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("lengths", [AZURE_CONVERSATION.prompt, AZURE_CONVERSATION.output, AZURE_CODE.prompt])
def test_samples_have_the_quantiles_that_they_were_drawn_from(lengths):
    generator = random.Random(3)
    drawn = sorted(lengths.sample(generator) for _ in range(20_000))
    for percent, quantile in zip(PERCENTS, lengths.quantiles, strict=True):
        below = sum(length <= quantile for length in drawn) / len(drawn)
        strictly = sum(length < quantile for length in drawn) / len(drawn)
        assert strictly - 0.015 <= percent / 100 <= below + 0.015, (percent, quantile)


@pytest.mark.parametrize(
    ("lengths", "mean"),
    [  # of the trace's files
        (AZURE_CONVERSATION.prompt, 1154.7),
        (AZURE_CONVERSATION.output, 211.1),
        (AZURE_CODE.prompt, 2047.8),
        (AZURE_CODE.output, 27.9),
    ],
)
def test_the_mean_of_the_interpolated_quantiles_is_close_to_the_traces(lengths, mean):
    pieces = zip(pairwise(PERCENTS), pairwise(lengths.quantiles), strict=True)
    assert sum((p1 - p0) / 100 * (q0 + q1) / 2 for (p0, p1), (q0, q1) in pieces) == pytest.approx(mean, rel=0.09)


@given(seed=st.integers(0, 1000), low=st.integers(1, 50), more=st.integers(0, 50))
def test_uniform_lengths_stay_in_their_range(seed, low, more):
    generator = random.Random(seed)
    assert all(low <= Lengths.uniform(low, low + more).sample(generator) <= low + more for _ in range(20))


def test_scaling_keeps_lengths_positive_and_below_the_most():
    scaled = AZURE_CONVERSATION.prompt.scaled(0.01, most=30)
    assert (scaled.quantiles[0], scaled.quantiles[-1]) == (1, 30)


def test_a_workload_follows_from_its_seed():
    make = lambda seed: make_workload(30, 2.0, AZURE_CODE.prompt, AZURE_CODE.output, seed, sharing=Sharing(0.5, 2, 8))  # noqa: E731
    assert make(1) == make(1)
    assert make(1) != make(2)


def test_system_prompts_are_shared_by_the_fraction_asked_for():
    items = make_workload(2000, 1.0, Lengths.uniform(5, 20), ONE, seed=1, sharing=Sharing(0.5, prompts=3, length=10))
    starts = Counter(item.prompt_token_ids[:10] for item in items if len(item.prompt_token_ids) > 10)
    shared = [count for count in starts.values() if count > 1]
    assert len(shared) == 3
    assert sum(shared) / len(items) == pytest.approx(0.5, abs=0.05)


def test_max_tokens_hides_the_length_from_the_scheduler_and_cuts_it():
    items = make_workload(200, 1.0, ONE, Lengths.uniform(1, 100), seed=1, max_tokens=50)
    assert {item.max_tokens for item in items} == {50}
    assert max(item.output_length for item in items) == 50
    assert all(item.max_tokens == item.output_length for item in make_workload(20, 1.0, ONE, ONE, seed=1))


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="ascending"):
        Lengths((3,) * (len(PERCENTS) - 1) + (2,))
    with pytest.raises(ValueError, match="a token"):
        Lengths.uniform(0, 5)
    with pytest.raises(ValueError, match="positive"):
        next(arrivals(0.0, 1.0, random.Random(0)))
    with pytest.raises(ValueError, match="system prompt"):
        Sharing(1.5, 1, 1)
    with pytest.raises(ValueError, match="output_length"):
        WorkItem(0.0, (1,), output_length=5, max_tokens=4)
    assert math.isinf(WorkItem(0.0, (1,), 1, 1).patience)
