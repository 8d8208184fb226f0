"""The blocks of a paged KV cache as a map: whose each is, how many hold it, and how much of it is filled."""

from collections import Counter

from sysai.core.language import Text
from sysai.explorables import marks
from sysai.explorables.serving_runs import BLOCK_SIZE, Moment
from sysai.explorables.units import digits
from sysai.viz.palette import INK

COLUMNS = 16
USES: dict[str, Text] = {
    "one": Text("one request's", "一个请求独占"),
    "several": Text("shared", "共享"),
    "kept": Text("kept by the prefix cache", "前缀缓存保留"),
}
_COLOURS = {"one": "blue", "several": "green", "kept": "grey"}
_TITLE: Text = Text("the {number} blocks in the step at {start} s", "{start} s时那一步的{number}个块")


def uses(moment: Moment, blocks: int) -> Counter[str]:
    """How many of the blocks have each of USES, and how many are "free"."""
    return Counter(_cell(block, moment)["use"] for block in range(blocks))


def block_map(language: str, moment: Moment, blocks: int, width: int) -> dict:
    """A cell for each block: its use as a pale ground, what is filled of it in full colour, and whose it is."""
    cells = [_cell(block, moment) for block in range(blocks)]
    held = [cell | {"part": USES[cell["use"]][language]} for cell in cells if cell["use"] != "free"]
    rows = -(-blocks // COLUMNS)
    x, y = marks.linear(0, COLUMNS) | {"axis": None}, marks.linear(0, rows) | {"axis": None}
    y["scale"]["reverse"] = True
    named = {USES[use][language]: colour for use, colour in _COLOURS.items()}
    colour = {"color": marks.colours(named, symbolOpacity=0.6)}
    encoding = {"x": {"field": "left", **x}, "y": {"field": "top", **y}, "y2": {"field": "bottom"}}
    middle = {"x": {"field": "middle", **x}, "y": {"field": "centre", **y}, "text": {"field": "text"}}
    edge = {"type": "rect", "stroke": INK, "strokeWidth": 0.6, "strokeOpacity": 0.5, "fillOpacity": 0}
    ground, filled = ({"type": "rect", "opacity": opacity} for opacity in (0.18, 0.5))
    return {
        "title": {"text": _TITLE[language].format(start=digits(moment.start), number=blocks), "offset": 4},
        "width": width,
        "height": 17 * rows,
        "layer": [
            {"data": {"values": held}, "mark": ground, "encoding": encoding | colour | {"x2": {"field": "right"}}},
            {"data": {"values": held}, "mark": filled, "encoding": encoding | colour | {"x2": {"field": "filled"}}},
            {"data": {"values": cells}, "mark": edge, "encoding": encoding | {"x2": {"field": "right"}}},
            {
                "data": {"values": [cell for cell in held if cell["text"]]},
                "mark": {"type": "text", "baseline": "middle", "fontSize": 10},
                "encoding": middle,
            },
        ],
    }


def _cell(block: int, moment: Moment) -> dict:
    """Where a block is drawn, its use, and the share of its positions that the step's end finds computed."""
    row, column = divmod(block, COLUMNS)
    holders = [request for request, table in moment.tables.items() if block in table]
    share = float(block in moment.evictable)
    for request in holders:
        before = moment.tables[request].index(block) * BLOCK_SIZE
        share = max(share, min(1.0, max(0, moment.filled[request] - before) / BLOCK_SIZE))
    use = "several" if len(holders) > 1 else "one" if holders else "kept" if share else "free"
    left, right = column + 0.04, column + 0.96
    return {
        "block": block,
        "use": use,
        "text": str(holders[0]) if use == "one" else f"×{len(holders)}" if use == "several" else "",
        "share": share,
        "left": left,
        "filled": left + share * (right - left),
        "right": right,
        "middle": (left + right) / 2,
        "top": row + 0.06,
        "bottom": row + 0.94,
        "centre": row + 0.5,
    }
