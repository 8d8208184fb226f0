"""How much memory a KV cache takes beside the weights, and how many requests a device has room for.

    bytes of the cache = 2 * layers * key-value heads * head size * bytes a value * context * requests

Two pictures: what the chosen batch fills, and how the cache grows with context for each kind of attention. Room is
counted as a device's memory less the weights; activations, fragmentation and what libraries hold are left out.
"""

import math
from dataclasses import replace

from sysai.core.language import Text, in_language
from sysai.explorables import controls, marks
from sysai.explorables.controls import BYTES, CHIPS, MODELS
from sysai.explorables.explorable import Dropdown, Explorable, Prediction
from sysai.explorables.units import quantity
from sysai.models.config import ModelConfig
from sysai.models.formulas.memory import kv_cache_bytes
from sysai.models.formulas.parameter_count import parameters
from sysai.viz.palette import INK


def attention(config: ModelConfig, heads: str) -> ModelConfig:
    """The model with other key-value heads: "mha" one for each query head, "gqa" at most eight, "mqa" one.

    A model with latent attention then caches keys and values of the width of its values, as DeepSeek-V2's own
    comparison does (arXiv 2405.04434, table 1). "model" leaves it as it is.
    """
    if heads == "model":
        return config
    if config.mla:
        config = replace(config, mla=None, head_dim=config.mla.v_dim)
    number = {"mha": config.n_heads, "mqa": 1}.get(heads)
    if number is None:
        number = max(n for n in range(1, 9) if config.n_heads % n == 0)
    return replace(config, n_kv_heads=number)


def kind(config: ModelConfig, language: str) -> str:
    """The name of a model's kind of attention: `GQA, 8 heads`."""
    if config.mla:
        return Text("MLA, one latent", "MLA，一个潜在向量")[language]
    number = config.n_kv_heads
    name = "MHA" if number == config.n_heads else "MQA" if number == 1 else "GQA"
    return Text(f"{name}, {number} head{'s' * (number > 1)}", f"{name}，{number}个头")[language]


def bytes_held(config: ModelConfig, batch: int, context: int, precision: str) -> tuple[float, float]:
    """Bytes of the weights, and of the cache."""
    size = BYTES[precision]
    return parameters(config).total * size, kv_cache_bytes(config, batch, context, 1) * size


def fit(config: ModelConfig, context: int, precision: str, memory: float) -> int:
    """How many requests of `context` tokens have room beside the weights."""
    weights, one = bytes_held(config, 1, context, precision)
    return max(0, math.floor((memory - weights) / one))


def draw(
    language: str, *, model: str, heads: str, context: int, batch: int, precision: str, device: str, devices: int
) -> dict:
    """The figure: what is filled, and how the cache grows."""
    config, memory = attention(MODELS[model], heads), devices * CHIPS[device].memory
    weights, cache = bytes_held(config, batch, context, precision)
    return {
        "description": _describe(language, config, context, batch, precision, device, devices),
        "vconcat": [
            _filled(language, weights, cache, memory),
            _growth(language, model, heads, context, batch, precision, memory - weights),
        ],
        "spacing": 18,
        "resolve": {"scale": {"color": "independent"}},
    }


def _filled(language: str, weights: float, cache: float, memory: float) -> dict:
    """One bar of weights and cache, and a line where the devices end."""
    names = in_language(_TEXTS, language)
    x = marks.linear(0, 1.06 * max(weights + cache, memory) / 1e9)
    bar = marks.stacked("", {names["weights"]: weights / 1e9, names["cache"]: cache / 1e9})
    return {
        "width": 464,
        "height": 36,
        "layer": [
            {
                "data": {"values": bar},
                "mark": {"type": "bar", "height": 26},
                "encoding": {
                    "x": {"field": "start", **x, "title": names["held"], "axis": {"tickCount": 6, "grid": False}},
                    "x2": {"field": "end"},
                    "color": marks.colours({names["weights"]: "blue", names["cache"]: "purple"}),
                },
            },
            marks.limit_down(memory / 1e9, names["memory"].format(memory=quantity(memory, "B")), x),
        ],
    }


def _growth(language: str, model: str, heads: str, context: int, batch: int, precision: str, room: float) -> dict:
    """The batch's cache over context, a line for each kind of attention, and a line at the room that there is."""
    names, chosen = in_language(_TEXTS, language), kind(attention(MODELS[model], heads), language)
    changed = [attention(MODELS[model], key) for key in ("mha", "gqa", "mqa", "model")]
    kinds = {kind(config, language): config for config in changed}
    rows = [
        {"part": name, "tokens": tokens, "GB": bytes_held(config, batch, tokens, precision)[1] / 1e9}
        for name, config in kinds.items()
        for tokens in _CONTEXT.values
    ]
    here = [row for row in rows if row["part"] == chosen and row["tokens"] == context]
    ticks = marks.decades([row["GB"] for row in rows] + ([room / 1e9] if room > 0 else []))
    x, y = marks.logarithmic(*_CONTEXT.values[:: len(_CONTEXT.values) - 1]), marks.logarithmic(ticks[0], ticks[-1])
    colours = dict(zip(kinds, ("orange", "green", "grey", "purple"), strict=False))
    lines = {
        "data": {"values": rows},
        "mark": "line",
        "encoding": {
            "x": {
                "field": "tokens",
                **x,
                "title": names["context"],
                "axis": {"values": _CONTEXT.values[1::2], "format": ",", "grid": False},
            },
            "y": {"field": "GB", **y, "title": names["cached"], "axis": {"values": ticks, "format": ",~g"}},
            "color": marks.colours(colours, symbolType="stroke", symbolStrokeWidth=3),
            "strokeWidth": {"condition": {"test": f"datum.part === {chosen!r}", "value": 4}, "value": 1.5},
        },
    }
    point = {
        "data": {"values": here},
        "mark": {"type": "point", "filled": True, "size": 110, "color": INK, "opacity": 1},
        "encoding": {"x": {"field": "tokens", **x}, "y": {"field": "GB", **y}},
    }
    layers = [lines, point]
    if room > 0:
        layers.insert(1, marks.limit_across(room / 1e9, names["room"].format(room=quantity(room, "B")), y))
    return {"width": 464, "height": 150, "layer": layers}


