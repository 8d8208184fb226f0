"""Where prefill and decode of a model stand on a device's roofline, and what a decode step waits for.

    time of a call >= max(FLOPs / peak, bytes / bandwidth)

Several devices count as one with all their rates together, as if messages cost nothing. Values of a format that the
device does not multiply are stored in it and multiplied in bf16.
"""

from sysai.core.language import Text, in_language
from sysai.explorables import controls, marks
from sysai.explorables.calls import ModelCall, decode, prefill
from sysai.explorables.controls import BYTES, CHIPS, MODELS
from sysai.explorables.explorable import Explorable, Prediction
from sysai.explorables.units import digits, quantity
from sysai.hardware.roofline import Roofline
from sysai.models.config import ModelConfig
from sysai.models.formulas.memory import inference_memory
from sysai.viz.palette import INK

# Latent attention is left out: the formula counts a program that expands the whole cache at each step, which
# takes far more FLOPs than the one that servers run.
SHOWN = {key: config for key, config in MODELS.items() if config.mla is None}


def roof_of(device: str, devices: int, precision: str) -> Roofline:
    """The rates of all devices together."""
    one = CHIPS[device].roofline(precision)
    return Roofline(devices * one.peak_flops, devices * one.bandwidth, one.name)


def tokens_per_second(roof: Roofline, call: ModelCall) -> float:
    """The most tokens a second that the roofline allows."""
    return call.tokens / roof.time(call.flops, call.bytes)


def draw(language: str, *, model: str, precision: str, batch: int, context: int, device: str, devices: int) -> dict:
    """The figure: the roof with both calls, and what fills the time of a decode step."""
    config, roof = SHOWN[model], roof_of(device, devices, precision)
    step = decode(config, batch, context, precision)
    return {
        "description": _describe(language, config, precision, batch, context, device, devices),
        "vconcat": [
            _roof(language, roof, config, precision, batch, context),
            _step(language, roof, step),
        ],
        "spacing": 18,
        "resolve": {"scale": {"color": "independent"}},
    }


def _roof(language: str, roof: Roofline, config: ModelConfig, precision: str, batch: int, context: int) -> dict:
    """The roof; the two calls on it; faintly, the same calls at every other batch size."""
    names = in_language(_TEXTS, language)
    colours = {names["decode"]: "orange", names["prefill"]: "green"}
    rows = [
        {"part": name, "x": call.intensity, "y": roof.attainable(call.intensity) / 1e12, "here": size == batch}
        for name, cost in ((names["decode"], decode), (names["prefill"], prefill))
        for size in _BATCH.values
        for call in [cost(config, size, context, precision)]
    ]
    x_ticks = marks.decades([0.1, 10_000, *(row["x"] for row in rows)])
    corners = [x_ticks[0], roof.ridge, x_ticks[-1]]
    # three points draw the roof: both ends and the ridge
    line = [{"x": intensity, "y": roof.attainable(intensity) / 1e12} for intensity in corners]
    y_ticks = marks.decades([point["y"] for point in line])
    x, y = marks.logarithmic(x_ticks[0], x_ticks[-1]), marks.logarithmic(y_ticks[0], y_ticks[-1])
    encoding = {
        "x": {"field": "x", **x, "title": names["intensity"], "axis": {"values": x_ticks, "format": ",~g"}},
        "y": {"field": "y", **y, "title": "TFLOP/s", "axis": {"values": y_ticks, "format": ",~g"}},
    }
    ridge = {"x": roof.ridge, "y": roof.peak_flops / 1e12, "text": names["ridge"].format(ridge=digits(roof.ridge))}
    return {
        "width": 470,
        "height": 180,
        "layer": [
            {
                "data": {"values": line},
                "mark": {"type": "line", "color": INK, "strokeWidth": 2},
                "encoding": encoding,
            },
            {
                "data": {"values": [ridge]},
                "mark": {"type": "text", "dy": -8, "baseline": "bottom"},
                "encoding": {**encoding, "text": {"field": "text"}},
            },
            {
                "data": {"values": [row for row in rows if not row["here"]]},
                "mark": {"type": "point", "filled": True, "size": 34, "opacity": 0.45},
                "encoding": {**encoding, "color": marks.colours(colours)},
            },
            {
                "data": {"values": [row for row in rows if row["here"]]},
                "mark": {"type": "point", "filled": True, "size": 170, "opacity": 1, "stroke": INK, "strokeWidth": 1.5},
                "encoding": {**encoding, "color": marks.colours(colours)},
            },
        ],
    }


