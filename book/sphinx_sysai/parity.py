"""Both languages say the same, in the book's terms and typography: `python -m sphinx_sysai.parity`.

An English cell and its Chinese cell stand next to each other and agree in headings, labels, citations, equations,
figures, exercises, code spans and quoted numbers. Chinese text keeps the glossary's terms and full-width
punctuation. Each fault is reported with its file, its line and what to do; in a build it is a warning, and
warnings stop the build.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import yaml
from sysai.core.language import LANGUAGES

from .cell_parts import TAKEN, take_apart
from .cells import FRONT_MATTER, Cell, has_code, read_cells
from .labels import FILE, PLACE, PLACE_IN_CHINESE, STAYS, read_labels
from .paragraphs import MEAN_WORDS, MOST_CHARACTERS, MOST_WORDS, length, paragraphs
from .term_glossary import read_terms

ROOT = Path(__file__).parents[2]
HAN = "\u3400-\u9fff"


@dataclass(frozen=True)
class Fault:
    """Something to mend: where it stands, what it is, and how to mend it."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


# Kinds compared in order, and kinds of which each language must hold the same, wherever a sentence puts them.
ORDERED = {
    "headings": "heading", "labels": "label", "equations": "equation", "boxes": "box (admonition, figure, exercise)",
    "names": "name of a box", "listings": "literal block",
}  # fmt: skip
UNORDERED = {
    "citations": "citation", "references": "reference", "numbers": "quoted number", "formulas": "formula",
    "code": "code span",
}  # fmt: skip


def compare(path: Path, english: Cell, chinese: Cell) -> list[Fault]:
    """Faults of a pair of partners."""
    en, zh = take_apart(english), take_apart(chinese)
    faults = []
    for kind, name in ORDERED.items():
        ours, theirs = getattr(en, kind), getattr(zh, kind)
        for i in range(max(len(ours), len(theirs))):
            a, b = (ours[i] if i < len(ours) else None), (theirs[i] if i < len(theirs) else None)
            if a and b and a[0] == b[0]:
                continue
            if b is None:
                message = (
                    f"this {name} ({a[0]}) is missing in the Chinese cell at line {chinese.start + 1}: add it there"
                )
            elif a is None:
                message = (
                    f"this {name} ({b[0]}) is missing in the English cell at line {english.start + 1}: add it there"
                )
            else:
                message = f"this {name} is {b[0]!r}, but {a[0]!r} in English (line {a[1]}): make them the same"
            faults.append(Fault(path, (b or a)[1], message))
            break
    for kind, name in UNORDERED.items():
        ours, theirs = getattr(en, kind), getattr(zh, kind)
        for content in {c for c, _ in ours} - {c for c, _ in theirs}:
            line = next(line for c, line in ours if c == content)
            faults.append(
                Fault(path, line, f"the {name} {content!r} is missing in the Chinese cell at line {chinese.start + 1}:"
                      " add it there, or drop it here")
            )  # fmt: skip
        for content in {c for c, _ in theirs} - {c for c, _ in ours}:
            line = next(line for c, line in theirs if c == content)
            faults.append(
                Fault(path, line, f"the {name} {content!r} is missing in the English cell at line {english.start + 1}:"
                      " add it there, or drop it here")
            )  # fmt: skip
    return faults


def check_headings(path: Path, cell: Cell) -> list[Fault]:
    """Every heading has a label on the line before, so that both languages share its address."""
    lines = cell.source.splitlines()
    return [
        Fault(path, line, "this heading has no label: write `(some-label)=` before it, the same in both languages")
        for _, line in take_apart(cell).headings
        if not re.match(r"\([\w.-]+\)=\s*$", lines[line - cell.start - 2] if line - cell.start >= 2 else "")
    ]  # fmt: skip


TYPOGRAPHY = [
    (rf"[{HAN}）”》][ \t]*[,;:!?](?![/\w])|[{HAN}）”》]\.(?=\s|$|[{HAN}])", "half-width punctuation after Chinese",
     "write ，；：！？。"),
    (rf"[,;:!?][ \t]*[{HAN}]", "half-width punctuation before Chinese", "write ，；：！？"),
    (rf"[{HAN}]\s?\(|\)\s?[{HAN}]", "half-width parentheses beside Chinese", "write （ and ）"),
    (rf"[{HAN}]\s?\"|\"\s?[{HAN}]", "straight quotation marks beside Chinese", "write “ and ”"),
    (rf"[{HAN}][ \t]+(?=[A-Za-z0-9{TAKEN}])|(?<=[A-Za-z0-9{TAKEN}])[ \t]+[{HAN}]",
     "a space between Chinese and Latin", "remove it: the style sheet sets the gap"),
    (rf"[{HAN}][ \t]+[{HAN}]", "a space between Chinese characters", "remove it"),
    (rf"[，。；：！？、）”][ \t]+(?=[^\s|])|(?<=[\w{TAKEN}])[ \t]+[，。；：！？、（“]",
     "a space beside full-width punctuation", "remove it"),
    (rf"^(?:[^*]|\*(?!\*)|\*\*[^*]*\*\*)*?(?P<fault>\*\*[^*]*[）”。，；：！？]\*\*)(?=[{HAN}A-Za-z0-9])",
     "bold that ends in punctuation, which Markdown does not see", "put the punctuation behind the bold"),
]  # fmt: skip


