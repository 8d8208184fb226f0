"""How long the paragraphs of a page are, in English words and in Chinese characters."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .cell_parts import FENCE, TAKEN, take_apart
from .cells import Cell

ITEM = re.compile(r"(?:[-*+]|\d+\.)\s+(?=\S)")
APART = re.compile(rf"\+\+\+|#|\||[{TAKEN}\s]+$|:[\w-]+:")  # headings, tables, display equations, options
WHOLE = re.compile(rf"[{TAKEN}]+")
CHARACTER = re.compile(
    r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef“”‘’…—]|[^\s\u3000-\u303f\u3400-\u9fff\uff00-\uffef“”‘’…—]+"
)
MOST_WORDS, MOST_CHARACTERS, MEAN_WORDS = 110, 250, 65


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of prose, or an item of a list; formulas, code spans and numbers of cells are `TAKEN`."""

    line: int
    text: str
    is_item: bool

    @property
    def words(self) -> int:
        """English words; a formula, a code span or a number is one."""
        return len(self.text.split())

    @property
    def characters(self) -> int:
        """Chinese characters with their punctuation; a word in Latin letters, a formula or a number is one."""
        return len(CHARACTER.findall(self.text))


def paragraphs(cell: Cell) -> list[Paragraph]:
    """The paragraphs of a cell of prose, those in boxes among them; no headings, tables or equations."""
    prose, found, lines, fences, start = dict(take_apart(cell).prose), [], [], [], 0

    def close() -> None:
        if lines:
            text, is_item = ITEM.subn("", " ".join(lines), count=1) if ITEM.match(lines[0]) else (" ".join(lines), 0)
            found.append(Paragraph(start, text, bool(is_item)))
            lines.clear()

    for number, line in enumerate(cell.source.splitlines(), start=cell.start + 1):
        fence, text = FENCE.match(line.strip()), WHOLE.sub(TAKEN, prose.get(number, "")).strip()
        if fence and fence[1] in [mark for mark, _ in fences[-1:]] and not fence[2]:
            fences.pop()
        elif fence:
            fences.append((fence[1], fence[2]))
        apart = fence or "list-table" in [name for _, name in fences] or not text or APART.match(text)
        if apart or ITEM.match(text):
            close()
        if not apart:
            start = start if lines else number
            lines.append(text)
    close()
    return found


@dataclass(frozen=True)
class Length:
    """How long a page's paragraphs are; items of lists count for the longest, not for the mean."""

    count: int  # English paragraphs, items of lists among them
    mean: float  # English words
    words: int  # of the longest English paragraph
    characters: int  # of the longest Chinese paragraph


def length(cells: list[Cell]) -> Length:
    """Measure the paragraphs of a page's cells."""
    english, chinese = (
        [found for cell in cells if cell.lang == lang for found in paragraphs(cell)] for lang in ("en", "zh")
    )
    prose = [paragraph.words for paragraph in english if not paragraph.is_item]
    return Length(
        len(english),
        sum(prose) / max(len(prose), 1),
        max((paragraph.words for paragraph in english), default=0),
        max((paragraph.characters for paragraph in chinese), default=0),
    )
