"""The formulas: ZeRO's published table, closed forms, and their errors. Counts on real ranks are in the other tests."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.models.formulas.memory import MIXED_ADAM, PLAIN_ADAM, Recipe
from sysai.parallel.memory import gathered_elements, shard_size, state_memory, step_traffic

ORACLE = tomllib.loads((Path(__file__).parents[2] / "oracles" / "zero.toml").read_text())
counts, devices = st.integers(0, 10**12), st.integers(1, 5000)


@pytest.mark.parametrize("name", ORACLE)
def test_published_table(name):
    paper = ORACLE[name]
    recipe = Recipe("paper", paper["weight_bytes"], paper["gradient_bytes"], paper["optimizer_bytes"])
    assert (recipe.weights, recipe.gradients, recipe.optimizer) == (
        MIXED_ADAM.weights,
        MIXED_ADAM.gradients,
        MIXED_ADAM.optimizer,
    )
    for n, *cells in paper["rows"]:
        for stage, cell in enumerate(cells, start=1):
            digits = len(cell.partition(".")[2])
            ours = state_memory(paper["parameters"], n, stage, recipe).total / 1e9
            assert abs(ours - float(cell)) < 10**-digits, (n, stage)


@given(counts, devices)
def test_each_stage_holds_less_and_one_device_holds_all(parameters, n):
    totals = [state_memory(parameters, n, stage).total for stage in range(4)]
    assert totals == sorted(totals, reverse=True)
    assert len({state_memory(parameters, 1, stage).total for stage in range(4)}) == 1
    assert totals[0] == 16 * parameters
    assert 16 * parameters <= totals[3] * n < 16 * (parameters + n)


@given(counts, devices, st.integers(1, 8))
def test_traffic_in_closed_form(parameters, n, micro_batches):
    padded = shard_size(parameters, n) * n
    psi = padded * (n - 1) // n * 4
    sent = [step_traffic(parameters, n, stage, PLAIN_ADAM, micro_batches) for stage in range(4)]
    assert sent == [2 * psi, 2 * psi, (micro_batches + 1) * psi, 3 * micro_batches * psi]


def test_gathered_units_are_the_largest_neighbours_beside_the_root():
    assert gathered_elements([5, 7, 9, 3], root=100) == 116
    assert gathered_elements([5, 7, 9, 3], root=100, prefetch=False) == 109
    assert gathered_elements([5]) == 5
    assert gathered_elements([], root=4) == 4


@pytest.mark.parametrize("call", [lambda: state_memory(1, 1, 4), lambda: step_traffic(1, 1, -1)])
def test_unknown_stages_are_refused(call):
    with pytest.raises(ValueError, match="not one of 0"):
        call()


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        state_memory(10, 0, 1)
    with pytest.raises(ValueError, match="micro-batch"):
        step_traffic(10, 2, 1, micro_batches=0)


def test_the_formulas_need_no_torch():
    program = "import sys, sysai.parallel.memory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
