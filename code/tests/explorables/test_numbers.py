"""What the figures show, computed a second time from the sizes of the models by the formulas of the chapter."""

import random
import re
import tomllib
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import pytest
from sysai.explorables.calls import decode
from sysai.explorables.controls import BYTES, CHIPS, MODELS
from sysai.explorables.explorable import find
from sysai.explorables.fused_attention import bytes_moved, graph, plan
from sysai.explorables.kv_cache import attention, fit
from sysai.explorables.loop_nest import bytes_moved as nest_bytes
from sysai.explorables.notebook import to_svg
from sysai.explorables.shapes import shaped
from sysai.explorables.tile_search import search
from sysai.explorables.units import count, digits, quantity
from sysai.models.formulas import parameters

PUBLISHED = tomllib.loads((Path(__file__).parents[2] / "oracles/parameters.toml").read_text())
DENSE = [key for key, model in MODELS.items() if model.moe is None and not model.bias]


def some_settings(name, **only):
    """Ten settings of an explorable at random; `only` narrows a control to some values."""
    draw, explorable = random.Random(name), find(name)
    return [{c.name: draw.choice(only.get(c.name, c.values)) for c in explorable.controls} for _ in range(10)]


def data(spec, field):
    """All rows of data in a specification that have `field`."""
    if isinstance(spec, dict):
        rows = spec.get("data", {}).get("values", [])
        found = [row for row in rows if field in row]
        return found + [row for key, inner in spec.items() if key != "data" for row in data(inner, field)]
    return [row for inner in spec for row in data(inner, field)] if isinstance(spec, list) else []


def llama_parameters(c):
    """Of a dense model with RMS norms and SwiGLU, the chapter's equation."""
    layer = 2 * c.d_model * c.head_dim * (c.n_heads + c.n_kv_heads) + 3 * c.d_model * c.d_ff + 2 * c.d_model
    embeddings = c.vocab_size * c.d_model * (1 if c.tie_embeddings else 2)
    return c.n_layers * layer + c.d_model + embeddings


def llama_flops(c, batch, new, context, scored):
    """Of a forward pass, the chapter's equation."""
    weights = c.n_layers * (2 * c.d_model * c.head_dim * (c.n_heads + c.n_kv_heads) + 3 * c.d_model * c.d_ff)
    scores = 4 * batch * new * (context + new) * c.n_layers * c.n_heads * c.head_dim
    return 2 * batch * new * weights + 2 * batch * scored * c.vocab_size * c.d_model + scores


