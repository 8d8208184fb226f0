"""MyST-only syntax becomes Markdown that Colab shows."""

from types import SimpleNamespace

import nbformat
import pytest
from sphinx.errors import ExtensionError
from sphinx_sysai.notebook_export import Converter
from sysai.core.language import LANGUAGES, Text

SITE = "https://owner.github.io/book/en/"


@pytest.fixture
def converter():
    standard = SimpleNamespace(
        labels={"course": ("book/syllabus", "course", "The course")},
        anonlabels={"fig-a": ("page", "fig-a"), "course": ("book/syllabus", "course")},
    )
    maths = SimpleNamespace(equations={"eq-time": ("page", 1)})
    app = SimpleNamespace(
        config=SimpleNamespace(language="en", html_baseurl=SITE, numfig_format={"figure": "Fig. %s"}),
        env=SimpleNamespace(
            get_domain={"std": standard, "math": maths}.__getitem__,
            toc_fignumbers={"page": {"figure": {"fig-a": (1, 2)}, "displaymath": {"equation-eq-time": (1, 3)}}},
        ),
    )
    output = nbformat.v4.new_output(
        "display_data", data={"application/papermill.record/text/plain": "12.345"},
        metadata={"scrapbook": {"name": "speed", "mime_prefix": "application/papermill.record/"}},
    )  # fmt: skip
    cell = nbformat.v4.new_code_cell("glue", outputs=[output])
    return Converter(app, "page", nbformat.v4.new_notebook(cells=[cell]))


@pytest.mark.parametrize(
    ("myst", "markdown"),
    [
        ("(top)=\n# Title", '<a id="top"></a>\n\n# Title'),
        ("at {glue:text}`speed:.1f` per s", "at 12.3 per s"),
        ("see {numref}`fig-a`", f"see [Fig. 1.2]({SITE}page.html#fig-a)"),
        ("by {eq}`eq-time`", f"by [(1.3)]({SITE}page.html#equation-eq-time)"),
        ("[this](#course)", f"[this]({SITE}book/syllabus.html#course)"),
        ("[](#course)", f"[The course]({SITE}book/syllabus.html#course)"),
        ("$$ a = b $$ (eq-time)", "$$ a = b \\tag{1.3}$$"),
        (":::{admonition} Takeaway\n:class: tip\nCount.\n\nTwice.\n:::", "> **Takeaway**\n>\n> Count.\n>\n> Twice."),
        (":::{note}\nText.\n:::", "> **Note**\n>\n> Text."),
        (":::{dropdown} Solution\n$x$ is 2.\n:::",
         "<details><summary><b>Solution</b></summary>\n\n$x$ is 2.\n\n</details>"),
        ("::::{admonition} Out\n:::{dropdown} In\nx\n:::\n::::",
         "> **Out**\n>\n> <details><summary><b>In</b></summary>\n>\n> x\n>\n> </details>"),
        (":::{list-table} Sizes\n:header-rows: 1\n* - a\n  - b\n* - 1\n  - 2\n:::",
         "**Sizes**\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"),
        ("编译器把\n计算图。\n\n- 一\n  二\n- 三", "编译器把计算图。\n\n- 一二\n- 三"),
        (":::{note}\n编译\n器\n:::", "> **Note**\n>\n> 编译器"),
        ("# 标题\n正文\n```\n代\n码\n```", "# 标题\n正文\n```\n代\n码\n```"),
        ("two\nlines", "two\nlines"),
        ("`{numref}` stays", "`{numref}` stays"),
        ("```python\n(top)=\n:::{note}\n```", "```python\n(top)=\n:::{note}\n```"),
    ],
)  # fmt: skip
def test_it_becomes_plain_markdown(converter, myst, markdown):
    assert converter.markdown(myst) == markdown


@pytest.mark.parametrize(
    ("kind", "heading"),
    [
        ("note", Text("Note", "备注")),
        ("tip", Text("Tip", "提示")),
        ("important", Text("Important", "重要")),
        ("warning", Text("Warning", "警告")),
        ("seealso", Text("See also", "参见")),
    ],
)
def test_a_box_without_a_title_is_headed_by_its_kind(converter, kind, heading):
    for language in LANGUAGES:
        converter.app.config.language = language
        inside = Converter(converter.app, "page", nbformat.v4.new_notebook())
        assert inside.markdown(f":::{{{kind}}}\nText.\n:::") == f"> **{heading[language]}**\n>\n> Text."


@pytest.mark.parametrize("myst", [":::{unheard-of}\n:::", "{unheard}`of`"])
def test_what_has_no_markdown_is_an_error_that_says_so(converter, myst):
    with pytest.raises(ExtensionError, match="no Markdown for the"):
        converter.markdown(myst)


def test_citations_link_to_the_bibliography(converter):
    assert (
        converter.markdown("{cite:t}`vaswani2017attention`") == f"[Vaswani et al. (2017)]({SITE}book/references.html)"
    )
    assert (
        converter.markdown("{cite:p}`vaswani2017attention`") == f"([Vaswani et al., 2017]({SITE}book/references.html))"
    )
