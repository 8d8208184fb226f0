"""The drawn runs of the scheduler: bars without gaps, steps within their limits, blocks that are somebody's or free."""

from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest
from sysai.explorables import serving_runs
from sysai.explorables.continuous_batching import COLOURS
from sysai.explorables.explorable import find
from sysai.explorables.serving_runs import (
    BLOCK_SIZE,
    COST,
    DECODE,
    LONGEST_OUTPUT,
    LONGEST_PROMPT,
    MAX_NUM_SEQS,
    PREEMPTED,
    PREFILL,
    RECOMPUTATION,
    REQUESTS,
    WAITING,
    serve,
    step_budget,
)
from sysai.explorables.units import digits
from sysai.serving.core.scheduler_output import ScheduledSequence, SchedulerOutput
from test_numbers import data, some_settings

SHORT_OF_BLOCKS = find("continuous_batching").defaults | {"blocks": 20, "rate": 8}  # so that requests are preempted
SETTINGS = [*some_settings("continuous_batching"), SHORT_OF_BLOCKS]


def run_at(at):
    return serve(at["policy"], at["budget"], at["rate"], at["blocks"], at["prefix"] == "on", at["seed"])


def check(run, policy, budget, blocks, prefix_caching):
    """What holds for every run, whatever the policy."""
    for i, (item, timing) in enumerate(zip(run.workload, run.result.timings, strict=True)):
        own = sorted((one for one in run.intervals if one.request == i), key=lambda one: one.start)
        assert (own[0].start, own[-1].end) == pytest.approx((item.arrival, timing.token_times[-1]))
        assert all(before.end == after.start for before, after in pairwise(own)), "a gap or an overlap"
        computed = [one for one in own if one.state not in (WAITING, PREEMPTED)]
        steps = {(moment.start, moment.start + moment.seconds) for moment in run.moments}
        assert {(one.start, one.end) for one in computed} <= steps
        lost = sum(one.state == PREEMPTED for one in own)
        decodes = sum(one.state == DECODE for one in own)
        assert decodes == item.output_length - 1 or (lost and decodes < item.output_length - 1)
    counts = {state: sum(one.state == state for one in run.intervals) for state in COLOURS}
    assert counts[PREEMPTED] == run.result.preemptions
    assert (counts[RECOMPUTATION] > 0) == (run.recomputed > 0)
    assert run.recomputed == 0 or run.result.preemptions
    needed = sum(len(item.prompt_token_ids) + item.output_length - 1 for item in run.workload)
    computed = sum(moment.tokens for moment in run.moments)
    assert computed == needed + run.recomputed or (prefix_caching and computed < needed + run.recomputed)
    for moment in run.moments:
        assert moment.tokens <= step_budget(policy, budget)
        assert moment.computing <= len(moment.tables) <= MAX_NUM_SEQS
        held = [block for table in moment.tables.values() for block in table]
        assert set(held) <= set(range(blocks))
        assert prefix_caching or len(set(held)) == len(held), "two requests in one block"
        assert not moment.evictable & set(held)
        assert all(moment.filled[i] <= len(table) * BLOCK_SIZE for i, table in moment.tables.items())


@pytest.mark.parametrize("at", SETTINGS, ids=str)
def test_runs_are_possible(at):
    check(run_at(at), at["policy"], at["budget"], at["blocks"], at["prefix"] == "on")


def test_some_run_preempts():
    assert run_at(SHORT_OF_BLOCKS).result.preemptions > 0


def test_runs_that_are_not_possible_are_noticed():
    at = {"policy": "first_come", "budget": 64, "blocks": 32, "prefix_caching": False}
    run = serve("first_come", 64, 3, 32, False, 0)
    check(run, **at)
    first, second, *others = run.moments
    shared = replace(second, tables={0: (1,), 1: (1,)}, filled={0: 1, 1: 1}, computing=1)
    faults = [
        replace(run, intervals=[one for one in run.intervals if one.state != WAITING]),
        replace(run, intervals=[one for one in run.intervals if one.state != PREEMPTED]),
        replace(run, intervals=[replace(one, end=one.end + 0.01) for one in run.intervals]),
        replace(run, moments=[first, replace(second, tokens=65), *others]),
        replace(run, moments=[first, shared, *others]),
    ]
    for fault in faults:
        with pytest.raises(AssertionError):
            check(fault, **at)


def check_cells(spec, moment, blocks):
    """A cell for each block, which says whose it is; the cells."""
    cells = list({row["block"]: row for row in data(spec, "block")}.values())
    assert sorted(cell["block"] for cell in cells) == list(range(blocks))
    for cell in cells:
        holders = [i for i, table in moment.tables.items() if cell["block"] in table]
        assert cell["text"] == ("", *map(str, holders[:1]), f"×{len(holders)}")[min(2, len(holders))]
        assert cell["use"] in (("free", "kept"), ("one",), ("several",))[min(2, len(holders))]
        assert (cell["use"] == "kept") == (cell["block"] in moment.evictable)
        assert cell["filled"] - cell["left"] == pytest.approx(cell["share"] * (cell["right"] - cell["left"]))
    return cells