@pytest.mark.parametrize("at", some_settings("kv_cache", model=DENSE), ids=str)
def test_kv_cache(at):
    model, size = attention(MODELS[at["model"]], at["heads"]), BYTES[at["precision"]]
    heads = {"model": MODELS[at["model"]].n_kv_heads, "mha": model.n_heads, "mqa": 1}.get(at["heads"])
    assert model.n_kv_heads == heads or (at["heads"] == "gqa" and model.n_kv_heads in (3, 8))
    one = 2 * model.n_layers * model.n_kv_heads * model.head_dim * size * at["context"]
    weights = llama_parameters(model) * size
    memory = at["devices"] * CHIPS[at["device"]].memory
    spec = find("kv_cache").figure("en", **at)
    bars = {row["part"]: row["end"] - row["start"] for row in data(spec, "end")}
    assert bars["weights"] == pytest.approx(weights / 1e9)
    assert bars["KV cache"] == pytest.approx(at["batch"] * one / 1e9)
    *_, here = (row for row in data(spec, "tokens"))
    assert (here["tokens"], here["GB"]) == (at["context"], pytest.approx(at["batch"] * one / 1e9))
    assert data(spec, "level")[0]["level"] == memory / 1e9
    assert fit(model, at["context"], at["precision"], memory) == max(0, (memory - weights) // one)
    for number in (one * at["batch"], weights, weights + one * at["batch"], memory, one / at["context"]):
        assert quantity(number, "B") in spec["description"]


def test_a_latent_is_smaller_than_eight_heads_and_gqa_divides_the_heads():
    v3 = MODELS["deepseek-v3"]
    per_token = {heads: attention(v3, heads) for heads in ("model", "mha", "gqa", "mqa")}
    widths = {heads: sum(n * width for n, width in c.cache_widths) for heads, c in per_token.items()}
    assert widths == {"model": 512 + 64, "mha": 2 * 128 * 128, "gqa": 2 * 8 * 128, "mqa": 2 * 128}
    assert attention(MODELS["smollm2-135m"], "gqa").n_kv_heads == 3  # of nine query heads
    assert find("kv_cache").prediction.answer(**find("kv_cache").settings()) == 59


@pytest.mark.parametrize("at", some_settings("roofline", model=DENSE), ids=str)
def test_roofline(at):
    model, chip, size = MODELS[at["model"]], CHIPS[at["device"]], BYTES[at["precision"]]
    batch, context, number = at["batch"], at["context"], at["devices"]
    peak, bandwidth = number * chip.peak_flops.get(at["precision"], chip.peak_flops["bf16"]), number * chip.bandwidth
    table = 0 if model.tie_embeddings else model.vocab_size * model.d_model  # a lookup reads a row of it a token
    per_position = 2 * model.n_layers * model.n_kv_heads * model.head_dim
    read = {
        "decode": (llama_parameters(model) - table + batch * model.d_model, batch * (context + 1) * per_position),
        "prefill": (llama_parameters(model) - table + batch * context * model.d_model, batch * context * per_position),
    }
    flops = {
        "decode": llama_flops(model, batch, 1, context, scored=1),
        "prefill": llama_flops(model, batch, context, 0, scored=1),
    }
    spec = find("roofline").figure("en", **at)
    points = {row["part"]: row for row in data(spec, "here") if row["here"]}
    for call, (weights, cache) in read.items():
        moved = (weights + cache) * size
        assert points[call]["x"] == pytest.approx(flops[call] / moved)
        assert points[call]["y"] == pytest.approx(min(peak, flops[call] / moved * bandwidth) / 1e12)
    weights, cache = (size * n / bandwidth * 1e3 for n in read["decode"])
    arithmetic = flops["decode"] / peak * 1e3
    bars = {row["part"]: row["end"] - row["start"] for row in data(spec, "end")}
    assert bars == pytest.approx({"weights": weights, "KV cache": cache, "arithmetic": arithmetic})
    step = max(weights + cache, arithmetic)
    for number in (step, weights, cache, arithmetic, batch / step * 1e3, 1e3 / step, peak / bandwidth):
        assert digits(number) in spec["description"]
    bound = "memory-bound" if weights + cache > arithmetic else "compute-bound"
    assert f"and is {bound}" in spec["description"]
    too_much = (llama_parameters(model) + batch * context * per_position) * size > at["devices"] * chip.memory
    assert ("exceed the memory" in spec["description"]) == too_much


def test_a_device_without_fp8_multiplies_in_bf16_what_it_stores_in_eight_bits():
    h100, a100 = (find("roofline").figure("en", device=d, precision="fp8") for d in ("nvidia-h100-sxm", _A100))
    assert "in fp8 on 1 × NVIDIA H100" in h100["description"]
    assert "in fp8 (products in bf16) on 1 × NVIDIA A100" in a100["description"]
    assert max(row["y"] for row in data(a100, "y")) == 312


_A100 = "nvidia-a100-sxm-80gb"


@pytest.mark.parametrize("at", some_settings("model_shape", model=DENSE), ids=str)
def test_model_shape(at):
    base, size = MODELS[at["model"]], {"fp32": 4, "bf16": 2}[at["precision"]]
    width, batch, sequence = at["width"], at["batch"], at["sequence"]
    model = replace(
        base,
        n_layers=round(at["depth"] * base.n_layers),
        d_model=int(width * base.d_model),
        head_dim=int(width * base.head_dim),
        d_ff=int(width * base.d_ff),
    )
    number, tokens = llama_parameters(model), batch * sequence
    spec = find("model_shape").figure("en", **at)
    unit = 1e9 if number >= 1e9 else 1e6
    bars = {(row["row"], row["part"]): row["end"] - row["start"] for row in data(spec, "end")}
    norms = (2 * model.n_layers + 1) * model.d_model
    shown = sum(length for (row, _), length in bars.items() if row == "parameters")
    assert shown == pytest.approx((number - norms) / unit)
    assert bars["parameters", "embedding"] == pytest.approx(model.vocab_size * model.d_model / unit)
    assert bars["training", "weights"] == bars["serving", "weights"] == pytest.approx(number * size / 1e9)
    states = sum(bars["training", part] for part in ("weights", "gradients", "optimizer"))
    assert states == pytest.approx(16 * number / 1e9)
    cache = 2 * model.n_layers * model.n_kv_heads * model.head_dim * tokens * size
    assert bars["serving", "KV cache"] == pytest.approx(cache / 1e9)
    scores = model.n_layers * batch * model.n_heads * sequence**2 * size
    assert bars["training", "activations"] > scores / 1e9
    step = 3 * llama_flops(model, batch, sequence, 0, scored=sequence)
    calls = [
        step,
        llama_flops(model, batch, sequence, 0, scored=1),
        llama_flops(model, batch, 1, sequence, scored=1),
    ]
    assert [row["flops"] for row in data(spec, "flops")] == pytest.approx(calls)
    assert digits(step / (6 * number * tokens)) + " times what 6N" in spec["description"]
    for text in (
        count(number),
        quantity(16 * number, "B"),
        quantity(cache, "B"),
        *(quantity(c, "FLOP") for c in calls),
    ):
        assert text in spec["description"]


@pytest.mark.parametrize("key", MODELS)
def test_an_unchanged_preset_has_the_published_parameters(key):
    model = MODELS[key]
    assert shaped(model, depth=1, width=1) == model
    published = PUBLISHED[model.name]
    spec = find("model_shape").figure("en", model=key)
    rows = [row for row in data(spec, "end") if row["row"] == "parameters"]
    unit = 1e9 if parameters(model).total >= 1e9 else 1e6
    n = parameters(model)
    assert rows[-1]["end"] * unit == pytest.approx(n.total - n.norm - n.router)
    assert n.total == pytest.approx(published["total"], rel=published["total_tolerance"])
    assert f"{model.name} has {count(n.total)} parameters" in spec["description"]


def test_a_wider_mixture_of_experts_grows_with_the_square():
    v3 = MODELS["deepseek-v3"]
    assert parameters(shaped(v3, 1, 2)).mlp == 4 * parameters(v3).mlp
    assert parameters(shaped(v3, 1, 2)).attention == 4 * parameters(v3).attention
    deeper = parameters(shaped(v3, 2, 1))
    assert deeper.embedding == parameters(v3).embedding
    assert deeper.attention == 2 * parameters(v3).attention


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (0.5, "0.5 B"),
        (999.4, "999 B"),
        (999.6, "1 kB"),
        (131_072, "131 kB"),
        (1.0737e9, "1.07 GB"),
        (999.96e9, "1 TB"),
        (1.342e12, "1.34 TB"),
        (7.33e19, "73.3 EB"),
        (2.5e25, "25,000 ZB"),
    ],
)
def test_quantities_have_three_digits_and_a_prefix(number, text):
    assert quantity(number, "B") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (2.64e-5, "0.0000264"), (0.5237, "0.524"), (8, "8"), (59.04, "59"), (99.96, "100"), (1342.4, "1,342")],
)
def test_small_numbers_are_written_without_powers_of_ten(number, text):
    assert digits(number) == text


