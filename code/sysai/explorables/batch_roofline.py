"""How many requests to decode together: tokens a second and the time of each token over the batch, by the roofline.

    TPOT >= max(FLOPs / peak, (weights + batch * cache of a request) / bandwidth)        throughput = batch / TPOT

Weights are read once for all and the cache once for each request, so that throughput first grows with the batch and
then levels off: at the bandwidth over a request's cache, or at the peak. Memory and a limit of TPOT end it before.
"""

from sysai.core.language import Text, in_language
from sysai.explorables import controls, marks
from sysai.explorables.controls import CHIPS, REQUESTS
from sysai.explorables.decode_service import LAPTOP, Service, service
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.roofline import SHOWN
from sysai.explorables.units import digits, quantity
from sysai.viz.palette import INK

MOST = 1_024


def draw(language: str, *, batch: int, target: float, **settings: float | str) -> dict:
    """The figure: above throughput, below TPOT with what it is made of, both over the batch."""
    served = service(**settings)
    return {
        "description": _describe(language, served, batch, target, **settings),
        "vconcat": [_throughput(language, served, batch), _tpot(language, served, batch, target)],
        "spacing": 14,
        "resolve": {"scale": {"color": "independent"}},
    }


_SIZES = sorted({round(2 ** (power / 4)) for power in range(41)})
_X = marks.logarithmic(1, MOST)


def _throughput(language: str, served: Service, batch: int) -> dict:
    """Tokens a second with the cache, and what they would be if caches were read for nothing."""
    says, roof = in_language(_TEXTS, language), served.roof
    rows = []
    for size in _SIZES:
        step = served.step(size)
        times = {"real": roof.time(step.flops, step.bytes), "free": roof.time(step.flops, step.weights)}
        rows += [{"part": says[part], "batch": size, "value": size / seconds} for part, seconds in times.items()]
    here = batch / served.tpot(batch)
    return _panel(
        language, rows, {"batch": batch, "value": here}, {"real": "blue", "free": "grey"}, "rate", served.fits
    )


def _tpot(language: str, served: Service, batch: int, target: float) -> dict:
    """Milliseconds a step: reading weights, reading caches, arithmetic; and the target across."""
    says, roof = in_language(_TEXTS, language), served.roof
    rows = []
    for size in _SIZES:
        step = served.step(size)
        times = {"step": roof.time(step.flops, step.bytes), "weights": step.weights / roof.bandwidth}
        times |= {"cache": step.cache / roof.bandwidth, "flops": step.flops / roof.peak_flops}
        rows += [{"part": says[part], "batch": size, "value": 1e3 * seconds} for part, seconds in times.items()]
    here = {"batch": batch, "value": 1e3 * served.tpot(batch)}
    colours = {"step": "blue", "weights": "green", "cache": "purple", "flops": "orange"}
    return _panel(language, rows, here, colours, "tpot", served.fits, target)


def _panel(
    language: str, rows: list[dict], here: dict, colours: dict[str, str], title: str, fits: int, *targets: float
) -> dict:
    """Curves over the batch, the first one thick; a point at the chosen batch; lines at memory's end and at targets."""
    says = in_language(_TEXTS, language)
    parts = {says[name]: colour for name, colour in colours.items()}
    thick = next(iter(parts))
    ticks = marks.decades([row["value"] for row in rows if row["part"] == thick] + list(targets))
    sizes = {"values": [2**power for power in range(0, 11, 2)], "format": ",", "grid": False}
    y = marks.logarithmic(ticks[0], ticks[-1])
    encoding = {
        "x": {"field": "batch", **_X, "title": says["batch"], "axis": sizes},
        "y": {"field": "value", **y, "title": says[title], "axis": {"values": ticks, "format": ",~g"}},
    }
    width = {"condition": {"test": f"datum.part === {thick!r}", "value": 3.5}, "value": 1.5}
    colour = marks.colours(parts, symbolType="stroke", symbolStrokeWidth=3)
    point = {"type": "point", "filled": True, "size": 110, "color": INK, "opacity": 1}
    layers = [
        {
            "data": {"values": rows},
            "mark": {"type": "line", "clip": True},
            "encoding": encoding | {"color": colour, "strokeWidth": width},
        },
        {"data": {"values": [here]}, "mark": point, "encoding": encoding},
    ]
    if 1 <= fits <= MOST:
        layers.append(marks.limit_down(fits, says["full"], _X))
    layers += [marks.limit_across(target, says["target"].format(target=digits(target)), y) for target in targets]
    return {"width": 440, "height": 125, "layer": layers}


