"""How much memory a KV cache takes beside the weights, and how many requests a device has room for.

    bytes of the cache = 2 * layers * key-value heads * head size * bytes a value * context * requests

Two pictures: what the chosen batch fills, and how the cache grows with context for each kind of attention. Room is
counted as a device's memory less the weights; activations, fragmentation and what libraries hold are left out.
"""

import math
from dataclasses import replace

from sysai.core.language import Text
from sysai.explorables.controls import (
    BYTES,
    CHIPS,
    MODELS,
    REQUESTS,
    TOKENS,
    device_choice,
    doubling,
    model_choice,
    precision_choice,
)
from sysai.explorables.explorable import Choice, Explorable, Prediction
from sysai.explorables.units import quantity
from sysai.models.config import ModelConfig
from sysai.models.formulas.memory import kv_cache_bytes
from sysai.models.formulas.parameter_count import parameters
from sysai.viz.palette import INK, PALETTE, PAPER

CONTEXTS = tuple(2**power for power in range(9, 18))


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
    """What a model's attention is called: `GQA, 8 heads`."""
    if config.mla:
        return {"en": "MLA, one latent", "zh": "MLA，一个潜在向量"}[language]
    number = config.n_kv_heads
    name = "MHA" if number == config.n_heads else "MQA" if number == 1 else "GQA"
    return {"en": f"{name}, {number} head{'s' * (number > 1)}", "zh": f"{name}，{number}个头"}[language]


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
    config, chip = attention(MODELS[model], heads), CHIPS[device]
    memory = devices * chip.memory
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
    names = _TEXTS[language]
    top = 1.06 * max(weights + cache, memory) / 1e9
    x = {"type": "quantitative", "scale": {"domain": [0, top], "nice": False}}
    bars = [
        {"part": names["weights"], "start": 0, "end": weights / 1e9},
        {"part": names["cache"], "start": weights / 1e9, "end": (weights + cache) / 1e9},
    ]
    end = {"GB": memory / 1e9, "text": f"{names['memory']} {quantity(memory, 'B')}"}
    right = end["GB"] > top / 2
    return {
        "width": 470,
        "height": 36,
        "layer": [
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "height": 26},
                "encoding": {
                    "x": {"field": "start", **x, "title": names["held"], "axis": {"tickCount": 6, "grid": False}},
                    "x2": {"field": "end"},
                    "color": {
                        "field": "part",
                        "type": "nominal",
                        "scale": {
                            "domain": [names["weights"], names["cache"]],
                            "range": [PALETTE["blue"], PALETTE["orange"]],
                        },
                        "legend": {"title": None, "orient": "top"},
                    },
                },
            },
            {
                "data": {"values": [end]},
                "layer": [
                    {"mark": {"type": "rule", "color": PALETTE["red"], "strokeWidth": 2}},
                    {
                        "mark": {
                            "type": "text",
                            "align": "right" if right else "left",
                            "dx": -4 if right else 4,
                            "y": -9,
                            "color": PALETTE["red"],
                        },
                        "encoding": {"text": {"field": "text"}},
                    },
                ],
                "encoding": {"x": {"field": "GB", **x}},
            },
        ],
    }


def _growth(language: str, model: str, heads: str, context: int, batch: int, precision: str, room: float) -> dict:
    """The batch's cache over context, a line for each kind of attention, and a line at the room that there is."""
    names = _TEXTS[language]
    chosen = kind(attention(MODELS[model], heads), language)
    kinds = {
        kind(changed, language): changed
        for changed in (attention(MODELS[model], key) for key in ("mha", "gqa", "mqa", "model"))
    }
    rows = [
        {"kind": name, "tokens": tokens, "GB": bytes_held(changed, batch, tokens, precision)[1] / 1e9}
        for name, changed in kinds.items()
        for tokens in CONTEXTS
    ]
    here = [row for row in rows if row["kind"] == chosen and row["tokens"] == context]
    shown = [row["GB"] for row in rows] + ([room / 1e9] if room > 0 else [])
    low, high = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)))
    x = {"type": "quantitative", "scale": {"type": "log", "domain": [CONTEXTS[0], CONTEXTS[-1]], "nice": False}}
    y = {"type": "quantitative", "scale": {"type": "log", "domain": [10**low, 10**high], "nice": False}}
    colours = [PALETTE[name] for name in ("purple", "green", "grey", "orange")]
    layers = [
        {
            "data": {"values": rows},
            "mark": {"type": "line"},
            "encoding": {
                "x": {
                    "field": "tokens",
                    **x,
                    "title": names["context"],
                    "axis": {"values": CONTEXTS[1::2], "format": ",", "grid": False},
                },
                "y": {
                    "field": "GB",
                    **y,
                    "title": names["cached"],
                    "axis": {"values": [10**power for power in range(low, high + 1)], "format": ",~g"},
                },
                "color": {
                    "field": "kind",
                    "type": "nominal",
                    "scale": {"domain": list(kinds), "range": colours[: len(kinds)]},
                    "legend": {"title": None, "orient": "top", "symbolType": "stroke", "symbolStrokeWidth": 3},
                },
                "strokeWidth": {"condition": {"test": f"datum.kind === {chosen!r}", "value": 4}, "value": 1.5},
            },
        },
        {
            "data": {"values": here},
            "mark": {"type": "point", "filled": True, "size": 110, "color": INK, "opacity": 1},
            "encoding": {"x": {"field": "tokens", **x}, "y": {"field": "GB", **y}},
        },
    ]
    if room > 0:
        layers.append(_room(names["room"].format(room=quantity(room, "B")), room / 1e9, y))
    return {"width": 470, "height": 150, "layer": layers}


