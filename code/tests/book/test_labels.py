"""What cells draw and print becomes Chinese by a table, and a text without its Chinese is told with what to add."""

from types import SimpleNamespace

import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from sphinx_sysai import labels
from sphinx_sysai.cells import read_notebook
from sphinx_sysai.labels import Translator, carries_words, chinese_cache, read_labels, suggestion, width
from sphinx_sysai.parity import check_labels

PAGE = """\
---
kernelspec: {name: python3, display_name: Python 3}
---

+++ {"lang": "en"}

Text.

```{code-cell} ipython3
draw()
```

```{code-cell} ipython3
show()
```
"""
SVG = """\
<svg><text style="font: 10px 'DejaVu Sans', sans-serif; text-anchor: middle" x="1">time (s)</text>
<text style="font-size: 8px">H100, 4 &lt; 5 GB/s</text>
<text>
 <tspan x="0" style="font: sans-serif">1</tspan>
 <tspan x="6" style="font: sans-serif">0</tspan>
</text></svg>"""
TABLE = """\
time (s)\t时间（s）
rate\t速率
slow\t慢
{} ranks: sum {} of {*}\t{2}：{0}个进程，和为{1}
def {**}\t=
Llama {*}\t=
{} tokens/s\t{}词元/秒
prefill\t预填充
of {} tokens\t共{}个词元\ton a machine with memory
"""


@pytest.fixture
def translator(tmp_path):
    (tmp_path / "labels.tsv").write_text(TABLE, encoding="utf-8")
    return Translator(read_labels(tmp_path / "labels.tsv"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tokens/s", True), ("key", True), ("Llama 3", True), ("memory-bound", True),
        ("12.5 ms", False), ("GB/s", False), ("26 FLOP/byte", False), ("H100 SXM, bf16", False), ("d_model", False),
        ("F.linear", False), ("x [512, 576]", False), ("1e-5", False), ("", False),
    ],
)  # fmt: skip
def test_words_are_told_from_units_acronyms_and_names_in_code(text, words):
    assert carries_words(text) == words


def test_a_figure_gets_chinese_texts_and_fonts_and_keeps_the_rest(translator):
    drawn = translator.svg(SVG)
    assert drawn.count(labels.FONTS) == 1
    assert f'\'DejaVu Sans\', {labels.FONTS}; text-anchor: middle" x="1">时间（s）</text>' in drawn
    assert drawn[drawn.index("\n") :] == SVG[SVG.index("\n") :]
    assert translator.missing == []


def test_texts_of_svg_are_escaped_and_missing_ones_are_told(translator):
    assert translator.svg("<text>a &amp; the rest</text>") == "<text>a &amp; the rest</text>"
    assert translator.missing == ["a & the rest"]


@pytest.mark.parametrize(
    ("printed", "chinese"),
    [
        ("4 ranks: sum   10 of slow\n", "慢：4个进程，和为  10\n"),
        ("  12.5 tokens/s", "  12.5词元/秒"),
        ("prefill  Llama 3 70B", "预填充   Llama 3 70B"),
        # Columns end where they ended, or begin where they began.
        ("name   rate\na     1,000\nab       20\n", "name   速率\na     1,000\nab       20\n"),
        ("       rate\nslow     10\nprefill 200\n", "       速率\n慢       10\nprefill 200\n"),
        ("def f(x):\n    the body\n", "def f(x):\n    the body\n"),
        ("rate\ndef f(x):\n    rate\n", "速率\ndef f(x):\n    rate\n"),
        ("\n 1.5\n", "\n 1.5\n"),
    ],
)
def test_printed_lines_and_tables_keep_their_columns(translator, printed, chinese):
    (got,) = translator.printed([printed])
    assert got == chinese
    lines = zip(got.splitlines(), printed.splitlines(), strict=True)
    assert all(width(ours) <= width(theirs) for ours, theirs in lines)


