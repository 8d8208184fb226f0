"""One source, two languages: a build keeps the cells, captions and table of contents of its own language."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from docutils import nodes

from .cells import keep_language, language_of

CHINESE = re.compile("[\u3000-\u303f\u3400-\u9fff\uff00-\uffef\u2018-\u201d\u2014\u2026]")


def select_language(app, docname, source):
    """Blank the cells of the other language."""
    source[0] = keep_language(source[0], language_of(app.config.language), app.env.myst_config)


def point_at_this_repository(app, docname, source):
    """Where a fork builds the book, its pages name the fork's address instead of the one in _config.yml."""
    if app.config.book_addresses:
        source[0] = source[0].replace(*app.config.book_addresses)


def translate_captions(app, config):
    """Of each `English | 中文` caption in _toc.yml, keep this language's half."""
    index = ["en", "zh"].index(language_of(config.language))
    for document in config.external_site_map.values():
        for tree in document.subtrees:
            if tree.caption:
                tree.caption = tree.caption.split(" | ")[index]


def join_chinese_lines(app, doctree):
    """Drop the line ends beside Chinese characters, where a browser would draw a space."""
    for text in list(doctree.findall(nodes.Text)):
        if "\n" not in text or isinstance(text.parent, nodes.literal_block | nodes.comment | nodes.raw):
            continue
        before, after = _neighbour(text, -1), _neighbour(text, 1)
        parts = text.astext().split("\n")
        joined = parts[0]
        for i, part in enumerate(parts[1:], start=1):
            left = joined[-1:] or before
            right = part[:1] or (after if i == len(parts) - 1 else "")
            beside = CHINESE.match(left) or CHINESE.match(right)
            joined += ("" if beside else "\n") + part
        if joined != text.astext():
            text.parent.replace(text, nodes.Text(joined))


def _neighbour(text: nodes.Text, step: int) -> str:
    """The character that stands next to a text node in its paragraph, before (-1) or behind it (1)."""
    siblings = text.parent.children
    position = next(i for i, child in enumerate(siblings) if child is text) + step
    if not 0 <= position < len(siblings):
        return ""
    content = siblings[position].astext()
    return content[-1:] if step < 0 else content[:1]


def anchor_by_label(app, doctree):
    """Let a section's label be its anchor, so that an address is the same in both languages."""
    for section in doctree.findall(nodes.section):
        labels = [label for label in section["ids"] if doctree.nametypes.get(_name(doctree, label))]
        section["ids"].sort(key=lambda anchor: anchor not in labels)


def _name(doctree, anchor: str) -> str | None:
    """The name that an id of the document stands for."""
    return next((name for name, found in doctree.nameids.items() if found == anchor), None)


def machine_digest() -> str:
    """A digest of what pages are made with, so that they are made anew when one of its files changes."""
    here = Path(__file__).parent
    folders = (here, here.parent / "assets", here.parent / "templates")
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    files += [here.parent / "glossary.tsv", here.parents[1] / "package-lock.json"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def setup(app):
    """Register with Sphinx."""
    app.add_config_value("machine_digest", machine_digest(), "env")
    app.connect("source-read", select_language)
    app.add_config_value("book_addresses", [], "env")  # the one in _config.yml, and this repository's
    app.connect("source-read", point_at_this_repository)
    app.connect("config-inited", translate_captions, priority=950)  # after sphinx_external_toc's 900
    app.connect("doctree-read", join_chinese_lines)
    app.connect("doctree-read", anchor_by_label, priority=100)  # before the tables of contents are collected
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
