"""Search that finds Chinese: text and query are both cut into pairs of characters.

A dictionary (jieba, as Sphinx uses it) cuts a sentence and a query apart at different places, so that words
are not found; pairs of neighbouring characters always agree. Latin words inside Chinese text are stemmed as
Sphinx does for English.
"""

from __future__ import annotations

import itertools
import re

from sphinx.search.zh import SearchChinese

HAN = "\u3400-\u9fff"


class SearchChinesePairs(SearchChinese):
    """Chinese by pairs of characters, everything else by words."""

    js_splitter_code = r"""
function splitQuery(query) {
  return (query.match(/\p{Script=Han}+|(?:(?!\p{Script=Han})[\p{L}\p{N}_])+/gu) ?? []).flatMap(run =>
    /\p{Script=Han}/u.test(run) && run.length > 2
      ? [...run].slice(1).map((char, i) => [...run][i] + char) : [run]);
}
"""

    def split(self, text: str) -> list[str]:
        """Cut a text into the terms of the index."""
        terms = []
        for run in re.findall(rf"[{HAN}]+|[^\W{HAN}]+", text):
            if not re.match(f"[{HAN}]", run):
                self.latin_terms.append(run)
            if re.match(f"[{HAN}]{{3}}", run):
                terms += map("".join, itertools.pairwise(run))
            else:
                terms.append(run)
        return terms


def setup(app):
    """Register with Sphinx."""
    app.add_search_language(SearchChinesePairs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
