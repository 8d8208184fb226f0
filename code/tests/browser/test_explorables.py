"""Every explorable of both sites, moved in a browser: what is drawn is what Python draws here."""

import json
import math
import random
import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from bs4 import BeautifulSoup
from conftest import SITE
from sysai.explorables.explorable import Explorable, Slider, find
from test_pages import AXE, OTHER, PAGES, Visit, listed, overflow

LOADING_MS = 120_000
RUNS = 20


def found() -> list[tuple[str, str]]:
    """Page and id of every explorable."""
    boxes = [
        (path, box["id"])
        for path in PAGES
        if 'class="explorable"' in (text := (SITE / path).read_text(encoding="utf-8"))
        for box in BeautifulSoup(text, "html.parser").select(".explorable")
    ]
    return boxes


FOUND = found()
WITH_EXPLORABLES = list(dict.fromkeys(path for path, _ in FOUND))
every_explorable = pytest.mark.parametrize(("path", "box"), FOUND)
every_page = pytest.mark.parametrize("path", WITH_EXPLORABLES)

# Move the controls to each of the settings, as input events tell; what was drawn after each.
MOVE = """async ([box, runs]) => {
  const element = document.getElementById(box), drawn = [];
  const fields = [...element.querySelectorAll(".explorable-control [name]")];
  const controls = Object.fromEntries(fields.map(field => [field.name, field]));
  for (const settings of runs) {
    for (const [name, place] of Object.entries(settings))
      if (controls[name].type === "range") controls[name].value = place; else controls[name].selectedIndex = place;
    const done = new Promise(done => element.addEventListener("explorable-drawn", done, { once: true }));
    controls[Object.keys(settings)[0]].dispatchEvent(new Event("input", { bubbles: true }));
    await done;
    drawn.push({ spec: element.spec, readout: element.querySelector(".explorable-readout").innerText,
                 texts: Object.fromEntries(fields.map(field => [field.name,
                   field.type === "range" ? field.ariaValueText : field.selectedOptions[0].text])) });
  }
  return drawn;
}"""
# Move one slider through its values at once; what was announced, and how often the figure was drawn.
RUSH = """async ([box, places]) => {
  const element = document.getElementById(box), slider = element.querySelector("[type=range]"), said = [];
  let drawn = 0;
  const count = () => { drawn += 1; };
  element.addEventListener("explorable-drawn", count);
  const settled = element.querySelector(".explorable-settled");
  const announced = new Promise(resolve => new MutationObserver((_, observer) => {
    if (settled.textContent) {
      said.push(settled.textContent);
      setTimeout(() => { observer.disconnect(); resolve(); }, 1000);
    }
  }).observe(settled, { childList: true }));
  for (const place of places) {
    slider.value = place;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  await announced;
  element.removeEventListener("explorable-drawn", count);
  return { drawn, said, spec: element.spec, name: slider.name };
}"""
AXE_IN = """async () => (await axe.run({ include: [[".explorable"]] })).violations
  .flatMap(violation => violation.nodes.map(node => `${violation.id}: ${node.target} ${node.failureSummary}`))"""


class Reader(Visit):
    """A reader of one page, whose requests are noted, a worker's among them."""

    def __init__(self, browser, address: str, **settings):
        self.context = browser.new_context(**settings)
        self.requested: list[str] = []
        super().__init__(self.context, address)

    def guard(self, route):
        self.requested.append(route.request.url)
        super().guard(route)

    def box(self, box: str):
        return self.page.locator(f"#{box}")

    def wait_drawn(self, box: str):
        """Wait until what was asked for is drawn and announced."""
        self.page.wait_for_function(
            "box => document.getElementById(box).querySelector('.explorable-settled').textContent", arg=box,
            timeout=LOADING_MS,
        )  # fmt: skip


@pytest.fixture
def reader(browser, address):
    """Open a page that has not been touched: ``reader(path, **context settings)``."""
    readers = []

    def open_page(path: str, **settings) -> Reader:
        readers.append(Reader(browser, address, **settings))
        readers[-1].open(path)
        return readers[-1]

    yield open_page
    for one in readers:
        one.context.close()