def test_a_step_of_a_mixture_reads_no_more_experts_than_its_tokens_can_visit():
    model = MODELS["qwen3-235b-a22b"]  # 94 layers, 8 of 128 experts of three matrices 4096 x 1536
    expert = 94 * 3 * 4096 * 1536
    one, two, many = (decode(model, batch, 512, "bf16").weights for batch in (1, 2, 64))
    assert two - one == 2 * (8 * expert + 4096)
    assert many - one == 2 * (120 * expert + 63 * 4096)
    assumed = "as many different experts as they can"
    for at, said in (({}, False), ({"batch": 2}, True), ({"batch": 2, "model": "llama-3-8b"}, False)):
        spec = find("roofline").figure("en", **{"model": "qwen3-235b-a22b", **at})
        assert (assumed in spec["description"]) == said


@pytest.mark.parametrize(("number", "text"), [(134_515_008, "135M"), (8.03e9, "8.03B"), (2.57e13, "25.7T"), (12, "12")])
def test_counts_are_written_as_models_are_named(number, text):
    assert count(number) == text


@pytest.mark.parametrize(("order", "kept"), [("ijk", "C"), ("jik", "C"), ("kij", "A"), ("ikj", "A"), ("jki", "B")])
@pytest.mark.parametrize(("side", "cache"), [(16, 8), (32, 32), (64, 128)])
def test_loop_nest(order, kept, side, cache):
    """Two tiles are fetched N^3 / side^3 times, the third stays while the innermost loop over tiles runs.

    The cache holds the tiles of two iterations, which is five, and no row of tiles.
    """
    n, at = 512, {"order": order, "tile_i": side, "tile_j": side, "tile_k": side, "cache": cache}
    fetched, once = 4 * n**3 / side, 4 * n**2
    expected = {name: once if name == kept else fetched for name in "ABC"}
    expected["C"] *= 2  # loaded and stored
    spec = find("loop_nest").figure("en", **at)
    shown = {row["part"]: row["end"] - row["start"] for row in data(spec, "end")}
    assert shown == {name: pytest.approx(size / 1e6) for name, size in expected.items()}
    assert quantity(sum(expected.values()), "B") in spec["description"]


def test_loops_are_drawn_from_the_outermost_down_each_further_to_the_right():
    svg = to_svg(find("loop_nest").figure("en", order="jki", tile_i=32, tile_j=32, tile_k=32))
    texts = re.findall(r"<text[^>]*translate\(([\d.]+),([\d.]+)\)[^>]*>((?:for|C\[)[^<]*)</text>", svg)
    names = [text.split(maxsplit=2)[1].partition("_")[0] for *_, text in texts[:-1]]
    assert (names, texts[-1][2][:2]) == ([*"jki", *"ikj"], "C[")
    for (x, y, _), (inner_x, below, _) in pairwise(texts):
        assert float(inner_x) > float(x)
        assert float(below) > float(y)


