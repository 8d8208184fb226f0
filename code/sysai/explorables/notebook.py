"""An explorable in a notebook: controls that redraw it, and a picture that stays when the kernel is gone.

A cell's output holds the widgets, for a frontend that has a kernel; the figure as HTML, for a stored notebook and
for the book, whose pages put their own controls around it; and its description, for a terminal. With the
environment variable SYSAI_EXPLORABLES=static, as when the book is built, no widgets are made.
"""

import base64
import json
import os
import re
from html import escape

import ipywidgets as widgets
import vl_convert
from IPython.display import display

from sysai.core.language import Text, reader_language
from sysai.explorables.explorable import Dropdown, Explorable, Slider

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_TEXTS = {
    "predict": Text("Predict, then see", "提交预测，看结果"),
    "reset": Text("Reset", "重置"),
}


def show(explorable: Explorable) -> None:
    """Display an explorable as the output of the running cell, in the reader's language."""
    language = reader_language()
    spec = explorable.figure(language)
    bundle = {"text/html": static_html(explorable, spec), "text/plain": spec["description"]}
    if os.environ.get("SYSAI_EXPLORABLES") != "static":
        bundle[WIDGET_VIEW] = live(explorable, language)._repr_mimebundle_()[WIDGET_VIEW]
    display(bundle, raw=True)


def static_html(explorable: Explorable, spec: dict) -> str:
    """The figure without controls; its attributes say which explorable this is, and at which settings."""
    settings = escape(json.dumps(explorable.changed))
    return (
        f'<figure class="explorable" data-explorable="{explorable.name}" data-settings="{settings}">'
        f"{picture(spec)}</figure>"
    )


def picture(spec: dict) -> str:
    """The drawn figure as an image with its text alternative, and the same text to read below it."""
    image = base64.b64encode(to_svg(spec).encode()).decode()
    text = escape(spec["description"])
    return (
        f'<img alt="{text}" style="max-width: 100%" src="data:image/svg+xml;base64,{image}">'
        f"<figcaption>{text}</figcaption>"
    )


def to_svg(spec: dict) -> str:
    """The figure as SVG, the same text for the same figure: vl-convert numbers ids on from one call to the next."""
    svg = vl_convert.vegalite_to_svg(spec, vl_version="6.4")
    ids = dict.fromkeys(re.findall(r'\bid="([^"]+)"', svg))
    for number, old in enumerate(ids):
        svg = re.sub(rf'(\bid="|#){re.escape(old)}(?=["\')])', rf"\g<1>id{number}", svg)
    return svg


def live(explorable: Explorable, language: str) -> widgets.VBox:
    """The explorable as widgets: controls, the prediction, the figure."""
    controls = {control.name: _widget(control, language) for control in explorable.controls}
    figure = widgets.HTML()

    def redraw(_=None) -> None:
        settings = {name: control.value for name, control in controls.items()}
        figure.value = f"<figure>{picture(explorable.figure(language, **settings))}</figure>"

    def set_controls(settings: dict) -> None:
        for name, value in settings.items():
            controls[name].value = value

    for control in controls.values():
        control.observe(redraw, "value")
    redraw()
    reset = widgets.Button(description=_TEXTS["reset"][language])
    reset.on_click(lambda _: set_controls(explorable.defaults))
    title = widgets.HTML(f"<strong>{escape(explorable.title[language])}</strong>")
    parts = [title, *_prediction(explorable, language, set_controls), *controls.values(), reset, figure]
    return widgets.VBox(parts)


def _widget(control: Slider | Dropdown, language: str) -> widgets.SelectionSlider | widgets.Dropdown:
    make = widgets.SelectionSlider if isinstance(control, Slider) else widgets.Dropdown
    return make(
        options=[(control.text(value, language), value) for value in control.values],
        value=control.default,
        description=control.label[language],
        tooltip=control.help[language],
        style={"description_width": "11em"},
        layout={"width": "36em", "max_width": "100%"},
    )


def _prediction(explorable: Explorable, language: str, set_controls) -> list[widgets.Widget]:
    """The question, a field for the guess, and a button that answers and sets the figure to what it asks about."""
    prediction = explorable.prediction
    if prediction is None:
        return []
    question = widgets.HTML(escape(prediction.question[language]))
    guess = widgets.FloatText(value=0, description=prediction.unit[language], style={"description_width": "11em"})
    button, reply = widgets.Button(description=_TEXTS["predict"][language]), widgets.HTML()

    def answer(_) -> None:
        reply.value = escape(explorable.reply(language, guess.value))
        set_controls(explorable.settings(**prediction.settings))

    button.on_click(answer)
    return [question, widgets.HBox([guess, button]), reply]