def _describe(
    language: str, served: Service, batch: int, target: float, *, model: str, device: str, weights: str, cache: str,
    context: int,
) -> str:  # fmt: skip
    says, roof, step = in_language(_TEXTS, language), served.roof, served.step(batch)
    held, one_cache = served.held
    seconds, within = served.tpot(batch), served.within(target / 1e3)
    levels_off = 1 / roof.time(step.flops / batch, step.cache / batch)
    parts = [says["setting"], says["step readout"], says["over"] if batch > served.fits else ""]
    parts += [says["room" if served.fits else "no room"]]
    parts += [says["within" if within else "never"] if served.fits else ""]
    return "".join(parts).format(
        model=SHOWN[model].name,
        device=_DEVICES[device][language],
        weights=weights,
        held=quantity(held, "B"),
        cache=cache,
        context=f"{context:,}",
        one=quantity(one_cache, "B"),
        batch=f"{batch:,}",
        s="s" * (batch > 1),
        tpot=digits(1e3 * seconds),
        reading=digits(1e3 * step.weights / roof.bandwidth),
        caches=digits(1e3 * step.cache / roof.bandwidth),
        arithmetic=digits(1e3 * step.flops / roof.peak_flops),
        bound=says[roof.bound(step.intensity)],
        rate=digits(batch / seconds),
        limit=digits(levels_off),
        memory=quantity(served.memory, "B"),
        fits=f"{served.fits:,}",
        s_fits="s" * (served.fits > 1),
        target=digits(target),
        within=f"{within:,}",
        s_within="s" * (within > 1),
        within_rate=digits(within / served.tpot(within)) if within else "",
        alone=digits(1e3 * served.tpot(1)),
    )


_TEXTS: dict[str, Text] = {
    "real": Text("throughput", "吞吐量"),
    "free": Text("if caches took no time", "假如读KV缓存不花时间"),
    "rate": Text("tokens/s", "词元/s"),
    "step": Text("TPOT", "每输出词元时间"),
    "weights": Text("weights", "读权重"),
    "cache": Text("caches", "读KV缓存"),
    "flops": Text("arithmetic", "运算"),
    "tpot": Text("ms", "ms"),
    "batch": Text("requests in a step", "一步里的请求数"),
    "target": Text("target {target} ms", "目标{target} ms"),
    "full": Text("memory full", "内存占满"),
    "memory": Text("memory-bound", "访存受限"),
    "compute": Text("compute-bound", "计算受限"),
    "setting": Text(
        "{model} on {device}: weights in {weights}, {held}; caches in {cache} with {context} tokens of context, "
        "{one} a request. ",
        "{model}，{device}：权重用{weights}，共{held}；KV缓存用{cache}，上下文{context}个词元，每个请求{one}。",
    ),
    "step readout": Text(
        "A step of {batch} request{s} takes at least {tpot} ms: {reading} to read weights, {caches} to read "
        "caches, {arithmetic} to compute meanwhile. It is {bound} and gives at most {rate} tokens/s; no batch "
        "gives more than {limit}. ",
        "{batch}个请求的一步至少要{tpot} ms：读权重{reading} ms，读KV缓存{caches} ms，同时进行的运算{arithmetic} ms；"
        "{bound}，每秒至多{rate}个词元。批次再大，也不会超过每秒{limit}个。",
    ),
    "over": Text("So many do not fit. ", "这么多请求放不下。"),
    "room": Text("Memory, {memory}, has room for {fits} request{s_fits}. ", "内存{memory}，放得下{fits}个请求。"),
    "no room": Text(
        "The weights, or one cache beside them, exceed the memory, {memory}.",
        "单是权重，或者权重加上一个请求的KV缓存，就超出了{memory}的内存。",
    ),
    "within": Text(
        "With a TPOT of at most {target} ms it may be {within} request{s_within}, {within_rate} tokens/s.",
        "要使每输出词元时间不超过{target} ms，至多{within}个请求，每秒{within_rate}个词元。",
    ),
    "never": Text(
        "A TPOT of {target} ms is out of reach: one request alone takes {alone} ms.",
        "{target} ms的目标达不到：单独一个请求就要{alone} ms。",
    ),
}

