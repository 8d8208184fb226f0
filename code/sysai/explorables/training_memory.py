"""How much memory each device needs to train a model with data parallelism, and what ZeRO's stages divide.

    stage 0   weights + gradients + optimizer + activations        1, 2, 3: one more of them is divided by devices

The bill is `sysai.parallel.memory`'s: buckets, gathered units, fragmentation and what libraries hold are left out.
"""

from sysai.core.language import Text, in_language
from sysai.explorables import controls, marks
from sysai.explorables.controls import CHIPS
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.training_bill import OPTIMIZERS, TRAINED, bill
from sysai.explorables.units import count, quantity
from sysai.parallel.memory import STAGES, step_traffic
from sysai.viz.palette import INK, PALETTE

USES = {"weights": "blue", "gradients": "green", "optimizer": "orange", "activations": "grey"}
DASHES = ([1, 0], [9, 3], [5, 4], [1.5, 3])


def draw(
    language: str, *, model: str, optimizer: str, devices: int, stage: int, batch: int, sequence: int, device: str
) -> dict:
    """The figure: the stages at this number of devices, and at any."""
    memory = CHIPS[device].memory
    run = {"model": model, "optimizer": optimizer, "batch": batch, "sequence": sequence}
    return {
        "description": _describe(language, devices, stage, device, **run),
        "vconcat": [
            _stages(language, devices, stage, memory, **run),
            _growth(language, devices, stage, memory, **run),
        ],
        "spacing": 14,
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
    }


def _stages(language: str, devices: int, stage: int, memory: float, **run: int | str) -> dict:
    """A bar for each stage, the chosen one in full colour, and a line where the device ends."""
    names = in_language(_TEXTS, language)
    bills = {names[f"stage {k}"]: bill(devices=devices, stage=k, **run) for k in STAGES}
    rows = [
        row
        for name, held in bills.items()
        for row in marks.stacked(name, {names[use]: getattr(held, use) / 1e9 for use in USES})
    ]
    chosen = names[f"stage {stage}"]
    bars = marks.bars(rows, {names[use]: colour for use, colour in USES.items()}, names["bars"], 385)
    size = {key: bars.pop(key) for key in ("width", "height")}
    x = marks.linear(0, 1.04 * max(memory / 1e9, *(row["end"] for row in rows)))
    bars["encoding"]["x"] |= x | {"axis": {"tickCount": 4}}
    bars["encoding"]["y"]["axis"] |= {
        "labelFontWeight": {"condition": {"test": f"datum.value === {chosen!r}", "value": "bold"}, "value": "normal"}
    }
    bars["encoding"]["opacity"] = {"condition": {"test": f"datum.row === {chosen!r}", "value": 1}, "value": 0.45}
    label = names["memory"].format(memory=quantity(memory, "B"))
    return size | {"layer": [bars, marks.limit_down(memory / 1e9, label, x)]}


def _growth(language: str, devices: int, stage: int, memory: float, **run: int | str) -> dict:
    """The bill over the number of devices, a line for each stage, and one at the device's memory."""
    names = in_language(_TEXTS, language)
    rows = [
        {"part": names["stage"].format(k), "devices": n, "GB": bill(devices=n, stage=k, **run).total / 1e9}
        for k in STAGES
        for n in _DEVICES.values
    ]
    chosen = names["stage"].format(stage)
    here = [row for row in rows if (row["part"], row["devices"]) == (chosen, devices)]
    ticks = marks.decades([row["GB"] for row in rows] + [memory / 1e9])
    x, y = marks.logarithmic(1, _DEVICES.values[-1]), marks.logarithmic(ticks[0], ticks[-1])
    axis = {"values": _DEVICES.values[::2], "format": ",", "grid": False}
    encoding = {
        "x": {"field": "devices", **x, "title": names["devices"], "axis": axis},
        "y": {"field": "GB", **y, "title": names["each"], "axis": {"values": ticks, "format": ",~g"}},
    }
    dashes = {"domain": [names["stage"].format(k) for k in STAGES], "range": DASHES}
    legend = {"title": None, "columnPadding": 16, "symbolSize": 400}
    limit = {
        "data": {"values": [{"limit": memory / 1e9}]},
        "mark": {"type": "rule", "color": PALETTE["red"], "strokeWidth": 2},
        "encoding": {"y": {"field": "limit", **y}},
    }
    lines = {
        "data": {"values": rows},
        "mark": {"type": "line", "color": PALETTE["purple"]},
        "encoding": {
            **encoding,
            "strokeDash": {"field": "part", "type": "nominal", "scale": dashes, "legend": legend},
            "strokeWidth": {"condition": {"test": f"datum.part === {chosen!r}", "value": 4}, "value": 1.5},
        },
    }
    point = {
        "data": {"values": here},
        "mark": {"type": "point", "filled": True, "size": 110, "color": INK, "opacity": 1},
        "encoding": encoding,
    }
    return {"width": 440, "height": 130, "layer": [limit, lines, point]}


