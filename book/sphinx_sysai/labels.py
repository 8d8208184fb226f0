"""What cells draw and print, in Chinese: a table of labels for each chapter.

Code is executed once and writes English. `chapters/NN-slug/labels.tsv` holds a label a line: the English text, a tab,
and the Chinese text, or `=` where it stays (a product, a message of the program). In the English `{}` stands for a
number and `{*}` for any text; in the Chinese `{}` is the next of these, and `{1}` the one with that index, from 0. A
third column says when a label occurs that this machine may not show.

A label is a text of an SVG figure, a cell of a Markdown table, or a printed line. A line that is no label as a whole
is one label for each of its columns, which two spaces or more divide; they keep their places, a Chinese character
being two columns wide. A label that ends in `{**}` is all that a cell prints from there on, such as a program.
"""

from __future__ import annotations

import base64
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape, unescape
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

from .cells import language_of, read_cells, read_notebook

FILE = "labels.tsv"
STAYS = "="
VARIES = "nbval-ignore-output"  # the tag of a cell whose output depends on time, machine or threads
NUMBER = r"[-+−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
PLACE = re.compile(r"(\{\*{0,2}\})")
PLACES = {"{}": f"( *{NUMBER})", "{*}": "(.*)", "{**}": "(?s:.*)"}
PLACE_IN_CHINESE = re.compile(r"\{(\d?)\}")
UNIT = re.compile(r"\b(?:FLOP/byte|[mun]s|kB|[KMGT]iB|Gb|inf|nan)\b")
TEXT = re.compile(r"<text\b([^>]*)>(.*?)</text>", re.DOTALL)
COLUMN = re.compile(r"\S+(?: \S+)*")
FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r'(<div class="output stream[^>]*>.*?<pre>)(.*?)(</pre>)', re.DOTALL)
WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60]+")
FONTS = "'PingFang SC', 'Hiragino Sans GB', 'Microsoft YaHei', 'Noto Sans CJK SC', 'WenQuanYi Micro Hei', sans-serif"


@dataclass(frozen=True)
class Label:
    """A line of a chapter's table."""

    english: str
    chinese: str
    condition: str
    line: int

    @cached_property
    def pattern(self) -> re.Pattern:
        """What the label matches; numbers with the spaces that right-align them."""
        parts = PLACE.split(self.english)
        return re.compile("".join(PLACES.get(part) or re.escape(part).replace(r"\ ", " +?") for part in parts))

    @property
    def is_output(self) -> bool:
        """Whether the label is the rest of what a cell prints."""
        return self.english.endswith("{**}")


def read_labels(path: Path) -> list[Label]:
    """Read a chapter's table; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [
        Label(*[*line.split("\t"), "", ""][:3], number) for number, line in enumerate(lines, start=1) if line.strip()
    ]


def carries_words(text: str) -> bool:
    """Whether a text holds a word of English: letters that are no unit, acronym, or name with a digit, `_` or dot."""
    words = (word.strip(".") for word in re.findall(r"[\w.]+", UNIT.sub("", text)))
    return any(re.fullmatch(r"[A-Za-z]{2,}", word) and not word.isupper() for word in words)


def width(text: str) -> int:
    """Columns that a text takes in a font of one width: two for a Chinese character."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)


class Translator:
    """Puts a chapter's outputs into Chinese; keeps count of the labels used, and of the texts that are none."""

    def __init__(self, labels: list[Label]):
        self.labels, self.used, self.missing = labels, Counter(), []

    def label(self, text: str) -> str | None:
        """The Chinese of a text; None where the table lacks it."""
        for label in self.labels:
            if not label.is_output and (match := label.pattern.fullmatch(text)):
                self.used[label] += 1
                return text if label.chinese == STAYS else fill(label.chinese, [*map(self._place, match.groups())])
        return None if carries_words(text) else text

    def _place(self, text: str) -> str:
        """What stands in a place of a label: a label itself, or as it is; where it is padded, as wide as it was."""
        found = self.label(text.strip())
        if found is None or found == text.strip():
            return text
        return found + " " * (width(text) - width(found) if text.endswith(" ") else 0)

    def translate(self, text: str) -> str:
        """The Chinese of a text; itself where the table lacks it, which is noted."""
        found = self.label(text)
        if found is None:
            self.missing.append(text)
        return text if found is None else found

    def svg(self, svg: str) -> str:
        """A figure by matplotlib, its texts in Chinese, with fonts that have the characters."""

        def replace(match: re.Match) -> str:
            text = unescape(re.sub(r"\s*<[^>]*>\s*", "", match[2])).strip()
            chinese = self.translate(text)
            if chinese == text:
                return match[0]
            return f"<text{match[1].replace('sans-serif', FONTS)}>{escape(chinese, quote=False)}</text>"

        return TEXT.sub(replace, svg)

    def printed(self, texts: list[str]) -> list[str]:
        """What a cell printed, in pieces: lines as a whole, or by columns, which all pieces have in common."""
        columns = [match.span() for text in texts for line in text.splitlines() for match in COLUMN.finditer(line)]
        return [self._lines(text, columns) for text in texts]

    def _lines(self, text: str, columns: list[tuple[int, int]]) -> str:
        lines, done = text.splitlines(keepends=True), []
        while lines and not self._stays("".join(lines)):
            done.append(self._line(lines.pop(0), columns))
        return "".join(done + lines)

    def _stays(self, text: str) -> bool:
        for label in self.labels:
            if label.is_output and label.pattern.fullmatch(text.strip()):
                self.used[label] += 1
                return True
        return False

    def _line(self, line: str, columns: list[tuple[int, int]]) -> str:
        content = line.strip()
        whole = self.label(content)
        if whole is not None:
            return line.replace(content, whole) if content else line
        result = ""
        for match in COLUMN.finditer(line):
            start, end = match.span()
            to_right = sum(e == end and s != start for s, e in columns)
            to_left = sum(s == start and e != end for s, e in columns)
            chinese = self.translate(match[0])
            place = end - width(chinese) if to_right > to_left else start
            result += " " * max(place - width(result), 1 if result else 0) + chinese
        return result + line[len(line.rstrip()) :]

    def markdown(self, text: str) -> str:
        """A Markdown output: cells of tables and lines; blocks of code stay."""
        return "".join(
            block if block.startswith("```") else re.sub(r"[^|\n]+", self._cell, block) for block in FENCED.split(text)
        )

    def _cell(self, match: re.Match) -> str:
        content = match[0].strip().strip("*")
        return match[0].replace(content, self.translate(content)) if content else match[0]

    def outputs(self, outputs: list[nbformat.NotebookNode]) -> None:
        """Change the outputs of a cell. A figure keeps no PNG, whose texts can't be replaced."""
        streams = [output for output in outputs if output.output_type == "stream"]
        for output, text in zip(streams, self.printed([output.text for output in streams]), strict=True):
            output.text = text
        for data in (output.data for output in outputs if "data" in output):
            if "image/svg+xml" in data:
                drawn = self.svg(data["image/svg+xml"])
                if drawn != data["image/svg+xml"]:
                    data.pop("image/png", None)
                data["image/svg+xml"] = drawn
            elif "text/markdown" in data:
                data["text/markdown"] = self.markdown(data["text/markdown"])
            elif "text/plain" in data and not {"text/html", "image/png"} & data.keys():
                (data["text/plain"],) = self.printed([data["text/plain"]])


