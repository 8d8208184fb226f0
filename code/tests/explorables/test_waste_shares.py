"""The drawn shares of a KV cache's memory: vLLM's at vLLM's setting, and closed forms where all sequences are alike."""

import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from sysai.explorables import kv_waste as module
from sysai.explorables.explorable import find
from sysai.explorables.kv_waste import COLOURS, POSITIONS, PUBLISHED, TRACES, draw_lengths, wasted
from sysai.serving.simulation.workload import PERCENTS
from test_numbers import data, some_settings

ORACLE = tomllib.loads((Path(__file__).parents[2] / "oracles/kv_cache_waste.toml").read_text())
POLICIES = ("max", "pow2", "oracle", "paged")


def bars(spec, whose):
    """Shares in percent by policy, in the order of the figure."""
    rows = [row for row in data(spec, "whose") if row["whose"] == whose]
    names = list(dict.fromkeys(row["row"] for row in rows))
    return [[row["end"] - row["start"] for row in rows if row["row"] == name] for name in names]


def test_what_is_called_published_was_published():
    assert {policy: ORACLE[policy] for policy in POLICIES} == PUBLISHED
    assert (POSITIONS, *module.MEANS) == (ORACLE["positions"], ORACLE["mean_prompt"], ORACLE["mean_output"])
    defaults = find("kv_waste").defaults
    assert (defaults["longest"], defaults["block_size"]) == (ORACLE["max_length"], ORACLE["block_size"])
    shown = bars(find("kv_waste").figure("en"), "published")
    assert shown == [pytest.approx([100 * share for share in ORACLE[policy].values()]) for policy in POLICIES]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_default_figure_is_vllms(policy):
    shown = bars(find("kv_waste").figure("en"), "ours")[POLICIES.index(policy)]
    for name, share in ORACLE[policy].items():
        tolerance = ORACLE["tolerance" if name == "used" else "tolerance_waste"]
        assert shown[list(COLOURS).index(name)] == pytest.approx(100 * share, abs=100 * tolerance), name


@pytest.mark.parametrize("at", some_settings("kv_waste")[:4], ids=str)
def test_the_figure_says_what_it_shows(at):
    spec = find("kv_waste").figure("en", **at)
    running = [row["running"] for row in data(spec, "running")]
    for policy, shares, number in zip(POLICIES, bars(spec, "ours"), running, strict=True):
        assert sum(shares) == pytest.approx(100)
        assert "%, ".join(f"{share:.1f}" for share in shares) in spec["description"]
        waste = wasted(policy, at["dataset"], at["longest"], at["block_size"] if policy == "paged" else 1)
        assert (number, shares[0]) == (waste.running, pytest.approx(100 * waste.used))
    reserved = (shares[1] + shares[2]) / 100 * POSITIONS
    assert reserved <= number * (at["block_size"] - 1) + 1e-6, "pages waste less than one a sequence"


@pytest.mark.parametrize("longest", [512, 1_024, 2_048, 4_096])
def test_sequences_that_are_all_alike_are_counted_by_hand(longest):
    """Each holds 161 to 499 tokens, once each, and all run in step."""
    pieces = POSITIONS // longest
    waste = wasted("max", "alike", longest, 1)
    assert waste.running == pieces
    assert waste.used == pytest.approx(pieces * (161 + 499) / 2 / POSITIONS)
    assert waste.internal == pytest.approx(pieces * (longest - 499) / POSITIONS)
    assert waste.external == pytest.approx(1 - pieces * longest / POSITIONS)
    assert wasted("pow2", "alike", longest, 1).running == POSITIONS // 1_024  # 161 + 512
    assert wasted("oracle", "alike", longest, 1).running == POSITIONS // 512


@pytest.mark.parametrize("dataset", ["sharegpt", *TRACES])
def test_few_sequences_have_the_mean_of_many(dataset):
    prompts, outputs = zip(*draw_lengths(dataset, 1_000_000), strict=True)
    lengths = (TRACES[dataset].prompt, TRACES[dataset].output) if dataset in TRACES else ()
    means = [_mean(one.quantiles) for one in lengths] or module.MEANS
    assert [sum(some) / len(some) for some in (prompts, outputs)] == pytest.approx(means, rel=0.05)


def _mean(quantiles):
    """Of a distribution that is linear between its quantiles."""
    points = pairwise(zip(PERCENTS, quantiles, strict=True))
    return sum((until - since) / 100 * (low + high) / 2 for (since, low), (until, high) in points)


def test_no_sequence_is_longer_than_the_model_allows():
    for dataset in ("sharegpt", "alike", *TRACES):
        lengths = draw_lengths(dataset, 512)
        assert max(prompt + output for prompt, output in lengths) <= 512
        assert min(min(pair) for pair in lengths) >= 1
        assert draw_lengths(dataset, 512) == lengths
