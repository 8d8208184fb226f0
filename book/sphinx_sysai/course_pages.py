"""How pages name the chapters, whether they exist or not.

A link to `#chapter-08` leads to chapter 08 where it exists, else to its entry in the syllabus. The role
`` {status}`08` `` says "(available)" or "(planned)". The directive `{chapters}` lists those that exist, and the role
`` {chapters}`07 08` `` links numbers, in bold where the chapter exists.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sysai.core.language import Text

from .cells import language_of
from .course import chapters, entries

SYLLABUS = "book/syllabus"
PLANNED, AVAILABLE = Text("(planned)", "（计划中）"), Text("(available)", "（已完成）")


class ChapterList(SphinxDirective):
    """`{chapters}`: the chapters that exist, by number and title."""

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        language, box = language_of(self.config.language), nodes.container()
        found = chapters(Path(self.env.srcdir))
        lines = [f"- **{chapter.number}** · [{chapter.title[language]}](#{chapter.label})" for chapter in found]
        self.state.nested_parse(StringList(lines), 0, box)
        return box.children


class ChapterNumbers(SphinxRole):
    """`` {chapters}`01 02` ``: each number leads to its chapter, and is bold where that exists."""

    def run(self) -> tuple[list[nodes.Node], list]:
        """Make the links."""
        found, links = {number for number, *_ in self.config.course}, []
        for number in self.text.split():
            link = pending_xref(
                "", nodes.inline("", number), refdomain="std", reftype="ref", reftarget=f"chapter-{number}",
                refexplicit=True, refwarn=True,
            )  # fmt: skip
            self.set_source_info(link)
            links += [nodes.Text(" "), nodes.strong("", "", link) if number in found else link]
        return links[1:], []


class Status(SphinxRole):
    """`` {status}`02` ``: whether the chapter exists."""

    def run(self) -> tuple[list[nodes.Node], list]:
        """Say it in the page's language."""
        exists = self.text in {number for number, *_ in self.config.course}
        return [nodes.Text((AVAILABLE if exists else PLANNED)[language_of(self.config.language)])], []


def read_course(app, config):
    """Note which chapters there are, so that pages that name them are made anew when one is added."""
    config.course = [[chapter.number, chapter.label, {**chapter.title}] for chapter in chapters(Path(app.srcdir))]


def label_chapters(app, env):
    """Let `chapter-08` be a label of chapter 08, or of its entry in the syllabus."""
    domain = env.get_domain("std")
    planned = entries(Path(app.srcdir)) if SYLLABUS in env.found_docs else []
    targets = {number: f"syllabus-{number}" for number in planned}
    targets |= {number: label for number, label, _ in app.config.course}
    for number, target in targets.items():
        for labels in (domain.labels, domain.anonlabels):
            if target in labels:
                labels[f"chapter-{number}"] = labels[target]


def unlink_own_entry(app, doctree, docname):
    """In the syllabus a planned chapter's title would lead to the paragraph that it stands in."""
    if docname == SYLLABUS:
        for reference in list(doctree.findall(nodes.reference)):
            address = reference.get("refid") or reference.get("refuri", "")
            if address.removeprefix("#").startswith("syllabus-"):
                reference.replace_self(reference.children)


def setup(app):
    """Register with Sphinx."""
    app.add_config_value("course", [], "env")
    app.add_directive("chapters", ChapterList)
    app.add_role("chapters", ChapterNumbers())
    app.add_role("status", Status())
    app.connect("config-inited", read_course)
    app.connect("env-updated", label_chapters)
    app.connect("doctree-resolved", unlink_own_entry)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
