"""Where a KV cache's memory goes when sequences get it in one piece, and when they get it in pages.

Each policy is run on its allocator (`sysai.serving.simulation.fragmentation`) with the same sequences, beside the
shares that vLLM's authors published for theirs. They published the means of their lengths; the shape, log-normal with
a sigma of 1, is ours.
"""

import math
import random
from collections.abc import Callable
from functools import cache
from statistics import NormalDist

from sysai.core.language import Text, in_language
from sysai.explorables import marks
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.units import digits
from sysai.serving.simulation.fragmentation import Fragmentation, measure_fragmentation, memories
from sysai.serving.simulation.workload import AZURE_CODE, AZURE_CONVERSATION, RequestTrace
from sysai.viz.palette import INK, PALETTE, PAPER

POSITIONS = 15_728  # 12 GB over 819,200 bytes a token, OPT-13B: arXiv 2309.06180, table 1
SEQUENCES = 200  # of a run; with ten times as many the shares used change by 1%, and pages run 33 at a time, not 40

SIGMA = 1.0
MEANS = (161.31, 337.99)  # prompt and output of the ShareGPT sequences there: figure 11a
TRACES: dict[str, RequestTrace] = {"azure_conversation": AZURE_CONVERSATION, "azure_code": AZURE_CODE}

# Kwon et al., PagedAttention, arXiv 2309.06180, figure 2; of vLLM's bar only the first share is labelled.
PUBLISHED: dict[str, dict[str, float]] = {
    "max": {"used": 0.204, "reserved": 0.133, "internal": 0.573, "external": 0.089},
    "pow2": {"used": 0.268, "reserved": 0.179, "internal": 0.136, "external": 0.416},
    "oracle": {"used": 0.382, "reserved": 0.252, "internal": 0.0, "external": 0.366},
    "paged": {"used": 0.963},
}
HEIGHT = 176
COLOURS = {"used": "blue", "reserved": "green", "internal": "orange", "external": "grey"}