def _step(language: str, roof: Roofline, step: ModelCall) -> dict:
    """Two bars, what a decode step reads and what it computes, in milliseconds: the longer one is its time."""
    names = in_language(_TEXTS, language)
    per_byte = 1e3 / roof.bandwidth
    rows = marks.stacked(
        names["reading"], {names["weights"]: step.weights * per_byte, names["cache"]: step.cache * per_byte}
    )
    rows += marks.stacked(names["computing"], {names["flops"]: step.flops * 1e3 / roof.peak_flops})
    colours = {names["weights"]: "blue", names["cache"]: "purple", names["flops"]: "grey"}
    return marks.bars(rows, colours, names["step"], 470)


def _describe(
    language: str, config: ModelConfig, precision: str, batch: int, context: int, device: str, devices: int
) -> str:
    says, chip, roof = in_language(_TEXTS, language), CHIPS[device], roof_of(device, devices, precision)
    step, read = decode(config, batch, context, precision), prefill(config, batch, context, precision)
    held = inference_memory(config, batch, context, 1).total * BYTES[precision]
    computed = chip.computes_in(precision)
    rate = tokens_per_second(roof, step)
    parts = [says["roof"], says["decode readout"], says["prefill readout"]]
    parts += [says["experts"]] if config.moe and batch > 1 else []
    parts += [says["room"]] if held > devices * chip.memory else []
    return "".join(parts).format(
        devices=devices,
        device=chip.name,
        model=config.name,
        precision=precision,
        computed="" if computed == precision else says["computed"].format(computed=computed),
        ridge=digits(roof.ridge),
        batch=f"{batch:,}",
        s="s" * (batch > 1),
        context=f"{context:,}",
        step_intensity=digits(step.intensity),
        step_bound=says[roof.bound(step.intensity)],
        step_time=digits(roof.time(step.flops, step.bytes) * 1e3),
        weights_time=digits(step.weights / roof.bandwidth * 1e3),
        cache_time=digits(step.cache / roof.bandwidth * 1e3),
        flops_time=digits(step.flops / roof.peak_flops * 1e3),
        step_rate=digits(rate),
        each=digits(rate / batch),
        read_intensity=digits(read.intensity),
        read_bound=says[roof.bound(read.intensity)],
        read_time=digits(roof.time(read.flops, read.bytes)),
        read_rate=digits(tokens_per_second(roof, read)),
        held=quantity(held, "B"),
        memory=quantity(devices * chip.memory, "B"),
    )