AMBIGUOUS = [
    (r"(?:KV|CPU|GPU|前缀|级|处理器的?|片上)缓存|缓存(?:行|分块|分配器)", "缓存",
     "write which one it is: KV缓存, CPU缓存, 前缀缓存, 末级缓存, 缓存行"),
    (r"[内多单双]核|处理器核|核(?:心|函数|对|实|验|算|查)|考核", "核",
     "a core is 核心 or 处理器核, a kernel 内核 or 核函数"),
]  # fmt: skip


def check_ambiguous(path: Path, prose: list[tuple[int, str]]) -> list[Fault]:
    """Words of two senses that stand alone in Chinese text, where only their compounds say which."""
    return [
        Fault(path, line, f"{word!r} alone has two senses ({_around(rest, word)!r}): {remedy}")
        for line, text in prose
        for compounds, word, remedy in AMBIGUOUS
        if word in (rest := re.sub(compounds, TAKEN, text))
    ]


def _around(text: str, word: str) -> str:
    place = text.index(word)
    return text[max(place - 4, 0) : place + len(word) + 4]


def check_chinese(path: Path, prose: list[tuple[int, str]], typography=tuple(TYPOGRAPHY)) -> list[Fault]:
    """Faults of Chinese text against the typography rules and the glossary."""
    faults = []
    for line, text in prose:
        for pattern, what, remedy in typography:
            if match := re.search(pattern, text):
                faults.append(
                    Fault(path, line, f"{what} ({(match.groupdict().get('fault') or match[0]).strip()!r}): {remedy}")
                )
        for term in read_terms():
            for renderings, what in (
                (term.avoid_zh, "against the glossary"),
                (term.elsewhere_zh, "used elsewhere, not in this book"),
            ):
                faults += [
                    Fault(path, line, f"{rendering!r} is {what}: {term.english} is {term.chinese!r}")
                    for rendering in renderings
                    if rendering in text
                ]
    return faults + check_ambiguous(path, prose)


def check_paragraphs(path: Path, cells: list[Cell]) -> list[Fault]:
    """Paragraphs of a chapter that are too long to hold one idea, and a mean that is."""
    faults = [
        Fault(path, paragraph.line, f"this paragraph has {count} {unit}, more than {most}: make it two, one idea each")
        for cell in cells
        for paragraph in (paragraphs(cell) if cell.lang else ())
        for count, most, unit in [
            (paragraph.words, MOST_WORDS, "words") if cell.lang == "en"
            else (paragraph.characters, MOST_CHARACTERS, "characters")
        ]
        if count > most
    ]  # fmt: skip
    if (mean := length(cells).mean) > MEAN_WORDS:
        faults.append(Fault(path, 1, f"an English paragraph has {mean:.0f} words on average, more than {MEAN_WORDS}"))
    return faults


def check_figures(path: Path, cell: Cell) -> list[Fault]:
    """A code cell's figure has a caption and an alternative text in both languages, under one name."""
    en, zh = cell.metadata.get("mystnb"), cell.metadata.get("mystnb_zh")
    faults = []
    if bool(en) != bool(zh):
        have, lack = ("mystnb", "mystnb_zh") if en else ("mystnb_zh", "mystnb")
        faults.append(
            Fault(path, cell.start, f"this cell has `{have}` but no `{lack}`: write the caption in both languages")
        )
    elif en:
        if en.get("figure", {}).get("name") != zh.get("figure", {}).get("name"):
            faults.append(Fault(path, cell.start, "this figure's name differs between `mystnb` and `mystnb_zh`"))
        for key, texts in (("mystnb", en), ("mystnb_zh", zh)):
            if "figure" in texts and not texts.get("image", {}).get("alt"):
                faults.append(
                    Fault(path, cell.start, f"this figure has no text alternative: add `image: {{alt: …}}` to `{key}`")
                )
        caption = zh.get("figure", {}).get("caption", "") + "\n" + zh.get("image", {}).get("alt", "")
        holder = Cell("markdown", "zh", cell.start, cell.end, caption, {})
        faults += [Fault(path, cell.start, f.message) for f in check_chinese(path, take_apart(holder).prose)]
    return faults


def check_labels(path: Path) -> list[Fault]:
    """Faults of a table of labels; whether the labels are those of the outputs is seen when the book is built."""
    faults, lines = [], {}
    for label in read_labels(path):
        count = len(PLACE.findall(label.english))
        used = PLACE_IN_CHINESE.findall(label.chinese)
        if label.chinese != STAYS and label.chinese.isascii():
            faults.append(Fault(path, label.line, f"{label.english!r} has no Chinese: write it after a tab, or `=`"))
        elif label.chinese != STAYS and (
            label.english.endswith("{**}") or len(used) > count or any(digit and int(digit) >= count for digit in used)
        ):
            faults.append(Fault(path, label.line, f"{label.english!r} has not the places that its Chinese names"))
        if label.english in lines:
            faults.append(Fault(path, label.line, f"{label.english!r} stands in line {lines[label.english]} already"))
        lines[label.english] = label.line
        text = PLACE_IN_CHINESE.sub(TAKEN, label.chinese)
        faults += check_chinese(path, [(label.line, text)], TYPOGRAPHY[:2])  # spaces align columns
    return faults


