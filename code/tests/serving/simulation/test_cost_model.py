"""The price of a step: by hand, and found again from the times that it made."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import ScheduledSequence, SchedulerOutput
from sysai.serving.simulation.cost_model import StepCostModel, fit
from sysai.serving.simulation.simulator import simulate
from sysai.serving.simulation.workload import Lengths, make_workload

ITEMS = make_workload(60, 20.0, Lengths.uniform(1, 200), Lengths.uniform(1, 40), seed=1)


@pytest.fixture(scope="module")
def steps() -> list[SchedulerOutput]:
    """Of many shapes: prompts in chunks, large and small batches, sequences that are swapped."""
    config = SchedulerConfig(
        num_blocks=60, block_size=16, max_num_batched_tokens=256, max_num_seqs=32, num_cpu_blocks=60
    )
    found = []
    simulate(ITEMS, config, StepCostModel(0.02, 1e-3), observe=lambda start, seconds, step, _: found.append(step))
    assert any(step.swapped for step in found)
    assert {min(step.tokens, 33) for step in found} >= {1, 2, 5, 33}
    return found


def test_a_step_by_hand():
    prompt = ScheduledSequence("a", 10, tuple(range(4)), (0, 1), samples=False)
    decoding = ScheduledSequence("b", 7, (1,), (2,), samples=True)
    step = SchedulerOutput((prompt, decoding), swap_in=((0, 1),))
    attended = (11 + 12 + 13 + 14) + 8
    prices = {"fixed": 1, "per_token": 5, "per_attended": attended, "per_sampled": 1, "per_swapped": 1}
    for name, count in (prices | {"per_sequence": 2, "per_position": 14 + 8}).items():
        assert StepCostModel(**{name: 3.0}).seconds(step) == pytest.approx(3 * count), name


def test_below_the_bend_a_token_costs_nothing_more():
    model = StepCostModel(per_token=1e-3, bend=8)
    seconds = [
        model.seconds(SchedulerOutput((ScheduledSequence("a", 0, (0,) * n, (0,), False),))) for n in (1, 8, 9, 16)
    ]
    assert seconds == pytest.approx([8e-3, 8e-3, 9e-3, 16e-3])


@settings(max_examples=6, deadline=None)
@given(prices=st.tuples(*[st.floats(1e-6, 1e-2)] * 7), bend=st.integers(0, 40))
def test_fitting_finds_the_prices_that_made_the_times(steps, prices, bend):
    true = StepCostModel(*prices, bend)
    found = fit((step, true.seconds(step)) for step in steps)
    for step in steps:
        assert found.seconds(step) == pytest.approx(true.seconds(step), rel=1e-3)


def test_a_line_cannot_price_what_has_a_bend(steps):
    """The purpose of the bend: without it, steps of few tokens would be priced too low or too high by a quarter."""
    true = StepCostModel(fixed=1e-3, per_token=1e-3, bend=24)
    found = fit((step, true.seconds(step)) for step in steps)
    assert found.bend == 24
    straight = StepCostModel(found.fixed, found.per_token)
    assert max(abs(straight.seconds(step) / true.seconds(step) - 1) for step in steps) > 0.25


def test_fitting_minimizes_relative_errors(steps):
    """Of times that no prices give exactly: those found are better than any others nearby."""
    true = StepCostModel(fixed=1e-2, per_token=1e-3, per_attended=1e-6, per_sampled=1e-4, per_sequence=1e-4)
    measured = [(step, true.seconds(step) * (0.8 + 0.1 * (7 * i % 5))) for i, step in enumerate(steps)]

    def error(model: StepCostModel) -> float:
        return sum((model.seconds(step) / seconds - 1) ** 2 for step, seconds in measured)

    found = fit(measured)
    for name, price in asdict(found).items():
        for factor in (0.98, 1.02) if name != "bend" else ():
            assert error(replace(found, **{name: factor * price})) >= error(found) - 1e-9, name


def test_prices_stay_positive_where_noise_would_make_one_negative(steps):
    found = fit((step, 1.0 + 0.1 * (i % 3) - 1e-3 * step.sampled) for i, step in enumerate(steps))
    assert found.per_sampled == 0
    assert found.fixed + found.per_token * found.bend > 0


def test_wrong_use_is_refused():
    for wrong in ({"fixed": -1.0}, {"bend": 3.0}, {"per_token": 1.0, "bend": -1.0}):
        with pytest.raises(ValueError, match="negative"):
            StepCostModel(**wrong)
    with pytest.raises(ValueError, match="at least 7 steps"):
        fit([])