@pytest.fixture(scope="module")
def live(browser, address):
    """The page, with Python running in it; one for all tests of the page."""
    pages = {}

    def open_page(path: str) -> Reader:
        if path not in pages:
            pages[path] = one = Reader(browser, address)
            one.open(path)
            box = next(box for page, box in FOUND if page == path)
            move(one, box, [shown_first(path, box)])
        return pages[path]

    yield open_page
    for one in pages.values():
        one.context.close()


def explorable_of(path: str, box: str) -> Explorable:
    """The explorable of a page as Python knows it."""
    element = BeautifulSoup((SITE / path).read_text(encoding="utf-8"), "html.parser").find(id=box)
    return find(element["data-explorable"]).at(**json.loads(element["data-at"]))


def places(explorable: Explorable, settings: dict) -> dict[str, int]:
    """Settings as the places of their values in the controls."""
    return {control.name: control.values.index(settings[control.name]) for control in explorable.controls}


def shown_first(path: str, box: str) -> dict[str, int]:
    explorable = explorable_of(path, box)
    return places(explorable, explorable.defaults)


def move(reader: Reader, box: str, runs: list[dict[str, int]]) -> list[dict]:
    reader.page.set_default_timeout(LOADING_MS)
    return reader.page.evaluate(MOVE, [box, runs])


def native(explorable: Explorable, language: str, **settings) -> dict:
    """The specification that Python returns here, as JSON holds it."""
    return json.loads(json.dumps(explorable.figure(language, **settings)))


