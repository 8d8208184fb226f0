"""Plans against the throughput that llm-foundry publishes, and against the formulas that they are made of."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from sysai.hardware.network import DGX_A100, DGX_H100
from sysai.models.formulas.memory import MIXED_ADAM, MIXED_ADAM_FP32_GRADIENTS
from sysai.parallel.planning import Plan, plan

PUBLISHED = tomllib.loads((Path(__file__).parents[2] / "oracles" / "fsdp_throughput.toml").read_text())
CLUSTERS = {"H100 80 GB": (DGX_H100, 0.4), "A100 80 GB": (DGX_A100, 0.5), "A100 40 GB": (DGX_A100, 0.5)}
RECIPES = {2: MIXED_ADAM, 4: MIXED_ADAM_FP32_GRADIENTS}
STARVED = ("A100 40 GB", "70B", 64)  # two sequences a micro-batch, and nothing in the table says what slowed them


class Row(NamedTuple):
    """A row of the table, its columns as the file explains them."""

    gpu: str
    model: str
    devices: int
    sequences: int
    micro_batches: int
    tokens_per_second: int
    mfu: float
    gradient_bytes: int

    @property
    def measured(self) -> float:
        """Seconds of a step."""
        return self.sequences * PUBLISHED["sequence"] * self.micro_batches / self.tokens_per_second

    def planned(self, nics: int = 8) -> Plan:
        """The plan of the same step, with so many NICs a node."""
        cluster, attained = CLUSTERS[self.gpu]
        micro_batch = self.sequences * PUBLISHED["sequence"]
        return plan(
            **PUBLISHED["models"][self.model],
            tokens=micro_batch * self.micro_batches * self.devices,
            micro_batch=micro_batch,
            data=self.devices,
            stage=3,
            flops=attained * PUBLISHED["gpus"][self.gpu]["peak"],
            cluster=replace(cluster, nics_per_node=nics),
            recipe=RECIPES[self.gradient_bytes],
        )


ROWS = [Row(gpu, *row) for gpu, table in PUBLISHED["gpus"].items() for row in table["rows"]]
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.gpu}, {row.model} on {row.devices}")


@each_row
def test_the_rows_were_copied_right(row):
    model = PUBLISHED["models"][row.model]
    flops = 6 * model["parameters"] + 12 * model["n_layers"] * model["d_model"] * PUBLISHED["sequence"]
    mfu = flops * row.tokens_per_second / PUBLISHED["gpus"][row.gpu]["peak"]
    assert 100 * mfu == pytest.approx(row.mfu, rel=3e-3)  # whole tokens per second


@each_row
def test_published_steps(row):
    planned = row.planned()
    assert planned.sending < row.measured / 3  # none is impossible, nor nearly
    ratio = row.measured / planned.seconds
    if row[:3] == STARVED:
        assert ratio == pytest.approx(1.45, abs=0.01)
    else:
        assert 0.89 < ratio < (1.22 if row.sequences <= 4 else 1.05)


def test_through_one_nic_published_steps_would_be_impossible():
    def impossible(nics):
        return [row[:3] for row in ROWS if row.planned(nics).sending > row.measured]

    assert len(ROWS) == 31
    assert impossible(nics=8) == []
    assert len(impossible(nics=1)) == 6
    assert len(impossible(nics=2)) == 4
    assert ("H100 80 GB", "13B", 64) in impossible(nics=1)


def test_the_published_steps_bound_the_bandwidth_from_below_only():
    """Messages hide in every row, so that the table would tell three NICs a node from eight by no plan."""
    assert [row.planned(nics=3).seconds for row in ROWS] == [row.planned().seconds for row in ROWS]


def test_a_plan_of_llama_3_70b():
    common = {"parameters": 70_553_706_496, "n_layers": 80, "d_model": 8192, "tokens": 2**22, "micro_batch": 8192}
    common |= {"flops": 0.4 * 989e12, "cluster": DGX_H100}
    fsdp = plan(**common, data=512, stage=3)
    assert fsdp.micro_batches == 1
    assert fsdp.compute == pytest.approx(8.77, abs=0.01)
    assert fsdp.sending == pytest.approx(3 * 2 * 70_553_706_496 * 511 / 512 / 400e9)
    assert fsdp.seconds == fsdp.compute
    piped = plan(**common, data=8, pipeline=8, stage=1)
    assert piped.micro_batches == 64
    assert piped.states == pytest.approx((4 + 12 / 8) * 70_553_706_496 / 8)
    assert piped.kept == 2 * 8192 * 8192 * 80
    assert piped.collectives == pytest.approx(2 * 2 * 70_553_706_496 / 8 * 7 / 8 / 450e9)
    assert piped.messages == pytest.approx(2 * 64 * 2 * 8192 * 8192 / 50e9)
    assert piped.bubble == 7 / 71
    assert piped.seconds == pytest.approx(piped.compute * 71 / 64)


def test_sending_may_be_the_longer():
    thin = plan(
        parameters=10**9,
        n_layers=1,
        d_model=1,
        tokens=64,
        micro_batch=1,
        data=64,
        stage=0,
        flops=1e15,
        cluster=DGX_H100,
        recipe=MIXED_ADAM,
    )
    assert thin.seconds == thin.sending > thin.compute


def test_micro_batches_are_whole():
    with pytest.raises(ValueError, match="no multiple"):
        plan(
            parameters=10,
            n_layers=1,
            d_model=1,
            tokens=100,
            micro_batch=8,
            data=2,
            stage=0,
            flops=1.0,
            cluster=DGX_H100,
        )
