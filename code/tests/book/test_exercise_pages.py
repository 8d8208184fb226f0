"""An exercise on a page and in a notebook of each language: a small book is built, with the book's own settings."""

import io
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_book.config import get_final_config
from nbclient import NotebookClient
from pygments.styles import get_style_by_name
from pygments.token import Name, Punctuation, Text, Whitespace
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils
from sphinx_sysai.exercise_pages import find_exercise, notebook_cells, split
from sphinx_sysai.light_pages import icon_styles
from sphinx_sysai.notebook_export import export
from sphinx_sysai.parity import check_page
from sphinx_sysai.sites import OVERRIDES
from sysai.exercises.messages import VERDICTS

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of sphinx_jupyterbook_latex
ROOT = Path(__file__).resolve().parents[3]
CHAPTER = "chapters/01-demo/chapter"
FILES = {
    "_toc.yml": """\
format: jb-book
root: book/references
parts:
  - caption: Pages | 页
    chapters: [{file: book/exercises}, {file: chapters/01-demo/chapter}]
""",
    "book/references.md": "(references)=\n# R\n\n```{bibliography}\n```\n",
    "book/exercises.md": "(exercises-work)=\n# W\n",
    f"{CHAPTER}.md": """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---

+++ {"lang": "en"}

(demo)=
# Demo

See [the first](#exercise-01-half), that is [](#exercise-01-half).

:::{admonition} Takeaway
:class: tip
Halve.
:::

+++ {"lang": "zh"}

(demo)=
# 示例

见[第一题](#exercise-01-half)，即[](#exercise-01-half)。

:::{admonition} 要点
:class: tip
减半。
:::

```{code-cell} ipython3
6 * 7
```

+++

Before.

:::{exercise} half
:::

After.
""",
    "chapters/01-demo/exercises/01-half/statement.md": """\
---
title: {en: Half of it, zh: 取一半}
minutes: 5
---

+++ {"lang": "en"}

Write `half`, as {cite:t}`williams2009roofline` would.

+++ {"lang": "zh"}

像{cite:t}`williams2009roofline`那样写出`half`。

+++

$$ h = x / 2 $$ (eq-half)
""",
    "chapters/01-demo/exercises/01-half/starter.py": '''\
"""Half of a number."""


def half(x: float) -> float:
    """Return half of `x`."""
    raise NotImplementedError
''',
    "chapters/01-demo/exercises/01-half/solution.py": '''\
"""Half of a number."""


def half(x: float) -> float:
    """Return half of `x`."""
    return x / 2
''',
    "chapters/01-demo/exercises/01-half/check.py": '''\
"""Values of half."""


def check(trial):
    """Ten random numbers."""
    for _ in range(10):
        x = trial.random.uniform(-8, 8)
        trial.expect_close(trial.call("half", x), x / 2)
''',
    "chapters/01-demo/exercises/01-half/explanation.md": """\
+++ {"lang": "en"}

By {eq}`eq-half`, one division.

+++ {"lang": "zh"}

由{eq}`eq-half`，一次除法。
""",
}
STATEMENT = FILES["chapters/01-demo/exercises/01-half/statement.md"]
STARTER = FILES["chapters/01-demo/exercises/01-half/starter.py"]
SOLUTION = FILES["chapters/01-demo/exercises/01-half/solution.py"]