def test_pieces_of_a_cells_output_share_their_columns(translator):
    assert translator.printed(["name       rate\n", "slow      1,000\n", "b            20\n"])[:2] == [
        "name       速率\n", "慢        1,000\n",
    ]  # fmt: skip


def test_a_markdown_table_is_put_into_chinese_cell_by_cell_and_code_is_not(translator):
    text = "| | rate | **slow** |\n|---|---:|---|\n| prefill | 5 | 6 |\n\n```python\nrate = slow\n```\n"
    assert translator.markdown(text) == (
        "| | 速率 | **慢** |\n|---|---:|---|\n| 预填充 | 5 | 6 |\n\n```python\nrate = slow\n```\n"
    )


def test_a_place_for_any_text_keeps_its_width_where_it_is_padded(tmp_path):
    (tmp_path / "labels.tsv").write_text("slow\t慢\n{*} at {} GB/s\t{}为{} GB/s\n", encoding="utf-8")
    found = Translator(read_labels(tmp_path / "labels.tsv")).printed(["slow    at 1 GB/s\nL2      at 2 GB/s\n"])
    assert found == ["慢     为1 GB/s\nL2     为2 GB/s\n"]


def test_a_line_to_add_has_places_for_its_numbers_alone():
    assert suggestion("step of  1,024 tokens on H100: 3.5 ms") == "step of {} tokens on H100: {} ms"


@pytest.fixture
def executed(tmp_path):
    """A page, and a cache of its outputs: a figure as SVG and PNG, and print."""
    page = tmp_path / "01-demo" / "chapter.md"
    page.parent.mkdir()
    page.write_text(PAGE, encoding="utf-8")
    notebook = read_notebook(page)
    draw, show = (cell for cell in notebook.cells if cell.cell_type == "code")
    draw.outputs = [nbformat.v4.new_output("display_data", {"image/svg+xml": SVG, "image/png": "AAAA"})]
    show.outputs = [
        nbformat.v4.new_output("stream", text="4 ranks: sum 10 of slow\n"),
        nbformat.v4.new_output("display_data", {"text/plain": "<Figure>", "image/png": "AAAA"}),
        nbformat.v4.new_output("execute_result", {"text/plain": "rate"}, execution_count=1),
    ]
    bundle = CacheBundleIn(notebook, str(page))
    get_cache(tmp_path / "cache").cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return page, tmp_path / "cache"


def test_the_chinese_cache_has_the_outputs_of_the_english_in_chinese(executed):
    page, cache = executed
    used = "time (s)\t时间（s）\nrate\t速率\nslow\t慢\n{} ranks: sum {} of {*}\t{2}：{0}个进程，和为{1}\n"
    page.with_name("labels.tsv").write_text(used + "rare\t罕见\ton a GPU\n", encoding="utf-8")
    folder, faults, notes = chinese_cache(cache, [page])
    assert faults == notes == []
    _, notebook = get_cache(folder).merge_match_into_notebook(read_notebook(page))
    figure, printed, picture, result = (output for cell in notebook.cells[-2:] for output in cell.outputs)
    assert (list(figure.data), "时间（s）" in figure.data["image/svg+xml"]) == (["image/svg+xml"], True)
    assert (printed.text, result.data["text/plain"]) == ("慢：4个进程，和为10\n", "速率")
    assert picture.data == {"text/plain": "<Figure>", "image/png": "AAAA"}
    _, notebook = get_cache(cache).merge_match_into_notebook(read_notebook(page))
    assert notebook.cells[-2].outputs[0].data["image/svg+xml"] == SVG


def test_a_missing_label_is_told_with_its_cell_and_line_and_an_unused_one_with_its_own(executed):
    page, cache = executed
    table = page.with_name("labels.tsv")
    table.write_text("rate\t速率\nrare\t罕见\n", encoding="utf-8")
    _, faults, notes = chinese_cache(cache, [page])
    assert faults == [
        f"{page}:9: code cell 1 shows texts without Chinese: to 01-demo/labels.tsv add lines with the Chinese, or `=`,"
        " after a tab:\ntime (s)\t",
        f"{page}:13: code cell 2 shows texts without Chinese: to 01-demo/labels.tsv add lines with the Chinese, or `=`,"
        " after a tab:\n{} ranks: sum {} of slow\t",
    ]
    assert notes == [f"{table}:2: no output of the page has 'rare': remove the line"]


