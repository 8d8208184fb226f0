"""Jupyter widgets on a page, from the site's own files: `nb_ipywidgets_js` in _config.yml names what is copied here."""

from __future__ import annotations

import shutil
from pathlib import Path

from .node import module

# The manager loads its icon font relative to RequireJS's base address, which is the page's unless it is told.
PATHS = "require.config({ baseUrl: new URL('.', document.currentScript.src).href });\n"


def copy_widget_manager(app, exception):
    """Put the widget manager beside the other static files if a page needs it."""
    if exception is not None or app.builder.format != "html":
        return
    if any("ipywidgets_state" in page.get("js_files", {}) for page in app.env.nb_metadata.values()):
        folder = Path(app.outdir) / "_static/widgets"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(module("requirejs/require.js"), folder)
        (folder / "paths.js").write_text(PATHS, encoding="utf-8")
        for part in module("@jupyter-widgets/html-manager/dist").iterdir():
            if part.name == "embed-amd.js" or part.suffix in (".woff", ".woff2", ".ttf", ".svg", ".eot"):
                shutil.copy(part, folder)


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", copy_widget_manager)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
