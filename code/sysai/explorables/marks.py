"""Parts of Vega-Lite specifications that several explorables draw."""

import math
from collections.abc import Iterable, Mapping

from sysai.viz.palette import PALETTE, PAPER


def linear(low: float, high: float) -> dict:
    """A linear axis that ends where it is told."""
    return {"type": "quantitative", "scale": {"domain": [low, high], "nice": False}}


def logarithmic(low: float, high: float) -> dict:
    """A logarithmic axis that ends where it is told."""
    return {"type": "quantitative", "scale": {"type": "log", "domain": [low, high], "nice": False}}


def decades(values: Iterable[float]) -> list[float]:
    """The powers of ten from below the least of the values to above the greatest; values are positive."""
    values = list(values)
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def colours(parts: Mapping[str, str], **legend: object) -> dict:
    """The encoding that colours field `part`: `parts` gives for each its colour's name in the palette."""
    return {
        "field": "part",
        "type": "nominal",
        "scale": {"domain": list(parts), "range": [PALETTE[colour] for colour in parts.values()]},
        "legend": {"title": None, "orient": "top", "columnPadding": 16, **legend},
    }


def stacked(row: str, parts: Mapping[str, float]) -> list[dict]:
    """Rows of data for one stacked bar: fields `row` and `part`, and from field `start` to field `end`."""
    rows, end = [], 0.0
    for part, size in parts.items():
        rows.append({"row": row, "part": part, "start": end, "end": end + size})
        end += size
    return rows


def bars(rows: list[dict], parts: Mapping[str, str], title: str, width: int) -> dict:
    """Horizontal bars of `stacked` rows in their order, over an axis from 0; `parts` as in `colours`."""
    order = list(dict.fromkeys(row["row"] for row in rows))
    names = {"domain": False, "ticks": False}
    x = linear(0, 1.04 * max(row["end"] for row in rows))
    return {
        "width": width,
        "height": 26 * len(order),
        "data": {"values": rows},
        "mark": {"type": "bar", "height": 19},
        "encoding": {
            "y": {"field": "row", "type": "nominal", "sort": order, "title": None, "axis": names},
            "x": {"field": "start", **x, "title": title, "axis": {"tickCount": 6}},
            "x2": {"field": "end"},
            "color": colours(parts),
        },
    }


def limit_across(level: float, text: str, y: dict) -> dict:
    """A red line across at `level`, its text at the left and legible over other lines."""
    label = {"type": "text", "align": "left", "baseline": "bottom", "x": 6, "dy": -5}
    return {
        "data": {"values": [{"level": level, "text": text}]},
        "encoding": {"y": {"field": "level", **y}},
        "layer": [
            {"mark": {"type": "rule", "color": PALETTE["red"], "strokeWidth": 2}},
            {"mark": label | {"stroke": PAPER, "strokeWidth": 4}, "encoding": {"text": {"field": "text"}}},
            {"mark": label | {"color": PALETTE["red"]}, "encoding": {"text": {"field": "text"}}},
        ],
    }


def limit_down(level: float, text: str, x: dict) -> dict:
    """A red line down at `level`, its text above the plot, on the side that has room."""
    low, high = x["scale"]["domain"]
    right = level > (low + high) / 2
    label = {"type": "text", "align": "right" if right else "left", "dx": -4 if right else 4, "y": -9}
    return {
        "data": {"values": [{"level": level, "text": text}]},
        "encoding": {"x": {"field": "level", **x}},
        "layer": [
            {"mark": {"type": "rule", "color": PALETTE["red"], "strokeWidth": 2}},
            {"mark": label | {"color": PALETTE["red"]}, "encoding": {"text": {"field": "text"}}},
        ],
    }
