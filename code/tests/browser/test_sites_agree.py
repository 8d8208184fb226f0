"""The two sites, their notebooks and their links, as files."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from sphinx.util.inventory import InventoryFile
from sphinx_sysai.course import chapters
from sphinx_sysai.labels import carries_words, read_labels

ROOT = Path(__file__).parents[3]
SITE = ROOT / "site"
CHAPTERS = [chapter.folder.relative_to(ROOT).as_posix() for chapter in chapters()]
"""Folders of the chapters in the table of contents."""
LANGUAGES = ("en", "zh")


def labels(lang: str) -> set[str]:
    with (SITE / lang / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    return {f"{kind} {name} {entry[2]}" for kind in ("std:label", "std:doc") for name, entry in inventory[kind].items()}


def test_both_sites_have_the_same_pages_and_labels_at_the_same_addresses():
    assert labels("en") == labels("zh")
    assert len(labels("en")) > 40


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_chapter_has_the_number_of_its_folder(lang):
    pages = sorted(SITE.glob(f"{lang}/chapters/*/chapter.html"))
    assert [f"chapters/{page.parent.name}" for page in pages] == CHAPTERS
    for page in pages:
        article, chapter = page.read_text("utf-8").split("<article", 1)[1], str(int(page.parent.name[:2]))
        article = article.split("</article>", 1)[0]
        sections = re.findall(r'class="section-number">([\d.]+)\. ?<', article)
        figures = re.findall(r'class="caption-number">\D*(\d+)\.\d+ ?<', article)
        assert len(sections) > 10, page
        assert {number.split(".")[0] for number in sections} == {chapter}
        assert figures
        assert set(figures) == {chapter}


def notebooks(lang: str) -> dict[str, dict]:
    folder = ROOT / "_build/notebooks" / lang
    return {str(path.relative_to(folder)): json.loads(path.read_text("utf-8")) for path in folder.rglob("*.ipynb")}


def test_code_cells_are_byte_identical_in_both_languages():
    """But for the first, which asks for Chinese reports in the Chinese notebook, and what outputs say."""
    english, chinese = notebooks("en"), notebooks("zh")
    assert english.keys() == chinese.keys() != set()
    for name, notebook in english.items():
        ours, theirs = (
            [{key: value for key, value in cell.items() if key != "id"} for cell in nb["cells"] if "outputs" in cell]
            for nb in (notebook, chinese[name])
        )
        for cell in (cell for cell in ours + theirs if "data-explorable" in json.dumps(cell["outputs"])):
            assert [output["data"].keys() for output in cell["outputs"]] == [{"text/html", "text/plain"}]
        for cell in ours + theirs:
            cell["outputs"] = [output["output_type"] for output in cell["outputs"]]
        language = ["import os\n", 'os.environ["SYSAI_LANGUAGE"] = "zh"\n']
        assert [line for line in theirs[0]["source"] if line in language] == language
        theirs[0]["source"] = [line for line in theirs[0]["source"] if line not in language]
        assert ours == theirs, name


def drawn_texts(lang: str, chapter: str) -> list[list[str]]:
    """The texts of each figure that a chapter's cells draw, explorables aside."""
    page = (SITE / lang / chapter / "chapter.html").read_text("utf-8")
    figures = re.findall(r'<svg class="drawn" role="img".*?</svg>', page, flags=re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", text) for text in re.findall("<text.*?</text>", figure)] for figure in figures]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_figures_speak_the_language_of_their_page(chapter):
    english, chinese = drawn_texts("en", chapter), drawn_texts("zh", chapter)
    assert [*map(len, english)] == [*map(len, chinese)] != []
    assert not re.search("[\u4e00-\u9fff]", repr(english))
    for ours, theirs in zip(english, chinese, strict=True):
        assert not any(map(carries_words, ours)) or re.search("[\u4e00-\u9fff]", repr(theirs)), ours
    translated = {label.english for label in read_labels(ROOT / chapter / "labels.tsv") if label.chinese != "="}
    assert not translated & {text for theirs in chinese for text in theirs}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_exercise_stands_on_its_page_and_in_its_notebook(lang):
    books, found = notebooks(lang), 0
    for folder in (folder for chapter in CHAPTERS for folder in sorted(ROOT.glob(f"{chapter}/exercises/[0-9]*"))):
        chapter = folder.parents[1]
        exercise = f"{chapter.name[:2]}/{folder.name.split('-', 1)[1]}"
        label = f"exercise-{exercise.replace('/', '-')}"
        page = (SITE / lang / "chapters" / chapter.name / "chapter.html").read_text("utf-8")
        assert f'id="{label}"' in page, f"{exercise} is not on the page of its chapter"
        magic = f"%%exercise {exercise}\n"
        cells = [
            cell for cell in books[f"chapters/{chapter.name}/chapter.ipynb"]["cells"] if cell["source"][:1] == [magic]
        ]
        starter = (folder / "starter.py").read_text("utf-8")
        assert ["".join(cell["source"]) for cell in cells] == [magic + starter.rstrip()]
        found += 1
    assert found > 0


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_download_is_the_exported_notebook(lang):
    for name, notebook in notebooks(lang).items():
        assert json.loads((SITE / lang / "_notebooks" / name).read_text("utf-8")) == notebook


class Links(HTMLParser):
    """Collects a page's ids and links."""

    def __init__(self):
        super().__init__()
        self.ids, self.links = set(), set()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        for name in ("href", "src"):
            if attributes.get(name):
                self.links.add(attributes[name])


def test_every_link_inside_the_site_leads_somewhere():
    pages = {}
    for path in SITE.rglob("*.html"):
        pages[path.resolve()] = Links()
        pages[path.resolve()].feed(path.read_text("utf-8"))
    broken = []
    for path in (path for lang in LANGUAGES for path in (SITE / lang).rglob("*.html")):
        for link in pages[path.resolve()].links:
            if urlparse(link).scheme or link.startswith(("//", "data:")):
                continue
            address, fragment = urldefrag(link)
            target = (path.parent / unquote(address.split("?")[0])).resolve() if address else path.resolve()
            if target.is_dir():
                target /= "index.html"
            anchored = not fragment or target not in pages or unquote(fragment) in pages[target].ids
            if not target.exists() or not anchored:
                broken.append(f"{path.relative_to(SITE)}: {link}")
    assert broken == []
