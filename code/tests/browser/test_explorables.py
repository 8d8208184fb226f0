"""The mechanism of explorables, once in each language: how controls move, and what is said, announced and remembered.

It does not know one figure from another, so it is shown on one; test_figures compares all, test_pages looks at all.
"""

import random
import re
from contextlib import contextmanager
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from boxes import BOXES, MISPRINTED, OUT_OF_REACH, Box, differences
from sysai.explorables.explorable import Dropdown, Slider
from visit import LANGUAGES, OTHER, PHONE, TIMEOUT_MS, Visit, listed

FIRST_DRAWING_MS = 120_000
HEAVY = {"worker.mjs", "pyodide.mjs", "pyodide.asm.wasm", "sysai.zip", "vega.min.js", "vega-lite.min.js"}


def shown_on() -> list[Box]:
    """For each language the first explorable that has each kind of control and another one beside it."""

    def complete(box: Box) -> bool:
        kinds = {type(control) for control in box.explorable.controls}
        return kinds == {Slider, Dropdown} and box.explorable.prediction is not None and neighbour(box) is not None

    return [box for language in LANGUAGES for box in [b for b in BOXES if b.language == language and complete(b)][:1]]


def neighbour(box: Box) -> Box | None:
    """Another explorable of the same page."""
    return next((other for other in BOXES if other.path == box.path and other.id != box.id), None)


def on(boxes: list[Box]):
    """Run a test on each of the boxes."""
    return pytest.mark.parametrize("box", boxes, ids=lambda box: f"{box.path}-{box.id}")


once_in_each_language = on(shown_on())
in_english = on(shown_on()[:1])  # what does not differ between languages

COUNT = (
    """addEventListener("explorable-drawn", ({ target }) => { target.drawings = (target.drawings ?? 0) + 1; }, true)"""
)
STATE = """box => {
  const element = document.getElementById(box), sliders = [...element.querySelectorAll("[type=range]")];
  const fields = [...element.querySelectorAll(".explorable-control [name]")];
  return {
    spec: element.spec,
    description: element.querySelector(".explorable-readout").innerText,
    texts: Object.fromEntries(fields.map(field => [field.name, field.options ? field.selectedOptions[0].text
      : field.parentElement.querySelector(".explorable-value").innerText])),
    announced: Object.fromEntries(sliders.map(slider => [slider.name, slider.ariaValueText])),
    drawn: Boolean(element.querySelector(".explorable-figure svg.drawn")?.checkVisibility()),
    status: element.querySelector(".explorable-status").innerText,
  };
}"""
# Move one slider through its values: each when the one before is drawn, or 5 ms apart and then all at once, so that
# the last come while a figure is drawn. What was announced, what the status said, and how often the figure was drawn.
MOVES = """async ([box, name, places, singly, patience]) => {
  const element = document.getElementById(box), slider = element.querySelector(`[name=${name}]`);
  const part = name => element.querySelector(`.explorable-${name}`), said = [], told = [];
  let drawn = 0;
  const count = () => { drawn += 1; };
  element.addEventListener("explorable-drawn", count);
  const status = new MutationObserver(() => { if (part("status").textContent) told.push(part("status").textContent); });
  status.observe(part("status"), { childList: true });
  const settled = part("settled");
  const announced = new Promise((resolve, reject) => {
    setTimeout(reject, patience, new Error("nothing is announced"));
    new MutationObserver((_, observer) => {
      if (settled.textContent) {
        said.push(settled.textContent);
        setTimeout(() => { observer.disconnect(); resolve(); }, 1000);
      }
    }).observe(settled, { childList: true });
  });
  for (const [number, place] of places.entries()) {
    const drawing = new Promise(resolve => element.addEventListener("explorable-drawn", resolve, { once: true }));
    slider.value = place;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    if (singly) await Promise.race([drawing, announced]);
    else if (number < places.length / 2) await new Promise(resolve => setTimeout(resolve, 5));
  }
  await announced;
  element.removeEventListener("explorable-drawn", count);
  status.disconnect();
  return { drawn, said, told };
}"""