def chinese_figure(output: Mapping, options: Mapping) -> dict:
    """What changes of a cell's output in the Chinese notebook: an SVG without a PNG becomes an image in HTML.

    Viewers that do not trust a notebook show no SVG, but an image. `options` holds its text alternative.
    """
    data = output.get("data", {})
    if "image/svg+xml" not in data or "image/png" in data:
        return {}
    image = base64.b64encode(data["image/svg+xml"].encode()).decode()
    alt = escape(options.get("image", {}).get("alt", ""))
    return {"data": {"text/html": f'<img alt="{alt}" src="data:image/svg+xml;base64,{image}">'}}


def fill(chinese: str, places: list[str]) -> str:
    """Put numbers and texts into a Chinese label."""
    following = iter(places)
    return PLACE_IN_CHINESE.sub(lambda match: places[int(match[1])] if match[1] else next(following), chinese)


def suggestion(text: str) -> str:
    """The English of a label for a text, its numbers made places."""
    return re.sub(rf"(?<![\w.]){NUMBER}(?![\w.])", "{}", re.sub(" +", " ", text))


def translate_page(page: Path, notebook: nbformat.NotebookNode) -> tuple[list[str], list[str]]:
    """Put the outputs of an executed page into Chinese; returns faults and notes, each with what to do.

    A text that the table lacks is a fault. Where the output may differ between machines it is a note, and so is a label
    that no output has: another machine could not build the book otherwise.
    """
    table = page.with_name(FILE)
    translator = Translator(read_labels(table))
    starts = [cell.start for cell in read_cells(page.read_text(encoding="utf-8")) if cell.kind == "code"]
    faults, notes, told = [], [], set()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, (cell, start) in enumerate(zip(cells, starts, strict=True), start=1):
        translator.outputs(cell.outputs)
        missing = [text for text in dict.fromkeys(map(suggestion, translator.missing)) if text not in told]
        translator.missing.clear()
        told.update(missing)
        if missing:
            varies = VARIES in cell.metadata.get("tags", ())
            (notes if varies else faults).append(
                f"{page}:{start}: code cell {number} shows texts without Chinese: to {table.parent.name}/{FILE} "
                f"add lines with the Chinese, or `{STAYS}`, after a tab:\n" + "\n".join(f"{text}\t" for text in missing)
            )
    notes += [
        f"{table}:{label.line}: no output of the page has {label.english!r}: remove the line"
        for label in translator.labels
        if not label.condition and not translator.used[label]
    ]
    return faults, notes


def chinese_cache(english: Path, pages: list[Path]) -> tuple[Path, list[str], list[str]]:
    """A cache beside the executed cells' that holds the same outputs in Chinese; its folder, faults and notes."""
    folder, faults, notes = english.with_name(f"{english.name}_zh"), [], []
    shutil.rmtree(folder, ignore_errors=True)
    executed, translated = get_cache(english), get_cache(folder)
    for page in pages:
        _, notebook = executed.merge_match_into_notebook(read_notebook(page))
        for all_pages, of_page in zip((faults, notes), translate_page(page, notebook), strict=True):
            all_pages += of_page
        translated.cache_notebook_bundle(CacheBundleIn(notebook, str(page)), check_validity=False, overwrite=True)
    return folder, faults, notes


def depend(app, docname, source):
    """Let a Chinese page be read anew where its table changes."""
    table = Path(app.env.doc2path(docname)).with_name(FILE)
    if language_of(app.config.language) == "zh" and table.exists():
        app.env.note_dependency(str(table))


def widen(app, pagename, templatename, context, doctree):
    """Mark the Chinese in what cells print, so that the style sheet can give each character two columns."""
    if language_of(app.config.language) == "zh" and "body" in context:
        context["body"] = PRINTED.sub(
            lambda match: match[1] + WIDE.sub(r'<span class="wide">\g<0></span>', match[2]) + match[3], context["body"]
        )


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", depend)
    app.connect("html-page-context", widen)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