def differences(ours, theirs, at: str = "") -> list[str]:
    """Where two values of JSON differ, numbers by more than rounding."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [line for key in ours for line in differences(ours[key], theirs[key], f"{at}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            line for i, pair in enumerate(zip(ours, theirs, strict=True)) for line in differences(*pair, f"{at}[{i}]")
        ]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (ours, theirs))
    same = math.isclose(ours, theirs, rel_tol=1e-9) if numbers else ours == theirs
    return [] if same else [f"{at}: {theirs!r} in the browser, {ours!r} here"]


def test_both_sites_have_explorables():
    english, chinese = ({(path[3:], box) for path, box in FOUND if path.startswith(lang)} for lang in ("en", "zh"))
    assert english == chinese != set()


def test_differences_are_seen():
    assert not differences({"a": [1, 2.0, "x"]}, {"a": [1 + 1e-12, 2, "x"]})
    for other in ({"a": [1.000001, 2, "x"]}, {"a": [1, 2]}, {"a": [1, 2, "y"]}, {"b": [1, 2, "x"]}):
        assert differences({"a": [1, 2.0, "x"]}, other)


@every_page
def test_what_is_heavy_is_loaded_only_after_a_touch_and_from_this_site(reader, address, path):
    seen = reader(path)
    shared = f"{address}explorables/"
    assert not [url for url in seen.requested if url.startswith(shared)], "loaded before the first touch"
    assert [url for url in seen.requested if url.endswith("/explorables.js") or "/explorables.js?" in url]
    box = next(box for page, box in FOUND if page == path)
    seen.box(box).locator(".explorable-control :is(input, select)").first.focus()
    seen.page.wait_for_function(
        "box => !document.getElementById(box).querySelector('.explorable-status').textContent",
        arg=box,
        timeout=LOADING_MS,
    )
    loaded = {urlsplit(url).path.rsplit("/", 1)[-1] for url in seen.requested if url.startswith(shared)}
    assert {"worker.mjs", "pyodide.mjs", "pyodide.asm.wasm", "sysai.zip", "vega.min.js", "vega-lite.min.js"} <= loaded
    assert not seen.foreign, listed("requests to another host", seen.foreign)
    assert not seen.errors, listed("errors", seen.errors)


@every_explorable
def test_it_draws_in_the_browser_what_python_draws_here(live, path, box):
    explorable, language = explorable_of(path, box), path[:2]
    chance = random.Random(f"{path} {box}")
    runs = [{c.name: chance.choice(c.values) for c in explorable.controls} for _ in range(RUNS)]
    seen = live(path)
    drawn = move(seen, box, [places(explorable, settings) for settings in runs])
    assert len({json.dumps(one["spec"]) for one in drawn}) > 1, "the figure never changes"
    for settings, result in zip(runs, drawn, strict=True):
        expected = native(explorable, language, **settings)
        assert not (found := differences(expected, result["spec"])), listed(f"at {settings}", found)
        assert result["readout"] == expected["description"]
        shown = {c.name: c.text(settings[c.name], language) for c in explorable.controls}
        assert result["texts"] == shown
    assert not seen.errors, listed("errors", seen.errors)
    assert not seen.foreign, listed("requests to another host", seen.foreign)


@every_explorable
def test_it_moves_by_mouse_and_by_keyboard(live, path, box):
    explorable, language, seen = explorable_of(path, box), path[:2], live(path)
    element = seen.box(box)
    move(seen, box, [shown_first(path, box)])
    chosen = dict(explorable.defaults)
    for control in explorable.controls:
        field = element.locator(f"[name={control.name}]")
        ways = ["keyboard", "mouse"] if isinstance(control, Slider) else ["keyboard"]
        for way in ways:
            before = chosen[control.name]
            if way == "keyboard":
                back, on = ("ArrowLeft", "ArrowRight") if isinstance(control, Slider) else ("ArrowUp", "ArrowDown")
                field.press(back if before == control.values[-1] else on)
            else:
                area = field.bounding_box()
                right = control.values.index(before) < len(control.values) / 2
                field.click(position={"x": area["width"] * (0.9 if right else 0.1), "y": area["height"] / 2})
            place = field.evaluate("field => field.selectedIndex ?? Number(field.value)")
            assert control.values[place] != before, f"{control.name} does not move by {way}"
            chosen[control.name] = control.values[place]
            seen.wait_drawn(box)
            spec = seen.page.evaluate("box => document.getElementById(box).spec", box)
            found = differences(native(explorable, language, **chosen), spec)
            assert not found, listed(f"{control.name} by {way}", found)
    element.locator("[data-does=reset]").click()
    seen.wait_drawn(box)
    assert element.locator(".explorable-readout").inner_text() == explorable.figure(language)["description"]
    assert not seen.errors, listed("errors", seen.errors)


@every_explorable
def test_a_slider_is_dragged(live, path, box):
    explorable, seen = explorable_of(path, box), live(path)
    move(seen, box, [shown_first(path, box)])
    slider = next(control for control in explorable.controls if isinstance(control, Slider))
    field = seen.box(box).locator(f"[name={slider.name}]")
    field.scroll_into_view_if_needed()
    area = field.bounding_box()
    middle = area["y"] + area["height"] / 2
    seen.page.mouse.move(area["x"] + area["width"] / 2, middle)
    seen.page.mouse.down()
    seen.page.mouse.move(area["x"] - 5, middle, steps=10)
    assert field.input_value() == "0"
    seen.page.mouse.move(area["x"] + area["width"] + 5, middle, steps=10)
    seen.page.mouse.up()
    assert field.input_value() == str(len(slider.values) - 1)
    seen.wait_drawn(box)
    found = differences(
        native(explorable, path[:2], **{slider.name: slider.values[-1]}),
        seen.page.evaluate("box => document.getElementById(box).spec", box),
    )
    assert not found, listed("after a drag", found)


@every_explorable
def test_the_last_of_many_quick_changes_wins_and_is_announced_once(live, path, box):
    explorable, seen = explorable_of(path, box), live(path)
    slider = next(control for control in explorable.controls if isinstance(control, Slider))
    chance = random.Random(box)
    rush = [chance.randrange(len(slider.values)) for _ in range(20)]
    move(seen, box, [shown_first(path, box)])
    result = seen.page.evaluate(RUSH, [box, rush])
    expected = native(explorable, path[:2], **{result["name"]: slider.values[rush[-1]]})
    assert not (found := differences(expected, result["spec"])), listed("the last value did not win", found)
    assert result["said"] == [expected["description"]]
    assert 1 <= result["drawn"] <= len(rush)


@every_explorable
def test_a_prediction_is_answered_and_the_figure_follows(live, path, box):
    explorable, language, seen = explorable_of(path, box), path[:2], live(path)
    if explorable.prediction is None:
        pytest.skip("asks for no prediction")
    element = seen.box(box)
    answer = explorable.prediction.answer(**explorable.settings(**explorable.prediction.settings))
    for guess in (float(f"{3 * answer:.3g}"), float(f"{answer:.6g}")):
        before = element.locator(".explorable-reply").inner_text()
        element.locator("[type=number]").fill(f"{guess:f}")
        element.locator("[type=number]").press("Enter")
        seen.page.wait_for_function(
            "([box, before]) => document.getElementById(box).querySelector('.explorable-reply').innerText !== before",
            arg=[box, before],
        )
        assert element.locator(".explorable-reply").inner_text() == explorable.reply(language, guess)
        seen.wait_drawn(box)
        expected = native(explorable, language, **explorable.prediction.settings)
        assert element.locator(".explorable-readout").inner_text() == expected["description"]
    assert not seen.errors, listed("errors", seen.errors)


@every_page
def test_accessible_before_and_after_a_touch(live, reader, path):
    """In both colour schemes; test_pages looks at the pages as a whole."""
    untouched = reader(path)
    for seen in (untouched, live(path)):
        seen.page.evaluate(AXE.read_text(encoding="utf-8"))
        for theme in ("light", "dark"):
            seen.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            found = seen.page.evaluate(AXE_IN)
            assert not found, listed(f"axe, {theme}", found)
    untouched.page.evaluate("document.querySelector('.explorable label').remove()")
    assert untouched.page.evaluate(AXE_IN), "the check does not see a control without a label"


@every_page
def test_the_settings_are_in_the_address_and_stay_when_the_language_changes(reader, address, path):
    box = next(box for page, box in FOUND if page == path)
    explorable, key = explorable_of(path, box), box.removeprefix("explorable-")
    chance = random.Random(path)
    chosen = {c.name: chance.choice([v for v in c.values if v != c.default]) for c in explorable.controls[:2]}
    query = "&".join(f"{key}.{name}={quote(str(value))}" for name, value in chosen.items())
    seen = reader(path, permissions=["clipboard-read", "clipboard-write"])
    seen.page.goto(f"{address}{path}?{query}&{key}.{explorable.controls[2].name}=nonsense")
    seen.wait_drawn(box)
    assert f"{explorable.controls[2].name}=nonsense" in seen.box(box).locator(".explorable-error").inner_text()
    readout = seen.box(box).locator(".explorable-readout")
    assert readout.inner_text() == explorable.figure(path[:2], **chosen)["description"]
    assert parse_qs(urlsplit(seen.page.url).query) == {f"{key}.{name}": [str(v)] for name, v in chosen.items()}
    seen.box(box).locator("[data-does=link]").click()
    seen.page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('?'))")
    link = seen.page.evaluate("navigator.clipboard.readText()")
    assert urlsplit(link).fragment
    seen.page.locator(".lang-switch").click()
    seen.page.wait_for_url(re.compile(re.escape(f"{address}{OTHER[path[:2]]}{path[2:]}?{query}")))
    seen.wait_drawn(box)
    assert readout.inner_text() == explorable.figure(OTHER[path[:2]], **chosen)["description"]
    seen.page.goto(link)
    seen.wait_drawn(box)
    assert readout.inner_text() == explorable.figure(path[:2], **chosen)["description"]
    assert seen.page.locator(f"#{urlsplit(link).fragment}").bounding_box()["y"] < seen.page.viewport_size["height"]
    seen.box(box).locator("[data-does=reset]").click()
    seen.page.wait_for_function("!location.search")
    assert not seen.errors, listed("errors", seen.errors)


@every_page
def test_without_javascript_the_picture_and_its_text_stand(browser, address, path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address + path)
    for box in (box for found_on, box in FOUND if found_on == path):
        element = page.locator(f"#{box}")
        assert element.locator(".explorable-figure svg").is_visible()
        assert (
            element.locator(".explorable-readout").inner_text()
            == explorable_of(path, box).figure(path[:2])["description"]
        )
        assert not [field for field in element.locator("button, input, select").all() if field.is_visible()]
    context.close()


@every_page
def test_in_print_there_are_no_controls(live, path):
    page = live(path).page
    page.emulate_media(media="print")
    for box in (box for found_on, box in FOUND if found_on == path):
        element = page.locator(f"#{box}")
        assert element.locator(".explorable-figure svg").is_visible()
        assert element.locator(".explorable-readout").is_visible()
        assert not [field for field in element.locator("button, input, select").all() if field.is_visible()]
    page.emulate_media(media="screen")
    assert page.locator(".explorable select").first.is_visible()


@every_page
def test_on_a_phone_it_fits_and_can_be_touched(reader, path):
    seen = reader(path, viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True)
    assert not (wide := overflow(seen.page)), listed("the page scrolls sideways", wide)
    small = [
        f"{field.get_attribute('name') or field.inner_text()}: {area['width']:.0f} by {area['height']:.0f} px"
        for field in seen.page.locator(".explorable :is(button, input, select)").all()
        if min((area := field.bounding_box()).values()) and (area["width"] < 24 or area["height"] < 24)
    ]
    assert not small, listed("smaller than 24 px", small)
    box = next(box for page, box in FOUND if page == path)
    slider = seen.box(box).locator("[type=range]").first
    slider.tap(position={"x": 5 if slider.input_value() != "0" else slider.bounding_box()["width"] - 5, "y": 12})
    seen.wait_drawn(box)
    assert not (wide := overflow(seen.page)), listed("the page scrolls sideways after a touch", wide)


@every_page
def test_where_python_cannot_load_the_figure_stays_and_another_touch_tries_again(reader, path):
    box = next(box for page, box in FOUND if page == path)
    seen = reader(path)
    element, status = seen.box(box), seen.box(box).locator(".explorable-status")
    before = element.locator(".explorable-figure").inner_html()
    seen.context.route("**/pyodide.asm.wasm", lambda route: route.abort())
    slider = element.locator("[type=range]").first
    shown = slider.input_value()
    slider.press("ArrowRight" if shown == "0" else "ArrowLeft")
    failed = json.loads(element.get_attribute("data-words"))["failed"]
    seen.page.wait_for_function(
        "([box, failed]) => document.getElementById(box).querySelector('.explorable-status').textContent === failed",
        arg=[box, failed], timeout=LOADING_MS,
    )  # fmt: skip
    assert element.locator(".explorable-figure").inner_html() == before
    assert slider.input_value() == shown
    seen.context.unroute("**/pyodide.asm.wasm")
    slider.press("ArrowRight" if shown == "0" else "ArrowLeft")
    seen.wait_drawn(box)
    assert element.locator(".explorable-figure").inner_html() != before
    assert status.inner_text() == ""


@every_page
def test_what_python_refuses_is_said_in_words(live, path):
    box = next(box for page, box in FOUND if page == path)
    seen = live(path)
    field = seen.box(box).locator("select").first
    field.evaluate("field => { field.options[0].value = 'unheard-of'; field.selectedIndex = 0; }")
    field.dispatch_event("input")
    seen.page.wait_for_function(
        "box => document.getElementById(box).querySelector('.explorable-error')?.textContent.includes('unheard-of')",
        arg=box,
    )
    field.evaluate(
        "(field, value) => { field.options[0].value = value; }", explorable_of(path, box).controls[0].values[0]
    )
    seen.box(box).locator("[data-does=reset]").click()
    seen.page.wait_for_function("box => !document.getElementById(box).querySelector('.explorable-error')", arg=box)
