"""Cells of one language, and Chinese lines joined without a gap."""

from types import SimpleNamespace

import pytest
from docutils.core import publish_doctree
from sphinx_sysai.cells import MYST, read_cells
from sphinx_sysai.page_language import join_chinese_lines, select_language

PAGE = """\
+++ {"lang": "en"}

# Title

+++ {"lang": "zh"}

# 标题

+++

$$ a = b $$

```{code-cell} ipython3
:tags: [remove-cell]
print("both")
```
"""


def page_in(language: str) -> list[str]:
    app = SimpleNamespace(config=SimpleNamespace(language=language), env=SimpleNamespace(myst_config=MYST))
    source = [PAGE]
    select_language(app, "page", source)
    return source[0].splitlines()


@pytest.mark.parametrize(("language", "kept", "blanked"), [("en", 3, 7), ("zh_CN", 7, 3)])
def test_a_build_keeps_its_own_cells_at_their_lines(language, kept, blanked):
    lines, original = page_in(language), PAGE.splitlines()
    assert len(lines) == len(original)
    assert lines[kept - 1] == original[kept - 1]
    assert lines[blanked - 1] == ""
    assert lines[8:] == original[8:]


def test_cells_hold_their_lines():
    kinds = [(cell.kind, cell.lang, PAGE.splitlines()[cell.start : cell.end]) for cell in read_cells(PAGE)]
    assert kinds[0] == ("markdown", "en", ["", "# Title", ""])
    assert kinds[1] == ("markdown", "zh", ["", "# 标题", ""])
    assert kinds[2][:2] == ("markdown", None)
    assert kinds[3][0] == "code"


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("编译器把\n计算图", "编译器把计算图"),
        ("一个\nGPU", "一个GPU"),
        ("two\nwords", "two\nwords"),
        ("逗号，\nthen", "逗号，then"),
        ("*着重*\n文字", "着重文字"),
        ("*plain*\nwords", "plain\nwords"),
        ("“Roofline”\nmodel", "“Roofline”model"),
        ("the\n‘roof’ of it", "the‘roof’ of it"),
        ("GPU——\nCPU", "GPU——CPU"),
        ("GPU……\nCPU", "GPU……CPU"),
    ],
)
def test_line_ends_beside_chinese_vanish(text, joined):
    doctree = publish_doctree(text)
    join_chinese_lines(None, doctree)
    assert doctree.astext() == joined