FUSED = {"scores", "scores mask", "mask", "mask exp", "mask exp sum", "mask exp sum div", "exp", "exp sum"} | {
    "exp sum div", "sum", "sum div", "div", "product",
}  # fmt: skip
"""Of the boxes of attention, what one kernel may hold: no reduction and product together, no division without sum."""


@pytest.mark.parametrize("wishes", list(product(("fuse", "store"), repeat=6)), ids=" ".join)
def test_operator_fusion(wishes):
    """Each kernel reads what it lacks and writes what others read; products refuse reductions, and cycles their end."""
    edges = ("scores_mask", "mask_exp", "exp_sum", "sum_div", "exp_div", "div_product")
    at = dict(zip(edges, wishes, strict=True))
    T, H, D = 128, 4, 32
    wide, square, row = 4 * H * T * D, 4 * H * T * T, 4 * H * T
    reads = {"scores": [], "mask": ["scores"], "exp": ["mask"], "sum": ["exp"], "div": ["exp", "sum"]}
    reads["product"] = ["div"]
    outside = {"scores": 2 * wide, "product": 2 * wide}  # q and k; v and the result
    layer = graph(T, H, D)
    made = plan(layer, at)
    assert {" ".join(boxes) for boxes in made.kernels} <= FUSED
    expected = []
    for boxes in made.kernels:
        entering = {value for box in boxes for value in reads[box] if value not in boxes}
        leaving = {value for box, values in reads.items() if box not in boxes for value in values if value in boxes}
        sizes = [row if value == "sum" else square for value in (*entering, *leaving)]
        expected.append(sum(sizes) + sum(outside.get(box, 0) for box in boxes))
    assert bytes_moved(layer, made.kernels) == expected
    refused = {("mask", "exp")} if at["scores_mask"] == at["mask_exp"] == "fuse" else set()
    refused |= {("exp", "div")} if at["exp_sum"] == at["sum_div"] == "store" and at["exp_div"] == "fuse" else set()
    refused |= {("div", "product")} if at["div_product"] == "fuse" else set()
    assert set(made.refused) == refused
    for language, words in (("en", "Refused"), ("zh", "不能融合")):
        spec = find("operator_fusion").figure(language, positions=T, heads=H, size=D, **at)
        assert quantity(sum(expected), "B") in spec["description"]
        assert (words in spec["description"]) == bool(refused)
    bars = [line["bytes"] for line in data(spec, "zero") if "bytes" in line]
    assert bars == [*expected, sum(expected), 4 * wide]


def test_attention_that_is_fused_as_far_as_it_may_be_moves_the_scores_four_times():
    """Over q, k, v and the result that is 1 + positions / size."""
    fusion = find("operator_fusion")
    assert fusion.prediction.answer(**fusion.settings(**fusion.prediction.settings)) == 1 + 4096 / 128


@pytest.mark.parametrize("at", some_settings("schedule_search"), ids=str)
def test_schedule_search(at):
    sides = [2**power for power in range(1, 10)]
    nests = {
        (i, j): sum(part.total for part in nest_bytes("ijk", i, j, 16, at["cache"]).values())
        for i in sides
        for j in sides
    }
    spec = find("schedule_search").figure("en", **at)
    shown = data(spec, "MB")
    truth, expected = shown[: len(nests)], shown[len(nests) :]
    assert {(cell["i"], cell["j"]): cell["MB"] * 1e6 for cell in truth} == pytest.approx(nests)
    points = [(row["i"], row["j"]) for row in data(spec, "i") if "MB" not in row]
    *measured, best, hope = points
    assert len(set(measured)) == at["trials"]
    assert nests[best] == min(nests[point] for point in measured)
    assert (expected[0].keys(), len(expected)) == (truth[0].keys(), len(nests))
    assert min(expected, key=lambda cell: cell["MB"]).items() >= {"i": hope[0], "j": hope[1]}.items()
    least = min(nests.values())
    for name, label in (("random", "random"), ("evolution", "evolution"), ("model", "evolution with a model")):
        runs = [
            [nests[sides[i], sides[j]] for i, j in search(name, at["cache"], at["batch"], seed)] for seed in range(16)
        ]
        means = [sum(min(run[:n]) for run in runs) / 16 / least for n in range(1, 33)]
        curve = [row["times"] for row in data(spec, "trial") if row.get("part") == label and "high" not in row]
        assert curve == pytest.approx(means)
        assert f"{label} {digits(means[at['trials'] - 1])}" in spec["description"]
    for number in (least, nests[best], nests[hope]):
        assert quantity(number, "B") in spec["description"]
