"""The drawn backward pass: its bars add up, and what is exposed is computed a second time from sizes and rates."""

import pytest
from sysai.explorables.explorable import find
from sysai.explorables.gradient_overlap import SHOWN, block_tensors
from sysai.explorables.units import digits
from sysai.models.formulas import parameters
from test_numbers import data, some_settings

RATE = 0.4 * 989e12


def exposed_ms(at, bucket):
    """Seconds behind the last gradient, by a walk over the tensors from the last to the first, and the messages."""
    n, gradients = at["devices"], [2 * elements for elements in block_tensors(SHOWN[at["model"]])] * at["layers"]
    groups, now = [], 0.0
    for size in reversed(gradients):
        now += 4 * size / 2 * at["tokens"] / RATE
        if groups and groups[-1][0] + size <= bucket * 2**20:
            groups[-1] = (groups[-1][0] + size, now)
        else:
            groups.append((size, now))
    free = 0.0
    for size, ready in groups:
        bandwidth = 2 * (n - 1) / n * size / (at["bandwidth"] * 1e9)
        free = max(free, ready) + bandwidth + 2 * (n - 1) * at["latency"] * 1e-6
    return 1e3 * (free - now), 1e3 * now, len(groups)


@pytest.mark.parametrize("at", some_settings("gradient_overlap"), ids=str)
def test_settings_at_random(at):
    spec = find("gradient_overlap").figure("en", **at)
    exposed, computed, messages = exposed_ms(at, at["bucket"])
    bars = {}
    for row in data(spec, "end"):
        bars.setdefault(row["part"], []).append((row["start"], row["end"]))
    assert sum(end - start for start, end in bars["gradients computed"]) == pytest.approx(computed)
    assert sum(end - start for start, end in bars["sent, exposed"]) == pytest.approx(exposed)
    assert bars["sent, exposed"][0][0] >= data(spec, "computed")[0]["computed"] == pytest.approx(computed)
    assert all(end <= computed * (1 + 1e-9) for _, end in bars.get("sent, hidden", []))

    *curve, here = data(spec, "bucket")
    assert (here["bucket"], here["exposed"]) == (at["bucket"], pytest.approx(exposed))
    for row in curve:
        assert row["exposed"] == pytest.approx(exposed_ms(at, row["bucket"])[0])
    best = min(row["exposed"] for row in curve)
    hidden = sum(end - start for start, end in bars.get("sent, hidden", []))
    for number in (computed, exposed, hidden + exposed, 100 * exposed / computed, best):
        assert digits(number) in spec["description"]
    assert f"make {messages:,} message" in spec["description"]


@pytest.mark.parametrize("key", SHOWN)
def test_blocks_have_the_parameters_of_the_model(key):
    config, count = SHOWN[key], parameters(SHOWN[key])
    assert config.n_layers * sum(block_tensors(config)) + config.d_model == count.attention + count.mlp + count.norm


def test_messages_too_thin_to_be_seen_are_joined():
    spec = find("gradient_overlap").figure("en", model="smollm2-135m", layers=128, bucket=1, latency=100)
    _, _, messages = exposed_ms(find("gradient_overlap").settings(model="smollm2-135m", layers=128, latency=100), 1)
    rows = [row for row in data(spec, "end") if row["row"] == "all-reduce"]
    assert len(rows) < 250 < messages


def test_the_best_size_of_buckets_grows_with_the_latency():
    def best(**at):
        curve = data(find("gradient_overlap").figure("en", **at), "bucket")[:-1]
        return min(curve, key=lambda row: row["exposed"])["bucket"]

    assert best(latency=1) < best(latency=20) < best(latency=100)


def test_the_prediction_asks_with_the_numbers_of_its_setting():
    explorable = find("gradient_overlap")
    settings = explorable.settings(**explorable.prediction.settings)
    exposed, computed, _ = exposed_ms(settings, 2_048)
    assert f"{computed:.0f}" == "36"
    assert f"{2 * 32 * sum(block_tensors(SHOWN['llama-3-8b'])) / 1e9:.0f}" == "14"
    assert explorable.prediction.answer(**settings) == pytest.approx(exposed)
