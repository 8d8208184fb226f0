"""Bytes that attention moves with a kernel for each operator, and with its operators fused, edge by edge.

    scores = q k^T    masked = mask(scale scores)    e = exp(masked - max)    weights = e / sum(e)    result = weights v

Verdicts, reasons and bytes are those of the compiler, see `fused_attention`. Whatever of the scores goes to memory is
positions x positions, where q, k, v are positions x size of a head.
"""

import re

from sysai.compiler.graph import Graph
from sysai.core.language import LANGUAGES, Text, in_language
from sysai.explorables import marks
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.fused_attention import EDGES, FusionPlan, bytes_moved, bytes_of, graph, least, plan
from sysai.explorables.units import digits, quantity
from sysai.viz.palette import INK


def draw(language: str, *, positions: int, heads: int, size: int, **wishes: str) -> dict:
    """The figure: the graph, a bar of bytes for each kernel, and the reasons why edges were refused."""
    layer = graph(positions, heads, size)
    made = plan(layer, wishes)
    moved = bytes_moved(layer, made.kernels)
    reasons = _reasons(language, made)
    return {
        "description": _describe(language, made, moved, least(layer), reasons, positions, heads, size),
        "vconcat": [_graph(language, layer, made), _bars(language, made, moved, least(layer)), _lines(reasons)],
        "spacing": 10,
    }


COLOURS = tuple(marks.PALETTE[name] for name in ("blue", "orange", "green", "purple", "red", "grey"))
_OWN = {"domain": [*COLOURS, INK], "range": [*COLOURS, INK]}  # the field is the colour
_WIDTH, _HEIGHT = 540, 124
_BOX = (40, 17)  # half of a box's width and height, in pixels as all places
_PLACES = {
    "scores": (41, 40), "mask": (142, 40), "exp": (244, 40), "sum": (322, 100), "div": (400, 40), "product": (499, 40),
}  # fmt: skip
_LINES = {  # from (x, y) to (x, y); the text stands at (x, y), on the left of that, around it or on the right
    ("scores", "mask"): ((81, 40), (102, 40), (92, 15), "center"),
    ("mask", "exp"): ((182, 40), (204, 40), (193, 15), "center"),
    ("exp", "sum"): ((262, 57), (286, 83), (262, 78), "right"),
    ("sum", "div"): ((358, 83), (382, 57), (382, 78), "left"),
    ("exp", "div"): ((284, 40), (360, 40), (322, 15), "center"),
    ("div", "product"): ((440, 40), (459, 40), (450, 15), "center"),
}
_LOOKS = {
    "fused": {"strokeWidth": 5},
    "stored": {"strokeWidth": 1.5},
    "refused": {"strokeWidth": 2, "strokeDash": [5, 4]},
}


def _at(x: str, y: str) -> dict:
    across = {"domain": [0, _WIDTH], "nice": False}
    down = {"domain": [0, _HEIGHT], "nice": False, "reverse": True}
    return {
        "x": {"field": x, "type": "quantitative", "scale": across, "axis": None},
        "y": {"field": y, "type": "quantitative", "scale": down, "axis": None},
    }


def _graph(language: str, layer: Graph, plan: FusionPlan) -> dict:
    """Boxes in the colours of their kernels; an edge is thick where nothing is stored, dashed where it was refused."""
    to = {"x2": {"field": "x2"}, "y2": {"field": "y2"}}
    layers = []
    for (a, b), ((x, y), (x2, y2), (at, height), side) in _LINES.items():
        stored = plan.kernel_of(a) != plan.kernel_of(b)
        kind = "refused" if (a, b) in plan.refused else "stored" if stored else "fused"
        size = quantity(bytes_of(layer, a), "B") if stored else ""
        row = {"x": x, "y": y, "x2": x2, "y2": y2, "at": at, "height": height, "bytes": size}
        line = {"mark": {"type": "rule", "color": INK, **_LOOKS[kind]}, "encoding": _at("x", "y") | to}
        text = {"mark": {"type": "text", "align": side, "color": INK, "fontSize": 11}}
        text["encoding"] = _at("at", "height") | {"text": {"field": "bytes"}}
        layers.append({"data": {"values": [row]}, "layer": [line, text]})
    half, tall = _BOX
    boxes = [
        {"x": x - half, "x2": x + half, "y": y - tall, "y2": y + tall, "middle": x, "height": y}
        | {"colour": COLOURS[plan.kernel_of(box)], "name": _BOXES[box][language]}
        for box, (x, y) in _PLACES.items()
    ]
    fill = {"field": "colour", "type": "nominal", "scale": _OWN, "legend": None}
    shape = {"type": "rect", "cornerRadius": 4, "fillOpacity": 0.22, "strokeWidth": 2}
    rectangles = {"mark": shape, "encoding": _at("x", "y") | to | {"fill": fill, "stroke": fill}}
    names = {"mark": {"type": "text", "color": INK}, "encoding": _at("middle", "height") | {"text": {"field": "name"}}}
    layers.append({"data": {"values": boxes}, "layer": [rectangles, names]})
    return {"width": _WIDTH, "height": _HEIGHT, "layer": layers}


