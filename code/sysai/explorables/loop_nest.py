"""Bytes that a matrix product moves between a cache and memory, over the order and the tiles of its loops.

    for i_0, j_0, k_0 in some order:  for i_1 in tile:  for k_1 in tile:  for j_1 in tile:  C[i, j] += A[i, k] * B[k, j]

The nest is made by the compiler's own primitives, the bytes are counted by `sysai.compiler.tir.traffic` (a fully
associative cache that keeps what was used last). Three tiles that fit into the cache together are each loaded once.
"""

from functools import lru_cache
from itertools import permutations

from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import For, PrimFunc, statements
from sysai.compiler.tir.text import parse
from sysai.compiler.tir.traffic import Moved, moved
from sysai.core.language import Text, in_language
from sysai.explorables import marks
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider
from sysai.explorables.units import digits, quantity
from sysai.viz.palette import INK

N = 512
KIB = 1024
PARTS = {"A": "blue", "B": "orange", "C": "green"}
PRODUCT = f"""
def product(A: float32[{N}, {N}], B: float32[{N}, {N}], C: float32[{N}, {N}]):
    for i in range({N}):
        for j in range({N}):
            for k in range({N}):
                with block("C"):
                    vi = spatial({N}, i)
                    vj = spatial({N}, j)
                    vk = reduce({N}, k)
                    C[vi, vj] += A[vi, vk] * B[vk, vj]
"""


@lru_cache(maxsize=4096)
def nest(order: str, tile_i: int, tile_j: int, tile_k: int) -> PrimFunc:
    """The tiled loops; `order` names the loops over tiles from the outermost, e.g. "jki"."""
    schedule = Schedule(parse(PRODUCT))
    schedule.reorder("i", "k", "j")
    i_0, k_0, j_0, i_1, k_1, j_1 = schedule.tile(["i", "k", "j"], [tile_i, tile_k, tile_j])
    over_tiles = {"i": i_0, "j": j_0, "k": k_0}
    schedule.reorder(*(over_tiles[letter] for letter in order), i_1, k_1, j_1)
    return schedule.function


@lru_cache(maxsize=4096)
def bytes_moved(order: str, tile_i: int, tile_j: int, tile_k: int, cache: int) -> dict[str, Moved]:
    """Bytes moved, by matrix; `cache` in KiB."""
    return moved(nest(order, tile_i, tile_j, tile_k), {}, cache * KIB)


def total(**settings: int | str) -> int:
    """Bytes moved, of all three matrices."""
    return sum(part.total for part in bytes_moved(**settings).values())


def draw(language: str, **settings: int | str) -> dict:
    """The figure: the loops, a bar of the bytes, and the bytes at square tiles of every size."""
    return {
        "description": _describe(language, **settings),
        "vconcat": [_loops(**settings), _bars(language, **settings), _squares(language, **settings)],
        "spacing": 14,
        "resolve": {"scale": {"color": "independent"}},
    }


def _loops(*, cache: int, **settings: int | str) -> dict:
    """The nest as text; loops that run once are left out."""
    loops = [stmt for stmt in statements(nest(**settings).body) if isinstance(stmt, For)]
    loops = [loop for loop in loops if str(loop.extent) != "1"]
    lines = [f"for {loop.var.name} in range({loop.extent}):" for loop in loops] + ["C[i, j] += A[i, k] * B[k, j]"]
    rows = [{"depth": depth, "line": line} for depth, line in enumerate(lines)]
    scale = {"domain": [-0.5, 6.5], "nice": False}
    return {
        "width": 440,
        "height": 112,
        "data": {"values": rows},
        "mark": {"type": "text", "align": "left", "font": "monospace", "color": INK},
        "encoding": {
            "x": {"field": "depth", "type": "quantitative", "scale": {"domain": [0, 20]}, "axis": None},
            "y": {"field": "depth", "type": "quantitative", "scale": scale | {"reverse": True}, "axis": None},
            "text": {"field": "line"},
        },
    }


def _bars(language: str, **settings: int | str) -> dict:
    """Megabytes of each matrix."""
    names = in_language(_TEXTS, language)
    parts = {name: part.total / 1e6 for name, part in bytes_moved(**settings).items()}
    bars = marks.bars(marks.stacked(names["here"], parts), PARTS, names["moved"], 385)
    size = {key: bars.pop(key) for key in ("width", "height")}
    return size | {"layer": [bars]}


def _squares(language: str, *, order: str, tile_i: int, tile_j: int, tile_k: int, cache: int) -> dict:
    """Megabytes over the side of square tiles in this order and cache, and a point where the tiles are square."""
    names = in_language(_TEXTS, language)
    rows = [
        {"tile": side, "MB": total(order=order, tile_i=side, tile_j=side, tile_k=side, cache=cache) / 1e6}
        for side in SIDES
    ]
    here = total(order=order, tile_i=tile_i, tile_j=tile_j, tile_k=tile_k, cache=cache) / 1e6
    ticks = marks.decades([*(row["MB"] for row in rows), here])
    x, y = marks.logarithmic(SIDES[0], SIDES[-1]), marks.logarithmic(ticks[0], ticks[-1])
    mean = (tile_i * tile_j * tile_k) ** (1 / 3)
    encoding = {
        "x": {"field": "tile", **x, "title": names["side"], "axis": {"values": SIDES, "grid": False}},
        "y": {"field": "MB", **y, "title": names["megabytes"], "axis": {"values": ticks, "format": ",~g"}},
    }
    line = {"data": {"values": rows}, "mark": {"type": "line", "color": marks.PALETTE["purple"]}, "encoding": encoding}
    point = {
        "data": {"values": [{"tile": mean, "MB": here}]},
        "mark": {"type": "point", "filled": True, "size": 110, "color": INK, "opacity": 1},
        "encoding": encoding,
    }
    return {"width": 440, "height": 120, "layer": [line, point]}


