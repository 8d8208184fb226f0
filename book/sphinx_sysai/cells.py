"""A page of the book as its cells: prose of one language, prose of both, or code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig

FRONT_MATTER = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)

# MyST's syntax beyond the defaults, for reading pages outside Sphinx; the same as in _config.yml.
MYST = MdParserConfig(
    enable_extensions={"amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"},
    dmath_double_inline=True,
)


@dataclass(frozen=True)
class Cell:
    """One cell of a page; `start` and `end` are 0-based lines of the file, `end` excluded."""

    kind: str  # "markdown" or "code"
    lang: str | None  # None: serves both languages
    start: int
    end: int
    source: str
    metadata: dict


def without_front_matter(text: str) -> str:
    """A page's source with its front matter blanked, so that lines keep their numbers."""
    return FRONT_MATTER.sub(lambda match: "\n" * match[0].count("\n"), text)


def read_cells(text: str, config: MdParserConfig = MYST) -> list[Cell]:
    """Split a page's source into cells, with MyST-NB's own reader; front matter is in none of them."""
    text = without_front_matter(text)
    notebook = read_myst_markdown_notebook(text, config, add_source_map=True)
    lines = text.splitlines()
    starts = [*notebook.metadata["source_map"], len(lines) + 1]
    cells = []
    for cell, start, following in zip(notebook.cells, starts, starts[1:], strict=False):
        end = following - 1  # the line of the next cell's `+++` or fence
        source = "\n".join(lines[start:end]) if cell.cell_type == "markdown" else cell.source
        cells.append(Cell(cell.cell_type, cell.metadata.get("lang"), start, end, source, cell.metadata))
    return cells


def keep_language(text: str, lang: str, config: MdParserConfig = MYST) -> str:
    """Blank the cells of the other language: blanked, not dropped, so that warnings keep their line numbers."""
    lines = text.splitlines()
    for cell in read_cells(text, config):
        if cell.lang not in (None, lang):
            lines[cell.start : cell.end] = [""] * (cell.end - cell.start)
    return "\n".join(lines)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a page as the notebook that MyST-NB executes: every cell, both languages."""
    return read_myst_markdown_notebook(path.read_text(encoding="utf-8"), MYST)


def has_code(path: Path) -> bool:
    """Whether a page has code cells, so that it is executed and has a notebook."""
    return path.is_file() and "\n```{code-cell}" in path.read_text(encoding="utf-8")


def language_of(sphinx_language: str) -> str:
    """`zh_CN` is `zh`, `en` is `en`."""
    return sphinx_language[:2]