@pytest.mark.parametrize("at", SETTINGS, ids=str)
def test_the_figure_says_what_it_shows(at):
    run, spec = run_at(at), find("continuous_batching").figure("en", **at)
    bars = [row for row in data(spec, "start") if "request" in row]
    names = {
        state: spec["vconcat"][0]["layer"][0]["encoding"]["color"]["scale"]["domain"][i]
        for i, state in enumerate(COLOURS)
    }
    for state, name in names.items():
        seconds = sum(one.end - one.start for one in run.intervals if one.state == state)
        assert sum(row["end"] - row["start"] for row in bars if row["part"] == name) == pytest.approx(seconds)
    moment = run.moments[round(at["moment"] / 100 * (len(run.moments) - 1))]
    cells = check_cells(spec, moment, at["blocks"])
    if at["prefix"] == "off":
        assert BLOCK_SIZE * sum(cell["share"] for cell in cells) == pytest.approx(sum(moment.filled.values()))
        assert {cell["use"] for cell in cells} <= {"one", "free"}
    said = spec["description"]
    timings = run.result.timings
    tokens = sum(item.output_length for item in run.workload)
    seconds = max(timing.token_times[-1] for timing in timings) - run.workload[0].arrival
    assert f"{digits(tokens / seconds)} tokens/s" in said
    assert f"after {digits(fmean(t.token_times[0] - t.arrival for t in timings))} s in the mean" in said
    assert ("No preemption" in said) == (run.result.preemptions == 0)
    assert run.result.preemptions == 0 or f"{run.recomputed} tokens computed again" in said
    uses = [cell["use"] for cell in cells]
    assert f"{uses.count('one')} are one request's, {uses.count('several')} shared" in said


def test_the_prices_are_those_of_the_measurement():
    """Seconds of steps: decoding at four batch sizes, and a prompt of 512."""
    for batch, rate in ((1, 17), (8, 80), (32, 199), (64, 248)):
        step = SchedulerOutput(tuple(ScheduledSequence(str(i), 100, (0,), (), True) for i in range(batch)))
        assert COST.seconds(step) == pytest.approx(batch / rate, rel=0.15)
    assert COST.seconds(SchedulerOutput((ScheduledSequence("0", 0, (0,) * 512, (), True),))) == pytest.approx(
        512 / 396, rel=0.02
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_static_batch_forms_when_the_one_before_is_done_and_reads_whole_prompts(seed):
    run = serve("static", 64, 4, 64, False, seed)
    assert sum(one.state == PREFILL for one in run.intervals) == REQUESTS, "prompts are read whole"
    for before, after in pairwise(run.moments):
        if new := set(after.tables) - set(before.tables):
            assert new == set(after.tables)


@pytest.mark.parametrize("budget", [16, 32, 64])
@pytest.mark.parametrize("policy", ["first_come", "shortest"])
def test_the_budget_bounds_every_pause(policy, budget):
    run = serve(policy, budget, 4, 128, False, 1)  # more blocks than eight can hold: none is preempted
    assert run.result.preemptions == 0
    assert run.report.gap[100] <= COST.fixed + budget * COST.per_token + MAX_NUM_SEQS * COST.per_sampled + 1e-9


def test_prefixes_are_computed_once_and_shared():
    at = {"blocks": 64, "prefix": "on", "budget": 256}
    run = serve("first_come", 256, 3, 64, True, 0)
    assert run.result.cached_tokens % BLOCK_SIZE == 0 < run.result.cached_tokens
    uses = set()
    for number in range(0, 101, 10):
        spec = find("continuous_batching").figure("en", moment=number, **at)
        cells = check_cells(spec, run.moments[round(number / 100 * (len(run.moments) - 1))], 64)
        uses |= {cell["use"] for cell in cells}
    assert uses == {"one", "several", "kept", "free"}


def test_the_longest_request_fits_into_the_fewest_blocks():
    blocks = next(control for control in find("continuous_batching").controls if control.name == "blocks")
    most = -(-(LONGEST_PROMPT + LONGEST_OUTPUT) // BLOCK_SIZE)
    assert blocks.values[0] >= most
    assert f"takes {most}." in blocks.help["en"]


def test_the_prediction_compares_the_first_tokens_of_the_bars():
    """Nobody is preempted there, so that the first token comes at the end of a request's last bar of prefill."""
    explorable = find("continuous_batching")
    at = explorable.settings(**explorable.prediction.settings)

    def mean(policy):
        bars = data(explorable.figure("en", **at | {"policy": policy}), "start")
        own = [[row for row in bars if row.get("request") == str(i)] for i in range(REQUESTS)]
        first = [max(row["end"] for row in rows if row["part"] == PREFILL) for rows in own]
        return fmean(end - min(row["start"] for row in rows) for end, rows in zip(first, own, strict=True))

    assert explorable.prediction.answer(**at) == pytest.approx(mean("static") / mean("first_come"))
    assert explorable.prediction.answer(**at) > 1


def test_observers_are_told_of_every_step(monkeypatch):
    run = serve("first_come", 64, 3, 32, False, 0)
    assert len(run.moments) == run.result.steps
    assert sum(moment.seconds for moment in run.moments) == pytest.approx(run.result.busy_seconds)
    monkeypatch.setattr(serving_runs._Recorder, "_pause", lambda *_: None)
    serve.cache_clear()
    with pytest.raises(AssertionError):
        check(serve("first_come", 64, 3, 32, False, 0), "first_come", 64, 32, False)
    serve.cache_clear()
