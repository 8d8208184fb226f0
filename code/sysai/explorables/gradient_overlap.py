"""How much of the gradients' all-reduce hides behind the backward pass, over network, model and size of the buckets.

    backward pass   4 FLOPs a parameter and token, at 40% of the peak of an H100 in bf16
    all-reduce      a ring's steps and bytes, bucket by bucket: `sysai.parallel.overlap`

Two pictures: the timeline at the chosen size of buckets, and what is exposed at every other size. Embedding and head
are left out, so that all layers are alike; in a real model the embedding's gradient comes last and is exposed whole.
"""

from sysai.core.language import Text, in_language
from sysai.explorables import controls, marks
from sysai.explorables.controls import CHIPS, MODELS
from sysai.explorables.explorable import Explorable, Prediction, Slider
from sysai.explorables.units import count, digits, quantity
from sysai.models.config import ModelConfig
from sysai.parallel.bucket_policy import MIB
from sysai.parallel.overlap import Overlap, overlap
from sysai.viz.palette import INK

SHOWN = {key: config for key, config in MODELS.items() if config.moe is None and not config.bias}
FLOPS = 0.4 * CHIPS["nvidia-h100-sxm"].peak_flops["bf16"]
BYTES = 2
WIDTH = 440


def block_tensors(config: ModelConfig) -> list[int]:
    """Elements of each tensor of one block of a dense SwiGLU model, in order of registration."""
    D, F, Q, KV = config.d_model, config.d_ff, config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    return [D, D * Q, D * KV, D * KV, Q * D, D, D * F, D * F, F * D]


def timed(
    *, model: str, layers: int, tokens: int, devices: int, bandwidth: float, latency: float, bucket: int
) -> Overlap:
    """The backward pass; `bandwidth` in GB/s, `latency` in microseconds, `bucket` in MiB."""
    tensors = block_tensors(SHOWN[model]) * layers
    return overlap(
        [BYTES * elements for elements in tensors],
        [4 * elements * tokens / FLOPS for elements in tensors],
        bucket * MIB,
        devices,
        latency * 1e-6,
        1e-9 / bandwidth,
    )


def draw(language: str, **settings: float | str) -> dict:
    """The figure: the timeline, and what is exposed over the size of the buckets."""
    sizes = {size: timed(**settings | {"bucket": size}) for size in _BUCKET.values}
    return {
        "description": _describe(language, sizes, **settings),
        "vconcat": [
            _timeline(language, sizes[settings["bucket"]], settings["layers"]),
            _exposed(language, sizes, settings["bucket"]),
        ],
        "spacing": 14,
        "resolve": {"scale": {"color": "independent"}},
    }


def _timeline(language: str, pass_: Overlap, layers: int) -> dict:
    """A lane of layers computed and a lane of buckets sent, neighbours in two shades, red where nothing hides them."""
    names, computed = in_language(_TEXTS, language), pass_.computed
    end = computed + pass_.exposed
    least = 2 * end / WIDTH  # two pixels
    step = computed / layers
    lanes = {
        "computing": [(i * step, (i + 1) * step) for i in range(layers)],
        "hidden": [(m.start, min(m.end, computed)) for m in pass_.messages if m.start < computed],
        "exposed": [(max(m.start, computed), m.end) for m in pass_.messages if m.end > computed],
    }
    rows = [
        {
            "row": names["backward" if lane == "computing" else "all-reduce"],
            "part": names[lane],
            "start": 1e3 * begin,
            "end": 1e3 * until,
            "shade": 1 - 0.3 * (i % 2),
        }
        for lane, intervals in lanes.items()
        for i, (begin, until) in enumerate(_joined(intervals, least))
    ]
    x = marks.linear(0, 1e3 * end)
    colours = {names["computing"]: "blue", names["hidden"]: "orange", names["exposed"]: "red"}
    shades = {"type": "quantitative", "scale": {"domain": [0, 1], "range": [0, 1]}, "legend": None}
    bars = marks.bars(rows, colours, names["time"], WIDTH)
    size = {key: bars.pop(key) for key in ("width", "height")}
    bars["encoding"]["x"] |= x | {"axis": {"tickCount": 6, "grid": False}}
    bars["encoding"]["opacity"] = {"field": "shade", **shades}
    line = {
        "data": {"values": [{"computed": 1e3 * computed}]},
        "mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]},
        "encoding": {"x": {"field": "computed", **x}},
    }
    return size | {"height": 64, "layer": [bars, line]}