class _Stratified(random.Random):
    """One number out of each of SEQUENCES equal parts of 0 to 1, in random order: few draws with the mean of many."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self._numbers = [(i + 0.5) / SEQUENCES for i in range(SEQUENCES)]
        random.Random(seed).shuffle(self._numbers)

    def random(self) -> float:
        return self._numbers.pop()


def draw_lengths(dataset: str, longest: int) -> list[tuple[int, int]]:
    """(prompt, output) of SEQUENCES sequences; what exceeds the model's positions is cut."""
    prompt, output = (_sampler(dataset, which) for which in (0, 1))
    prompts = [max(1, min(longest // 2, prompt())) for _ in range(SEQUENCES)]
    return [(length, max(1, min(longest - length, output()))) for length in prompts]


def _sampler(dataset: str, which: int) -> Callable[[], int]:
    """Draws lengths of prompts (0) or of outputs (1)."""
    generator = _Stratified(f"{dataset} {which}")
    if dataset in TRACES:
        lengths = (TRACES[dataset].prompt, TRACES[dataset].output)[which]
        return lambda: lengths.sample(generator)
    normal = NormalDist(math.log(MEANS[which]) - SIGMA**2 / 2, SIGMA)
    return lambda: round(MEANS[which] if dataset == "alike" else math.exp(normal.inv_cdf(generator.random())))


@cache
def wasted(policy: str, dataset: str, longest: int, block_size: int) -> Fragmentation:
    """The shares under one policy; `block_size` matters to pages only."""
    memory = memories(POSITIONS, longest, block_size)[policy]
    return measure_fragmentation(memory, POSITIONS, draw_lengths(dataset, longest))


def _all(*, dataset: str, longest: int, block_size: int) -> dict[str, Fragmentation]:
    sizes = {policy: block_size if policy == "paged" else 1 for policy in PUBLISHED}
    return {policy: wasted(policy, dataset, longest, size) for policy, size in sizes.items()}


def draw(language: str, **settings: float | str) -> dict:
    """The figure: a bar of shares for each policy, the published one below it, and how many sequences run."""
    results = _all(**settings)
    return {
        "description": _describe(language, results, **settings),
        "hconcat": [_shares(language, results), _running(language, results)],
        "spacing": 14,
    }


def _shares(language: str, results: dict[str, Fragmentation]) -> dict:
    says = in_language(_TEXTS, language)
    rows = []
    for policy, waste in results.items():
        simulated = {says[part]: 100 * getattr(waste, part) for part in COLOURS}
        printed = {says[part]: 100 * share for part, share in PUBLISHED[policy].items()}
        rows += [row | {"whose": "ours"} for row in marks.stacked(says[policy], simulated)]
        rows += [row | {"whose": "published"} for row in marks.stacked(says[policy], printed)]
    bars = marks.bars(rows, {says[part]: colour for part, colour in COLOURS.items()}, says["share"], 300)
    bars["encoding"]["x"] |= marks.linear(0, 100)
    size = {key: bars.pop(key) for key in ("width", "height")} | {"height": HEIGHT}
    thick, thin = ({"type": "bar", "height": height, "yOffset": offset} for height, offset in ((20, -6), (7, 11)))
    label = {"type": "text", "align": "left", "dx": 4, "dy": -6, "color": PAPER}
    number = {"y": bars["encoding"]["y"], "x": bars["encoding"]["x"], "text": {"field": "text"}}
    used = [{"row": says[policy], "start": 0, "text": f"{100 * waste.used:.1f}%"} for policy, waste in results.items()]
    return size | {
        "layer": [
            bars | {"data": {"values": [row for row in rows if row["whose"] == "ours"]}, "mark": thick},
            bars | {"data": {"values": [row for row in rows if row["whose"] == "published"]}, "mark": thin},
            {"data": {"values": used}, "mark": label, "encoding": number},
        ]
    }


def _running(language: str, results: dict[str, Fragmentation]) -> dict:
    says = in_language(_TEXTS, language)
    rows = [
        {"row": says[policy], "running": waste.running, "text": digits(waste.running)}
        for policy, waste in results.items()
    ]
    x = marks.linear(0, 1.45 * max(row["running"] for row in rows))
    axis = {"tickCount": 3, "grid": False}
    encoding = {
        "y": {"field": "row", "type": "nominal", "sort": [row["row"] for row in rows], "axis": None},
        "x": {"field": "running", **x, "title": says["running"], "axis": axis},
    }
    text = {"type": "text", "align": "left", "dx": 4, "dy": -6, "color": INK}
    return {
        "width": 110,
        "height": HEIGHT,
        "data": {"values": rows},
        "layer": [
            {"mark": {"type": "bar", "height": 20, "yOffset": -6, "color": PALETTE["purple"]}, "encoding": encoding},
            {"mark": text, "encoding": encoding | {"text": {"field": "text"}}},
        ],
    }


def _describe(language: str, results: dict[str, Fragmentation], *, dataset: str, longest: int, block_size: int) -> str:
    says, lengths = in_language(_TEXTS, language), draw_lengths(dataset, longest)
    texts = [
        says["setting"].format(
            dataset=_DATASETS[dataset][language],
            sequences=SEQUENCES,
            prompt=digits(sum(prompt for prompt, _ in lengths) / len(lengths)),
            output=digits(sum(output for _, output in lengths) / len(lengths)),
            positions=f"{POSITIONS:,}",
            longest=f"{longest:,}",
            block=block_size,
        )
    ]
    for policy, waste in results.items():
        shares = {part: f"{100 * getattr(waste, part):.1f}" for part in COLOURS}
        texts.append(says["of policy"].format(policy=says[policy], running=digits(waste.running), **shares))
    texts.append(says["published"].format(**{p: f"{100 * shares['used']:.1f}" for p, shares in PUBLISHED.items()}))
    return "".join(texts)


_TEXTS: dict[str, Text] = {
    "max": Text("longest possible", "按最大长度"),
    "pow2": Text("power of two", "按2的幂"),
    "oracle": Text("known in advance", "预知长度"),
    "paged": Text("pages", "分页"),
    "used": Text("used", "已用"),
    "reserved": Text("reserved", "预留"),
    "internal": Text("internal", "内部碎片"),
    "external": Text("external", "外部碎片"),
    "share": Text("share of the memory (%), thin: published", "占内存的比例（%），细条为已发表的数字"),
    "running": Text("sequences at a time", "同时运行的序列"),
    "setting": Text(
        "{dataset}: {sequences} sequences wait, on average with {prompt} tokens of prompt and {output} of output; "
        "a memory of {positions} positions, at most {longest} a sequence, pages of {block}. Shares used, reserved, "
        "lost inside and outside of what is reserved: ",
        "{dataset}：{sequences}个序列在排队，提示词平均{prompt}个词元，输出平均{output}个；内存共{positions}个位置，"
        "每个序列至多{longest}个，每块{block}个。已用、预留、内部碎片、外部碎片所占的比例依次为：",
    ),
    "of policy": Text(
        "{policy} {used}%, {reserved}%, {internal}%, {external}%, {running} sequences at a time; ",
        "{policy}，{used}%、{reserved}%、{internal}%、{external}%，同时运行{running}个序列；",
    ),
    "published": Text(
        "vLLM's authors published for their own setting {max}%, {pow2}%, {oracle}% and {paged}% used.",
        "vLLM的作者在自己的条件下发表的已用比例依次为{max}%、{pow2}%、{oracle}%和{paged}%。",
    ),
}

_DATASETS: dict[str, Text] = {
    "sharegpt": Text("ShareGPT's means, log-normal", "ShareGPT的均值，对数正态分布"),
    "alike": Text("ShareGPT's means, all alike", "ShareGPT的均值，全部等长"),
    "azure_conversation": Text("Azure trace, conversation", "Azure请求轨迹，对话"),
    "azure_code": Text("Azure trace, code", "Azure请求轨迹，代码"),
}

kv_waste = Explorable(
    name="kv_waste",
    title=Text("Waste of KV memory", "KV缓存浪费了多少内存"),
    controls=(
        Dropdown(
            "dataset",
            Text("Lengths", "长度分布"),
            _DATASETS,
            "sharegpt",
            Text(
                "Of prompts and outputs. Of ShareGPT the means are published; the traces are Azure's of 2023.",
                "提示词与输出的长度。ShareGPT只发表了均值；请求轨迹来自2023年的Azure。",
            ),
        ),
        Slider(
            "longest",
            Text("Longest sequence", "最大序列长度"),
            (512, 1_024, 2_048, 4_096),
            2_048,
            Text("positions", "个位置"),
            Text(
                "Positions of the model. Who knows nothing of a sequence's length must reserve them all.",
                "模型的位置数。对序列的长度一无所知，就只能全部预留。",
            ),
        ),
        Slider(
            "block_size",
            Text("Size of a page", "块大小"),
            (4, 8, 16, 32, 64, 128, 256, 512),
            16,
            Text("positions", "个位置"),
            Text(
                "vLLM's default is 16. Only the last page of a sequence can have unused positions.",
                "vLLM默认为16。只有序列的最后一块可能有空位。",
            ),
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "Prompts of 161 and outputs of 338 tokens on average. Each sequence gets one piece of 2,048 positions, "
            "the longest that the model allows. What share of the memory holds tokens, on average over time?",
            "提示词平均161个词元，输出平均338个。每个序列按模型允许的最大长度，预留一整段2,048个位置。"
            "按时间平均，内存中有百分之几存有词元？",
        ),
        unit=Text("%", "%"),
        answer=lambda *, dataset, longest, block_size: 100 * wasted("max", dataset, longest, 1).used,
        settings={"dataset": "sharegpt", "longest": 2_048, "block_size": 16},
    ),
)
