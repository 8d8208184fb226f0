"""The costs of a model's shape: parameters, FLOPs, and memory to train and to serve it.

The model is a preset, whose depth and width can be multiplied. Rules of thumb stand beside the exact FLOPs:

    6N a token to train, 2N to read or write one        N: parameters that a token uses
"""

from sysai.core.language import Text, in_language
from sysai.explorables import controls, marks
from sysai.explorables.controls import BYTES, MODELS
from sysai.explorables.explorable import Explorable, Prediction, Slider
from sysai.explorables.shapes import RECIPES, shaped, training, work
from sysai.explorables.units import count, digits, quantity
from sysai.models.config import ModelConfig
from sysai.models.formulas.memory import inference_memory
from sysai.models.formulas.parameter_count import parameters
from sysai.viz.palette import PALETTE

PARTS = {"embedding": "blue", "attention": "orange", "mlp": "green", "idle": "grey", "head": "purple"}
USES = {"weights": "blue", "gradients": "green", "optimizer": "orange", "activations": "grey", "kv_cache": "purple"}


def draw(language: str, *, model: str, depth: float, width: float, sequence: int, batch: int, precision: str) -> dict:
    """The figure: where the parameters are, what fills memory, what the calls compute."""
    config = shaped(MODELS[model], depth, width)
    return {
        "description": _describe(language, config, sequence, batch, precision, depth == width == 1),
        "vconcat": [
            _parameters(language, config),
            _memory(language, config, batch, sequence, precision),
            _work(language, config, batch, sequence),
        ],
        "spacing": 14,
        "resolve": {"scale": {"color": "independent"}},
    }


def _parameters(language: str, config: ModelConfig) -> dict:
    """One bar: where the parameters are."""
    names, n = in_language(_TEXTS, language), parameters(config)
    unit = 1e9 if n.total >= 1e9 else 1e6
    sizes = {part: (n.mlp - n.idle if part == "mlp" else getattr(n, part)) / unit for part in PARTS}
    colours = {names[part]: colour for part, colour in PARTS.items() if sizes[part]}
    bar = marks.stacked(names["model"], {names[part]: size for part, size in sizes.items() if size})
    return marks.bars(bar, colours, names["billions" if unit == 1e9 else "millions"], 420)


def _memory(language: str, config: ModelConfig, batch: int, sequence: int, precision: str) -> dict:
    """Two bars: what training holds, and what serving holds."""
    names = in_language(_TEXTS, language)
    bills = {
        names["train"]: training(config, batch, sequence, precision),
        names["serve"]: inference_memory(config, batch, sequence, BYTES[precision]),
    }
    rows = [
        row
        for name, bill in bills.items()
        for row in marks.stacked(name, {names[use]: getattr(bill, use) / 1e9 for use in USES})
    ]
    return marks.bars(rows, {names[use]: colour for use, colour in USES.items()}, names["memory"], 420)