class Reader:
    """A reader who operates one explorable."""

    def __init__(self, seen: Visit, box: Box):
        self.seen, self.box, self.page = seen, box, seen.page
        self.element = seen.page.locator(f"#{box.id}")

    @classmethod
    def arrives(cls, seen: Visit, box: Box, at: str | None = None):
        """Open the page of an explorable, or an address of it."""
        seen.page.add_init_script(COUNT)
        seen.page.goto(at or seen.address + box.path)
        return cls(seen, box)

    def field(self, control: Slider | Dropdown | str):
        """The field of a control."""
        return self.element.locator(f"[name={control if isinstance(control, str) else control.name}]")

    def part(self, name: str):
        """A part of the explorable."""
        return self.element.locator(f".explorable-{name}")

    def wait(self, condition: str, *values, first: bool = False):
        """Wait until a condition on the `element` holds, at first as long as Python may take to load."""
        self.page.wait_for_function(
            f"([box, ...values]) => {{ const element = document.getElementById(box); return {condition}; }}",
            arg=[self.box.id, *values], timeout=FIRST_DRAWING_MS if first else None,
        )  # fmt: skip

    @contextmanager
    def redraws(self, first: bool = False):
        """Wait until what was done in the block is drawn."""
        before = self.element.evaluate("element => element.drawings ?? 0")
        yield
        self.wait("element.drawings > values[0]", before, first=first)

    def wait_announced(self, first: bool = False):
        """Wait until the figure is drawn and announced, and the address holds its settings."""
        self.wait("element.querySelector('.explorable-settled').textContent", first=first)

    def reset(self):
        """Back to the settings shown first."""
        with self.redraws():
            self.element.locator("[data-does=reset]").click()

    def must_show(self, doing: str, status: str = "", **settings):
        """The figure, its text and the texts beside the controls are those that Python gives for the settings."""
        box = self.box
        spec, texts = box.figure(**settings), box.texts(**settings)
        sliders = {control.name for control in box.explorable.controls if isinstance(control, Slider)}
        expected = {
            "spec": spec,
            "description": spec["description"],
            "texts": texts,
            "announced": {name: text for name, text in texts.items() if name in sliders},
            "drawn": True,
            "status": status,
        }
        found = differences(expected, self.page.evaluate(STATE, box.id))
        assert not found, listed(f"{box.path}, {box.id}, {doing}", found)


@pytest.fixture
def reader(browser, address):
    """Open the page of an explorable: ``reader(box, **context settings)``."""
    visits = []

    def open_page(box: Box, at: str | None = None, **settings) -> Reader:
        visits.append(Visit(browser, address, **settings))
        return Reader.arrives(visits[-1], box, at)

    yield open_page
    for seen in visits:
        seen.context.close()


@pytest.fixture(scope="module")
def pages_with_python(browser, address):
    """Pages in which Python runs, one for each explorable; it was loaded by a touch that changes nothing."""
    readers = {}

    def open_page(box: Box) -> Reader:
        if box not in readers:
            readers[box] = reader = Reader.arrives(Visit(browser, address), box)
            reader.untouched = list(reader.seen.requested)
            reader.field(box.explorable.controls[0]).focus()
            reader.wait("element.querySelector('.explorable-status').textContent === values[0]", box.words["loading"])
            reader.wait("!element.querySelector('.explorable-status').textContent", first=True)
        return readers[box]

    yield open_page
    for reader in readers.values():
        reader.seen.context.close()


@pytest.fixture
def live(pages_with_python, box):
    """The page of the explorable, Python running in it, at the settings shown first."""
    reader = pages_with_python(box)
    reader.reset()
    yield reader
    assert not reader.seen.faults(), listed("errors", reader.seen.faults())


def other_value(control: Slider | Dropdown, chance: random.Random):
    """A value that is not the one shown first."""
    return chance.choice([value for value in control.values if value != control.default])


def select(reader: Reader, **settings):
    """Move controls as a reader's hand does, by one input event each."""
    for name, value in settings.items():
        control = next(control for control in reader.box.explorable.controls if control.name == name)
        place = control.values.index(value)
        reader.field(name).evaluate(
            """(field, place) => {
              if (field.options) field.selectedIndex = place; else field.value = place;
              field.dispatchEvent(new Event("input", { bubbles: true }));
            }""", place,
        )  # fmt: skip


