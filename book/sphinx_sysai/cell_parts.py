"""A prose cell taken apart: its headings, labels, equations, code spans and so on, and the plain words that remain."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .cells import Cell

TAKEN = "\ufffc"  # stands in prose for a formula, a code span or another part that was taken out
FENCE = re.compile(r"^(`{3,}|:{3,}|~{3,})(?:\{([\w-]+)\})?[ \t]*(.*)$")


@dataclass
class Parts:
    """What a cell holds beside its words, each with its line: `(content, line)` pairs by kind."""

    headings: list = field(default_factory=list)
    labels: list = field(default_factory=list)
    equations: list = field(default_factory=list)
    formulas: list = field(default_factory=list)
    citations: list = field(default_factory=list)
    references: list = field(default_factory=list)
    numbers: list = field(default_factory=list)
    code: list = field(default_factory=list)
    boxes: list = field(default_factory=list)
    names: list = field(default_factory=list)
    listings: list = field(default_factory=list)
    prose: list = field(default_factory=list)  # lines of plain words, the rest blanked


def take_apart(cell: Cell) -> Parts:
    """Find a prose cell's headings, labels, equations and so on."""
    parts = Parts()
    lines = [""] * cell.start + cell.source.splitlines()
    text = "\n".join(_blank_listings(lines, parts))

    def take(pattern: str, kind: str, group: int | str = 1, flags: int = 0) -> None:
        nonlocal text

        def blank(match: re.Match) -> str:
            line = text.count("\n", 0, match.start()) + 1
            getattr(parts, kind).append((re.sub(r"\s+", " ", match[group].strip()), line))
            return re.sub(r"[^\n]", TAKEN, match[0])

        text = re.sub(pattern, blank, text, flags=flags)

    take(r"^\(([\w.-]+)\)=[ \t]*$", "labels", flags=re.MULTILINE)
    for match in re.finditer(r"^(#{1,6}) ", text, flags=re.MULTILINE):
        parts.headings.append((f"level {len(match[1])}", text.count("\n", 0, match.start()) + 1))
    take(r"\$\$(.+?\$\$(?:[ \t]*\([\w.-]+\))?)", "equations", flags=re.DOTALL)
    take(r"^[ \t]*:(?:name|label):[ \t]*(\S+)[ \t]*$", "names", flags=re.MULTILINE)
    take(r"^[ \t]*(:(?:class|open|widths|header-rows|align|width):.*)$", "boxes", flags=re.MULTILINE)
    take(r"\{cite(?::\w+)?\}`([^`]+)`", "citations")
    take(r"\{glue(?::\w+)?\}`([^`]+)`", "numbers")
    take(r"\{(?:ref|numref|eq|doc)\}`(?:[^`<]*<)?([^`>]+)>?`", "references")
    take(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "code", group=2)
    take(r"(?<![\\$])\$([^$]+?)(?<!\\)\$", "formulas")
    take(r"\]\((#?[^)\s]*)\)", "references")
    take(r"(<https?://[^>\s]+>|https?://[^\s)）]+)", "references")
    parts.prose = list(enumerate(text.splitlines()[cell.start :], start=cell.start + 1))
    return parts


def _blank_listings(lines: list[str], parts: Parts) -> list[str]:
    """Note boxes and literal blocks; blank the fences, and what stands in literal blocks."""
    open_fences, kept, listing = [], [], None
    for number, line in enumerate(lines, start=1):
        match = FENCE.match(line.strip())
        if listing is not None:
            if match and match[1].startswith(listing[0]) and not match[2] and not match[3]:
                parts.listings.append(("\n".join(listing[1]), listing[2]))
                listing = None
            else:
                listing[1].append(line.strip())
            kept.append("")
        elif match and open_fences and match[1] == open_fences[-1] and not match[2] and not match[3]:
            open_fences.pop()
            kept.append("")
        elif match and (match[2] in (None, "math", "code-block", "bibliography")) and match[1][0] != ":":
            listing = (match[1], [match[2] or match[3]], number)
            kept.append("")
        elif match:
            open_fences.append(match[1])
            parts.boxes.append((match[2] or "div", number))
            kept.append(match[3])
        else:
            kept.append(line)
    return kept