def _work(language: str, config: ModelConfig, batch: int, sequence: int) -> dict:
    """A dot for each call on a logarithmic axis, and beside it the number."""
    names = in_language(_TEXTS, language)
    rows = [
        {
            "row": names[call],
            "flops": float(exact),
            "text": f"{quantity(exact, 'FLOP')} = {digits(exact / by_rule)} × {rule}",
        }
        for (call, (exact, by_rule)), rule in zip(
            work(config, batch, sequence).items(), ("6N", "2N", "2N"), strict=True
        )
    ]
    ticks = marks.decades([row["flops"] for row in rows])
    middle = (ticks[0] * ticks[-1]) ** 0.5
    x = marks.logarithmic(ticks[0], ticks[-1])
    encoding = {
        "x": {
            "field": "flops",
            **x,
            "title": names["flops"],
            "axis": {"values": ticks[:: max(1, len(ticks) // 6)], "format": "~s"},
        },
        "y": {
            "field": "row",
            "type": "nominal",
            "sort": [row["row"] for row in rows],
            "title": None,
            "axis": {"domain": False, "ticks": False, "grid": True},
        },
    }
    # the number stands on the side of the dot that has more room
    label = {"type": "text", "baseline": "middle"}
    sides = ((f"datum.flops <= {middle}", "left", 10), (f"datum.flops > {middle}", "right", -10))
    return {
        "width": 420,
        "height": 72,
        "data": {"values": rows},
        "encoding": encoding,
        "layer": [
            {"mark": {"type": "point", "filled": True, "size": 90, "color": PALETTE["red"], "opacity": 1}},
            *(
                {
                    "transform": [{"filter": test}],
                    "mark": label | {"align": align, "dx": dx},
                    "encoding": {"text": {"field": "text"}},
                }
                for test, align, dx in sides
            ),
        ],
    }


def _describe(language: str, config: ModelConfig, sequence: int, batch: int, precision: str, as_is: bool) -> str:
    says, n = in_language(_TEXTS, language), parameters(config)
    held = training(config, batch, sequence, precision)
    served = inference_memory(config, batch, sequence, BYTES[precision])
    calls = work(config, batch, sequence)
    parts = [says["parameters"], says["experts"] if n.idle else "", says["calls"]]
    parts += [says["expanded"] if config.mla else "", says["held"]]
    parts += [says["activated"] if held.activations else says["undefined"], says["served"]]
    return "".join(parts).format(
        model=config.name,
        changed="" if as_is else says["changed"].format(layers=config.n_layers, width=f"{config.d_model:,}"),
        total=count(n.total),
        active=count(n.active),
        mlp=digits(100 * n.mlp / n.total),
        embedding=digits(100 * n.embedding / n.total),
        batch=f"{batch:,}",
        s="s" * (batch > 1),
        sequence=f"{sequence:,}",
        train=quantity(calls["training"][0], "FLOP"),
        prefill=quantity(calls["prefill"][0], "FLOP"),
        decode=quantity(calls["decode"][0], "FLOP"),
        ratio=digits(calls["training"][0] / calls["training"][1]),
        recipe=says.get(precision, precision),
        held=quantity(held.total, "B"),
        states=quantity(held.total - held.activations, "B"),
        activations=quantity(held.activations, "B"),
        precision=precision,
        served=quantity(served.total, "B"),
        cache=quantity(served.kv_cache, "B"),
    )


_TEXTS: dict[str, Text] = {
    "model": Text("parameters", "参数"),
    "embedding": Text("embedding", "嵌入"),
    "attention": Text("attention", "注意力"),
    "mlp": Text("feed-forward", "前馈网络"),
    "idle": Text("experts not visited", "未经过的专家"),
    "head": Text("head", "输出头"),
    "billions": Text("parameters (billions)", "参数（十亿）"),
    "millions": Text("parameters (millions)", "参数（百万）"),
    "train": Text("training", "训练"),
    "serve": Text("serving", "推理"),
    "weights": Text("weights", "权重"),
    "gradients": Text("gradients", "梯度"),
    "optimizer": Text("optimizer", "优化器"),
    "activations": Text("activations", "激活值"),
    "kv_cache": Text("KV cache", "KV缓存"),
    "memory": Text("memory (GB)", "显存（GB）"),
    "training": Text("training step", "一步训练"),
    "prefill": Text("prefill", "预填充"),
    "decode": Text("decode step", "一步解码"),
    "flops": Text("FLOPs", "FLOPs"),
    "bf16": Text("mixed precision", "混合精度"),
    "changed": Text(", changed to {layers} layers of width {width},", "改成{layers}层、宽度{width}，"),
    "parameters": Text(
        "{model}{changed} has {total} parameters, {mlp}% of them in feed-forward networks and {embedding}% in the "
        "embedding. ",
        "{model}{changed}有{total}个参数，其中{mlp}%在前馈网络里，{embedding}%在嵌入表里。",
    ),
    "experts": Text("A token uses {active} of them. ", "一个词元用到其中{active}个。"),
    "calls": Text(
        "For {batch} sequence{s} of {sequence} tokens a training step takes {train}, {ratio} times what 6N a token "
        "gives, a prefill {prefill}, and a decode step after it {decode}. ",
        "{batch}条序列、每条{sequence}个词元：一步训练{train}，是“每词元6N”的{ratio}倍；"
        "预填充{prefill}；其后一步解码{decode}。",
    ),
    "expanded": Text(
        "(Each step here expands all cached latents into keys and values; servers avoid that.) ",
        "（这里的每一步都把KV缓存里的潜在向量全部展开成键和值；推理服务会避免这样做。）",
    ),
    "held": Text(
        "Training in {recipe} with Adam holds {states} of weights, gradients and optimizer state",
        "用{recipe}和Adam训练，权重、梯度和优化器状态占{states}",
    ),
    "activated": Text(" and {activations} of activations, together {held}. ", "，激活值占{activations}，合计{held}。"),
    "undefined": Text(
        "; activations are counted for dense models without latent attention only. ",
        "；激活值没有计入，只有不用潜在注意力的稠密模型才计。",
    ),
    "served": Text(
        "Serving in {precision} holds {served}, {cache} of it KV cache.",
        "用{precision}推理占{served}，其中KV缓存{cache}。",
    ),
}


_TIMES = {"values": (0.25, 0.5, 1, 2, 4), "default": 1, "unit": Text("times", "倍")}


model_shape = Explorable(
    name="model_shape",
    title=Text("From a model's shape to its costs", "从模型形状到各项代价"),
    controls=(
        controls.model_choice(
            Text("Published shapes; the two sliders below change them.", "已公布的模型形状，可用下面两个滑块改变。")
        ),
        Slider(
            name="depth",
            label=Text("Layers", "层数"),
            help=Text(
                "Blocks are alike: parameters, FLOPs and cache grow in proportion; embedding and head stay.",
                "各层相同，所以参数、运算量和KV缓存都成比例增长；嵌入与输出头不变。",
            ),
            **_TIMES,
        ),
        Slider(
            name="width",
            label=Text("Width", "宽度"),
            help=Text(
                "Of vectors, heads and feed-forward networks: matrices grow with its square.",
                "向量、头和前馈网络同时加宽：矩阵按宽度的平方增长。",
            ),
            **_TIMES,
        ),
        Slider(
            "sequence",
            Text("Sequence", "序列长度"),
            tuple(2**power for power in range(9, 18)),
            8_192,
            Text("tokens", "个词元"),
            Text(
                "Tokens of each sequence. Scores of attention grow with its square.",
                "每条序列的词元数。注意力分数的个数按它的平方增长。",
            ),
        ),
        Slider(
            "batch",
            Text("Batch", "批大小"),
            tuple(2**power for power in range(9)),
            1,
            Text("sequences", "条序列"),
            Text(
                "Sequences computed together. Weights, gradients and optimizer state do not depend on it.",
                "一起计算的序列数。权重、梯度和优化器状态与它无关。",
            ),
        ),
        controls.precision_choice(
            Text(
                "bf16 trains in mixed precision: 2 + 2 + 12 bytes a parameter; fp32: 4 + 4 + 8.",
                "bf16指用混合精度训练：每个参数2 + 2 + 12字节；fp32则是4 + 4 + 8。",
            ),
            RECIPES,
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "Llama 3 8B is trained with Adam in mixed precision, operator by operator, on one sequence of 8,192 "
            "tokens. How much memory does the step hold?",
            "用Adam和混合精度训练Llama 3 8B，逐算子执行，批次里只有一条8,192个词元的序列。一步训练占多少显存？",
        ),
        unit=Text("GB", "GB"),
        answer=lambda *, model, depth, width, sequence, batch, precision: (
            training(shaped(MODELS[model], depth, width), batch, sequence, precision).total / 1e9
        ),
        settings={"model": "llama-3-8b", "depth": 1, "width": 1, "sequence": 8_192, "batch": 1, "precision": "bf16"},
    ),
)
