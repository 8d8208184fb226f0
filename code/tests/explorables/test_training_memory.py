"""The bill of a training step: ZeRO's published table on the page, and settings at random computed a second time."""

import tomllib
from pathlib import Path

import pytest
from sysai.explorables.controls import CHIPS, MODELS
from sysai.explorables.explorable import find
from sysai.explorables.units import quantity
from test_numbers import DENSE, data, llama_parameters, some_settings

ORACLE = tomllib.loads((Path(__file__).parents[2] / "oracles/zero.toml").read_text())["7.5B"]
BYTES = {"mixed_adam": (2, 2, 12), "adam": (4, 4, 8), "momentum": (4, 4, 4)}


def bars(spec):
    """GB of each use, by stage."""
    rows = data(spec, "end")
    stages = list(dict.fromkeys(row["row"] for row in rows))
    return [{row["part"]: row["end"] - row["start"] for row in rows if row["row"] == stage} for stage in stages]


@pytest.mark.parametrize(("devices", "cells"), [(row[0], row[1:]) for row in ORACLE["rows"]])
def test_the_figure_shows_the_published_table(devices, cells):
    spec = find("training_memory").figure("en", model="zero-7.5b", optimizer="mixed_adam", devices=devices)
    for stage, cell in enumerate(cells, start=1):
        shown = sum(bars(spec)[stage].values())
        assert abs(shown - float(cell)) < 10 ** -len(cell.partition(".")[2]), stage
    assert sum(bars(spec)[0].values()) == pytest.approx(120)


@pytest.mark.parametrize("at", some_settings("training_memory", model=DENSE), ids=str)
def test_settings_at_random(at):
    model, n, stage = MODELS[at["model"]], at["devices"], at["stage"]
    weight, gradient, optimizer = BYTES[at["optimizer"]]
    number = llama_parameters(model)
    shard = -(-number // n)
    spec = find("training_memory").figure("en", **at)
    assert len(bars(spec)) == 4
    activations = {held["activations"] for held in bars(spec)}
    assert max(activations) == pytest.approx(min(activations))  # no stage divides them
    held = bars(spec)[stage]
    expected = {
        "weights": weight * (shard if stage == 3 else number),
        "gradients": gradient * (shard if stage >= 2 else number),
        "optimizer state": optimizer * (shard if stage >= 1 else number),
        "activations": held["activations"] * 1e9,
    }
    assert held == pytest.approx({use: size / 1e9 for use, size in expected.items()}, rel=1e-6)
    scores = model.n_layers * at["batch"] * model.n_heads * at["sequence"] ** 2 * weight
    assert held["activations"] * 1e9 > scores or at["batch"] == 0 == held["activations"]
    passed_on = shard * (n - 1)
    sent = passed_on * (2 * gradient if stage == 0 else gradient + weight * (2 if stage == 3 else 1))
    memory = CHIPS[at["device"]].memory
    for size in (sum(expected.values()), expected["weights"], expected["optimizer state"], sent, memory):
        assert quantity(size, "B") in spec["description"]
    *_, here = data(spec, "devices")
    assert (here["devices"], here["GB"]) == (n, pytest.approx(sum(expected.values()) / 1e9))


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ({"device": "nvidia-h100-sxm"}, "Stages 1, 2, 3 fit into 80 GB; of these, 1, 2 send least."),
        ({"model": "llama-3-70b", "batch": 0}, "Only stage 3 fits into 80 GB."),
        ({"model": "llama-3-70b"}, "No stage fits into 80 GB."),
        ({"model": "smollm2-135m"}, "Stages 0, 1, 2, 3 fit into 80 GB; of these, 0, 1, 2 send least."),
        ({"model": "deepseek-v3"}, "activations are counted for dense models of known shape only"),
        ({"stage": 3}, "units that it gathers come on top"),
    ],
)
def test_what_fits_and_what_is_left_out_is_said(at, says):
    assert says in find("training_memory").figure("en", **at)["description"]


def test_one_device_has_nothing_to_divide_and_nothing_to_send():
    spec = find("training_memory").figure("en", devices=1)
    assert len({round(sum(held.values()), 9) for held in bars(spec)}) == 1
    assert "it sends 0 B" in spec["description"]


def test_the_prediction_is_the_hand_computed_bill():
    explorable = find("training_memory")
    answer = explorable.prediction.answer(**explorable.settings(**explorable.prediction.settings))
    assert answer == pytest.approx((2 + 14 / 64) * llama_parameters(MODELS["llama-3-70b"]) / 1e9)