def _describe(
    language: str, config: ModelConfig, context: int, batch: int, precision: str, device: str, devices: int
) -> str:
    chip, says = CHIPS[device], in_language(_TEXTS, language)
    weights, cache = bytes_held(config, batch, context, precision)
    memory = devices * chip.memory
    verdict = "over" if weights > memory else "full" if weights + cache > memory else "fits"
    return (says["readout"] + says[verdict]).format(
        model=config.name,
        kind=kind(config, language),
        precision=precision,
        token=quantity(cache / batch / context, "B"),
        batch=f"{batch:,}",
        s="s" * (batch > 1),
        context=f"{context:,}",
        cache=quantity(cache, "B"),
        weights=quantity(weights, "B"),
        total=quantity(weights + cache, "B"),
        memory=quantity(memory, "B"),
        devices=devices,
        device=chip.name,
        needed=f"{math.ceil(weights / chip.memory):,}",
        fit=f"{fit(config, context, precision, memory):,}",
    )


_TEXTS: dict[str, Text] = {
    "weights": Text("weights", "权重"),
    "cache": Text("KV cache", "KV缓存"),
    "memory": Text("memory {memory}", "显存{memory}"),
    "held": Text("held (GB)", "占用（GB）"),
    "context": Text("context of each request (tokens)", "每个请求的上下文长度（词元）"),
    "cached": Text("KV cache (GB)", "KV缓存（GB）"),
    "room": Text("room beside the weights: {room}", "除去权重还剩{room}"),
    "readout": Text(
        "{model} with {kind}, {precision}: a token of context keeps {token}. The cache of {batch} request{s} of "
        "{context} tokens is {cache}; with the weights, {weights}, that makes {total}. "
        "Memory of {devices} × {device}: {memory}. ",
        "{model}，{kind}，{precision}：上下文中每个词元占{token}。{batch}个请求、每个持有{context}个词元，KV缓存共{cache}；"
        "加上权重{weights}，合计{total}。{devices}块{device}的显存共{memory}。",
    ),
    "fits": Text("In all, {fit} such requests fit.", "这样的请求总共放得下{fit}个。"),
    "full": Text("That is too much: {fit} such requests fit.", "放不下：这样的请求只放得下{fit}个。"),
    "over": Text("The weights alone need {needed} devices.", "光是权重就要{needed}块设备。"),
}

_HEADS: dict[str, Text] = {
    "model": Text("as in the model", "与模型相同"),
    "mha": Text("MHA: one for each query head", "MHA：每个查询头一个"),
    "gqa": Text("GQA: eight or fewer", "GQA：至多八个"),
    "mqa": Text("MQA: one for all", "MQA：共用一个"),
}

_CONTEXT = controls.context_slider(
    Text(
        "Tokens that each request holds: what it has read and what it has written.",
        "每个请求持有的词元数：读入的加上写出的。",
    )
)

kv_cache = Explorable(
    name="kv_cache",
    title=Text("Memory of a KV cache", "KV缓存占多少显存"),
    controls=(
        controls.model_choice(
            Text(
                "Layers, key-value heads and head size decide what a token of context keeps.",
                "层数、键值头数和头大小，决定上下文中每个词元要占多少显存。",
            )
        ),
        Dropdown(
            "heads",
            Text("Key-value heads", "键值头"),
            _HEADS,
            "model",
            Text(
                "Query heads that share a key-value head share its cache. The weights change a little, too.",
                "共用一个键值头的各查询头，也共用它的KV缓存。键值头变了，权重也略有变化。",
            ),
        ),
        _CONTEXT,
        controls.batch_slider(
            Text(
                "Each request has a cache of its own; all share the weights.",
                "每个请求有自己的KV缓存；权重由所有请求共用。",
            )
        ),
        controls.precision_choice(
            Text(
                "Of weights and cache alike: 4, 2, 1 or half a byte a value, not counting scales.",
                "权重与KV缓存用同一种格式：每个数值4、2、1或0.5字节，不计缩放系数。",
            )
        ),
        controls.device_choice(
            Text(
                "Its memory by the data sheet, all of it for weights and cache.",
                "显存大小取自产品手册，假设全部用于权重和KV缓存。",
            )
        ),
        controls.device_count(
            Text("Weights and cache are divided evenly over all of them.", "权重和KV缓存在各块设备上平分。")
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "Llama 3 8B in bf16 on one H100 with 80 GB; every request holds 8,192 tokens. "
            "How many requests fit beside the weights?",
            "Llama 3 8B，bf16，一块80 GB的H100，每个请求持有8,192个词元。放下权重之后，还放得下多少个请求？",
        ),
        unit=controls.REQUESTS,
        answer=lambda *, model, heads, context, precision, device, devices, **_: fit(
            attention(MODELS[model], heads), context, precision, devices * CHIPS[device].memory
        ),
        settings={
            "model": "llama-3-8b",
            "heads": "model",
            "context": 8_192,
            "batch": 64,
            "precision": "bf16",
            "device": "nvidia-h100-sxm",
            "devices": 1,
        },
    ),
)
