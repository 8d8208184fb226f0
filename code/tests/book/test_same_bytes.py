"""Two builds of one source are the same, byte for byte, whatever was built before."""

import json
import shutil
from pathlib import Path

import pytest
from sphinx_sysai.execution import execute
from sphinx_sysai.publishing import publish_site, write_if_changed
from sphinx_sysai.sites import build_site

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of sphinx_jupyterbook_latex
ROOT = Path(__file__).resolve().parents[3]
CODE = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---
"""
FIGURE = """\
```{code-cell} ipython3
---
mystnb: {figure: {name: fig-square, caption: A square.}, image: {alt: A square.}}
mystnb_zh: {figure: {name: fig-square, caption: 正方形。}, image: {alt: 正方形。}}
---
from IPython.display import SVG
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path id="p" d="M0 0H9V9H0z"/></svg>')
```

```{code-cell} ipython3
---
mystnb: {figure: {name: fig-cache, caption: A cache.}, image: {alt: A cache.}}
mystnb_zh: {figure: {name: fig-cache, caption: KV缓存。}, image: {alt: KV缓存。}}
---
from sysai.explorables.kv_cache import kv_cache

kv_cache
```
"""
FILES = {
    "_toc.yml": """\
format: jb-book
root: book/index
parts:
  - caption: Pages | 页
    chapters: [{file: book/exercises}, {file: book/glossary}, {file: book/references}]
  - caption: Chapters | 各章
    numbered: true
    chapters: [{file: chapters/01-demo/chapter}]
""",
    "book/index.md": "(home)=\n# H\n\n[](#demo), {numref}`fig-square`, {eq}`eq-half`\n",
    "book/exercises.md": "(exercises-work)=\n# W\n\n$x^2$\n",
    "book/glossary.md": "(glossary)=\n# G\n\n```{term-glossary}\n```\n",
    "book/references.md": "(references)=\n# R\n\n```{bibliography}\n```\n",
    "chapters/01-demo/chapter.md": f"""\
{CODE}
+++ {{"lang": "en"}}

(demo)=
# Demo

One sentence about a compiler {{cite:p}}`williams2009roofline` and $a/b$.

+++ {{"lang": "zh"}}

(demo)=
# 示例

一句话：编译器{{cite:p}}`williams2009roofline`与$a/b$。

+++

$$ h = x / 2 $$ (eq-half)

```{{list-table}} T
:name: table-one
:header-rows: 1
* - A
  - B
* - 1
  - 2
```

{FIGURE}

+++

:::{{exercise}} half
:::
""",
    "chapters/01-demo/exercises/01-half/statement.md": "---\ntitle: {en: Half, zh: 一半}\nminutes: 5\n---\n\n$y$\n",
    "chapters/01-demo/exercises/01-half/starter.py": "def half(x): ...\n",
    "chapters/01-demo/exercises/01-half/solution.py": "def half(x):\n    return x / 2\n",
    "chapters/01-demo/exercises/01-half/check.py": '"""Halves."""\n\n\ndef check(trial):\n    """None."""\n',
    "chapters/01-demo/exercises/01-half/explanation.md": "$z$\n",
}
SENTENCE = {
    "chapters/01-demo/chapter.md": FILES["chapters/01-demo/chapter.md"]
    .replace("One sentence about a compiler", "Another phrase on `kernels`")
    .replace("一句话：编译器", "另一句话：`kernels`")
}
OTHER_PAGES = {
    "_toc.yml": FILES["_toc.yml"].replace("[{file: chapters/", "[{file: chapters/00-new/chapter}, {file: chapters/"),
    "chapters/00-new/chapter.md": "".join(
        f'+++ {{"lang": "{lang}"}}\n\n(new)=\n# {title}\n\n{{cite:t}}`dao2022flashattention` $q$\n\n(tables)=\n## T\n\n'
        for lang, title in (("en", "New"), ("zh", "新"))
    ),
    "book/exercises.md": "(exercises-work)=\n# Work\n\n$x^3$ [](#new)\n",
    "chapters/01-demo/chapter.md": FILES["chapters/01-demo/chapter.md"]
    .replace("# Demo", "# D")
    .replace("# 示例", "# 例"),
    "chapters/01-demo/exercises/01-half/statement.md": "---\ntitle: {en: H, zh: 半}\nminutes: 7\n---\n\n$w$\n",
}

ALL_FILES = {*FILES, *OTHER_PAGES}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """The outputs of the page's code, which is the same in every state."""
    root = write(tmp_path_factory.mktemp("executed"), FILES)
    execute(root / "chapters/01-demo/chapter.md", root / "cache", 120)
    return root / "cache"


