"""A page with a Jupyter widget draws it from the site's own files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server import serve

ROOT = Path(__file__).resolve().parents[3]
PAGE = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---

(widget)=
# A widget

```{code-cell} ipython3
import ipywidgets

ipywidgets.VBox([ipywidgets.IntSlider(7, description="batch"), ipywidgets.Button(icon="check")])
```
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """A book of one page, with this book's configuration and extensions."""
    folder = tmp_path_factory.mktemp("book")
    shutil.copy(ROOT / "_config.yml", folder)
    for name in ("book", "node_modules"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "page.md").write_text(PAGE, encoding="utf-8")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: page\n", encoding="utf-8")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", folder, "--quiet"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "code"), str(ROOT / "book")])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build/html"


def test_a_widget_is_drawn_without_another_host(book, browser):
    foreign = []
    with serve(book) as root:
        page = browser.new_page()
        page.on("request", lambda request: request.url.startswith((root, "data:")) or foreign.append(request.url))
        page.goto(f"{root}page.html")
        page.wait_for_selector(".widget-slider", timeout=20_000)
        assert page.inner_text(".widget-readout") == "7"
        page.wait_for_load_state("networkidle")
        page.close()
    assert foreign == []