@once_in_each_language
def test_what_is_heavy_is_loaded_only_after_a_touch_and_from_this_site(live, address, box):
    shared = f"{address}explorables/"
    assert not [url for url in live.untouched if url.startswith(shared)], "loaded before the first touch"
    assert [url for url in live.untouched if urlsplit(url).path.endswith("/explorables.js")]
    loaded = [urlsplit(url).path.rsplit("/", 1)[-1] for url in live.seen.requested if url.startswith(shared)]
    assert set(loaded) >= HEAVY
    assert loaded.count("pyodide.asm.wasm") == 1, "Python was loaded more than once"


@once_in_each_language
def test_it_moves_by_mouse_and_by_keyboard(live, box):
    slider, choice = box.first(Slider), box.first(Dropdown)
    chosen = dict(box.explorable.defaults)

    def moved(control, way: str):
        place = live.field(control).evaluate("field => field.selectedIndex ?? Number(field.value)")
        assert control.values[place] != chosen[control.name], f"{control.name} does not move by {way}"
        chosen[control.name] = control.values[place]
        live.must_show(f"{control.name} by {way}", **chosen)

    for control, back, on in ((slider, "ArrowLeft", "ArrowRight"), (choice, "ArrowUp", "ArrowDown")):
        with live.redraws():
            live.field(control).press(back if chosen[control.name] == control.values[-1] else on)
        moved(control, "keyboard")
    area = live.field(slider).bounding_box()
    right = slider.values.index(chosen[slider.name]) < len(slider.values) / 2
    with live.redraws():
        live.field(slider).click(position={"x": area["width"] * (0.9 if right else 0.1), "y": area["height"] / 2})
    moved(slider, "mouse")
    live.reset()
    live.must_show("after the reset")
    live.wait_announced()


@once_in_each_language
def test_every_control_of_a_figure_moves_it(live, box):
    """Of this figure and of its neighbour, which is asked while the first is drawn: each gets its own answer."""
    chance = random.Random(box.path)
    other = Reader(live.seen, neighbour(box))
    chosen = {
        one.box.id: {c.name: other_value(c, chance) for c in one.box.explorable.controls} for one in (live, other)
    }
    with live.redraws(), other.redraws():
        select(live, **chosen[live.box.id])
        select(other, **chosen[other.box.id])
    for one in (live, other):
        one.wait_announced()
        one.must_show("two figures at once", **chosen[one.box.id])
    other.reset()
    other.must_show("after the reset")


@once_in_each_language
def test_a_slider_is_dragged(live, box):
    slider = box.first(Slider)
    field = live.field(slider)
    field.scroll_into_view_if_needed()
    area = field.bounding_box()
    middle = area["y"] + area["height"] / 2
    live.page.mouse.move(area["x"] + area["width"] / 2, middle)
    live.page.mouse.down()
    live.page.mouse.move(area["x"] - 5, middle, steps=10)
    assert field.input_value() == "0"
    live.page.mouse.move(area["x"] + area["width"] + 5, middle, steps=10)
    live.page.mouse.up()
    assert field.input_value() == str(len(slider.values) - 1)
    live.wait_announced()
    live.must_show("after a drag", **{slider.name: slider.values[-1]})


@once_in_each_language
def test_the_last_of_many_quick_changes_wins_and_is_announced_once(live, box):
    slider, chance = box.first(Slider), random.Random(box.id)
    live.wait_announced()
    last, *others = chance.sample(range(len(slider.values)), len(slider.values))
    rush = [*chance.choices(others, k=19), last]
    result = live.page.evaluate(MOVES, [box.id, slider.name, rush, False, TIMEOUT_MS])
    wanted = {slider.name: slider.values[last]}
    live.must_show("the last of many values", **wanted)
    assert result["said"] == [box.figure(**wanted)["description"]]
    assert 1 <= result["drawn"] < len(rush), "each of the changes was drawn"