def _bars(language: str, plan: FusionPlan, moved: list[int], floor: int) -> dict:
    """A bar for each kernel, then all of them, then what must be moved."""
    says = in_language(_TEXTS, language)
    rows = [
        {"row": number, "name": f"{number + 1}  {_names(language, boxes)}", "bytes": size, "colour": COLOURS[number]}
        for number, (boxes, size) in enumerate(zip(plan.kernels, moved, strict=True))
    ]
    grey = {"colour": INK}
    rows.append(grey | {"row": len(rows), "name": says["all"], "bytes": sum(moved)})
    rows.append(grey | {"row": len(rows), "name": says["least"], "bytes": floor})
    most = max(row["bytes"] for row in rows)
    for row in rows:
        row |= {"zero": 0, "left": -1.1 * most, "text": quantity(row["bytes"], "B")}

    def across_at(x: str) -> dict:
        across = {"domain": [-1.1 * most, 1.22 * most], "nice": False}
        down = {"domain": [-0.5, 7.5], "nice": False, "reverse": True}
        return {
            "x": {"field": x, "type": "quantitative", "scale": across, "axis": None},
            "y": {"field": "row", "type": "quantitative", "scale": down, "axis": None},
        }

    colour = {"field": "colour", "type": "nominal", "scale": _OWN, "legend": None}
    text = {"type": "text", "align": "left", "color": INK}
    return {
        "width": _WIDTH,
        "height": 152,
        "data": {"values": rows},
        "layer": [
            {
                "mark": {"type": "bar", "height": 13},
                "encoding": across_at("zero") | {"x2": {"field": "bytes"}, "color": colour},
            },
            {"mark": text, "encoding": across_at("left") | {"text": {"field": "name"}}},
            {"mark": text | {"dx": 5}, "encoding": across_at("bytes") | {"text": {"field": "text"}}},
        ],
    }