def _room(text: str, level: float, y: dict) -> dict:
    """A line across at `level`, with its text at the left, legible over other lines."""
    label = {"type": "text", "align": "left", "baseline": "bottom", "x": 6, "dy": -5}
    return {
        "data": {"values": [{"GB": level, "text": text}]},
        "encoding": {"y": {"field": "GB", **y}},
        "layer": [
            {"mark": {"type": "rule", "color": PALETTE["red"], "strokeWidth": 2}},
            {"mark": label | {"stroke": PAPER, "strokeWidth": 4}, "encoding": {"text": {"field": "text"}}},
            {"mark": label | {"color": PALETTE["red"]}, "encoding": {"text": {"field": "text"}}},
        ],
    }


def _describe(
    language: str, config: ModelConfig, context: int, batch: int, precision: str, device: str, devices: int
) -> str:
    memory = devices * CHIPS[device].memory
    weights, cache = bytes_held(config, batch, context, precision)
    room = fit(config, context, precision, memory)
    says = _TEXTS[language]
    verdict = "over" if weights > memory else "full" if weights + cache > memory else "fits"
    return (says["readout"] + says[verdict]).format(
        model=config.name,
        kind=kind(config, language),
        precision=precision,
        token=quantity(cache / batch / context, "B"),
        batch=f"{batch:,}",
        context=f"{context:,}",
        cache=quantity(cache, "B"),
        weights=quantity(weights, "B"),
        total=quantity(weights + cache, "B"),
        memory=quantity(memory, "B"),
        devices=devices,
        device=CHIPS[device].name,
        needed=math.ceil(weights / CHIPS[device].memory),
        fit=f"{room:,}",
        s="s" * (batch > 1),
    )


_TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "weights": "weights",
        "cache": "KV cache",
        "memory": "memory",
        "held": "held (GB)",
        "context": "context of each request (tokens)",
        "cached": "KV cache (GB)",
        "room": "room beside the weights: {room}",
        "readout": (
            "{model} with {kind}, {precision}: a token of context keeps {token}. "
            "{batch} request{s} of {context} tokens keep {cache} beside {weights} of weights, together {total}; {devices} × {device} hold {memory}. "
        ),
        "fits": "There is room for {fit} such requests in all.",
        "full": "That is too much: there is room for {fit} such requests.",
        "over": "The weights alone need {needed} devices.",
    },
    "zh": {
        "weights": "权重",
        "cache": "KV缓存",
        "memory": "内存",
        "held": "占用（GB）",
        "context": "每个请求的上下文长度（词元）",
        "cached": "KV缓存（GB）",
        "room": "除去权重还剩{room}",
        "readout": (
            "{model}，{kind}，{precision}：上下文中每个词元占{token}。{batch}个请求、每个{context}个词元，缓存共{cache}，"
            "加上权重{weights}，合计{total}；{devices}块{device}的内存是{memory}。"
        ),
        "fits": "这样的请求总共放得下{fit}个。",
        "full": "放不下：这样的请求只放得下{fit}个。",
        "over": "光是权重就要{needed}块设备。",
    },
}

_HEADS: dict[str, Text] = {
    "model": {"en": "as in the model", "zh": "与模型相同"},
    "mha": {"en": "MHA: one for each query head", "zh": "MHA：每个查询头一个"},
    "gqa": {"en": "GQA: eight or fewer", "zh": "GQA：至多八个"},
    "mqa": {"en": "MQA: one for all", "zh": "MQA：共用一个"},
}

kv_cache = Explorable(
    name="kv_cache",
    title={"en": "Memory of a KV cache", "zh": "KV缓存占多少内存"},
    controls=(
        model_choice(),
        Choice(
            "heads",
            {"en": "Key-value heads", "zh": "键值头"},
            _HEADS,
            "model",
            {
                "en": "Query heads that share a key-value head share its cache. Weights change with the heads, too.",
                "zh": "共用一个键值头的各查询头，也共用它的缓存。键值头变了，权重也略有变化。",
            },
        ),
        doubling(
            "context",
            {"en": "Context", "zh": "上下文长度"},
            CONTEXTS[0],
            CONTEXTS[-1],
            8_192,
            TOKENS,
            {
                "en": "Tokens that each request holds: what it has read and what it has written.",
                "zh": "每个请求持有的词元数：读入的加上写出的。",
            },
        ),
        doubling(
            "batch",
            {"en": "Requests at once", "zh": "同时的请求数"},
            1,
            1_024,
            16,
            REQUESTS,
            {
                "en": "Each request has a cache of its own; the weights are shared by all.",
                "zh": "每个请求有自己的缓存；权重由所有请求共用。",
            },
        ),
        precision_choice(
            BYTES,
            help={
                "en": "Of weights and cache alike: 4, 2, 1 or half a byte a value; scales of narrow formats not counted.",
                "zh": "权重与缓存相同：每个数值4、2、1或0.5字节，未计窄格式附带的缩放系数。",
            },
        ),
        device_choice(
            help={
                "en": "Its memory by the data sheet, all of it for weights and cache.",
                "zh": "内存取自产品手册，假设全部用于权重和缓存。",
            }
        ),
        doubling(
            "devices",
            {"en": "Number of devices", "zh": "设备数"},
            1,
            64,
            1,
            {"en": "", "zh": "块"},
            {
                "en": "Weights and cache divided evenly over all of them.",
                "zh": "权重和缓存在各块设备上平分。",
            },
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question={
            "en": (
                "Llama 3 8B, bf16, on one H100 with 80 GB; every request holds 8,192 tokens. "
                "How many requests have room beside the weights?"
            ),
            "zh": "Llama 3 8B，bf16，一块80 GB的H100，每个请求持有8,192个词元。除去权重，放得下多少个请求？",
        },
        unit=REQUESTS,
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