def _describe(language: str, devices: int, stage: int, device: str, **run: int | str) -> str:
    says, chip, trained = in_language(_TEXTS, language), CHIPS[device], TRAINED[run["model"]]
    held = bill(devices=devices, stage=stage, **run)
    fitting = [k for k in STAGES if bill(devices=devices, stage=k, **run).total <= chip.memory]
    sent = {k: step_traffic(trained.parameters, devices, k, OPTIMIZERS[run["optimizer"]].recipe) for k in STAGES}
    least = [k for k in fitting if sent[k] == min(sent[k] for k in fitting)]
    parts = [says["held"], says["activated"] if held.activations else says["undefined"] if run["batch"] else ""]
    parts += [says["sent"], says["gathered"] if stage == 3 else "", says[("none", "one", "fit")[min(len(fitting), 2)]]]
    return "".join(parts).format(
        model=trained.name,
        parameters=count(trained.parameters),
        recipe=_OPTIMIZER_TEXTS[run["optimizer"]][language],
        devices=f"{devices:,}",
        device=chip.name,
        stage=stage,
        divided=says[f"divided {stage}"],
        total=quantity(held.total, "B"),
        weights=quantity(held.weights, "B"),
        gradients=quantity(held.gradients, "B"),
        optimizer=quantity(held.optimizer, "B"),
        activations=quantity(held.activations, "B"),
        batch=run["batch"],
        s="s" * (run["batch"] > 1),
        sequence=f"{run['sequence']:,}",
        sent=quantity(sent[stage], "B"),
        memory=quantity(chip.memory, "B"),
        fitting=says["comma"].join(map(str, fitting)),
        least=says["comma"].join(map(str, least)),
        s_least="s" * (len(least) == 1),
    )


_TEXTS: dict[str, Text] = {
    "stage 0": Text("0: data parallel", "0：数据并行"),
    "stage 1": Text("1: optimizer state", "1：切优化器状态"),
    "stage 2": Text("2: and gradients", "2：再切梯度"),
    "stage 3": Text("3: and weights", "3：再切权重"),
    "stage": Text("stage {}", "阶段{}"),
    "divided 0": Text("nothing is divided", "不切分"),
    "divided 1": Text("optimizer state is divided", "切分优化器状态"),
    "divided 2": Text("optimizer state and gradients are divided", "切分优化器状态和梯度"),
    "divided 3": Text("optimizer state, gradients and weights are divided", "切分优化器状态、梯度和权重"),
    "weights": Text("weights", "权重"),
    "gradients": Text("gradients", "梯度"),
    "optimizer": Text("optimizer state", "优化器状态"),
    "activations": Text("activations", "激活值"),
    "memory": Text("memory {memory}", "显存{memory}"),
    "bars": Text("held on each device (GB)", "每台设备占用（GB）"),
    "devices": Text("devices", "设备数"),
    "each": Text("each device (GB)", "每台设备（GB）"),
    "comma": Text(", ", "、"),
    "held": Text(
        "{model}, {parameters} parameters, {recipe}, on {devices} × {device}. At stage {stage}, where {divided}, "
        "each device holds {total}: {weights} of weights, {gradients} of gradients, {optimizer} of optimizer state",
        "{model}，{parameters}个参数，{recipe}，{devices}块{device}。阶段{stage}（{divided}），每块占用{total}："
        "权重{weights}，梯度{gradients}，优化器状态{optimizer}",
    ),
    "activated": Text(
        ", {activations} of activations for {batch} sequence{s} of {sequence} tokens",
        "，{batch}条{sequence}个词元的序列的激活值{activations}",
    ),
    "undefined": Text(
        "; activations are counted for dense models of known shape only", "；激活值没有计入，只有形状已知的稠密模型才计"
    ),
    "sent": Text(". In a step it sends {sent}. ", "。一步要发送{sent}。"),
    "gathered": Text("The units that it gathers come on top. ", "使用时收集的单元另计。"),
    "fit": Text(
        "Stages {fitting} fit into {memory}; of these, {least} send{s_least} least.",
        "{memory}放得下的是阶段{fitting}，其中发送最少的是阶段{least}。",
    ),
    "one": Text("Only stage {fitting} fits into {memory}.", "{memory}只放得下阶段{fitting}。"),
    "none": Text("No stage fits into {memory}.", "哪个阶段都超出了{memory}。"),
}