_DEVICES: dict[str, Text] = {key: Text(chip.name, chip.name) for key, chip in CHIPS.items()}
_DEVICES[LAPTOP] = Text("a laptop of two cores", "双核笔记本电脑")


def _format(name: str, label: Text, formats: tuple[str, ...], help: Text) -> Dropdown:
    return Dropdown(name, label, {key: Text(key, key) for key in formats}, "bf16", help)


batch_roofline = Explorable(
    name="batch_roofline",
    title=Text("Batch size, throughput and latency", "批大小、吞吐量与延迟"),
    controls=(
        controls.model_choice(
            Text(
                "Its weights are read once a step for the whole batch; of experts, those that some token needs.",
                "权重每一步只读一次，供整个批次使用；专家则只读有词元用到的。",
            ),
            SHOWN,
        ),
        Dropdown(
            "device",
            Text("Device", "设备"),
            _DEVICES,
            "nvidia-h100-sxm",
            Text(
                "By the data sheet; the laptop's 198 GFLOP/s and 30 GB/s are measured, 8 GB taken to be free.",
                "取自产品手册；笔记本电脑的198 GFLOP/s与30 GB/s为实测值，并假定有8 GB内存可用。",
            ),
        ),
        _format(
            "weights",
            Text("Weights", "权重"),
            ("fp32", "bf16", "fp8", "int4"),
            Text(
                "4, 2, 1 or half a byte each. Products: bf16; fp8 if device and weights have it; laptop: fp32.",
                "每个权重占4、2、1或0.5字节。乘法用bf16；权重为fp8且设备支持时用fp8；笔记本电脑上用fp32。",
            ),
        ),
        _format(
            "cache",
            Text("Cache", "KV缓存"),
            ("fp32", "bf16", "fp8"),
            Text(
                "4, 2 or 1 byte for each element of keys and values. Every request reads its own.",
                "键和值的每个元素占4、2或1字节；每个请求各读各的。",
            ),
        ),
        controls.context_slider(Text("Tokens in the cache of each request.", "每个请求的KV缓存里的词元数。")),
        controls.batch_slider(
            Text("Requests that take a step together: the point in the figure.", "同一步里的请求数，即图中的圆点。")
        ),
        Slider(
            "target",
            Text("Target of TPOT", "每输出词元时间的目标"),
            (5, 10, 15, 20, 30, 50, 100, 200, 500),
            20,
            Text("ms", "ms"),
            Text("What each token after the first may take.", "首个词元之后，每个词元至多用多少时间。"),
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "Llama 3 8B in bf16 on one H100, 8,192 tokens of context. "
            "How many requests may decode together so that each still gets a token every 20 ms?",
            "Llama 3 8B，bf16，一块H100，上下文8,192个词元。"
            "要使每个请求仍能每20 ms得到一个词元，最多可以让多少个请求一起解码？",
        ),
        unit=REQUESTS,
        answer=lambda *, batch, target, **settings: service(**settings).within(target / 1e3),
        settings={
            "model": "llama-3-8b",
            "device": "nvidia-h100-sxm",
            "weights": "bf16",
            "cache": "bf16",
            "context": 8_192,
            "batch": 32,
            "target": 20,
        },
    ),
)