@pytest.fixture(scope="module", params=["en", "zh"])
def first(request, cache, tmp_path_factory):
    """A language, and its site built where none was before."""
    return request.param, build(tmp_path_factory.mktemp("first"), request.param, cache, FILES)


def write(root: Path, files: dict[str, str]) -> Path:
    """Make a folder a book of these files, with this book's settings; files that stay the same are left alone."""
    book = root / "book"
    if not book.exists():
        book.mkdir()
        shutil.copy(ROOT / "_config.yml", root)
        for name in ("assets", "templates", "references.bib"):
            (book / name).symlink_to(ROOT / "book" / name)
    for name in ALL_FILES:
        if name in files:
            write_if_changed(root / name, files[name].encode())
        else:
            (root / name).unlink(missing_ok=True)
    return root


def build(root: Path, lang: str, cache: Path, files: dict[str, str]) -> dict[str, bytes]:
    """The site as it is published, and the notebooks beside it."""
    result = build_site(lang, cache, "worker.mjs?v=1", write(root, files))
    assert result.built, result.warnings
    assert result.warnings == ""
    publish_site(root / f"_build/{lang}/html", root / "site")
    left = (path for folder in ("site", "_build/notebooks") for path in (root / folder).rglob("*"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in left if path.is_file()}


def test_a_site_does_not_tell_what_was_built_before(first, cache, tmp_path):
    """Other pages, titles and numbers were there before; then one sentence was another."""
    lang, site = first
    for edit in (OTHER_PAGES, SENTENCE):
        assert build(tmp_path, lang, cache, FILES | edit) != site
    again = build(tmp_path, lang, cache, FILES)
    assert again.keys() == site.keys()
    assert [name for name in site if again[name] != site[name]] == []


def test_an_edited_sentence_writes_its_page_alone(cache, tmp_path):
    def written() -> set[tuple[str, int]]:
        html = tmp_path / "_build/en/html"
        return {(path.relative_to(html).as_posix(), path.stat().st_mtime_ns) for path in html.rglob("*.html")}

    build(tmp_path, "en", cache, FILES)
    before = written()
    build(tmp_path, "en", cache, FILES | SENTENCE)
    always = {"book/index.html", "genindex.html", "search.html"}
    assert {name for name, _ in written() - before} == {"chapters/01-demo/chapter.html"} | always


def test_a_page_that_gave_a_warning_gives_it_again(cache, tmp_path):
    wrong = FILES | {"book/exercises.md": "(exercises-work)=\n# W\n\n[](#no-such-label)\n"}
    for _ in range(2):
        result = build_site("en", cache, "worker.mjs?v=1", write(tmp_path, wrong))
        assert not result.built
        assert "no-such-label" in result.warnings


def test_a_notebook_has_the_captions_of_its_language(first):
    lang, site = first
    notebook = json.loads(site[f"_build/notebooks/{lang}/chapters/01-demo/chapter.ipynb"])
    captions = {
        "en": ["**Fig. 1.1.** A square.", "**Fig. 1.2.** A cache."],
        "zh": ["**图 1.1.** 正方形。", "**图 1.2.** KV缓存。"],
    }
    cells = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert [cell for cell in cells if cell.startswith(("**Fig", "**图"))] == captions[lang]
