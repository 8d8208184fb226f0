"""Explorables on a page and in a notebook, as HTML and files; test_explorables.py in code/tests/browser uses them."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
import vl_convert
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from PIL import Image, ImageChops
from sphinx_sysai import explorable_files
from sphinx_sysai.explorable_files import files, names, package, worker_address
from sphinx_sysai.explorable_pages import TEXTS, lean, notebook_output, page_html, place_explorables, read_output
from sphinx_sysai.publishing import publish_explorables
from sysai.explorables.explorable import Slider, find
from sysai.explorables.notebook import static_html, to_svg

NAMES = names()
every_explorable = pytest.mark.parametrize("name", NAMES)
every_language = pytest.mark.parametrize("language", ["en", "zh"])

# In a Python without site-packages, from the zip alone: what Pyodide has.
DRAW = """
import json, sys
sys.path.insert(0, sys.argv[1])
from sysai.explorables.explorable import find
import sysai
assert sysai.__file__.startswith(sys.argv[1])
print(json.dumps([find(name).figure(language) for name in sys.argv[2:] for language in ("en", "zh")]))
"""


def body(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def test_the_explorables_are_found():
    assert {"kv_cache", "model_shape", "roofline"} <= set(NAMES)


def test_the_zip_and_the_standard_library_are_all_that_they_need(tmp_path):
    archive = tmp_path / "sysai.zip"
    archive.write_bytes(package())
    command = [sys.executable, "-I", "-S", "-c", DRAW, archive, *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        json.loads(json.dumps(find(name).figure(language))) for name in NAMES for language in ("en", "zh")
    ]


def test_the_zip_is_the_same_for_the_same_files_and_holds_nothing_else():
    before = package()
    package.cache_clear()
    assert package() == before
    inside = set(zipfile.ZipFile(io.BytesIO(before)).namelist())
    assert {f"sysai/explorables/{name}.py" for name in NAMES} <= inside
    assert not {"sysai/explorables/notebook.py", "sysai/models/transformer.py"} & inside


def test_addresses_change_with_what_they_lead_to(monkeypatch):
    address = worker_address.__wrapped__
    before = address()
    assert f"pyodide={explorable_files.version('pyodide')}" in before
    monkeypatch.setattr(explorable_files, "package", lambda: b"another")
    changed = address()
    assert changed != before
    monkeypatch.setattr(explorable_files, "version", lambda name: "1.2.3")
    assert address() != changed


def test_publishing_again_writes_nothing_and_removes_what_is_old(tmp_path):
    publish_explorables(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(files())
    assert (tmp_path / "sysai.zip").read_bytes() == package()
    (tmp_path / "pyodide-0.1.0").mkdir()
    old = tmp_path / "pyodide-0.1.0/pyodide.mjs"
    old.write_text("old")
    times = {path: os.stat(path).st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path != old}
    publish_explorables(tmp_path)
    assert {path: os.stat(path).st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == times


def test_the_page_says_how_much_is_loaded():
    contents = [source if isinstance(source, bytes) else source.read_bytes() for source in files().values()]
    megabytes = round(sum(len(gzip.compress(content)) for content in contents) / 1e6)
    assert all(f" {megabytes} MB" in text.replace("约", " ") for text in TEXTS["loading"].values())


@every_language
@every_explorable
def test_a_page_has_the_figure_the_text_and_a_labelled_control_for_each_setting(name, language):
    explorable = find(name)
    page = body(page_html(explorable, name, language, "../../explorables/worker.mjs?v=1"))
    ids = [element["id"] for element in page.select("[id]")]
    assert len(ids) == len(set(ids))
    assert page.select_one(".explorable-readout").text == explorable.figure(language)["description"]
    assert page.select_one(".explorable-title").text == explorable.title[language]
    assert page.select_one(".explorable-figure[role=img] > svg.drawn")
    assert page.select_one(".explorable")["data-worker"] == "../../explorables/worker.mjs?v=1"
    for control in explorable.controls:
        field = page.select_one(f".explorable-control [name={control.name}]")
        assert page.select_one(f"label[for={field['id']}]").text == control.label[language]
        shown = control.text(control.default, language)
        if isinstance(control, Slider):
            assert json.loads(field["data-values"]) == list(map(str, control.values))
            assert json.loads(field["data-texts"]) == [control.text(value, language) for value in control.values]
            assert field["aria-valuetext"] == field.parent.select_one(".explorable-value").text == shown
            assert control.values[int(field["value"])] == control.default
        else:
            assert [option["value"] for option in field.select("option")] == list(control.values)
            assert field.select_one("[selected]").text == shown
        if control.help[language]:
            assert page.find(id=field["aria-describedby"]).text == control.help[language]
    for field in page.select("button, input, select"):
        assert field.find_parent(class_="pst-js-only"), f"{field} would be dead without JavaScript"


def test_a_page_of_a_site_built_alone_has_no_controls():
    page = body(page_html(find("kv_cache"), "kv_cache", "en", None))
    assert page.select_one(".explorable-figure svg")
    assert page.select_one(".explorable-readout").text
    assert not page.select("button, input, select, [data-worker]")


def test_the_second_of_a_kind_on_a_page_has_ids_of_its_own():
    shown = [find("batch_roofline"), find("kv_cache").at(batch=4), find("batch_roofline")]
    doctree = new_document("page")
    for explorable in shown:
        doctree += nodes.raw("", static_html(explorable, explorable.figure("en")), format="html")
    config = SimpleNamespace(language="en", explorables_worker="worker.mjs?v=1")
    place_explorables(SimpleNamespace(builder=SimpleNamespace(format="html"), config=config), doctree, "chapters/01/a")
    pages = [output.astext() for output in doctree.findall(nodes.raw)]
    boxes = [body(page).div for page in pages]
    assert [find(box["data-explorable"]).at(**json.loads(box["data-at"])) for box in boxes] == shown
    assert {box["data-worker"] for box in boxes} == {"../../../explorables/worker.mjs?v=1"}
    ids = re.findall(r'\bid="([^"]+)"', "".join(pages))
    assert len(ids) == len(set(ids))
    for page in pages:
        used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page)
        assert used or "batch_roofline" not in page
        assert {"".join(names) for names in used} <= set(re.findall(r'\bid="([^"]+)"', page))


@every_explorable
def test_an_output_is_read_at_its_settings(name):
    explorable = find(name)
    control = explorable.controls[-1]
    other = next(value for value in control.values if value != control.default)
    chosen = explorable.at(**{control.name: other})
    assert read_output(static_html(chosen, chosen.figure("zh"))) == chosen
    assert json.loads(body(page_html(chosen, name, "en", "")).div["data-at"]) == {control.name: other}


@every_language
def test_a_notebook_stores_the_picture_and_the_text_of_its_language(language):
    explorable = find("kv_cache").at(batch=4)
    stored = {"text/html": static_html(explorable, explorable.figure("en")), "text/plain": "en", "application/x": {}}
    description = explorable.figure(language)["description"]
    data = notebook_output({"output_type": "display_data", "data": stored}, language)["data"]
    assert data.keys() == {"text/html", "text/plain"}
    assert data["text/plain"] == description
    assert body(data["text/html"]).img["alt"] == description


@pytest.mark.parametrize(
    "output",
    [{"output_type": "stream", "text": "x"}, {"data": {"text/html": "<table></table>"}}, {"data": {"text/plain": "x"}}],
)
def test_other_outputs_stay(output):
    assert notebook_output(output, "zh") == {}


@every_explorable
def test_a_lean_figure_looks_the_same(name):
    svg = to_svg(find(name).figure("en"))
    less = lean(svg)
    assert len(less) < 0.8 * len(svg)
    drawn, drawn_lean = (
        Image.open(io.BytesIO(vl_convert.svg_to_png(text))).convert("RGB")
        for text in (svg, less.replace("<svg ", '<svg font-family="sans-serif" '))
    )
    assert drawn.size == drawn_lean.size
    assert ImageChops.difference(drawn, drawn_lean).getbbox() is None


def test_both_languages_fill_in_the_same():
    for text in TEXTS.values():
        assert re.findall(r"{\w+}", text["en"]) == re.findall(r"{\w+}", text["zh"])