_OPTIMIZER_TEXTS: dict[str, Text] = {
    "mixed_adam": Text("Adam in mixed precision", "混合精度Adam"),
    "adam": Text("Adam in fp32", "fp32 Adam"),
    "momentum": Text("SGD with momentum in fp32", "fp32动量SGD"),
}

_DEVICES = Slider(
    "devices",
    Text("Number of devices", "设备数"),
    tuple(2**power for power in range(11)),
    64,
    Text("", "台"),
    Text(
        "Each works on sequences of its own; what a stage divides is divided by this number.",
        "每台设备处理自己的序列；各阶段所切分的，都除以这个数。",
    ),
)

training_memory = Explorable(
    name="training_memory",
    title=Text("Memory of a training step, and ZeRO's stages", "训练一步的显存与ZeRO的各个阶段"),
    controls=(
        controls.model_choice(
            Text(
                "Its number of parameters gives the state, its shape the activations.",
                "状态由参数个数决定，激活值由形状决定。",
            ),
            TRAINED,
        ),
        Dropdown(
            "optimizer",
            Text("Optimizer", "优化器"),
            _OPTIMIZER_TEXTS,
            "mixed_adam",
            Text(
                "Bytes a parameter of weight, gradient and state: 2 + 2 + 12, 4 + 4 + 8, or 4 + 4 + 4.",
                "每个参数的权重、梯度、状态各几字节：2 + 2 + 12，4 + 4 + 8，或4 + 4 + 4。",
            ),
        ),
        _DEVICES,
        Slider(
            "stage",
            Text("ZeRO stage", "ZeRO阶段"),
            tuple(STAGES),
            1,
            help=Text("0 is plain data parallelism; 3 is what FSDP does.", "0是普通的数据并行；3是FSDP的做法。"),
        ),
        Slider(
            "batch",
            Text("Batch on each device", "每台设备的批大小"),
            (0, 1, 2, 4, 8, 16),
            1,
            Text("sequences", "条序列"),
            Text(
                "Activations grow with it, and no stage divides them. With 0 there are none.",
                "激活值随它增长，哪个阶段都不切分它。取0就没有激活值。",
            ),
        ),
        Slider(
            "sequence",
            Text("Sequence", "序列长度"),
            tuple(2**power for power in range(9, 15)),
            2_048,
            Text("tokens", "个词元"),
            Text(
                "Activations are those of a program that runs operator by operator and recomputes nothing.",
                "激活值按逐算子执行、不做重计算的程序计算。",
            ),
        ),
        controls.device_choice(
            Text(
                "Its memory by the data sheet; libraries and fragmentation leave less.",
                "显存大小取自产品手册；扣除各种库的占用和碎片，实际可用的更少。",
            )
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "Llama 3 70B, Adam in mixed precision, 64 H100s with 80 GB, ZeRO stage 2. "
            "How much state (weights, gradients, optimizer state) does each of them hold?",
            "Llama 3 70B，混合精度Adam，64块80 GB的H100，ZeRO阶段2。每块要存多少状态（权重、梯度、优化器状态）？",
        ),
        unit=Text("GB", "GB"),
        answer=lambda *, device, **run: bill(**run).total / 1e9,
        settings={
            "model": "llama-3-70b",
            "optimizer": "mixed_adam",
            "devices": 64,
            "stage": 2,
            "batch": 0,
            "sequence": 2_048,
            "device": "nvidia-h100-sxm",
        },
    ),
)