_TEXTS: dict[str, Text] = {
    "decode": Text("decode", "解码"),
    "prefill": Text("prefill", "预填充"),
    "intensity": Text("arithmetic intensity (FLOP/byte)", "算术强度（FLOP/字节）"),
    "ridge": Text("ridge {ridge}", "脊点{ridge}"),
    "reading": Text("reading", "读显存"),
    "computing": Text("computing", "运算"),
    "weights": Text("weights", "权重"),
    "cache": Text("KV cache", "KV缓存"),
    "flops": Text("arithmetic", "运算"),
    "step": Text("decode step (ms)", "一步解码的时间（ms）"),
    "memory": Text("memory-bound", "访存受限"),
    "compute": Text("compute-bound", "计算受限"),
    "computed": Text(" (products in {computed})", "（乘法用{computed}）"),
    "roof": Text(
        "{model} in {precision}{computed} on {devices} × {device}, with the ridge at {ridge} FLOP/byte. ",
        "{model}，{precision}{computed}，{devices}块{device}，脊点在每字节{ridge}次运算。",
    ),
    "decode readout": Text(
        "A decode step of {batch} request{s}, with {context} tokens in each cache, has {step_intensity} "
        "FLOP/byte and is {step_bound}. It takes at least {step_time} ms: {weights_time} to read weights, "
        "{cache_time} to read cache, {flops_time} to compute meanwhile. At most {step_rate} tokens/s, "
        "{each} a request. ",
        "{batch}个请求、每个KV缓存里有{context}个词元，一步解码每字节做{step_intensity}次运算，{step_bound}，"
        "至少要{step_time} ms：读权重{weights_time} ms，读KV缓存{cache_time} ms，同时进行的运算{flops_time} ms。"
        "每秒至多{step_rate}个词元，每个请求{each}个。",
    ),
    "prefill readout": Text(
        "Prefill of {batch} prompt{s} of that length has {read_intensity} FLOP/byte and is {read_bound}: "
        "at least {read_time} s, at most {read_rate} tokens/s.",
        "预填充{batch}个同样长的提示词，每字节做{read_intensity}次运算，{read_bound}：至少要{read_time} s，"
        "每秒至多{read_rate}个词元。",
    ),
    "experts": Text(
        " The requests of a step are taken to visit as many different experts as they can; they often share some, "
        "and read less.",
        "这里假设同一步里的各个请求尽量选用不同的专家；实际上它们常选中相同的专家，读得更少。",
    ),
    "room": Text(
        " Weights and caches, {held}, exceed the memory, {memory}: only more devices would allow it.",
        "权重和KV缓存共{held}，超出了{memory}的显存：要有更多设备才放得下。",
    ),
}

_BATCH = controls.batch_slider(
    Text(
        "Requests that take a step together share one reading of the weights, but each reads its own cache.",
        "同一步里的各个请求共用一次权重读取，但各读各的KV缓存。",
    ),
    default=1,
)

roofline = Explorable(
    name="roofline",
    title=Text("Prefill and decode on the roofline", "屋顶线上的预填充与解码"),
    controls=(
        controls.model_choice(
            Text(
                "Its shape gives the operations and the bytes of both calls.",
                "模型的形状决定两种调用的运算量与字节数。",
            ),
            SHOWN,
        ),
        controls.precision_choice(
            Text(
                "Of weights and cache: 2, 1 or half a byte a value. Formats that a device lacks compute in bf16.",
                "权重与KV缓存：每个数值2、1或0.5字节。设备不支持的格式用bf16做乘法。",
            ),
            ("bf16", "fp8", "int4"),
        ),
        _BATCH,
        controls.context_slider(
            Text(
                "Tokens of each prompt, which prefill reads, and of each cache, which a decode step reads again.",
                "每个提示词的词元数，由预填充读入；也是一步解码要重读的KV缓存里的词元数。",
            )
        ),
        controls.device_choice(
            Text(
                "Peak of dense products and bandwidth by the data sheet; programs reach less.",
                "稠密乘法的峰值速率和带宽取自产品手册；实际程序达不到。",
            )
        ),
        controls.device_count(
            Text(
                "All rates add up, as if messages between devices cost nothing.",
                "各项速率直接相加，设备之间的通信当作不花时间。",
            )
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "Llama 3 8B in bf16 on one H100, every request with 8,192 tokens in its cache. "
            "With 32 requests at once instead of one, how many times as many tokens does decode write in a second?",
            "Llama 3 8B，bf16，一块H100，每个请求的KV缓存里有8,192个词元。并发请求从1个增加到32个，"
            "解码每秒写出的词元数是原来的多少倍？",
        ),
        unit=Text("times", "倍"),
        answer=lambda *, model, precision, batch, context, device, devices: (
            tokens_per_second(roof_of(device, devices, precision), decode(SHOWN[model], batch, context, precision))
            / tokens_per_second(roof_of(device, devices, precision), decode(SHOWN[model], 1, context, precision))
        ),
        settings={
            "model": "llama-3-8b",
            "precision": "bf16",
            "batch": 32,
            "context": 8_192,
            "device": "nvidia-h100-sxm",
            "devices": 1,
        },
    ),
)
