"""Figures in the book's style, as SVG: words that can be read, the palette's colours, the same bytes each time."""

import io
import re

import matplotlib
import pytest
from matplotlib.figure import Figure
from sysai.viz.palette import INK, PALETTE, PAPER
from sysai.viz.style import use_style


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context():
        use_style()
        yield


def drawn() -> str:
    axes = Figure().subplots()
    for number, name in enumerate(PALETTE):
        axes.plot([0, 1], [number, number], label=name)
    axes.axvspan(0.2, 0.3, clip_on=True)
    axes.set(title="A title", xlabel="the abscissa")
    axes.legend()
    svg = io.StringIO()
    axes.figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()


def test_words_stay_words():
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawn())
    assert {"A title", "the abscissa", *PALETTE} <= set(words)


def test_colours_are_those_that_a_page_replaces_and_the_palettes():
    svg = drawn()
    lines = re.findall(r'<g id="line2d_\d+">\s*<path [^>]*stroke: (#[0-9a-f]{6}); stroke-width: 1.8', svg)
    assert list(dict.fromkeys(lines)) == list(PALETTE.values())
    assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg)) == {INK, PAPER, *PALETTE.values()}


def test_the_same_figure_is_the_same_text():
    assert drawn() == drawn()
