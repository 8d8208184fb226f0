"""Every explorable, drawn by the browser's Python at many settings: the figures are those that Python draws here.

Pyodide is loaded once, in the worker that the pages use, and is asked as the pages ask it.
"""

import json
import random
from pathlib import Path

import pytest
from boxes import BOXES, Box, differences
from sysai import explorables
from sysai.viz.palette import INK, PAPER
from visit import LANGUAGES, Visit, listed

FIRST_ANSWER_MS = 120_000
ANSWER_MS = 20_000
RUNS = {"en": 20, "zh": 5}

# Start the worker; `ask(questions)` then resolves with its answers, one after the other.
START = """([address, first, patience]) => new Promise((resolve, reject) => {
  setTimeout(reject, first, new Error("the worker does not load"));
  const worker = new Worker(address, { type: "module" });
  let answered;
  worker.onerror = event => reject(new Error(event.message));
  worker.onmessage = ({ data }) => {
    if ("loaded" in data) data.loaded ? resolve() : reject(new Error(data.error));
    else answered(data);
  };
  globalThis.ask = async questions => {
    const answers = [];
    for (const [id, question] of questions.entries()) answers.push(await new Promise((resolve, reject) => {
      setTimeout(reject, patience, new Error(`no answer to ${JSON.stringify(question)}`));
      answered = resolve;
      worker.postMessage({ id, ...question });
    }));
    return answers;
  };
})"""

pytestmark = pytest.mark.xdist_group("figures")  # one process, so that Python is loaded once


@pytest.fixture(scope="module")
def ask(browser, address):
    """Put questions to the worker: ``ask(questions)`` gives its answers."""
    seen = Visit(browser, address)
    seen.open(BOXES[0].path)
    seen.page.evaluate(START, [BOXES[0].attributes["data-worker"], FIRST_ANSWER_MS, ANSWER_MS])
    yield lambda questions: seen.page.evaluate("questions => ask(questions)", questions)
    assert not seen.faults(), listed("errors", seen.faults())
    seen.context.close()


def settings_to_draw(box: Box, runs: int) -> list[dict]:
    """Settings at random; over the runs a control takes all of its values, or as many as there are runs."""
    chance = random.Random(f"{box.path} {box.id}")
    columns = {}
    for control in box.explorable.controls:
        values = chance.sample(control.values, len(control.values))
        columns[control.name] = chance.sample([values[run % len(values)] for run in range(runs)], runs)
    return [{name: column[run] for name, column in columns.items()} for run in range(runs)]


@pytest.mark.parametrize(("path", "box"), [pytest.param(box.path, box, id=f"{box.path}-{box.id}") for box in BOXES])
def test_it_draws_in_the_browser_what_python_draws_here(ask, path, box):
    explorable, language = box.explorable, box.language
    runs = settings_to_draw(box, RUNS[language])
    question = {"name": explorable.name, "at": box.attributes["data-at"], "language": language}
    shown_first = json.dumps({name: str(value) for name, value in runs[0].items()})
    answer = explorable.prediction.answer(**explorable.settings(**explorable.prediction.settings))
    guesses = [float(f"{3 * answer:.3g}"), float(f"{answer:.6g}")]
    drawn = ask(
        [question | {"settings": {name: str(value) for name, value in settings.items()}} for settings in runs]
        + [question | {"at": shown_first, "settings": {}}]
        + [question | {"guess": guess} for guess in guesses]
    )
    assert [result["id"] for result in drawn] == list(range(len(drawn)))
    assert not (failed := [result["error"] for result in drawn if "error" in result]), listed("errors", failed)
    for settings, result in zip([*runs, runs[0]], drawn, strict=False):
        found = differences(box.figure(**settings), result["spec"])
        assert not found, listed(f"{box.id} at {settings}", found)
        svg = result["svg"]
        assert "var(--ink)" in svg, f"{box.id} at {settings} has not the page's colours"
        assert not [left for left in (INK, PAPER, " role=", " aria-") if left in svg], f"{box.id} at {settings}"
    assert len({json.dumps(result["spec"]) for result in drawn[: len(runs)]}) > 1, "the figure never changes"
    assert [result["reply"] for result in drawn[len(runs) + 1 :]] == [explorable.reply(language, g) for g in guesses]


def test_every_explorable_stands_on_a_page_of_both_sites():
    english, chinese = (
        {(box.path[3:], box.id, box.attributes["data-at"]) for box in BOXES if box.language == language}
        for language in LANGUAGES
    )
    assert english == chinese
    modules = Path(explorables.__file__).parent.glob("*.py")
    package = {path.stem for path in modules if f"\n{path.stem} = Explorable(" in path.read_text(encoding="utf-8")}
    assert {box.explorable.name for box in BOXES} == package


def test_all_pages_load_the_same_worker():
    assert len({box.attributes["data-worker"].split("/")[-1] for box in BOXES}) == 1


def test_differences_are_seen():
    assert not differences({"a": [1, 2.0, "x"]}, {"a": [1 + 1e-12, 2, "x"]})
    for other in ({"a": [1.000001, 2, "x"]}, {"a": [1, 2]}, {"a": [1, 2, "y"]}, {"b": [1, 2, "x"]}):
        assert differences({"a": [1, 2.0, "x"]}, other)
