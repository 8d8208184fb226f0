"""Figures drawn by code, put into the page itself: their text can be selected and searched, and they take its colours.

matplotlib's SVG names ink and paper by two colours of `sysai.viz.palette`; here these become the page's own, so that
the same figure is legible on light and on dark pages.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from docutils import nodes
from sysai.viz.palette import INK, PAPER


def inline_figures(app, doctree, docname):
    """Replace each SVG that a cell drew by the SVG's own elements."""
    if app.builder.format != "html":
        return
    for number, image in enumerate(list(doctree.findall(nodes.image)), start=1):
        uri = image["uri"]
        if uri.endswith(".svg") and "jupyter_execute" in uri:
            svg = (Path(app.srcdir) / uri).read_text(encoding="utf-8")
            image.replace_self(nodes.raw("", inline(svg, f"drawn{number}-", image.get("alt", "")), format="html"))


def inline(svg: str, prefix: str, alt: str) -> str:
    """An SVG document as part of a page, its ids made unique by a prefix, with a text alternative."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\bid=\"", f'id="{prefix}', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}", svg).replace('href="#', f'href="#{prefix}')
    svg = re.sub(INK, "var(--ink)", svg, flags=re.IGNORECASE)
    svg = re.sub(PAPER, "var(--paper)", svg, flags=re.IGNORECASE)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    label = f'role="img" aria-label="{escape(alt)}"' if alt else 'role="img"'
    return svg.replace("<svg ", f'<svg class="drawn" {label} ', 1)


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-resolved", inline_figures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