def _joined(intervals: list[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """Intervals that follow without a pause, joined until they are `least` long, so that they can be seen."""
    longer: list[tuple[float, float]] = []
    for start, end in intervals:
        if longer and longer[-1][1] - longer[-1][0] < least and start - longer[-1][1] < 1e-6 * least:
            longer[-1] = (longer[-1][0], end)
        else:
            longer.append((start, end))
    return longer


def _exposed(language: str, sizes: dict[int, Overlap], bucket: int) -> dict:
    """The exposed time at each size of buckets, and a point at the chosen one."""
    names = in_language(_TEXTS, language)
    rows = [{"bucket": size, "exposed": 1e3 * pass_.exposed} for size, pass_ in sizes.items()]
    ticks = marks.decades([row["exposed"] for row in rows])
    x, y = marks.logarithmic(_BUCKET.values[0], _BUCKET.values[-1]), marks.logarithmic(ticks[0], ticks[-1])
    axis = {"values": _BUCKET.values[::2], "format": ",", "grid": False}
    encoding = {
        "x": {"field": "bucket", **x, "title": names["bucket"], "axis": axis},
        "y": {"field": "exposed", **y, "title": names["exposed (ms)"], "axis": {"values": ticks, "format": ",~g"}},
    }
    red = marks.PALETTE["red"]
    return {
        "width": WIDTH,
        "height": 120,
        "layer": [
            {"data": {"values": rows}, "mark": {"type": "line", "color": red}, "encoding": encoding},
            {
                "data": {"values": [row for row in rows if row["bucket"] == bucket]},
                "mark": {"type": "point", "filled": True, "size": 110, "color": INK, "opacity": 1},
                "encoding": encoding,
            },
        ],
    }


def _describe(language: str, sizes: dict[int, Overlap], **settings: float | str) -> str:
    says, pass_ = in_language(_TEXTS, language), sizes[settings["bucket"]]
    number = settings["layers"] * sum(block_tensors(SHOWN[settings["model"]]))
    best = min(sizes, key=lambda size: sizes[size].exposed)
    return says["readout"].format(
        layers=settings["layers"],
        s="s" * (settings["layers"] > 1),
        model=SHOWN[settings["model"]].name,
        parameters=count(number),
        gradients=quantity(BYTES * number, "B"),
        tokens=f"{settings['tokens']:,}",
        devices=f"{settings['devices']:,}",
        bandwidth=digits(settings["bandwidth"]),
        latency=digits(settings["latency"]),
        computed=digits(1e3 * pass_.computed),
        bucket=f"{settings['bucket']:,}",
        messages=f"{len(pass_.messages):,}",
        s_messages="s" * (len(pass_.messages) > 1),
        sending=digits(1e3 * pass_.sending),
        exposed=digits(1e3 * pass_.exposed),
        share=digits(100 * pass_.exposed / pass_.computed),
        best=f"{best:,}",
        best_exposed=digits(1e3 * sizes[best].exposed),
    )


_TEXTS: dict[str, Text] = {
    "backward": Text("backward", "反向传播"),
    "all-reduce": Text("all-reduce", "all-reduce"),
    "computing": Text("gradients computed", "计算梯度"),
    "hidden": Text("sent, hidden", "发送，已掩盖"),
    "exposed": Text("sent, exposed", "发送，未掩盖"),
    "time": Text("time (ms)", "时间（ms）"),
    "bucket": Text("largest bucket (MiB)", "分桶上限（MiB）"),
    "exposed (ms)": Text("exposed (ms)", "未掩盖（ms）"),
    "readout": Text(
        "{layers} block{s} of {model} ({parameters} parameters, {gradients} of gradients in bf16), {tokens} tokens "
        "on each of {devices} H100s at 40% of their peak: the backward pass takes {computed} ms. At {bandwidth} "
        "GB/s and {latency} µs a step, buckets of at most {bucket} MiB make {messages} message{s_messages}, "
        "together {sending} ms. Of that {exposed} ms are exposed, {share}% of the backward pass. The best size of "
        "those on the axis is {best} MiB, with {best_exposed} ms.",
        "{model}的{layers}层（{parameters}个参数，bf16梯度{gradients}），{devices}块H100按峰值的40%计算，每块{tokens}个"
        "词元：反向传播要{computed} ms。带宽{bandwidth} GB/s，每步延迟{latency} µs，分桶至多{bucket} MiB，"
        "共{messages}条消息，合计{sending} ms；其中{exposed} ms没有被掩盖，是反向传播的{share}%。"
        "横轴各值中，上限取{best} MiB最好，未掩盖的只有{best_exposed} ms。",
    ),
}

_BUCKET = Slider(
    "bucket",
    Text("Largest bucket", "分桶上限"),
    (1, 2, 4, 8, 16, 25, *(2**power for power in range(6, 15))),
    2_048,
    Text("MiB", "MiB"),
    Text(
        "A larger tensor travels alone. PyTorch takes 25 MiB unless told otherwise.",
        "单个张量超过上限就自成一桶。PyTorch默认25 MiB。",
    ),
)

gradient_overlap = Explorable(
    name="gradient_overlap",
    title=Text("Gradients on their way during the backward pass", "梯度通信与反向传播的重叠"),
    controls=(
        controls.model_choice(
            Text("Its blocks; embedding and head are left out.", "只取它的层；嵌入与输出头不计。"),
            SHOWN,
        ),
        Slider(
            "layers",
            Text("Layers", "层数"),
            tuple(2**power for power in range(8)),
            32,
            Text("", "层"),
            Text(
                "Computation and messages grow alike; the fewer there are, the more the last bucket weighs.",
                "计算量与通信量同比增长；层数越少，最后一桶的比重越大。",
            ),
        ),
        Slider(
            "tokens",
            Text("Tokens on each device", "每台设备的词元数"),
            tuple(2**power for power in range(8, 17)),
            1_024,
            Text("tokens", "个词元"),
            Text(
                "The backward pass takes longer with more of them; the gradients stay as large as they are.",
                "词元越多，反向传播越久；梯度的大小不变。",
            ),
        ),
        Slider(
            "devices",
            Text("Number of devices", "设备数"),
            tuple(2**power for power in range(1, 11)),
            64,
            Text("", "台"),
            Text(
                "One ring of all of them: more steps for each bucket, hardly more bytes.",
                "全部连成一环：每桶的步数随之增加，字节数几乎不变。",
            ),
        ),
        Slider(
            "bandwidth",
            Text("Bandwidth", "带宽"),
            (1.25, 3.125, 6.25, 12.5, 25, 50, 100, 200, 400, 450),
            400,
            Text("GB/s", "GB/s"),
            Text(
                "Of a device in a collective: 450 is NVLink within a node, 400 nodes of eight GPUs with eight NICs of "
                "400 Gb/s, 50 nodes of one GPU and one such NIC.",
                "集合通信中每台设备的带宽：450相当于节点内的NVLink；400相当于每个节点八块GPU、八块400 Gb/s的网卡；"
                "50相当于每个节点一块GPU、一块这样的网卡。",
            ),
        ),
        Slider(
            "latency",
            Text("Latency of a step", "每步延迟"),
            (0, 1, 2, 5, 10, 20, 50, 100),
            5,
            Text("µs", "µs"),
            Text("Each bucket takes 2(n - 1) steps around the ring.", "每个分桶绕环要走2(n - 1)步。"),
        ),
        _BUCKET,
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "32 blocks of Llama 3 8B have 14 GB of gradients. With 512 tokens on each of 64 devices the backward "
            "pass takes 36 ms; each sends 400 GB/s. How much of the all-reduce is exposed, in buckets of 2,048 MiB?",
            "Llama 3 8B的32层共有14 GB梯度。64台设备，每台512个词元，反向传播要36 ms；每台每秒发送400 GB。"
            "分桶为2,048 MiB时，all-reduce有多少没有被掩盖？",
        ),
        unit=Text("ms", "ms"),
        answer=lambda **settings: 1e3 * timed(**settings).exposed,
        settings={
            "model": "llama-3-8b",
            "layers": 32,
            "tokens": 512,
            "devices": 64,
            "bandwidth": 400,
            "latency": 5,
            "bucket": 2_048,
        },
    ),
)