def check_front_matter(path: Path, text: str) -> list[Fault]:
    """An exercise's statement begins with a title in both languages and the minutes it takes."""
    found = FRONT_MATTER.match(text)
    matter = yaml.safe_load(found[1]) if found else {}
    title, faults = matter.get("title"), []
    if not isinstance(title, dict) or {*title} != {*LANGUAGES} or not all(isinstance(t, str) for t in title.values()):
        faults.append("this exercise has no title in both languages: begin with `title: {en: …, zh: …}` between `---`")
    else:
        faults += [fault.message for fault in check_chinese(path, [(1, title["zh"])])]
    if type(matter.get("minutes")) is not int or matter["minutes"] < 1:
        faults.append(
            "this exercise does not say how long it takes: add `minutes: 10`, a whole number, below its title"
        )
    return [Fault(path, 1, message) for message in faults]


def check_page(path: Path) -> list[Fault]:
    """All faults of a page, or of a file that an exercise is made of, by line."""
    text = path.read_text(encoding="utf-8")
    faults = check_front_matter(path, text) if path.name == "statement.md" else []
    cells = read_cells(text)
    spare = Cell("none", None, 0, 0, "", {})
    for before, cell, after in zip([spare, *cells], cells, [*cells[1:], spare], strict=False):
        line = cell.start + 1
        if cell.kind == "code":
            faults += check_figures(path, cell)
        elif cell.lang is None:
            faults += check_headings(path, cell)
        elif cell.lang == "en" and after.lang != "zh":
            faults.append(
                Fault(
                    path, line, 'this English cell has no partner: write its `+++ {"lang": "zh"}` cell right behind it'
                )
            )
        elif cell.lang == "zh":
            if before.lang != "en":
                faults.append(
                    Fault(
                        path,
                        line,
                        'this Chinese cell has no partner: write its `+++ {"lang": "en"}` cell right before it',
                    )
                )
            faults += check_headings(path, cell)
            faults += check_chinese(path, take_apart(cell).prose)
        elif cell.lang not in LANGUAGES:
            faults.append(
                Fault(path, line, f"unknown language {cell.lang!r}: a cell is `en`, `zh`, or of both (no `lang`)")
            )
    for english, chinese in pairwise(cells):
        if (english.lang, chinese.lang) == ("en", "zh"):
            faults += compare(path, english, chinese)
    if path.name == "chapter.md":
        faults += check_paragraphs(path, cells)
    return sorted(faults, key=lambda fault: fault.line)


def tables(page: Path) -> list[Path]:
    """A page's table of labels, if it has code that shows words."""
    return [page.with_name(FILE)] if has_code(page) and page.with_name(FILE).exists() else []


def exercise_texts(page: Path) -> list[Path]:
    """What the exercises beside a chapter say, in both languages."""
    return sorted(path for name in ("statement", "explanation") for path in page.parent.glob(f"exercises/*/{name}.md"))


def pages() -> list[Path]:
    """The pages that _toc.yml lists, and the texts of their exercises."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    return [path for file in files for path in (ROOT / f"{file}.md", *exercise_texts(ROOT / f"{file}.md"))]


def report(app, env, docnames):
    """Make every fault of a page that is read a warning of the build."""
    from sphinx.util import logging

    logger = logging.getLogger(__name__)
    for docname in docnames:
        page = Path(env.doc2path(docname))
        faults = [fault for path in (page, *exercise_texts(page)) for fault in check_page(path)]
        for fault in faults + [fault for path in tables(page) for fault in check_labels(path)]:
            logger.warning(fault.message, location=f"{fault.path}:{fault.line}", type="parity")


def main() -> int:
    """Check the pages named on the command line, or all; returns the number of faults."""
    named = [Path(name) for name in sys.argv[1:]] or pages()
    faults = [fault for path in named for fault in check_page(path)]
    faults += [fault for page in named for path in tables(page) for fault in check_labels(path)]
    print(f"{'':<34}{'words of a paragraph':>26}{'characters':>14}")
    print(f"{'':<34}{'paragraphs':>10}{'mean':>8}{'most':>8}{'most':>14}")
    for page in (page for page in named if page.name == "chapter.md"):
        found = length(read_cells(page.read_text(encoding="utf-8")))
        print(f"{page.parent.name[:33]:<34}{found.count:10}{found.mean:8.1f}{found.words:8}{found.characters:14}")
    for fault in faults:
        print(fault)
    print(f"{len(named)} pages, {len(faults)} faults")
    return min(len(faults), 1)


def setup(app):
    """Register with Sphinx."""
    app.connect("env-before-read-docs", report)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    sys.exit(main())
