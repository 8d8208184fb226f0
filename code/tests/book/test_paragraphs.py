"""Paragraphs are counted as a reader sees them, and long ones are told; words of two senses must not stand alone."""

import pytest
from sphinx_sysai.cells import read_cells
from sphinx_sysai.paragraphs import MOST_CHARACTERS, MOST_WORDS, length, paragraphs
from sphinx_sysai.parity import check_ambiguous, check_page, check_paragraphs

ENGLISH = """\
+++ {"lang": "en"}

(top)=
# A heading that is none of them

Two lines of *prose* with `code of three`
and $a + b + c$, at {glue:text}`speed:.1f` per second.

$$
t = a/b + c
$$ (eq-time)

- One item
  on two lines.
- Another.

:::{admonition} A title
:class: tip
Four words of advice.
:::

:::{list-table} Sizes
:header-rows: 1
* - a b c
  - d e f
:::

| one | two |
|---|---|

```python
no words at all
```
"""
CHINESE = '+++ {"lang": "zh"}\n\n(top)=\n# 标题\n\n一个句子，含`code`和$x$，还有GPU。\n\n```{code-cell}\n1\n```\n'


def test_a_page_is_divided_into_paragraphs_without_what_is_no_prose():
    (cell,) = read_cells(ENGLISH)
    found = [(paragraph.line, paragraph.words, paragraph.is_item) for paragraph in paragraphs(cell)]
    assert found == [(6, 12, False), (13, 5, True), (15, 1, True), (19, 4, False)]


def test_chinese_is_counted_in_characters_and_what_is_not_chinese_by_the_word():
    (paragraph,) = paragraphs(read_cells(CHINESE)[0])
    assert (paragraph.line, paragraph.characters) == (6, len("一个句子，含和，还有。") + len(["code", "x", "GPU"]))


def test_items_of_lists_count_for_the_longest_and_not_for_the_mean():
    found = length(read_cells(ENGLISH + CHINESE))
    assert (found.count, found.mean, found.words, found.characters) == (4, 8.0, 12, 14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word " * MOST_WORDS, "an English paragraph has 110 words on average, more than 65"),
        ("- " + "word " * (MOST_WORDS + 1), "this paragraph has 111 words, more than 110: make it two, one idea each"),
        ("字" * (MOST_CHARACTERS + 1), "this paragraph has 251 characters, more than 250: make it two, one idea each"),
    ],
)
def test_a_long_paragraph_and_a_long_mean_are_told(tmp_path, text, message):
    lang = "zh" if "字" in text else "en"
    page = tmp_path / "chapter.md"
    page.write_text(f'+++ {{"lang": "{lang}"}}\n\n{text}\n', encoding="utf-8")
    assert [fault.message for fault in check_page(page) if "partner" not in fault.message] == [message]
    cells = read_cells(f'+++ {{"lang": "{lang}"}}\n\n' + ("字" * MOST_CHARACTERS if lang == "zh" else "word " * 65))
    assert check_paragraphs(page, cells) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("把缓存清空", "缓存"), ("KV缓存满了，缓存要清空", "缓存"),
        ("两个核", "核"), ("核数", "核"), ("内核用一个核", "核"),
        ("KV缓存、CPU缓存、前缀缓存、末级缓存、缓存行、处理器的缓存", None),
        ("内核、核心、核函数、多核、处理器核、核对、考核", None),
    ],
)  # fmt: skip
def test_a_word_of_two_senses_says_which(tmp_path, text, word):
    faults = check_ambiguous(tmp_path, [(3, text)])
    assert [(fault.line, fault.message.split(" ")[0]) for fault in faults] == ([(3, repr(word))] if word else [])
