"""One place says which chapters exist: what else speaks of them is made from it, or held to it here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from build_chapter import copy_book, outline
from sphinx_sysai.course import Chapter, chapters, entries
from sphinx_sysai.course_pages import AVAILABLE, PLANNED
from sphinx_sysai.exercise_pages import label_of

ROOT = Path(__file__).resolve().parents[3]
LANGUAGES = ("en", "zh")
READMES = {"en": "README.md", "zh": "README.zh.md"}
CHAPTERS = chapters()

# A chapter as small as one can be: a figure with controls, an exercise, and what both languages owe each other.
TINY = {
    "chapter.md": """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---

+++ {"lang": "en"}

(ai-hardware)=
# AI hardware

[Chapter 1](#chapter-01) comes before, [chapter 3](#chapter-03) after.

+++ {"lang": "zh"}

(ai-hardware)=
# AI硬件

前面是[第1章](#chapter-01)，后面是[第3章](#chapter-03)。

+++

```{code-cell} ipython3
---
mystnb:
  figure: {name: fig-hw-roofline, caption: The roofline.}
  image: {alt: A roofline.}
mystnb_zh:
  figure: {name: fig-hw-roofline, caption: 屋顶线。}
  image: {alt: 屋顶线。}
---
from sysai.explorables.roofline import roofline
roofline
```

+++ {"lang": "en"}

(hw-exercises)=
## Exercises

+++ {"lang": "zh"}

(hw-exercises)=
## 练习

+++

:::{exercise} double
:::
""",
    "exercises/01-double/statement.md": """\
---
title: {en: Twice as much, zh: 加倍}
minutes: 1
---
+++ {"lang": "en"}

Double `x`.

+++ {"lang": "zh"}

把`x`加倍。
""",
    "exercises/01-double/explanation.md": """\
+++ {"lang": "en"}

`x + x`.

+++ {"lang": "zh"}

即`x + x`。
""",
    "exercises/01-double/starter.py": "def double(x: int) -> int:\n    raise NotImplementedError\n",
    "exercises/01-double/solution.py": "def double(x: int) -> int:\n    return x + x\n",
    "exercises/01-double/check.py": "def check(trial):\n    trial.expect_equal(trial.call('double', 3), 6)\n",
}
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.number for chapter in CHAPTERS])


def load(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def with_book(root: Path) -> dict[str, str]:
    """The environment in which Python imports a book's own extensions."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (root / "book", root / "code")))}


def status(found: list[Chapter], planned: int, language: str) -> str:
    """The sentences with which a README says which chapters exist."""
    if language == "en":
        *first, last = (f"{chapter.number} *{chapter.title['en']}*" for chapter in found)
        return (
            f"**Today:** chapters {', '.join(first)} and {last}, in both languages. The other {planned} are planned; "
            "the [syllabus](https://sysai-book.github.io/system-for-ai/en/book/syllabus.html) says what each will hold."
        )
    *first, last = (f"第{chapter.number}章《{chapter.title['zh']}》" for chapter in found)
    return (
        f"**目前进度**：{'、'.join(first)}和{last}，中英文俱全。其余{planned}章尚在计划之中，"
        "各章预定内容见[课程大纲](https://sysai-book.github.io/system-for-ai/zh/book/syllabus.html)。"
    )


def behind(root: Path, language: str) -> str | None:
    """What to write into a book's README so that it names the chapters that exist; None where it does."""
    found = chapters(root)
    due = status(found, len(entries(root)) - len(found), language)
    if due in (root / READMES[language]).read_text(encoding="utf-8").splitlines():
        return None
    return f"{READMES[language]} does not name the chapters that exist; its paragraph must be:\n{due}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_readme_names_the_chapters_that_exist(language):
    assert behind(ROOT, language) is None, behind(ROOT, language)


def test_every_folder_of_a_chapter_is_in_the_table_of_contents():
    folders = {path.parent.name for path in ROOT.glob("chapters/*/chapter.md")}
    listed = {chapter.folder.name for chapter in CHAPTERS}
    assert folders == listed, f"_toc.yml and chapters/ differ in {', '.join(folders ^ listed)}"


@every_chapter
def test_the_syllabus_calls_a_chapter_by_its_title(chapter):
    text = (ROOT / "book/syllabus.md").read_text(encoding="utf-8")
    titles = re.findall(rf"^\*\*{chapter.number} · \[(.*)\]\(#chapter-{chapter.number}\)\*\*", text, re.MULTILINE)
    assert titles == [*chapter.title.values()], f"book/syllabus.md, entry {chapter.number}: use the chapter's own title"


@every_chapter
def test_the_tests_that_a_chapter_names_are_there_and_no_other_chapters(chapter):
    for folder in chapter.tests:
        assert (ROOT / "code/tests" / folder).is_dir(), (
            f"{chapter.page}.md, `sysai: {{tests: …}}`: no code/tests/{folder}"
        )
        owners = [other.number for other in CHAPTERS if folder in other.tests]
        assert owners == [chapter.number], f"code/tests/{folder} is named by chapters {owners}: by one alone"


def test_the_home_page_has_a_place_for_each_entry_of_the_syllabus():
    text = (ROOT / "book/index.md").read_text(encoding="utf-8")
    placed = " ".join(re.findall(r"\{chapters\}`([\d ]+)`", text)).split()
    assert sorted(placed) == sorted(2 * entries()), "the map in book/index.md must hold each number once a language"


@every_chapter
def test_an_outline_holds_all_that_links_can_name(chapter):
    found = re.findall(
        r"^\(([\w-]+)\)=$|\$\$ \(([\w-]+)\)$|\bname: ((?:fig|tab|ex)-[\w-]+)", chapter.text, re.MULTILINE
    )
    names = {name for names in found for name in names if name} | {label_of(e) for e in chapter.exercises}
    assert len(names) > 20
    kept = outline(chapter)
    assert [name for name in sorted(names) if name not in kept] == []
    assert "code-cell" not in kept


def test_workflows_take_the_chapters_from_the_table_of_contents():
    made = subprocess.run([sys.executable, "-m", "sphinx_sysai.course"], env=with_book(ROOT), capture_output=True)
    assert json.loads(made.stdout) == [chapter.number for chapter in CHAPTERS]
    (step,) = [
        s for s in load(ROOT / ".github/actions/chapters/action.yml")["runs"]["steps"] if s.get("id") == "course"
    ]
    assert "python -m sphinx_sysai.course" in step["run"]
    for name in ("ci", "gpu"):
        jobs = load(ROOT / f".github/workflows/{name}.yml")["jobs"]
        assert jobs["chapters"]["steps"][-1]["uses"].endswith("/.github/actions/chapters")
        assert jobs["notebooks"]["strategy"]["matrix"] == {"chapter": "${{ fromJSON(needs.chapters.outputs.numbers) }}"}


def test_the_jobs_of_ci_run_all_that_make_test_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    whole = re.search(r"^PARTS := (.*)$", makefile, re.MULTILINE)[1]
    needed = dict(re.findall(r"^(\w+):(.*)$", makefile, re.MULTILINE))
    jobs = load(ROOT / ".github/workflows/ci.yml")["jobs"].values()
    lines = [step["run"] for job in jobs for step in job["steps"] if step.get("run", "").startswith(".ci/run ")]
    run = {part for line in lines for part in line.split()[1:]}
    assert run | {part for name in run for part in needed[name].split()} >= {*whole.split()}


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """A copy of the book, its chapters cut to their outlines, to which chapter 02 is added and nothing else is done."""
    root = tmp_path_factory.mktemp("book")
    copy_book(root, [])
    toc = root / "_toc.yml"
    text = toc.read_text(encoding="utf-8").replace("      - file: book/verified\n", "")  # it executes code
    first = "      - file: chapters/01-ai-workloads/chapter\n"
    assert first in text
    toc.write_text(text.replace(first, first + "      - file: chapters/02-ai-hardware/chapter\n"), encoding="utf-8")
    for name, content in TINY.items():
        file = root / "chapters/02-ai-hardware" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "book/build.py"], cwd=root, env=with_book(root), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def page(root: Path, language: str, name: str) -> BeautifulSoup:
    return BeautifulSoup((root / f"site/{language}/{name}.html").read_text(encoding="utf-8"), "html.parser").article


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_chapter_is_on_every_page_that_speaks_of_chapters(longer, language):
    title = chapters(longer)[1].title[language]
    home, syllabus = page(longer, language, "book/index"), page(longer, language, "book/syllabus")
    links = {link.get_text(): link["href"] for link in home.select("a")}
    assert links[title] == links["02"] == "../chapters/02-ai-hardware/chapter.html#ai-hardware"
    assert [number.get_text() for number in home.select("table strong")] == ["01", "02", "07", "11", "14"]
    assert links["03"] == "syllabus.html#syllabus-03"
    entry = syllabus.find("a", string=title).find_parent("p").get_text()
    assert re.match(rf"02 · {title} ?{re.escape(AVAILABLE[language])}", entry), entry
    assert syllabus.get_text().count(PLANNED[language]) == 12
    assert [*{*syllabus.select("a[href^='#syllabus-']")}] == [], "links to the paragraph that they stand in"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_chapter_has_its_page_and_its_notebook(longer, language):
    chapter = page(longer, language, "chapters/02-ai-hardware/chapter")
    assert chapter.select_one(".explorable input")
    assert chapter.select_one(".admonition.exercise")
    assert {link["href"] for link in chapter.select("p a")} >= {
        "../01-ai-workloads/chapter.html#ai-workloads", "../../book/syllabus.html#syllabus-03",
    }  # fmt: skip
    notebook = longer / f"_build/notebooks/{language}/chapters/02-ai-hardware/chapter.ipynb"
    assert "%%exercise 02/double" in notebook.read_text(encoding="utf-8")


def test_a_new_chapter_is_tested_without_being_named(longer):
    made = subprocess.run([sys.executable, "-m", "sphinx_sysai.course"], env=with_book(longer), capture_output=True)
    assert json.loads(made.stdout) == ["01", "02", "07", "11", "14"]
    visited = subprocess.run(
        [sys.executable, "-c", "from visit import PAGES; print(*PAGES)"], cwd=ROOT / "code/tests/browser",
        env=os.environ | {"SYSAI_SITE": str(longer / "site")}, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert {f"{language}/chapters/02-ai-hardware/chapter.html" for language in LANGUAGES} <= set(visited)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_readme_that_is_behind_is_told_what_to_write(longer, language):
    said = behind(longer, language)
    assert READMES[language] in said
    assert chapters(longer)[1].title[language] in said