def write_book(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in ("assets", "templates", "references.bib"):
        (folder / "book" / name).symlink_to(ROOT / "book" / name)
    return folder


def build_book(source: Path, out: Path, lang: str) -> tuple[Sphinx, str]:
    """The finished build and its warnings."""
    settings, _ = get_final_config(
        user_yaml=ROOT / "_config.yml",
        cli_config=OVERRIDES[lang]
        | {
            "html_theme_options": {"repository_url": "https://github.com/owner/book"},
            "html_baseurl": f"https://owner.github.io/book/{lang}/",
            "latex_individualpages": False,
            "external_toc_path": "_toc.yml",
            "nb_execution_cache_path": str(out / "cache"),
        },
        sourcedir=source,
    )
    warnings = io.StringIO()
    with patch_docutils(None), docutils_namespace():
        app = Sphinx(source, None, out / lang, out / f"{lang}-doctrees", "html", settings, None, warnings)
        app.build()
        return app, warnings.getvalue()


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    source = write_book(tmp_path_factory.mktemp("book"), FILES)
    out = tmp_path_factory.mktemp("out")
    built = {lang: build_book(source, out, lang) for lang in ("en", "zh")}
    return {lang: (app, warnings, export(app, CHAPTER)) for lang, (app, warnings) in built.items()}


@pytest.fixture(params=["en", "zh"])
def book(request, books):
    """Language, page and notebook."""
    app, warnings, notebook = books[request.param]
    assert warnings == ""
    return request.param, (Path(app.outdir) / f"{CHAPTER}.html").read_text(encoding="utf-8"), notebook


def words_of(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


WORDS = {
    "en": ("Exercise 1.1 · Half of it", "About 5 minutes.", "would", "one division", "Solution"),
    "zh": ("练习1.1 · 取一半", "约5分钟。", "那样写出", "一次除法", "解答"),
}


def test_the_page_shows_the_exercise_in_its_language(book):
    lang, page, _ = book
    box = page[page.index('id="exercise-01-half"') :]
    task, starter, rest = box.split("<details", 2)
    starter, how = starter.split("</details>", 1)
    folded = rest.split("</details>", 1)[0]
    title, minutes, statement, explanation, solution = WORDS[lang]
    for expected in (title, minutes, statement, "Williams"):
        assert expected in words_of(task)
    for line in STARTER.split("\n"):
        assert line in words_of(starter).replace("&quot;", '"').replace("&gt;", ">")
    for expected in (
        "chapters/01-demo/exercises/01-half/answer.py",
        "sysai start 01/half",
        "sysai check 01/half",
    ):
        assert expected in words_of(how)
    for shown in (task, starter, how):
        assert explanation not in shown
        assert "return x / 2" not in words_of(shown)
    for expected in (solution, explanation, "return x / 2"):
        assert expected in words_of(folded)
    other = WORDS["zh" if lang == "en" else "en"]
    assert not any(word in page for word in other), "the other language's words are on the page"
    assert "minutes: 5" not in page


def test_each_box_is_of_its_kind_and_no_id_stands_twice(book):
    lang, page, notebook = book
    article = BeautifulSoup(page, "html.parser").article
    boxes = {box.find(class_="admonition-title").text: {*box["class"]} for box in article.select(".admonition")}
    takeaway = {"en": "Takeaway", "zh": "要点"}[lang]
    assert boxes == {takeaway: {"admonition", "tip"}, WORDS[lang][0]: {"admonition", "exercise"}}
    assert any(f"> **{takeaway}**\n>\n> " in cell.source for cell in notebook.cells)
    ids = [element["id"] for element in article.select("[id]")]
    assert len(ids) == len(set(ids))


def test_each_kind_of_box_has_an_icon_of_its_own():
    rule = r"^(\.admonition(?:\.(\w+))?)\{--icon:url\((.*)\)\}$"
    icons = {kind: icon for _, kind, icon in re.findall(rule, icon_styles(), re.MULTILINE)}
    assert {"", "tip", "warning", "exercise"} == {*icons}
    assert len({*icons.values()}) == len(icons)


def test_code_has_elements_only_where_it_is_coloured(book):
    """Names, punctuation and spaces have none, because in both styles their colour is that of plain text."""
    _, page, _ = book
    assert '<span class="k">def</span> <span class="nf">half</span>(x: <span class="nb">float</span>)' in page
    for name in ("light", "dark"):
        style = get_style_by_name(f"a11y-high-contrast-{name}")
        colours = {style.style_for_token(token)["color"] for token in (Text, Name, Punctuation, Whitespace)}
        assert len(colours) == 1


def test_links_lead_to_it_in_both_languages_and_know_its_title(book):
    lang, page, _ = book
    links = re.findall(r'<a class="reference internal" href="#exercise-01-half">(.*?)</a>', page)
    assert [words_of(link) for link in links] == [{"en": "the first", "zh": "第一题"}[lang], WORDS[lang][0]]


def test_its_button_opens_the_cell_in_colab(book):
    lang, page, notebook = book
    address = re.search(r'href="(https://colab[^"#]+)#scrollTo=([\w-]+)"', page)
    assert address[1] == f"https://colab.research.google.com/github/owner/book/blob/notebooks/{lang}/{CHAPTER}.ipynb"
    assert [c.source[:10] for c in notebook.cells if c.metadata.get("id") == address[2]] == ["%%exercise"]


def test_a_change_of_any_of_its_files_rebuilds_the_page(books):
    app, _, _ = books["en"]
    folder = "chapters/01-demo/exercises/01-half"
    wanted = {f"{folder}/{name}" for name in ("statement.md", "starter.py", "solution.py", "explanation.md")}
    assert wanted <= {str(name) for name in app.env.dependencies[CHAPTER]}


def test_the_notebook_has_a_cell_to_work_in(book):
    lang, _, notebook = book
    position = next(i for i, cell in enumerate(notebook.cells) if cell.source.startswith("%%exercise"))
    before, task, live, folded, after = notebook.cells[position - 2 : position + 3]
    assert (before.source, after.source) == ("Before.", "After.")
    assert live.source == f"%%exercise 01/half\n{STARTER.rstrip()}"
    assert live.outputs == []
    assert "nbval-skip" in live.metadata.tags
    title, minutes, statement, explanation, solution = WORDS[lang]
    for expected in ('<a id="exercise-01-half"></a>', f"### {title}", minutes, statement, r"$$h = x / 2 \tag{1}$$"):
        assert expected in task.source.replace("$$ h", "$$h")
    assert explanation not in task.source
    assert folded.source.startswith(f"<details><summary><b>{solution}</b></summary>\n\n")
    assert folded.source.endswith(f"\n\n```python\n{SOLUTION}```\n\n</details>")
    assert explanation in folded.source


def test_the_first_cell_loads_the_magic_and_sets_the_language_of_reports(books):
    english, chinese = (books[lang][2].cells[0].source.splitlines() for lang in ("en", "zh"))
    language = ["import os", 'os.environ["SYSAI_LANGUAGE"] = "zh"']
    assert "%load_ext sysai.exercises" in english
    assert [line for line in chinese if line not in language] == english
    assert [line for line in chinese if line in language] == language
    assert chinese.index(language[1]) < chinese.index("%load_ext sysai.exercises")


def test_in_a_live_kernel_the_cell_gives_the_report(book, tmp_path, monkeypatch):
    """The starter as exported, then the solution in its place, in one of chapter 01's own exercises."""
    monkeypatch.delenv("SYSAI_LANGUAGE", raising=False)
    monkeypatch.setenv("LC_ALL", "C")  # where the notebook names no language, reports are English
    lang, _, exported = book
    exercise = find_exercise(ROOT / "chapters/01-ai-workloads", "speed-limit")
    _, live, folded = notebook_cells(exercise, lang, markdown=str)
    solution = folded.source.split("```python\n")[1].split("\n```")[0]
    answer = nbformat.v4.new_code_cell(f"%%exercise {exercise.id}\n{solution}")
    after = nbformat.v4.new_code_cell("decode_tokens_per_second.__name__")
    notebook = nbformat.v4.new_notebook(cells=[exported.cells[0], live, answer, after])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    begun, done = ("".join(o.data["text/plain"] for o in cell.outputs) for cell in (live, answer))
    assert exercise.title[lang] in begun
    assert VERDICTS["failed"][lang] in begun
    assert "NotImplementedError" in begun
    assert VERDICTS["passed"][lang] in done
    assert "<strong>" in answer.outputs[0].data["text/html"]
    assert after.outputs[0].data["text/plain"] == "'decode_tokens_per_second'"


def test_a_build_tells_of_an_unknown_exercise_what_there_is_and_of_a_text_its_faults(tmp_path):
    text = FILES[f"{CHAPTER}.md"].replace("{exercise} half", "{exercise} halve").replace("exercise-01-half", "demo")
    explanation = "chapters/01-demo/exercises/01-half/explanation.md"
    wrong = {f"{CHAPTER}.md": text, explanation: FILES[explanation].replace("，", ",")}
    app, warnings = build_book(write_book(tmp_path / "book", FILES | wrong), tmp_path, "en")
    assert re.search(r"chapter\.md:38: ERROR: .*'halve'.*01/half", warnings), warnings
    assert re.search(r"explanation\.md:7: WARNING: half-width punctuation", warnings), warnings
    with pytest.raises(ValueError, match=r"'halve'.*01/half"):
        export(app, CHAPTER)


def test_a_cell_is_cut_where_its_exercises_stand():
    assert split("plain") == [("plain", None)]
    assert split("a\n\n:::{exercise} one\n:::\n\nb\n\n```{exercise} two\n```\n") == [
        ("a\n\n", "one"),
        ("\n\nb\n\n", "two"),
        ("\n", None),
    ]


PLANTED = {
    "no Chinese title": (lambda s: s.replace(", zh: 取一半", ""), 1, "title in both languages"),
    "no front matter": (lambda s: s[s.index("+++") :], 1, "title in both languages"),
    "half-width punctuation in the title": (lambda s: s.replace("取一半", "取(一)半"), 1, "half-width parentheses"),
    "a title cut by a comma": (lambda s: s.replace("取一半", "取,一半"), 1, "title in both languages"),
    "no minutes": (lambda s: s.replace("minutes: 5\n", ""), 1, "how long it takes"),
    "minutes that are no number": (lambda s: s.replace("minutes: 5", "minutes: five"), 1, "how long it takes"),
    "a missing partner": (lambda s: s[: s.index('+++ {"lang": "zh"}')], 7, "no partner"),
    "a code span lost": (lambda s: s.replace("写出`half`", "写出"), 8, "code span 'half'"),
    "a citation lost": (lambda s: s.replace("像{cite:t}`williams2009roofline`那样", ""), 8, "citation"),
    "half-width punctuation": (lambda s: s.replace("那样写", "那样,写"), 12, "half-width punctuation"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_in_a_statement_is_reported_at_its_line(tmp_path, name):
    path = tmp_path / "statement.md"
    path.write_text(STATEMENT, encoding="utf-8")
    assert check_page(path) == []
    plant, line, words = PLANTED[name]
    path.write_text(plant(STATEMENT), encoding="utf-8")
    assert any((fault.line, words in fault.message) == (line, True) for fault in check_page(path)), check_page(path)
