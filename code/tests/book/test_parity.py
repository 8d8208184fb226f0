"""The parity check: a page in order passes, and each planted fault is reported at its line with its remedy."""

import re
from pathlib import Path

import pytest
from sphinx_sysai.parity import check_page, pages

ROOT = Path(__file__).resolve().parents[3]
GOOD = """\
+++ {"lang": "en"}

(top)=
# A compiler

See {cite:p}`key` and the token $x$ in `code`, at {glue:text}`speed:.1f` per second.

$$
t = a/b
$$ (eq-time)

:::{admonition} Exercise
:name: ex-one
Count.
:::

+++ {"lang": "zh"}

(top)=
# 编译器

见{cite:p}`key`以及词元$x$，在`code`中，每秒{glue:text}`speed:.1f`个。

$$
t = a/b
$$ (eq-time)

:::{admonition} 练习
:name: ex-one
数一数。
:::
"""


def faults_of(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return check_page(page)


def test_a_page_in_order_has_no_fault(tmp_path):
    assert faults_of(tmp_path, GOOD) == []
    assert faults_of(tmp_path, GOOD.replace("\n\n(top)=", "\n(top)=")) == []  # labels on the cells' first lines


def test_every_page_and_every_text_of_an_exercise_is_checked():
    folders = ("book", "chapters/*", "chapters/*/exercises/*")
    assert sorted(pages()) == sorted(path for folder in folders for path in ROOT.glob(f"{folder}/*.md"))


def test_the_book_has_no_fault():
    assert [str(fault) for page in pages() for fault in check_page(page)] == []


ZH = '\n+++ {"lang": "zh"}\n'
PLANTED = {
    "a missing partner": (lambda s: s[: s.index(ZH)], 2, "no partner"),
    "a partner without English": (lambda s: s[s.index(ZH) :], 3, "no partner"),
    "a heading lost": (lambda s: s.replace("(top)=\n# 编译器", "编译器"), 4, "heading (level 1) is missing"),
    "a heading of another level": (lambda s: s.replace("# 编译器", "## 编译器"), 20, "'level 2'"),
    "a heading without a label": (
        lambda s: s.replace("(top)=\n", ""), 18, "no label",
    ),
    "a label changed": (lambda s: s.replace("(top)=\n# 编", "(other)=\n# 编"), 19, "'other'"),
    "a citation dropped": (lambda s: s.replace("见{cite:p}`key`以及", "见"), 6, "citation 'key'"),
    "a citation too many": (lambda s: s.replace("见{cite", "见{cite:p}`more`、{cite"), 22, "citation 'more'"),
    "an equation differing": (lambda s: s.replace("a/b", "a/c", 1), 24, "equation"),
    "an equation's label differing": (lambda s: s.replace("(eq-time)", "(eq-times)", 1), 24, "equation"),
    "a formula differing": (lambda s: s.replace("词元$x$", "词元$y$"), 6, "formula 'x'"),
    "a code span lost": (lambda s: s.replace("在`code`中", "在代码中"), 6, "code span 'code'"),
    "a number lost": (lambda s: s.replace("{glue:text}`speed:.1f`个", "7个"), 6, "quoted number 'speed:.1f'"),
    "an exercise's name changed": (lambda s: s.replace("练习\n:name: ex-one", "练习\n:name: ex-two"), 29, "'ex-two'"),
    "a box of another kind": (lambda s: s.replace("{admonition} 练习", "{dropdown} 练习"), 28, "dropdown"),
    "a box's class lost": (lambda s: s.replace("Exercise\n", "Exercise\n:class: tip\n"), 13, ":class: tip"),
    "a box's class changed": (
        lambda s: re.sub("} (Exercise|练习)\n", lambda m: m[0] + f":class: {'tip' if m[1] < '一' else 'note'}\n", s),
        30,
        "':class: note'",
    ),
    "an exercise lost": (lambda s: s[: s.index(":::{admonition} 练习")], 12, "admonition"),
    "a term against the glossary": (lambda s: s.replace("编译器", "編譯器"), 20, "glossary: compiler"),
    "half-width punctuation": (lambda s: s.replace("$x$，在", "$x$,在"), 22, "half-width punctuation"),
    "a half-width full stop": (lambda s: s.replace("数一数。", "数一数."), 30, "half-width punctuation"),
    "half-width parentheses": (lambda s: s.replace("数一数", "数(一)数"), 30, "parentheses"),
    "a space before Latin": (lambda s: s.replace("数一数", "数 GPU"), 30, "space"),
    "a space behind full-width punctuation": (lambda s: s.replace("见{", "见， {"), 22, "beside full-width"),
    "bold that is not seen": (lambda s: s.replace("数一数", "**数（一）**数"), 30, "bold"),
    "a word that others use": (lambda s: s.replace("数一数", "编译程序"), 30, "used elsewhere"),
    "an unknown language": (lambda s: s.replace('"lang": "zh"', '"lang": "fr"'), 18, "unknown language"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_reported_at_its_line(tmp_path, name, monkeypatch):
    from sphinx_sysai import parity
    from sphinx_sysai.term_glossary import Term

    term = Term("compiler", "编译器", (), ("編譯器",), "", "", ("编译程序",))
    monkeypatch.setattr(parity, "read_terms", lambda: (term,))
    plant, line, words = PLANTED[name]
    text = plant(GOOD)
    assert text != GOOD
    faults = faults_of(tmp_path, text)
    assert any(fault.line == line and words in fault.message for fault in faults), [str(f) for f in faults]


FIGURE = """\
```{code-cell} ipython3
---
mystnb:
  image: {alt: "A line"}
  figure: {name: fig-a, caption: "A line."}
mystnb_zh:
  image: {alt: "一条线"}
  figure: {name: fig-a, caption: "一条线。"}
---
1
```
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (FIGURE[FIGURE.index("mystnb_zh") : FIGURE.index("---\n1")], "", "no `mystnb_zh`"),
        ('{name: fig-a, caption: "一', '{name: fig-b, caption: "一', "name differs"),
        ('  image: {alt: "A line"}\n', "", "no text alternative"),
        ("一条线。", "一条线.", "half-width punctuation"),
    ],
)  # fmt: skip
def test_a_figure_is_described_in_both_languages(tmp_path, old, new, words):
    assert faults_of(tmp_path, FIGURE) == []
    assert old in FIGURE
    assert any(words in fault.message for fault in faults_of(tmp_path, FIGURE.replace(old, new)))
