"""Explorables in a live kernel: what a frontend would send moves the figure, and what the book stores stands alone."""

import base64
import html
import json
import os
import re
import subprocess
import sys

import pytest
from jupyter_client.manager import start_new_kernel
from sysai.explorables.explorable import find

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Frontend:
    """A kernel that ran one cell, and the widgets whose states it sent over their comms."""

    def __init__(self, source, **environment):
        self.widgets = {}
        self.manager, self.client = start_new_kernel(env=environment)
        self._listen(self.client.execute(source))

    def _listen(self, request):
        """Take the kernel's messages until it has handled `request`; keep the widgets' states and the output."""
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "error":
                raise AssertionError("\n".join(content["traceback"]))
            if kind == "comm_open":
                self.widgets[content["comm_id"]] = dict(content["data"]["state"])
            elif kind == "comm_msg" and content["data"]["method"] == "update":
                self.widgets[content["comm_id"]].update(content["data"]["state"])
            elif kind == "display_data":
                self.output = content["data"]
            elif content.get("execution_state") == "idle" and message["parent_header"].get("msg_id") == request:
                return

    def find(self, model, **state):
        """The one widget of this model in this state."""
        [found] = [
            name
            for name, widget in self.widgets.items()
            if widget.get("_model_name") == model and all(widget.get(key) == value for key, value in state.items())
        ]
        return found

    def send(self, widget, data):
        """What a frontend sends when the reader moves a control or clicks."""
        message = self.client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        self.client.shell_channel.send(message)
        self._listen(message["header"]["msg_id"])

    def choose(self, label, value):
        """Set the control of this label to the value's text."""
        [name] = [name for name, widget in self.widgets.items() if widget.get("description") == label]
        index = self.widgets[name]["_options_labels"].index(value)
        self.send(name, {"method": "update", "state": {"index": index}})

    @property
    def figure(self):
        """Description and SVG of what the live figure shows now."""
        [shown] = [w["value"] for w in self.widgets.values() if str(w.get("value", "")).startswith("<figure>")]
        return taken_apart(shown)


def taken_apart(figure):
    """(text alternative, text below, SVG) of a figure's HTML."""
    alt, svg, caption = re.search(
        r'<img alt="([^"]*)".*?base64,([^"]*)">.*?<figcaption>(.*?)</figcaption>', figure, re.DOTALL
    ).groups()
    return html.unescape(alt), html.unescape(caption), base64.b64decode(svg).decode()


@pytest.fixture
def frontend():
    """Start a kernel with a cell; it ends with the test."""
    started = []

    def start(source, language="en", **environment):
        kernel_environment = os.environ | {"SYSAI_LANGUAGE": language} | environment
        started.append(Frontend(source, **kernel_environment))
        return started[-1]

    yield start
    for one in started:
        one.client.stop_channels()
        one.manager.shutdown_kernel(now=True)


CELL = "from sysai.explorables.kv_cache import kv_cache\nkv_cache"


def test_a_slider_and_a_choice_move_the_figure(frontend):
    page, kv_cache = frontend(CELL), find("kv_cache")
    assert page.output["text/plain"] == page.figure[0] == kv_cache.figure("en")["description"]
    first = page.figure[2]
    page.choose("Requests at once", "64 requests")
    assert page.figure[0] == page.figure[1] == kv_cache.figure("en", batch=64)["description"]
    assert page.figure[2] != first
    page.choose("Key-value heads", "MHA: one for each query head")
    assert page.figure[0] == kv_cache.figure("en", batch=64, heads="mha")["description"]
    page.send(page.find("ButtonModel", description="Reset"), {"method": "custom", "content": {"event": "click"}})
    assert page.figure[0] == kv_cache.figure("en")["description"]
    assert page.figure[2] == first


def test_a_prediction_is_answered_and_shown_in_chinese(frontend):
    page, kv_cache = frontend(CELL, language="zh"), find("kv_cache")
    assert page.output["text/plain"] == kv_cache.figure("zh")["description"]
    page.send(page.find("FloatTextModel"), {"method": "update", "state": {"value": 20}})
    page.send(
        page.find("ButtonModel", description="提交预测，看结果"), {"method": "custom", "content": {"event": "click"}}
    )
    assert page.find("HTMLModel", value=kv_cache.reply("zh", 20))
    assert page.figure[0] == kv_cache.figure("zh", **kv_cache.prediction.settings)["description"]


def test_a_widget_is_offered_beside_a_picture_that_needs_no_kernel(frontend):
    page = frontend(f"{CELL}.at(batch=64, model='llama-3-70b')")
    assert page.output[WIDGET_VIEW]["model_id"] in page.widgets
    figure = page.output["text/html"]
    assert 'data-explorable="kv_cache"' in figure
    settings = json.loads(html.unescape(re.search(r'data-settings="([^"]*)"', figure).group(1)))
    assert settings == {"batch": 64, "model": "llama-3-70b"}
    alt, caption, svg = taken_apart(figure)
    assert alt == caption == find("kv_cache").figure("en", **settings)["description"]
    assert svg.startswith("<svg")


def test_static_output_has_no_widget_and_is_the_same_each_time(frontend):
    pages = [frontend(CELL, SYSAI_EXPLORABLES="static") for _ in range(2)]
    assert set(pages[0].output) == {"text/html", "text/plain"}
    assert not pages[0].widgets
    assert pages[0].output == pages[1].output
    again = frontend(f"{CELL}._ipython_display_()\n{CELL}", SYSAI_EXPLORABLES="static")
    assert again.output == pages[0].output  # drawn twice in one kernel


def test_it_shows_itself_where_ipython_is_loaded_later():
    code = """
import sys
from sysai.explorables.kv_cache import kv_cache
assert "IPython" not in sys.modules
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance(user_ns={"kv_cache": kv_cache}).run_cell("kv_cache")
"""
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"SYSAI_LANGUAGE": "en"},
    )
    assert find("kv_cache").figure("en")["description"] in shown.stdout
