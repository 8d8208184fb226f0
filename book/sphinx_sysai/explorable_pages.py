"""A figure with controls on a page: the output of a cell that shows an explorable, in the page's language.

The cell's output says which explorable it is and at which settings. A page gets its figure, drawn now, and controls
that `explorables.js` connects to a worker at the first touch; without JavaScript, in print, and where a site is built
alone (a plain `jupyter-book build`, which publishes no worker), the figure and its text stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape, unescape
from xml.etree import ElementTree

from docutils import nodes
from sysai.core.language import Text, in_language
from sysai.explorables.explorable import Dropdown, Explorable, Slider, find
from sysai.explorables.notebook import static_html, to_svg

from .cells import language_of
from .inline_figures import inline

TEXTS = {
    "reset": Text("Reset", "重置"),
    "reset_title": Text("Back to the settings shown first", "回到最初的设置"),
    "link": Text("Copy link", "复制链接"),
    "link_title": Text(
        "Copy an address that opens this page at these settings", "复制一个网址，打开后本页就是当前设置"
    ),
    "linked": Text(
        "Copied: this address opens the page at these settings.", "已复制：用这个网址打开本页，就是当前设置。"
    ),
    "linked_bar": Text("The address bar now holds a link to these settings.", "地址栏里已是当前设置的链接。"),
    "predict": Text("Predict first", "先预测"),
    "compare": Text("Compare", "对答案"),
    "hint": Text("Each control says here what it means.", "选中一个控件，这里会说明它的含义。"),
    "loading": Text("Loading Python, about 7 MB…", "正在加载Python，约7 MB……"),
    "failed": Text(
        "Python could not be loaded, so the figure stays as it was. It needs a recent browser, a connection, "
        "and a page that comes from a web server. Move a control to try again.",
        "Python未能加载，图保持原样。这需要较新的浏览器、网络连接，并且页面须来自网站而非本地文件。再动一下控件即可重试。",
    ),
    "error": Text(
        "This can't be drawn: {error}. Choose another setting, or reset.",
        "无法画出这一设置：{error}。请换一个设置，或者重置。",
    ),
    "refused": Text(
        "The address asks for {setting}, which is not offered here; the figure shows {shown} instead.",
        "网址要求{setting}，这里没有这个选项，图中改用{shown}。",
    ),
}
SAID_LATER = ("loading", "failed", "error", "refused", "linked", "linked_bar")  # by the script

# Attributes of Vega's SVG that draw nothing, or nothing at this value.
SVG = "{http://www.w3.org/2000/svg}"
LONG_NUMBER = re.compile(r"-?\d+\.\d{8,}(?:e-?\d+)?")
IDLE = ("class", "role", "pointer-events")
IDLE_AT = {
    "opacity": "1",
    "stroke-width": "1",
    "font-weight": "normal",
    "font-family": "sans-serif",  # what the page has
    "transform": "translate(0,0)",
}

OUTPUT = re.compile(r'<figure class="explorable" data-explorable="(\w+)" data-settings="([^"]*)">')


def read_output(html: str) -> Explorable | None:
    """The explorable that a cell's HTML output shows, at the settings that it is shown first; None if it shows none."""
    match = OUTPUT.match(html)
    return find(match[1]).at(**json.loads(unescape(match[2]))) if match else None


def notebook_output(output: Mapping, language: str) -> dict:
    """What changes of a cell's output in a language's notebook: an explorable's picture is stored in that language."""
    explorable = read_output(output.get("data", {}).get("text/html", ""))
    if explorable is None:
        return {}
    spec = explorable.figure(language)
    return {"data": {"text/html": static_html(explorable, spec), "text/plain": spec["description"]}}


def place_explorables(app, doctree, docname):
    """Replace each explorable's output by its figure and controls."""
    if app.builder.format != "html":
        return
    used: dict[str, int] = {}
    for output in list(doctree.findall(nodes.raw)):
        if explorable := read_output(output.astext()):
            number = used[explorable.name] = used.get(explorable.name, 0) + 1
            key = explorable.name if number == 1 else f"{explorable.name}-{number}"
            root, worker = "../" * (docname.count("/") + 1), app.config.explorables_worker
            address = f"{root}explorables/{worker}" if worker else None
            html = page_html(explorable, key, language_of(app.config.language), address)
            output.parent.replace(output, nodes.raw("", html, format="html"))