@in_english
def test_of_two_changes_soon_after_each_other_the_second_is_announced(live, box):
    """Both are drawn. Python runs, so that the status has nothing to say."""
    slider = box.first(Slider)
    live.wait_announced()
    others = [place for place, value in enumerate(slider.values) if value != slider.default]
    places = random.Random(box.id).sample(others, 2)
    result = live.page.evaluate(MOVES, [box.id, slider.name, places, True, TIMEOUT_MS])
    description = box.figure(**{slider.name: slider.values[places[-1]]})["description"]
    assert result == {"drawn": 2, "said": [description], "told": []}


@once_in_each_language
def test_a_prediction_is_answered_and_the_figure_follows(live, box):
    prediction = box.explorable.prediction
    answer = prediction.answer(**box.explorable.settings(**prediction.settings))
    for guess in (float(f"{3 * answer:.3g}"), float(f"{answer:.6g}")):
        live.reset()
        before = live.part("reply").inner_text()
        with live.redraws():
            live.element.locator("[type=number]").fill(f"{guess:f}")
            live.element.locator("[type=number]").press("Enter")
        live.wait("element.querySelector('.explorable-reply').innerText !== values[0]", before)
        assert live.part("reply").inner_text() == box.explorable.reply(box.language, guess)
        live.wait_announced()
        live.must_show("after a prediction", **prediction.settings)


@once_in_each_language
def test_what_python_refuses_is_said_in_words_and_withdrawn(live, box):
    choice = box.first(Dropdown)
    field = live.field(choice)
    field.evaluate("field => { field.options[0].value = 'unheard-of'; field.selectedIndex = 0; }")
    field.dispatch_event("input")
    live.wait("element.querySelector('.explorable-error')?.textContent.includes('unheard-of')")
    before, after = box.words["error"].split("{error}")
    assert live.part("status").inner_text().startswith(before)
    assert live.part("status").inner_text().endswith(after)
    assert "Traceback" not in live.part("status").inner_text()
    field.evaluate("(field, value) => { field.options[0].value = value; }", choice.values[0])
    live.reset()
    live.must_show("after the reset")
    assert not live.element.locator(".explorable-error").count()


@in_english
def test_accessible_and_printed_after_a_redraw(live, box):
    with live.redraws():
        select(live, **{box.first(Slider).name: other_value(box.first(Slider), random.Random(box.path))})
    for theme in ("dark", "light"):
        live.seen.colours(theme)
        found = live.seen.inaccessible(".explorable")
        assert not found, listed(f"axe, {theme}", found)
    live.page.emulate_media(media="print")
    misprinted = live.page.evaluate(MISPRINTED, box.id)
    live.page.emulate_media(media="screen")
    assert not misprinted


@once_in_each_language
def test_the_settings_are_in_the_address_and_in_the_link(live, box):
    chosen, in_address = chosen_settings(box)
    live.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    entries = live.page.evaluate("history.length")
    select(live, **chosen)
    live.wait_announced()
    assert live.page.evaluate("history.length") == entries, "the Back button would undo settings one by one"
    assert parse_qs(urlsplit(live.page.url).query) == in_address
    live.element.locator("[data-does=link]").click()
    live.wait("element.querySelector('.explorable-status').textContent === values[0]", box.words["linked"])
    link = urlsplit(live.page.evaluate("navigator.clipboard.readText()"))
    assert (link.netloc, link.path) == urlsplit(live.page.url)[1:3]
    assert parse_qs(link.query) == in_address
    section = live.page.locator(f"#{link.fragment}")
    assert section.locator(f"#{box.id}").count() or link.fragment == box.id, "the link leads elsewhere on the page"
    live.reset()
    live.page.wait_for_function("!location.search")


