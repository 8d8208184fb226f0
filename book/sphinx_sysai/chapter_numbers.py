"""A chapter's number is that of its folder, chapters/11-…, whatever chapters are missing before it.

Section and figure numbers, the table of contents and references follow, because all read the numbers that Sphinx
assigns to the sections: this replaces their first part.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles

FOLDER = re.compile(r"chapters/(\d+)-")


def number_by_folder(assign):
    """Wrap the assignment of section numbers, which counts chapters, so that folders count."""

    def assign_section_numbers(self, env) -> list[str]:
        before = env.toc_secnumbers
        assign(self, env)
        for docname, numbers in env.toc_secnumbers.items():
            if folder := FOLDER.match(docname):
                chapter = int(folder[1])
                for anchor, number in numbers.items():
                    numbers[anchor] = number and (chapter, *number[1:])
                for reference in (*env.tocs[docname].findall(nodes.reference), env.titles[docname]):
                    if reference.get("secnumber"):
                        reference["secnumber"] = [chapter, *reference["secnumber"][1:]]
        return [docname for docname, numbers in env.toc_secnumbers.items() if before.get(docname) != numbers]

    return assign_section_numbers


def setup(app):
    """Register with Sphinx."""
    collector = TocTreeCollectorWithStyles  # the one that is in use: it calls those of Sphinx and of multitoc
    collector.assign_section_numbers = number_by_folder(collector.assign_section_numbers)
    return {"version": "1", "env_version": 2, "parallel_read_safe": True}