def _lines(reasons: list[str]) -> dict:
    """The reasons, broken into lines."""
    lines = [line for reason in reasons for line in _broken(reason)] or [" "]
    down = {"domain": [-0.5, 5.5], "nice": False, "reverse": True}
    return {
        "width": _WIDTH,
        "height": 84,
        "data": {"values": [{"row": row, "zero": 0, "line": line} for row, line in enumerate(lines)]},
        "mark": {"type": "text", "align": "left", "color": INK, "fontSize": 11},
        "encoding": {
            "x": {"field": "zero", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": None},
            "y": {"field": "row", "type": "quantitative", "scale": down, "axis": None},
            "text": {"field": "line"},
        },
    }


def _broken(text: str, width: int = 96) -> list[str]:
    """Lines of at most `width` letters, of which a Chinese one counts twice; none begins with punctuation."""
    lines = [""]
    for word in re.findall(r"“?(?:[!-~]+|.)[，。：；、”]*", text):
        if sum(1 if letter < "\u2e80" else 2 for letter in lines[-1] + word) > width:
            lines.append("")
        lines[-1] = (lines[-1] + word).lstrip()
    return lines


def _names(language: str, boxes: tuple[str, ...]) -> str:
    return " + ".join(_BOXES[box][language] for box in boxes)


def _reasons(language: str, made: FusionPlan) -> list[str]:
    """A sentence for each reason that the compiler gave, with the edges that it is about."""
    edges: dict[str, list[str]] = {}
    says, words = in_language(_TEXTS, language), in_language(_BOXES, language)
    for (a, b), reason in made.refused.items():
        said = reason if language == "en" else next(zh for part, zh in _IN_CHINESE.items() if part in reason)
        edges.setdefault(said, []).append(says["edge"].format(a=words[a], b=words[b]))
    return [says["refused"].format(edges=says["and"].join(all_), reason=reason) for reason, all_ in edges.items()]


def _describe(
    language: str,
    made: FusionPlan,
    moved: list[int],
    floor: int,
    reasons: list[str],
    positions: int,
    heads: int,
    size: int,
) -> str:
    says = in_language(_TEXTS, language)
    kernels = says["comma"].join(
        says["kernel"].format(names=_names(language, boxes), bytes=quantity(each, "B"))
        for boxes, each in zip(made.kernels, moved, strict=True)
    )
    whole = says["whole"].format(
        positions=positions, heads=heads, size=size, count=len(made.kernels), kernels=kernels,
        s="" if len(made.kernels) == 1 else "s", total=quantity(sum(moved), "B"), least=quantity(floor, "B"),
        times=digits(sum(moved) / floor), many="" if heads == 1 else "s",
    )  # fmt: skip
    return says["join"].join([whole, *reasons])


_BOXES = {
    "scores": Text("q kᵀ", "q kᵀ"),
    "mask": Text("scale, mask", "缩放、掩码"),
    "exp": Text("max, exp", "最大值、exp"),
    "sum": Text("sum", "求和"),
    "div": Text("divide", "相除"),
    "product": Text("× v", "× v"),
}

_IN_CHINESE = {
    "both need many elements": (
        "归约与矩阵乘法的每个结果都要用许多元素，一个循环嵌套容不下两者，除非反复重算前者，或者把它存起来"
    ),
    "must run between them": "求和必须夹在两者之间执行：它要用前者的结果，后者又要用它的结果",
    "before matmul": "相除若放进矩阵乘法，每个元素要读许多次，也就要重算许多次",
}
"""Why the compiler refuses to fuse, by a part of its sentence."""

_TEXTS: dict[str, Text] = {
    "all": Text("all kernels", "全部内核"),
    "least": Text("q, k, v and the result", "q、k、v和结果"),
    "refused": Text("Refused {edges}: {reason}.", "{edges}不能融合：{reason}。"),
    "edge": Text("{a} → {b}", "“{a} → {b}”"),
    "and": Text(" and ", "与"),
    "join": Text(" ", ""),
    "comma": Text("; ", "；"),
    "kernel": Text("{names}: {bytes}", "{names}搬动{bytes}"),
    "whole": Text(
        "Causal attention of {heads} head{many} of {size} over {positions} positions in float32, as {count} "
        "kernel{s} ({kernels}). They move {total}, {times} times the {least} of q, k, v and the result.",
        "因果注意力，{heads}个头，头大小为{size}，{positions}个位置，float32，共{count}个内核（{kernels}）。"
        "合计搬动{total}；q、k、v和结果只有{least}，前者是后者的{times}倍。",
    ),
}


def _edge(a: str, b: str, help: Text) -> Dropdown:
    label = Text(*(f"{_BOXES[a][language]} → {_BOXES[b][language]}" for language in LANGUAGES))
    options = {"fuse": Text("fuse", "融合"), "store": Text("store", "写回内存")}
    return Dropdown(f"{a}_{b}", label, options, "fuse", help)


_FUSED = {f"{a}_{b}": "fuse" for a, b in EDGES}


def _times(*, positions: int, heads: int, size: int, **wishes: str) -> float:
    """Bytes of all kernels over those that must be moved."""
    layer = graph(positions, heads, size)
    return sum(bytes_moved(layer, plan(layer, wishes).kernels)) / least(layer)


operator_fusion = Explorable(
    name="operator_fusion",
    title=Text("Fusing the operators of attention", "融合注意力的算子"),
    controls=(
        _edge(
            "scores",
            "mask",
            Text(
                "Scaling and masking as the epilogue of the product, or in a kernel that reads the scores.",
                "缩放和掩码作为矩阵乘法的epilogue，或者由另一个内核把分数读回来再做。",
            ),
        ),
        _edge(
            "mask",
            "exp",
            Text(
                "Legal only where the product is not in the same kernel: edges are tried from the left.",
                "只有矩阵乘法不在同一个内核里时才合法；各条边从左到右依次尝试。",
            ),
        ),
        _edge(
            "exp",
            "sum",
            Text(
                "Maximum and sum go over the same rows, so that one kernel can do both.",
                "求最大值与求和扫的是同样的行，一个内核可以都做。",
            ),
        ),
        _edge(
            "sum",
            "div",
            Text("What is stored here is one number a row.", "这里写回内存的，每行只有一个数。"),
        ),
        _edge(
            "exp",
            "div",
            Text(
                "Without the sum in the same kernel this is a cycle; with it, nothing is stored in any case.",
                "求和若不在同一个内核里，就成了环；若已在同一个内核里，选什么都不写回内存。",
            ),
        ),
        _edge(
            "div",
            "product",
            Text(
                "The product reads each weight once for every column of v.",
                "v有多少列，矩阵乘法就要把每个权重读多少次。",
            ),
        ),
        Slider(
            "positions",
            Text("Positions", "位置数"),
            tuple(2**power for power in range(6, 15)),
            2048,
            help=Text(
                "The length of the sequence. The scores have as many rows and columns.",
                "序列长度。分数有这么多行，也有这么多列。",
            ),
        ),
        Slider(
            "heads",
            Text("Heads", "头数"),
            (1, 2, 4, 8, 16, 32, 64),
            16,
            help=Text("All bytes are proportional to it.", "所有字节数都与它成正比。"),
        ),
        Slider(
            "size",
            Text("Size of a head", "头大小"),
            (16, 32, 64, 128, 256),
            64,
            help=Text(
                "The width of q, k and v; the scores do not depend on it.", "q、k、v的宽度；分数的大小与它无关。"
            ),
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "16 heads of 128, 4096 positions, and everything fused that may be. How many times the bytes of "
            "q, k, v and the result are moved?",
            "16个头，头大小为128，4096个位置，能融合的都融合。搬动的字节是q、k、v和结果的多少倍？",
        ),
        unit=Text("times", "倍"),
        answer=_times,
        settings={**_FUSED, "positions": 4096, "heads": 16, "size": 128},
    ),
)
