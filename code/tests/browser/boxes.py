"""The explorables of both sites: where each stands, what Python says it must show, and what its page shows."""

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from xml.etree import ElementTree

from sysai.explorables.explorable import Dropdown, Explorable, Slider, find
from visit import PAGES, SITE

SVG = "{http://www.w3.org/2000/svg}"

# All that a box holds before it is touched. Its parts are found as assistive technology finds them.
HELD = """box => {
  const element = document.getElementById(box);
  const text = node => node?.textContent.replace(/\\s+/g, " ").trim() ?? null;
  const named = (node, attribute) => text(document.getElementById(node?.getAttribute(attribute)));
  const figure = element.querySelector(".explorable-figure"), svg = figure.querySelector("svg.drawn");
  const form = element.querySelector("form"), guess = form?.querySelector("input");
  return {
    title: named(element, "aria-labelledby"),
    figure: {
      role: figure.getAttribute("role"), label: named(figure, "aria-labelledby"),
      description: named(figure, "aria-describedby"), drawn: Boolean(svg?.checkVisibility()),
      words: [...(svg?.querySelectorAll("text") ?? [])].map(text),
    },
    readout: text(element.querySelector(".explorable-readout")),
    status: text(element.querySelector("[role=status]")),
    settled: text(element.querySelector("[aria-live=polite]")),
    controls: [...element.querySelectorAll(".explorable-control :is(input, select)")].map(field => ({
      name: field.name,
      label: [...field.labels].map(text).join(),
      help: named(field, "aria-describedby") ?? "",
      values: field.options ? [...field.options].map(option => option.value) : JSON.parse(field.dataset.values),
      texts: field.options ? [...field.options].map(text) : JSON.parse(field.dataset.texts),
      place: field.selectedIndex ?? Number(field.value),
      places: field.options?.length ?? Number(field.max) - Number(field.min) + 1,
      beside: field.options ? null : text(field.parentElement.querySelector(".explorable-value")),
      announced: field.ariaValueText,
    })),
    prediction: form && {
      question: text(form.querySelector("label strong").nextSibling),
      label: guess.labels.length, unit: named(guess, "aria-describedby"), settings: JSON.parse(form.dataset.settings),
      reply: text(form.querySelector(".explorable-reply[role=status]")),
    },
    buttons: [...element.querySelectorAll("button[data-does]")].map(button => button.dataset.does),
  };
}"""
# Controls that a pointer does not hit in their middle, that the Tab key passes by, or that a finger hardly meets.
OUT_OF_REACH = """box => [...document.getElementById(box).querySelectorAll("button, input, select")].flatMap(field => {
  field.scrollIntoView({ block: "center", behavior: "instant" });
  const { x, y, width, height } = field.getBoundingClientRect(), name = field.name || field.textContent.trim();
  const faults = [];
  if (width < 24 || height < 24) faults.push(`${name} is ${Math.round(width)} by ${Math.round(height)} px, not 24`);
  const hit = document.elementFromPoint(x + width / 2, y + height / 2);
  if (hit !== field) faults.push(`${name} is covered by ${hit?.outerHTML.slice(0, 100)}`);
  if (field.disabled || field.tabIndex < 0) faults.push(`${name} is not reached by the Tab key`);
  return faults;
})"""
# In print: the figure and its text, and nothing that can be operated.
MISPRINTED = """box => {
  const element = document.getElementById(box);
  const shown = selector => [...element.querySelectorAll(selector)].filter(part => part.checkVisibility());
  const must = [".explorable-figure svg", ".explorable-readout", ".explorable-title"];
  const missing = must.filter(part => !shown(part).length);
  return [...missing.map(part => `${part} is missing`),
          ...shown("button, input, select").map(field => `${field.name || field.textContent} is there`)];
}"""


@dataclass(frozen=True, eq=False)
class Box:
    """An explorable on a page."""

    path: str
    attributes: dict

    @property
    def id(self) -> str:
        """Its element's id."""
        return self.attributes["id"]

    @property
    def key(self) -> str:
        """Its name in the page's address."""
        return self.id.removeprefix("explorable-")

    @property
    def language(self) -> str:
        """The page's language."""
        return self.path[:2]

    @property
    def words(self) -> dict[str, str]:
        """The sentences that the script says later."""
        return json.loads(self.attributes["data-words"])

    @cached_property
    def explorable(self) -> Explorable:
        """The explorable as Python knows it."""
        return find(self.attributes["data-explorable"]).at(**json.loads(self.attributes["data-at"]))

    def figure(self, **settings) -> dict:
        """The specification that Python returns here, as JSON holds it."""
        return json.loads(json.dumps(self.explorable.figure(self.language, **settings)))

    def texts(self, **settings) -> dict[str, str]:
        """The settings as a reader sees them."""
        chosen = self.explorable.settings(**settings)
        return {control.name: control.text(chosen[control.name], self.language) for control in self.explorable.controls}

    def first(self, kind: type) -> Slider | Dropdown:
        """Its first control of a kind."""
        return next(control for control in self.explorable.controls if isinstance(control, kind))

    def must_hold(self) -> dict:
        """What HELD must return."""
        from sysai.explorables.notebook import to_svg

        explorable, language = self.explorable, self.language
        spec, prediction = self.figure(), explorable.prediction
        words = ("".join(text.itertext()) for text in ElementTree.fromstring(to_svg(spec)).iter(f"{SVG}text"))
        return {
            "title": explorable.title[language],
            "figure": {
                "role": "img",
                "label": explorable.title[language],
                "description": spec["description"],
                "drawn": True,
                "words": [" ".join(word.split()) for word in words],
            },
            "readout": spec["description"],
            "status": "",
            "settled": "",
            "controls": [self._must_offer(control) for control in explorable.controls],
            "prediction": prediction
            and {
                "question": prediction.question[language],
                "label": 1,
                "unit": prediction.unit[language],
                "settings": {name: str(value) for name, value in prediction.settings.items()},
                "reply": "",
            },
            "buttons": ["reset", "link"],
        }

    def _must_offer(self, control: Slider | Dropdown) -> dict:
        is_slider = isinstance(control, Slider)
        texts = [control.text(value, self.language) for value in control.values]
        shown = control.text(control.default, self.language)
        return {
            "name": control.name,
            "label": control.label[self.language],
            "help": control.help[self.language],
            "values": [str(value) for value in control.values],
            "texts": texts,
            "place": control.values.index(control.default),
            "places": len(control.values),
            "beside": shown if is_slider else None,
            "announced": shown if is_slider else None,
        }


class Tag(HTMLParser):
    """The attributes of one start tag."""

    def __init__(self, tag: str):
        super().__init__()
        self.attributes: dict = {}
        self.feed(tag)

    def handle_starttag(self, tag, attributes):
        self.attributes = dict(attributes)


def boxes(path: str) -> list[Box]:
    """The explorables of a page."""
    tags = re.findall(r'<div class="explorable"[^>]*>', (SITE / path).read_text(encoding="utf-8"))
    return [Box(path, Tag(tag).attributes) for tag in tags]


BOXES = [box for path in PAGES for box in boxes(path)]


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