def _describe(language: str, **settings: int | str) -> str:
    says = in_language(_TEXTS, language)
    parts = bytes_moved(**settings)
    whole = sum(part.total for part in parts.values())
    tiles = settings["tile_i"] * settings["tile_k"] + settings["tile_k"] * settings["tile_j"]
    tiles = 4 * (tiles + settings["tile_i"] * settings["tile_j"])
    fits = says["fit" if tiles <= settings["cache"] * KIB else "too large"]
    return (says["nest"] + fits + says["bytes"]).format(
        n=N,
        order=says["comma"].join(settings["order"]),
        i=settings["tile_i"],
        j=settings["tile_j"],
        k=settings["tile_k"],
        tiles=quantity(tiles, "B"),
        cache=settings["cache"],
        total=quantity(whole, "B"),
        A=quantity(parts["A"].total, "B"),
        B=quantity(parts["B"].total, "B"),
        C=quantity(parts["C"].total, "B"),
        intensity=digits(2 * N**3 / whole),
    )


_TEXTS: dict[str, Text] = {
    "here": Text("this nest", "这个循环嵌套"),
    "moved": Text("moved between cache and memory (MB)", "CPU缓存与内存之间搬动（MB）"),
    "side": Text(
        "side of the tiles, all three alike; the point is this nest, at the geometric mean of its sides",
        "分块边长（三者相同）；圆点是当前的循环嵌套，取各边长的几何平均",
    ),
    "megabytes": Text("moved (MB)", "搬动（MB）"),
    "comma": Text(", ", "、"),
    "nest": Text(
        "Product of two {n} × {n} matrices in float32, loops over tiles in the order {order}, tiles of {i} (i), "
        "{j} (j) and {k} (k). Its three tiles take {tiles}, ",
        "两个{n} × {n}的float32矩阵相乘，分块之间的循环次序为{order}，分块大小为{i}（i）、{j}（j）、{k}（k）。"
        "三个分块共占{tiles}，",
    ),
    "fit": Text("which fits into a cache of {cache} KiB. ", "{cache} KiB的CPU缓存放得下。"),
    "too large": Text("more than a cache of {cache} KiB holds. ", "{cache} KiB的CPU缓存放不下。"),
    "bytes": Text(
        "It moves {total}: {A} of A, {B} of B, {C} of C, so that each byte serves {intensity} operations.",
        "共搬动{total}：A {A}，B {B}，C {C}；平均每字节用于{intensity}次运算。",
    ),
}

SIDES = tuple(2**power for power in range(2, 10))


def _tile(letter: str, default: int, help: Text) -> Slider:
    label = Text(f"Tile of {letter}", f"{letter}的分块")
    return Slider(f"tile_{letter}", label, SIDES, default, help=help)


_ORDERS = ("".join(letters) for letters in permutations("ijk"))

loop_nest = Explorable(
    name="loop_nest",
    title=Text("A loop nest and what it moves", "循环嵌套与它搬动的字节"),
    controls=(
        Dropdown(
            "order",
            Text("Loops over tiles", "分块之间的循环"),
            {order: Text(", ".join(order), "、".join(order)) for order in _ORDERS},
            "ijk",
            Text(
                "From the outermost. The innermost one decides which of the three tiles stays in the cache.",
                "从最外层数起。最内层的那个，决定三个分块中哪一个留在CPU缓存里。",
            ),
        ),
        _tile(
            "i",
            32,
            Text(
                "Rows of A and C in a tile. B is gone through once for each tile of i.",
                "一个分块里A和C的行数。i有几个分块，就要把B读几遍。",
            ),
        ),
        _tile(
            "j",
            32,
            Text(
                "Columns of B and C in a tile. A is gone through once for each tile of j.",
                "一个分块里B和C的列数。j有几个分块，就要把A读几遍。",
            ),
        ),
        _tile(
            "k",
            32,
            Text(
                "Columns of A and rows of B in a tile. 512 means that this loop is not tiled.",
                "一个分块里A的列数，也是B的行数。512表示这个循环不分块。",
            ),
        ),
        Slider(
            "cache",
            Text("Cache", "CPU缓存"),
            (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048),
            32,
            Text("KiB", "KiB"),
            Text(
                "32 to 48 KiB is a first-level cache, 256 to 2048 KiB a second-level one.",
                "32到48 KiB相当于一级缓存，256到2048 KiB相当于二级缓存。",
            ),
        ),
    ),
    draw=draw,
    prediction=Prediction(
        question=Text(
            "512 × 512 matrices, three loops that are not tiled (all tiles 512), a cache of 32 KiB. "
            "How many megabytes are moved?",
            "512 × 512的矩阵，三个循环都不分块（分块都取512），CPU缓存32 KiB。要搬动多少MB？",
        ),
        unit=Text("MB", "MB"),
        answer=lambda **settings: total(**settings) / 1e6,
        settings={"order": "ijk", "tile_i": 512, "tile_j": 512, "tile_k": 512, "cache": 32},
    ),
)
