"""What holds for every explorable of the package: found by looking, so a new one is tested without being named."""

import importlib
import pkgutil
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sysai
import sysai.explorables
import vl_convert
from sphinx_sysai.parity import check_chinese
from sysai.core.language import LANGUAGES, Text
from sysai.explorables.explorable import Dropdown, Explorable, Prediction, Slider, find
from sysai.explorables.notebook import to_svg

SOURCES = str(Path(sysai.__file__).parents[1])
MODULES = [module.name for module in pkgutil.iter_modules(sysai.explorables.__path__)]
NAMES = [
    name
    for name in MODULES
    if isinstance(getattr(importlib.import_module(f"sysai.explorables.{name}"), name, None), Explorable)
]


def settings_to_try(explorable, seed):
    """The defaults, each control at both ends (a choice at each option), then 12 settings at random."""
    yield {}
    for control in explorable.controls:
        ends = control.values if isinstance(control, Dropdown) else (control.values[0], control.values[-1])
        yield from ({control.name: value} for value in ends)
    yield {control.name: control.values[0] for control in explorable.controls}
    yield {control.name: control.values[-1] for control in explorable.controls}
    draw = random.Random(seed)
    yield from ({c.name: draw.choice(c.values) for c in explorable.controls} for _ in range(12))


def parts(node):
    """All dictionaries within a specification."""
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(inner)


def test_the_package_has_explorables():
    assert {"kv_cache", "model_shape", "roofline"} <= set(NAMES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_drawn(name, language):
    explorable = find(name)
    for number, settings in enumerate(settings_to_try(explorable, f"{name} {language}")):
        spec = explorable.figure(language, **settings)
        if language == "en" or number % 5 == 0:  # which marks there are does not depend on the words
            vega = vl_convert.vegalite_to_vega(spec, vl_version="6.4")
            assert vega["marks"], settings
        assert re.search(r"\d", spec["description"]), settings
        assert "{" not in spec["description"], settings
        assert bool(re.search(r"[\u4e00-\u9fff]", spec["description"])) == (language == "zh"), settings
        assert check_chinese(name, [(0, spec["description"])]) == [], settings
        for part in parts(spec):
            low, *_ = part.get("scale", {}).get("domain", [None])
            assert part.get("scale", {}).get("type") != "log" or low > 0, settings


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_the_figure_fits_its_page(name, language):
    """Within 560 by 460 pixels, with nothing outside its frame and all text in the page's language."""
    explorable = find(name)
    for settings in list(settings_to_try(explorable, f"{name} {language} drawn"))[-4:]:
        svg = to_svg(explorable.figure(language, **settings))
        width, height = map(float, re.search(r'width="([\d.]+)" height="([\d.]+)"', svg).groups())
        assert width <= 560, settings
        assert height <= 460, settings
        words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
        assert bool(re.search(r"[\u4e00-\u9fff]", words)) == (language == "zh"), settings


@pytest.mark.parametrize("name", NAMES)
def test_what_a_reader_meets_is_said_in_both_languages(name):
    explorable = find(name)
    assert explorable.name == name
    for language in LANGUAGES:
        assert explorable.title[language]
        for control in explorable.controls:
            assert control.label[language], control.name
            assert control.help[language], control.name
            assert all(control.text(value, language) for value in control.values)


@pytest.mark.parametrize("name", NAMES)
def test_the_prediction_is_answered(name):
    explorable = find(name)
    prediction = explorable.prediction
    assert set(prediction.settings) == set(explorable.defaults), "name every setting that the question is about"
    answer = prediction.answer(**explorable.settings(**prediction.settings))
    assert answer > 0
    for language in LANGUAGES:
        assert prediction.question[language]
        assert explorable.reply(language, answer) != explorable.reply(language, 3 * answer)
        assert check_chinese(name, [(0, explorable.reply(language, 3 * answer))]) == []
    assert "3 times too high" in explorable.reply("en", 3 * answer)
    assert "2 times too low" in explorable.reply("en", answer / 2)
    assert "well predicted" in explorable.reply("en", 1.05 * answer)
    assert "above zero" in explorable.reply("en", 0)


def test_nothing_but_the_standard_library_is_imported():
    """A fresh interpreter that refuses everything outside of it draws each explorable."""
    code = f"""
import sys
ours = sys.stdlib_module_names | {{"sysai"}}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ours:
            raise ImportError(f"{{name}} is not in the standard library")
sys.meta_path.insert(0, Refuse())
from sysai.explorables.explorable import find
for name in {[module for module in MODULES if module != "notebook"]}:
    __import__("sysai.explorables." + name)
for name in {NAMES}:
    assert find(name).figure("zh")["description"]
try:
    import torch
except ImportError:
    print("drawn")
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, env={"PYTHONPATH": SOURCES}
    )
    assert done.stdout == "drawn\n", done.stderr


@pytest.fixture
def sample():
    def draw(language, *, size, colour):
        return {"mark": "point", "description": f"{size} {colour}"}

    text = Text("", "")
    return Explorable(
        name="sample",
        title=text,
        controls=(
            Slider("size", text, (1, 2.5, 4), 2.5, unit=Text("cm", "厘米")),
            Dropdown("colour", text, {"red": text, "blue": text}, "red"),
        ),
        draw=draw,
        prediction=Prediction(text, text, lambda size, colour: 2 * size, {"size": 4}),
    )


def test_settings_come_from_defaults_changes_and_addresses(sample):
    assert sample.settings() == {"size": 2.5, "colour": "red"}
    assert sample.settings(size="4") == {"size": 4, "colour": "red"}
    assert sample.at(size=4, colour="blue").defaults == {"size": 4, "colour": "blue"}
    assert sample.at(size=1).figure("en")["description"] == "1 red"
    assert sample.figure("en", size="4", colour="blue")["description"] == "4 blue"


@pytest.mark.parametrize("call", ["at", "settings"])
def test_a_setting_that_is_not_offered_is_refused_with_what_is(sample, call):
    with pytest.raises(ValueError, match="no setting 'weight': it has size, colour"):
        getattr(sample, call)(weight=1)
    with pytest.raises(ValueError, match=r"size is '3': it must be one of 1, 2\.5, 4"):
        getattr(sample, call)(size=3)
    with pytest.raises(ValueError, match="colour is 'green': it must be one of red, blue"):
        getattr(sample, call)(colour="green")


def test_a_language_that_the_book_lacks_is_refused(sample):
    with pytest.raises(ValueError, match="'fr' must be one of en, zh"):
        sample.figure("fr")


def test_controls_are_checked_when_made():
    text = Text("", "")
    with pytest.raises(ValueError, match="ascend"):
        Slider("size", text, (2, 1), 1)
    with pytest.raises(ValueError, match="hold the default"):
        Slider("size", text, (1, 2), 3)
    with pytest.raises(ValueError, match="is none of red"):
        Dropdown("colour", text, {"red": text}, "blue")


def test_values_are_shown_with_their_unit(sample):
    size = sample.controls[0]
    assert (size.text(2.5, "en"), size.text(2.5, "zh")) == ("2.5 cm", "2.5厘米")
    assert Slider("n", {}, (8192,), 8192).text(8192, "en") == "8,192"


def test_what_changed_is_told_from_the_explorable_of_the_module():
    kv_cache = find("kv_cache")
    assert kv_cache.changed == {}
    same = kv_cache.defaults["model"]
    assert kv_cache.at(batch=64, model=same).at(heads="mqa").changed == {"batch": 64, "heads": "mqa"}
