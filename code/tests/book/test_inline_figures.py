"""Figures drawn by code, as elements of the page."""

from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from sphinx_sysai.inline_figures import inline_figures
from sysai.viz.palette import INK, PAPER

SVG = f"""\
<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">
 <metadata>made today</metadata>
 <defs><clipPath id="clip"><path d="M0 0H9"/></clipPath><path id="m" d="M0 0"/></defs>
 <g id="figure_1" clip-path="url(#clip)"><use xlink:href="#m" style="fill: {INK}"/>
 <text style="font-family: serif; stroke: {PAPER}">a | b</text></g>
</svg>
"""


@pytest.fixture
def page(tmp_path):
    """A page with the same figure twice, between them a picture that no cell drew."""
    folder = tmp_path / "jupyter_execute"
    folder.mkdir()
    (folder / "a.svg").write_text(SVG)
    doctree = new_document("page")
    for uri, alt in (("jupyter_execute/a.svg", 'A "line"'), ("photo.svg", "A photo"), ("jupyter_execute/a.svg", "")):
        doctree += nodes.image(uri=uri, alt=alt)
    inline_figures(SimpleNamespace(builder=SimpleNamespace(format="html"), srcdir=tmp_path), doctree, "page")
    return doctree


def test_figures_of_a_page_have_ids_of_their_own_and_each_uses_its_own(page):
    figures = [BeautifulSoup(figure.astext(), "html.parser").svg for figure in page.findall(nodes.raw)]
    ids = [[element["id"] for element in figure.select("[id]")] for figure in figures]
    assert [len(names) for names in ids] == [3, 3]
    assert len({name for names in ids for name in names}) == 6
    for figure, (clip, marker, _) in zip(figures, ids, strict=True):
        assert figure.g["clip-path"] == f"url(#{clip})"
        assert figure.use["xlink:href"] == f"#{marker}"


def test_a_figure_takes_the_pages_colours_and_font_and_says_what_it_shows(page):
    first, second = (figure.astext() for figure in page.findall(nodes.raw))
    svg = BeautifulSoup(first, "html.parser").svg
    assert (svg["role"], svg["aria-label"]) == ("img", 'A "line"')
    assert "aria-label" not in second
    assert (svg.use["style"], svg.find("text")["style"]) == ("fill: var(--ink)", " stroke: var(--paper)")
    assert "made today" not in first
    assert [image["uri"] for image in page.findall(nodes.image)] == ["photo.svg"]
