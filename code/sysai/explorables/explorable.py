"""An explorable: a function from settings to a figure, and the controls that choose the settings.

    kv_cache = Explorable(name="kv_cache", title={...}, controls=(Slider(...), Dropdown(...)), draw=draw)

`draw(language, **settings)` returns a Vega-Lite specification, a plain dict, whose `description` says in full
sentences what the figure shows: it is the text alternative, and stands below the figure. The function runs in a
notebook (`sysai.explorables.notebook`), when the site is built, and in the reader's browser under Pyodide.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sysai.core.language import LANGUAGES, Text, in_language, with_unit
from sysai.explorables.units import digits
from sysai.viz.palette import INK, PALETTE, PAPER

NO_TEXT: Text = Text("", "")

# Vega-Lite's defaults in the book's style; ink and paper are what the site replaces by its own colours.
STYLE = {
    "background": PAPER,
    "font": "sans-serif",
    "aria": False,  # the figure as a whole has its description; its marks are not announced one by one
    "view": {"stroke": None},
    "axis": {
        "domainColor": INK,
        "tickColor": INK,
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": PALETTE["grey"],
        "gridOpacity": 0.25,
    },
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "orient": "top"},
    "title": {"color": INK, "fontSize": 12, "fontWeight": "normal", "anchor": "start"},
    "text": {"color": INK, "fontSize": 12},
    "range": {"category": list(PALETTE.values())},
}


@dataclass(frozen=True)
class Slider:
    """A number out of `values`, in ascending order."""

    name: str
    label: Text
    values: tuple[float, ...]
    default: float
    unit: Text = field(default_factory=lambda: NO_TEXT)
    help: Text = field(default_factory=lambda: NO_TEXT)

    def __post_init__(self) -> None:
        if list(self.values) != sorted(set(self.values)) or self.default not in self.values:
            raise ValueError(f"slider {self.name!r}: values must ascend and hold the default {self.default!r}")

    def text(self, value: float, language: str) -> str:
        """The value as the reader sees it, `8,192 tokens`."""
        number = f"{value:,}" if isinstance(value, int) else f"{value:,g}"
        return with_unit(number, self.unit[language], language)

    def parse(self, text: str) -> float:
        """The value that an address or a program names."""
        for value in self.values:
            if text == str(value):
                return value
        raise ValueError(f"{self.name} is {text!r}: it must be one of {', '.join(map(str, self.values))}")


@dataclass(frozen=True)
class Dropdown:
    """One of `options`: what each is called in a program and in an address, with its text."""

    name: str
    label: Text
    options: Mapping[str, Text]
    default: str
    help: Text = field(default_factory=lambda: NO_TEXT)

    def __post_init__(self) -> None:
        if self.default not in self.options:
            raise ValueError(f"choice {self.name!r}: the default {self.default!r} is none of {', '.join(self.options)}")

    @property
    def values(self) -> tuple[str, ...]:
        """The options' names."""
        return tuple(self.options)

    def text(self, value: str, language: str) -> str:
        """The option as the reader sees it."""
        return self.options[value][language]

    def parse(self, text: str) -> str:
        """The option that an address or a program names."""
        if text not in self.options:
            raise ValueError(f"{self.name} is {text!r}: it must be one of {', '.join(self.options)}")
        return text


@dataclass(frozen=True)
class Prediction:
    """A number that the reader guesses before the figure is set to `settings` and shows it.

    `answer(**settings)` is that number, in `unit`; `settings` name those that differ from the defaults.
    """

    question: Text
    unit: Text
    answer: Callable[..., float]
    settings: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Explorable:
    """A figure with controls. As the last value of a notebook cell it shows itself."""

    name: str
    title: Text
    controls: tuple[Slider | Dropdown, ...]
    draw: Callable[..., dict]
    prediction: Prediction | None = None

    @property
    def defaults(self) -> dict[str, float | str]:
        """The settings that are shown first."""
        return {control.name: control.default for control in self.controls}

    @property
    def changed(self) -> dict[str, float | str]:
        """Of `defaults`, those that `at` has changed: how this one differs from that of its module."""
        original = find(self.name).defaults
        return {name: value for name, value in self.defaults.items() if value != original[name]}

    def at(self, **settings: float | str) -> "Explorable":
        """The same explorable, shown first at other settings.

        Raises:
            ValueError: a setting that no control has, or a value that the control does not offer.
        """
        chosen = self.settings(**settings)
        return replace(self, controls=tuple(replace(c, default=chosen[c.name]) for c in self.controls))

    def settings(self, **changes: float | str) -> dict[str, float | str]:
        """The defaults with `changes`, checked; values may be given as an address writes them.

        Raises:
            ValueError: a setting that no control has, or a value that the control does not offer.
        """
        controls = {control.name: control for control in self.controls}
        if unknown := set(changes) - set(controls):
            raise ValueError(f"{self.name} has no setting {sorted(unknown)[0]!r}: it has {', '.join(controls)}")
        return self.defaults | {name: controls[name].parse(str(value)) for name, value in changes.items()}

    def figure(self, language: str, **settings: float | str) -> dict:
        """The Vega-Lite specification at `settings`, in the book's style.

        Raises:
            ValueError: a language that the book does not have, or settings as in `settings`.
        """
        if language not in LANGUAGES:
            raise ValueError(f"language {language!r} must be one of {', '.join(LANGUAGES)}")
        return {"config": STYLE, **self.draw(language, **self.settings(**settings))}

    def reply(self, language: str, guess: float) -> str:
        """The answer to a reader who guessed `guess` (in the prediction's unit) before looking."""
        prediction = self.prediction
        answer = prediction.answer(**self.settings(**prediction.settings))
        unit = prediction.unit[language]
        factor = guess / answer if guess > 0 else 0.0
        says = in_language(_REPLIES, language)
        if factor <= 0:
            verdict = says["none"]
        elif 0.9 <= factor <= 1.1:
            verdict = says["right"]
        else:
            verdict = says["high" if factor > 1 else "low"].format(times=digits(max(factor, 1 / factor)))
        said = {"guess": with_unit(f"{guess:,g}", unit, language), "answer": with_unit(digits(answer), unit, language)}
        return says["reply"].format(**said, verdict=verdict)


_REPLIES = {
    "reply": Text("You predicted {guess}; it is {answer}. {verdict}", "你的预测是{guess}，实际是{answer}。{verdict}"),
    "right": Text("Within ten percent: well predicted.", "误差在一成以内，预测得很准。"),
    "high": Text("You were {times} times too high.", "偏高，是实际的{times}倍。"),
    "low": Text("You were {times} times too low.", "偏低，实际是你预测的{times}倍。"),
    "none": Text("A prediction above zero can be compared.", "预测值要大于零才能比较。"),
}


def find(name: str) -> Explorable:
    """The explorable `name`, which stands in the module of that name."""
    return getattr(importlib.import_module(f"sysai.explorables.{name}"), name)