@in_english
def test_an_address_restores_its_settings_also_in_the_other_language(reader, address, box):
    """The English page, with a setting that it does not offer; then the Chinese one; and the way back."""
    chosen, in_address = chosen_settings(box)
    other = next(control for control in box.explorable.controls if control.name not in chosen)
    query = "&".join(f"{name}={quote(value)}" for name, (value,) in in_address.items())
    english = reader(box, f"{address}{box.path}?{query}&{box.key}.{other.name}=nonsense#{box.id}")
    english.wait_announced(first=True)
    refused = box.words["refused"].replace("{setting}", f"{other.name}=nonsense")
    refused = refused.replace("{shown}", box.texts()[other.name])
    assert english.part("error").inner_text() == refused
    english.must_show("as the address asks", status=refused, **chosen)
    assert english.element.bounding_box()["y"] < english.page.viewport_size["height"]
    assert parse_qs(urlsplit(english.page.url).query) == in_address
    english.reset()
    english.must_show("after the reset")
    assert not english.part("error").count(), "what the address asked for is still refused"
    english.page.wait_for_function("!location.search")

    select(english, **chosen)
    english.wait_announced()
    assert switch(english, address) == in_address
    translated = next(one for one in BOXES if (one.path, one.id) == (OTHER["en"] + box.path[2:], box.id))
    chinese = Reader(english.seen, translated)
    chinese.wait_announced(first=True)
    chinese.must_show("in the other language", **chosen)
    assert switch(chinese, address) == in_address
    assert not english.seen.faults(), listed("errors", english.seen.faults())


def chosen_settings(box: Box) -> tuple[dict, dict]:
    """A slider and a choice moved, and what the address must hold of that."""
    chance = random.Random(box.path)
    chosen = {control.name: other_value(control, chance) for control in (box.first(Slider), box.first(Dropdown))}
    return chosen, {f"{box.key}.{name}": [str(value)] for name, value in chosen.items()}


def switch(reader: Reader, address: str) -> dict:
    """Change the language; what the address then asks for."""
    reader.page.locator(".lang-switch").click()
    landed = re.compile(re.escape(f"{address}{OTHER[reader.box.language]}{reader.box.path[2:]}?"))
    reader.page.wait_for_url(landed, wait_until="load")
    return parse_qs(urlsplit(reader.page.url).query)


@once_in_each_language
def test_where_the_clipboard_is_refused_the_address_bar_holds_the_link(reader, box):
    seen = reader(box)
    seen.page.context.grant_permissions([])
    seen.element.locator("[data-does=link]").click()
    seen.wait("element.querySelector('.explorable-status').textContent === values[0]", box.words["linked_bar"])
    assert urlsplit(seen.page.url).fragment


@once_in_each_language
def test_without_javascript_the_picture_and_its_text_stand(reader, box):
    seen = reader(box, java_script_enabled=False)
    assert seen.part("figure").locator("svg").is_visible()
    assert seen.part("readout").inner_text() == box.figure()["description"]
    assert not [field for field in seen.element.locator("button, input, select").all() if field.is_visible()]


@once_in_each_language
def test_on_a_phone_it_fits_and_a_touch_loads_python_at_the_second_try(reader, box):
    """Where Python cannot load the figure stays as it was, and this is said."""
    phone = reader(box, viewport=PHONE, device_scale_factor=2, has_touch=True)
    assert not (wide := phone.seen.overflow()), listed("the page scrolls sideways", wide)
    assert not (far := phone.page.evaluate(OUT_OF_REACH, box.id)), listed("out of reach", far)
    slider, figure = box.first(Slider), phone.part("figure")
    field, before = phone.field(slider), figure.inner_html()
    shown = field.input_value()
    touched = {"x": 5 if shown != "0" else field.bounding_box()["width"] - 5, "y": 12}
    phone.page.context.route("**/pyodide.asm.wasm", lambda route: route.abort())
    field.tap(position=touched)
    phone.wait("element.querySelector('.explorable-status').textContent === values[0]", box.words["failed"], first=True)
    assert phone.part("error").count()
    assert figure.inner_html() == before
    assert field.input_value() == shown

    phone.page.context.unroute("**/pyodide.asm.wasm")
    with phone.redraws(first=True):
        field.tap(position=touched)
    chosen = slider.values[int(field.input_value())]
    assert chosen != slider.default
    phone.must_show("after another touch", **{slider.name: chosen})
    assert figure.inner_html() != before
    assert not (wide := phone.seen.overflow()), listed("the page scrolls sideways after a touch", wide)
