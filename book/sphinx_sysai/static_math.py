"""Formulas drawn at build time by MathJax, run by Node: a page needs no script to show them.

The pages carry MathJax's own HTML, its MathML for screen readers, its style sheet and its fonts.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from docutils.nodes import SkipNode
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

from .node import module, node

logger = logging.getLogger(__name__)


class MathJax:
    """A Node process that turns TeX into HTML, a line of JSON at a time; started when first asked."""

    def __init__(self):
        self._process = None

    def ask(self, **request) -> dict:
        """Send one request; returns `{"html": ...}` or `{"error": ...}`."""
        if self._process is None:
            self._process = subprocess.Popen(
                [node(), Path(__file__).with_name("render_math.mjs")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            )  # fmt: skip
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise ExtensionError("MathJax's process ended; its message stands above.")
        return json.loads(answer)

    def close(self):
        """End the process."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None


mathjax = MathJax()


def render(node, tex: str, display: bool) -> str:
    """The HTML of one formula; a formula that MathJax can't read is a warning at its line."""
    answer = mathjax.ask(tex=tex, display=display)
    if "error" in answer:
        logger.warning("formula %r: %s", tex, answer["error"], location=node, type="math")
        return tex
    return answer["html"]


def visit_math(self, node):
    """Write an inline formula."""
    self.body.append(self.starttag(node, "span", "", CLASS="math"))
    self.body.append(render(node, node.astext(), display=False) + "</span>")
    raise SkipNode


def visit_math_block(self, node):
    """Write a formula on its own line, with its number where it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math", tabindex="0"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "#")
        self.body.append("</span>")
    tex = node.astext()
    if not node["nowrap"] and r"\\" in tex:
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    self.body.append(render(node, tex, display=True) + "</div>\n")
    raise SkipNode


def write_style_sheet(app, exception):
    """Put MathJax's style sheet and fonts beside the pages' other static files."""
    if exception is None and app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        shutil.copytree(
            module("mathjax-full/es5/output/chtml/fonts/woff-v2"), static / "math-fonts", dirs_exist_ok=True
        )
        style = mathjax.ask(stylesheet=True)["html"]
        (static / "math.css").write_text(style, encoding="utf-8")
    mathjax.close()


def setup(app):
    """Register with Sphinx."""
    app.add_html_math_renderer("static", (visit_math, None), (visit_math_block, None))
    app.add_css_file("math.css")
    app.connect("build-finished", write_style_sheet)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
