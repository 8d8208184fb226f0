"""Which pages are made anew, so that a site is the same whatever was built before it.

Sphinx makes the pages whose sources have changed. But a page also shows what others say of themselves: titles in the
table of contents, titles and numbers in links, citations. Where any of that has changed, or a setting, all pages are
written, into an empty folder. And a page that was read in a build with a warning is read again until it gives none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from sphinx.builders.html import BuildInfo


def read_unsettled(app, env, added, changed, removed) -> list[str]:
    """The pages that were read since the last build without a warning."""
    file = _kept(app, "unsettled")
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def note_read(app, env, docnames):
    """Note the pages that are about to be read."""
    names = {*docnames, *read_unsettled(app, env, None, None, None)}
    _kept(app, "unsettled").write_text(json.dumps(sorted(names)), encoding="utf-8")


def write_all_where_shown_changed(app, env) -> list[str]:
    """All pages, where what they show of each other has changed."""
    known, digest = _kept(app, "shown"), shown_digest(app)
    _kept(app, "shown now").write_text(digest, encoding="utf-8")
    if known.exists() and known.read_text(encoding="utf-8") == digest:
        return []
    known.unlink(missing_ok=True)
    shutil.rmtree(app.outdir)
    Path(app.outdir).mkdir()
    return sorted(env.found_docs)


def shown_digest(app) -> str:
    """A digest of the settings, and of all that a page can show of others."""
    env = app.env
    standard, maths, cited = map(env.get_domain, ("std", "math", "cite"))
    shown = [
        BuildInfo(app.config, app.tags, ["html", "env"]).config_hash,
        env.titles, env.tocs, env.toctree_includes, env.toc_secnumbers, env.toc_fignumbers,
        standard.labels, standard.anonlabels, standard.objects, maths.equations,
        [(citation.citation_id, citation.key, repr(citation.entry)) for citation in cited.citations],
        {(reference.docname, *(target.key for target in reference.targets)) for reference in cited.citation_refs},
        {image: name for image, (_, name) in env.images.items()},
    ]  # fmt: skip
    return hashlib.sha256(repr(_ordered(shown)).encode()).hexdigest()


def _ordered(value):
    """Nested dictionaries, lists and sets as what has the same `repr` whenever they are equal."""
    if isinstance(value, dict):
        return sorted((repr(key), _ordered(item)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return [_ordered(item) for item in value] if isinstance(value, list | tuple) else str(value)


def drop_unused_terms(app) -> list:
    """Take from the search index the terms that no page holds any more."""
    for mapping in (app.builder.indexer._mapping, app.builder.indexer._title_mapping):
        for term in [term for term, pages in mapping.items() if not pages]:
            del mapping[term]
    return []


def settle(app, exception):
    """Note that the site is complete, if there was no warning."""
    if exception is None and app.builder.format == "html" and not app._warncount:
        _kept(app, "shown now").replace(_kept(app, "shown"))
        _kept(app, "unsettled").unlink(missing_ok=True)


def _kept(app, name: str) -> Path:
    """A file beside the doctrees, which the next build reads."""
    return Path(app.doctreedir) / name


def setup(app):
    """Register with Sphinx."""
    app.connect("env-get-outdated", read_unsettled)
    app.connect("env-before-read-docs", note_read, priority=100)  # before the first warning
    app.connect("env-get-updated", write_all_where_shown_changed, priority=900)  # when all numbers are known
    app.connect("html-collect-pages", drop_unused_terms)
    app.connect("build-finished", settle, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
