"""The glossary: one file of terms, a page made from it, and links from a term's first use on a page.

`book/glossary.tsv` holds a term a line: its English and Chinese names, other English forms, Chinese renderings to
avoid because they are wrong, a definition in each language, and Chinese renderings that others use and this book does
not (parity.py looks for both).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .cells import language_of

TERMS = Path(__file__).parents[1] / "glossary.tsv"
GLOSSARY = "book/glossary"
LINKED = "chapters/"  # terms are linked on the pages under this folder


@dataclass(frozen=True)
class Term:
    """A line of the term file."""

    english: str
    chinese: str
    also_en: tuple[str, ...]
    avoid_zh: tuple[str, ...]
    definition_en: str
    definition_zh: str
    elsewhere_zh: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """The id of the term on the glossary page."""
        return "term-" + re.sub(r"[^a-z0-9]+", "-", self.english.lower()).strip("-")

    def definition(self, lang: str) -> str:
        """What the term means, in one of the two languages."""
        if lang == "en":
            return self.definition_en
        return self.definition_zh + (f"（他处也作{'、'.join(self.elsewhere_zh)}。）" if self.elsewhere_zh else "")

    def forms(self, lang: str) -> list[str]:
        """The strings that stand for the term in prose of one of the languages."""
        english = [re.sub(r"\s*\(.*\)", "", self.english), *self.also_en]
        return [re.sub(r"（.*）", "", self.chinese), *self.also_en] if lang == "zh" else english


@cache
def read_terms(path: Path = TERMS) -> tuple[Term, ...]:
    """Read the term file."""

    def split(field: str | None) -> tuple[str, ...]:
        return tuple(part.strip() for part in (field or "").split(";") if part.strip())

    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            Term(
                row["english"].strip(), row["chinese"].strip(), split(row["also_en"]), split(row["avoid_zh"]),
                row["definition_en"].strip(), row["definition_zh"].strip(), split(row["elsewhere_zh"]),
            )
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        )  # fmt: skip


class TermGlossary(SphinxDirective):
    """`{term-glossary}`: every term with its name in the other language and its definition."""

    def run(self) -> list[nodes.Node]:
        """Make the definition list."""
        lang = language_of(self.config.language)
        entries = nodes.definition_list(classes=["term-glossary"])
        for term in sorted(read_terms(), key=lambda term: term.english.lower()):
            here, there = (term.chinese, term.english) if lang == "zh" else (term.english, term.chinese)
            entry = nodes.definition_list_item()
            name = nodes.term("", here, ids=[term.anchor])
            name += nodes.inline("", there, classes=["term-translation"], lang="en" if lang == "zh" else "zh")
            entry += name
            entry += nodes.definition("", nodes.paragraph("", term.definition(lang)))
            entries += entry
        return [entries]


@cache
def _pattern(lang: str) -> tuple[re.Pattern, dict[str, Term]]:
    """One expression for all forms of all terms, the longest first, and the term of each form."""
    owner = {form.lower(): term for term in read_terms() for form in term.forms(lang) if form}
    parts = []
    for form in sorted(owner, key=len, reverse=True):
        latin = re.match(r"[\x00-\u024f]+$", form)
        parts.append(rf"(?<![\w-]){re.escape(form)}(?:e?s)?(?![\w-])" if latin else re.escape(form))
    return re.compile("|".join(parts), re.IGNORECASE | (re.ASCII if lang == "zh" else 0)), owner


def link_first_uses(app, doctree, docname):
    """Link the first use of each term in a chapter's running text to its definition."""
    if app.builder.format != "html" or not docname.startswith(LINKED):
        return
    lang = language_of(app.config.language)
    pattern, owner = _pattern(lang)
    page = app.builder.get_relative_uri(docname, GLOSSARY)
    seen = set()

    def link(match: re.Match) -> nodes.Node | None:
        form = match[0].lower()
        term = next((owner[f] for f in (form, form[:-1], form[:-2]) if f in owner), None)
        if term is None or term.english in seen:
            return None
        seen.add(term.english)
        return nodes.reference(
            "", match[0], refuri=f"{page}#{term.anchor}", internal=True, classes=["term"],
            reftitle=term.definition(lang),
        )  # fmt: skip

    for paragraph in doctree.findall(nodes.paragraph):
        for text in list(paragraph.findall(nodes.Text)):
            if _is_prose(text, paragraph):
                _replace(text, pattern, link)


def _is_prose(text: nodes.Text, paragraph: nodes.paragraph) -> bool:
    """Whether a text stands in a paragraph plainly or emphasized, not in a link, a formula or code."""
    node = text.parent
    while node is not paragraph:
        if not isinstance(node, nodes.emphasis | nodes.strong):
            return False
        node = node.parent
    return True


def _replace(text: nodes.Text, pattern: re.Pattern, link) -> None:
    """Split a text at the matches that `link` makes a link of."""
    content, parts, done = text.astext(), [], 0
    for match in pattern.finditer(content):
        reference = link(match)
        if reference is not None:
            parts += [nodes.Text(content[done : match.start()]), reference]
            done = match.end()
    if parts:
        text.parent.replace(text, [part for part in [*parts, nodes.Text(content[done:])] if part.astext()])


def setup(app):
    """Register with Sphinx."""
    app.add_directive("term-glossary", TermGlossary)
    app.connect("doctree-resolved", link_first_uses)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
