"""Parts that several figures draw: colours, stacked bars, limits."""

import re

import pytest
from sysai.explorables import marks
from sysai.explorables.notebook import to_svg
from sysai.viz.palette import PALETTE, PAPER


def test_each_part_has_the_colour_that_it_was_given():
    scale = marks.colours({"waiting": "grey", "decode": "blue", "prefill": "orange"})["scale"]
    colours = dict(zip(scale["domain"], scale["range"], strict=True))
    assert colours == {"waiting": PALETTE["grey"], "decode": PALETTE["blue"], "prefill": PALETTE["orange"]}


def test_parts_of_a_bar_stand_end_to_end():
    rows = marks.stacked("here", {"weights": 3.0, "KV cache": 0.5, "rest": 1.0})
    assert [(row["start"], row["end"]) for row in rows] == [(0, 3.0), (3.0, 3.5), (3.5, 4.5)]
    assert {row["row"] for row in rows} == {"here"}


@pytest.mark.parametrize(
    ("values", "powers"),
    [([0.02, 300], [0.01, 0.1, 1, 10, 100, 1000]), ([1, 10], [1, 10]), ([5], [1, 10]), ([10], [10, 100])],
)
def test_decades_hold_all_values_and_are_two_at_least(values, powers):
    assert marks.decades(values) == pytest.approx(powers)


def texts(part: dict, **size: int) -> tuple[list[tuple[float, float]], list[str]]:
    """Where the texts of a specification are drawn, and their elements, in the order of drawing."""
    elements = re.findall(r"<text[^>]*>memory</text>", to_svg({**part, **size}))
    places = [re.search(r"translate\(([-\d.]+),([-\d.]+)\)", element).groups() for element in elements]
    return [(float(x), float(y)) for x, y in places], elements


@pytest.mark.parametrize(("level", "anchor"), [(1, "start"), (9, "end")])
def test_the_text_of_a_limit_down_stands_on_the_side_that_has_room(level, anchor):
    (place,), (text,) = texts(marks.limit_down(level, "memory", marks.linear(0, 10)), width=200, height=50)
    assert f'text-anchor="{anchor}"' in text
    assert (place[0] > 20 * level) == (anchor == "start")
    assert place[1] < 0, "above the plot"


def test_the_text_of_a_limit_across_stands_above_it_on_a_ground_of_paper():
    places, (ground, text) = texts(marks.limit_across(4, "memory", marks.linear(0, 10)), width=200, height=50)
    assert places[0] == places[1]
    assert places[0][1] < 30
    assert f'stroke="{PAPER}"' in ground
    assert (f'fill="{PALETTE["red"]}"' in text, "stroke" in text) == (True, False)
