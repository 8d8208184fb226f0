"""Throughput and TPOT over the batch, computed a second time from the sizes of the models."""

import pytest
from sysai.explorables.controls import BYTES, CHIPS, MODELS
from sysai.explorables.decode_service import LAPTOP, LAPTOP_MEMORY, LAPTOP_ROOFLINE, service
from sysai.explorables.explorable import find
from sysai.explorables.units import digits, quantity
from test_numbers import DENSE, data, llama_flops, llama_parameters, some_settings

SETTINGS = some_settings("batch_roofline", model=DENSE)
SETTINGS[0] |= {"device": LAPTOP, "model": "smollm2-135m"}


def costs(at, batch):
    """Seconds to read weights, to read caches, and to compute, for one step."""
    model = MODELS[at["model"]]
    table = 0 if model.tie_embeddings else model.vocab_size * model.d_model
    weights = (llama_parameters(model) - table + batch * model.d_model) * BYTES[at["weights"]]
    cache = batch * (at["context"] + 1) * 2 * model.n_layers * model.n_kv_heads * model.head_dim * BYTES[at["cache"]]
    flops = llama_flops(model, batch, 1, at["context"], scored=1)
    if at["device"] == LAPTOP:
        peak, bandwidth = LAPTOP_ROOFLINE.peak_flops, LAPTOP_ROOFLINE.bandwidth
    else:
        chip = CHIPS[at["device"]]
        peak, bandwidth = chip.peak_flops.get(at["weights"], chip.peak_flops["bf16"]), chip.bandwidth
    return weights / bandwidth, cache / bandwidth, flops / peak


def tpot(at, batch):
    weights, cache, flops = costs(at, batch)
    return max(weights + cache, flops)


@pytest.mark.parametrize("at", SETTINGS, ids=str)
def test_curves_and_limits(at):
    model, batch = MODELS[at["model"]], at["batch"]
    spec = find("batch_roofline").figure("en", **at)
    curves = {}
    for row in data(spec, "part"):
        curves.setdefault(row["part"], {})[row["batch"]] = row["value"]
    for size in (1, 8, 64, 1_024):
        weights, cache, flops = costs(at, size)
        assert curves["weights"][size] == pytest.approx(1e3 * weights)
        assert curves["caches"][size] == pytest.approx(1e3 * cache)
        assert curves["arithmetic"][size] == pytest.approx(1e3 * flops)
        assert curves["TPOT"][size] == pytest.approx(1e3 * tpot(at, size))
        assert curves["throughput"][size] == pytest.approx(size / tpot(at, size))
        assert curves["if caches took no time"][size] == pytest.approx(size / max(weights, flops))
    points = [row["value"] for row in data(spec, "batch") if "part" not in row]
    assert points == pytest.approx([batch / tpot(at, batch), 1e3 * tpot(at, batch)])

    held = llama_parameters(model) * BYTES[at["weights"]]
    one = at["context"] * 2 * model.n_layers * model.n_kv_heads * model.head_dim * BYTES[at["cache"]]
    memory = LAPTOP_MEMORY if at["device"] == LAPTOP else CHIPS[at["device"]].memory
    fits = max(0, int((memory - held) // one))
    levels = [row["level"] for row in data(spec, "level")]
    assert sorted(levels) == sorted([at["target"], *[fits] * (2 if 1 <= fits <= 1_024 else 0)])
    within = next((n - 1 for n in range(1, fits + 2) if n > fits or tpot(at, n) > at["target"] / 1e3), 0)
    said = spec["description"]
    assert quantity(held, "B") in said
    assert quantity(one, "B") in said
    assert f"{digits(batch / tpot(at, batch))} tokens/s" in said
    assert ("So many do not fit" in said) == (batch > fits)
    assert (f"has room for {fits:,} request" in said) == (fits > 0)
    assert (f"may be {within:,} request" in said) == (within > 0)
    assert ("out of reach" in said) == (fits > 0 == within)


def test_no_batch_gives_more_than_the_limit_and_large_ones_come_near():
    for at in ({}, {"device": LAPTOP, "model": "smollm2-135m", "context": 512}):
        explorable = find("batch_roofline")
        settings = explorable.settings(**at)
        served = service(**{name: settings[name] for name in ("model", "device", "weights", "cache", "context")})
        said = explorable.figure("en", **at)["description"]
        limit = float(said.partition("gives more than ")[2].partition(". ")[0].replace(",", ""))
        rates = [batch / served.tpot(batch) for batch in (1, 32, 1_024, 1_000_000)]
        assert rates == sorted(rates)
        assert rates[-1] == pytest.approx(limit, rel=1e-2)
        assert rates[-1] <= limit * 1.01


def test_the_prediction_is_the_largest_batch_within_the_target():
    explorable = find("batch_roofline")
    at = explorable.settings(**explorable.prediction.settings)
    answer = explorable.prediction.answer(**at)
    assert tpot(at, answer) <= 0.020 < tpot(at, answer + 1)
    assert answer < (80e9 - 2 * llama_parameters(MODELS["llama-3-8b"])) / 2**30  # a gibibyte of cache a request


def test_memory_ends_the_batch_where_the_target_does_not():
    served = service("llama-3-70b", "nvidia-h100-sxm", "fp8", "bf16", 512)
    assert served.within(0.5) == served.fits == int((80e9 - served.held[0]) // served.held[1])
    assert served.within(1e-6) == 0
    said = {batch: find("batch_roofline").figure("en", batch=batch)["description"] for batch in (32, 64)}
    assert ["So many do not fit" in said[batch] for batch in (32, 64)] == [False, True]  # 59 do
    assert service("llama-3.1-405b", "google-tpu-v5e", "bf16", "bf16", 512).fits == 0


def test_weights_and_cache_have_formats_of_their_own():
    narrow = service("llama-3-8b", "nvidia-h100-sxm", "int4", "bf16", 8_192)
    wide = service("llama-3-8b", "nvidia-h100-sxm", "bf16", "bf16", 8_192)
    assert narrow.held == (wide.held[0] / 4, wide.held[1])
    assert narrow.step(4).cache == wide.step(4).cache
    assert narrow.fits > wide.fits