def test_a_text_that_only_another_machine_shows_does_not_stop_the_build_there(executed):
    page, cache = executed
    _, notebook = get_cache(cache).merge_match_into_notebook(read_notebook(page))
    notebook.cells[-1].metadata["tags"] = [labels.VARIES]
    faults, notes = labels.translate_page(page, notebook)
    assert [fault.splitlines()[-1] for fault in faults] == ["time (s)\t"]
    assert [note.splitlines()[1:] for note in notes] == [["{} ranks: sum {} of slow\t", "rate\t"]]


def test_a_chinese_figure_is_an_image_that_viewers_show_unasked():
    output = {"data": {"image/svg+xml": "<svg/>", "text/plain": "<Figure>"}}
    options = {"image": {"alt": "一张“图”"}}
    assert labels.chinese_figure(output, options) == {
        "data": {"text/html": '<img alt="一张“图”" src="data:image/svg+xml;base64,PHN2Zy8+">'}
    }
    output["data"]["image/png"] = "AAAA"
    assert labels.chinese_figure(output, options) == labels.chinese_figure({"text": "printed"}, {}) == {}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("rate", "'rate' has no Chinese: write it after a tab, or `=`"),
        ("rate\trate", "'rate' has no Chinese: write it after a tab, or `=`"),
        ("{} tokens\t{}个词元，{}", "'{} tokens' has not the places that its Chinese names"),
        ("{} tokens\t{1}个词元", "'{} tokens' has not the places that its Chinese names"),
        ("def {**}\t定义{}", "'def {**}' has not the places that its Chinese names"),
        ("slow\t迟", "'slow' stands in line 1 already"),
        ("{} tokens\t{}个令牌", "'令牌' is against the glossary: token is '词元'"),
        ("at {}:\t速率为{}:慢", "half-width punctuation before Chinese (':慢'): write ，；：！？"),
    ],
)
def test_a_table_that_says_something_wrong_is_told(tmp_path, line, fault):
    table = tmp_path / "labels.tsv"
    table.write_text("slow\t慢\n{*} of {}\t{1}的{0}\n", encoding="utf-8")
    assert check_labels(table) == []
    table.write_text(f"slow\t慢\n{line}\n", encoding="utf-8")
    assert [str(found) for found in check_labels(table)] == [f"{table}:2: {fault}"]


@pytest.mark.parametrize(
    ("language", "marked"), [("zh_CN", '<span class="wide">批大小：</span>8'), ("en", "批大小：8")]
)
def test_chinese_that_a_cell_prints_is_marked_for_its_width_on_the_chinese_page(language, marked):
    printed = '<div class="output stream highlight-text"><div class="highlight"><pre>{}</pre></div></div>'
    code = '<div class="highlight-python"><pre>批大小：8</pre></div>'
    context = {"body": code + printed.format("批大小：8") + code}
    labels.widen(SimpleNamespace(config=SimpleNamespace(language=language)), "page", "page.html", context, None)
    assert context["body"] == code + printed.format(marked) + code


@pytest.mark.parametrize(("language", "noted"), [("zh_CN", ["labels.tsv"]), ("en", [])])
def test_a_chinese_page_is_read_anew_where_its_table_changes(tmp_path, language, noted):
    (tmp_path / "labels.tsv").write_text(TABLE, encoding="utf-8")
    found = []
    env = SimpleNamespace(doc2path=lambda name: tmp_path / f"{name}.md", note_dependency=found.append)
    labels.depend(SimpleNamespace(config=SimpleNamespace(language=language), env=env), "chapter", [""])
    assert found == [str(tmp_path / name) for name in noted]