def page_html(explorable: Explorable, key: str, language: str, worker: str | None) -> str:
    """The whole of an explorable; `key` tells it from others on its page, `worker` is the worker's address from there.

    Where there is no worker there are no controls.
    """
    spec, words, name = explorable.figure(language), in_language(TEXTS, language), f"explorable-{key}"
    figure = f"""\
<div class="explorable-figure" role="img" aria-labelledby="{name}-title" aria-describedby="{name}-readout">\
{inline(lean(to_svg(spec)), f"{name}-", "").replace(' role="img"', "", 1)}</div>"""
    title = f'<p class="explorable-title" id="{name}-title">{escape(explorable.title[language])}</p>'
    readout = f'<p class="explorable-readout" id="{name}-readout">{escape(spec["description"])}</p>'
    group = f'class="explorable" id="{name}" role="group" aria-labelledby="{name}-title"'
    if worker is None:
        return f"<div {group}>{title}{figure}{readout}</div>"
    data = {
        "explorable": explorable.name,
        "at": json.dumps(explorable.changed),
        "worker": worker,
        "words": json.dumps({word: words[word] for word in SAID_LATER}, ensure_ascii=False),
    }
    controls = "\n".join(control_html(control, name, language) for control in explorable.controls)
    return f"""\
<div {group} {" ".join(f'data-{field}="{escape(value)}"' for field, value in data.items())}>
<div class="explorable-head">{title}<p class="explorable-status pst-js-only" role="status"></p></div>
{prediction_html(explorable, name, language)}
{figure}
<div class="explorable-controls pst-js-only">
{controls}
<p class="explorable-hint" aria-hidden="true">{words["hint"]}</p>
<div class="explorable-buttons">
<button type="button" class="btn btn-sm" data-does="reset" title="{words["reset_title"]}">{words["reset"]}</button>
<button type="button" class="btn btn-sm" data-does="link" title="{words["link_title"]}">{words["link"]}</button>
</div>
</div>
{readout}
<p class="explorable-settled visually-hidden" aria-live="polite"></p>
</div>"""


def control_html(control: Slider | Dropdown, name: str, language: str) -> str:
    """A control with its label, its value and its help."""
    identity = f"{name}-{control.name}"
    texts = [control.text(value, language) for value in control.values]
    described = f'aria-describedby="{identity}-help"' if control.help[language] else ""
    common = f'id="{identity}" name="{control.name}" autocomplete="off" {described}'
    if isinstance(control, Slider):
        index = control.values.index(control.default)
        shown = f'<span class="explorable-value" aria-hidden="true">{escape(texts[index])}</span>'
        values = escape(json.dumps([str(value) for value in control.values]))
        field = f"""\
<input type="range" {common} min="0" max="{len(texts) - 1}" value="{index}" aria-valuetext="{escape(texts[index])}" \
data-values="{values}" data-texts="{escape(json.dumps(texts, ensure_ascii=False))}">"""
    else:
        options = "".join(
            f'<option value="{value}"{" selected" * (value == control.default)}>{escape(text)}</option>'
            for value, text in zip(control.values, texts, strict=True)
        )
        shown, field = "", f"<select {common}>{options}</select>"
    help_text = (
        f'<p class="explorable-help" id="{identity}-help">{escape(control.help[language])}</p>' if described else ""
    )
    label = f'<label for="{identity}">{escape(control.label[language])}</label>'
    return f'<div class="explorable-control"><div>{label}{shown}</div>{field}{help_text}</div>'


def prediction_html(explorable: Explorable, name: str, language: str) -> str:
    """The question that comes before the figure, if there is one."""
    if explorable.prediction is None:
        return ""
    question, unit = explorable.prediction.question[language], explorable.prediction.unit[language]
    words = in_language(TEXTS, language)
    settings = {setting: str(value) for setting, value in explorable.prediction.settings.items()}
    return f"""\
<form class="explorable-prediction pst-js-only" data-settings="{escape(json.dumps(settings))}">
<label for="{name}-guess"><strong>{words["predict"]}</strong> {escape(question)}</label>
<div class="explorable-guess"><input type="number" id="{name}-guess" min="0" step="any" required \
autocomplete="off" inputmode="decimal" aria-describedby="{name}-unit"><span id="{name}-unit">{escape(unit)}</span>
<button class="btn btn-sm">{words["compare"]}</button></div>
<p class="explorable-reply" role="status"></p>
</form>"""


def lean(svg: str) -> str:
    """An SVG by Vega without what draws nothing: a page has many elements as it is."""
    ElementTree.register_namespace("", SVG[1:-1])
    root = ElementTree.fromstring(svg)
    _prune(root)
    del root.attrib["class"], root.attrib["version"]
    return ElementTree.tostring(root, encoding="unicode")


def _prune(element: ElementTree.Element) -> None:
    children = []
    for child in element:
        _prune(child)
        if child.get("class") not in ("background", "foreground") or "fill" in child.attrib:
            for name, value in list(child.items()):
                if name in IDLE or IDLE_AT.get(name) == value or name.startswith("aria-"):
                    del child.attrib[name]
                else:
                    child.set(name, LONG_NUMBER.sub(_rounded, value))
            if child.tag == f"{SVG}g" and not child.attrib:
                children += child
            elif child.tag != f"{SVG}g" or len(child):
                children.append(child)
    element[:] = children


def _rounded(number: re.Match) -> str:
    """To ten millionths of a pixel."""
    return f"{float(number[0]):.7f}".rstrip("0").rstrip(".")


def setup(app):
    """Register with Sphinx."""
    app.add_config_value("explorables_worker", "", "env")  # its address below the sites' `explorables/`
    app.add_js_file("explorables.js")
    app.connect("doctree-resolved", place_explorables)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
