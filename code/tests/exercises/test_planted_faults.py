import pytest
from sysai.core.language import Text
from sysai.exercises.faults import Fault, fault_sources
from sysai.exercises.grader import Grader

BASES = {"solution": "def f(x):\n    return 2 * x\n", "starter": "def f(x):\n    raise NotImplementedError\n"}
AREA = """\
import math


def area(width, height):
    return {area}


def diagonal(width, height):
    return {diagonal}
"""


def test_edits_change_the_base_and_nothing_else():
    assert Fault("once", "Adds.", edits=[("2 * x", "2 + x")]).source(BASES) == "def f(x):\n    return 2 + x\n"
    fault = Fault("kept", "Returns x.", base="starter", edits=[("raise NotImplementedError", "return x")])
    assert fault.source(BASES) == "def f(x):\n    return x\n"
    assert Fault("whole", "Returns x.", text="f = id\n").source(BASES) == "f = id\n"


@pytest.mark.parametrize("old", ["x", "3 * x"], ids=["twice", "never"])
def test_an_old_text_must_occur_exactly_once(old):
    with pytest.raises(ValueError, match=r"occurs [02] times in solution.py, it must occur exactly once"):
        Fault("stale", "Adds.", edits=[(old, "y")]).source(BASES)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"edits": [("a", "b")], "text": "c"},
        {"text": "c", "base": "check"},
        {"text": "c", "hint": Text("no", "否"), "told": "no"},
    ],
    ids=["empty", "edits and text", "unknown base", "two hints"],
)
def test_a_fault_is_checked_when_it_is_made(arguments):
    with pytest.raises(ValueError, match="fault 'f'"):
        Fault("f", "Fails.", **arguments)


def test_two_faults_of_one_name_are_refused(exercises):
    folder = exercises["area"].folder
    assert list(fault_sources(folder)) == ["perimeter", "two_sides"]
    text = (folder / "faults.py").read_text(encoding="utf-8")
    (folder / "faults.py").write_text(text.replace("two_sides", "perimeter"), encoding="utf-8")
    with pytest.raises(ValueError, match="same name"):
        fault_sources(folder)


def test_an_answer_that_returns_what_a_fault_returns_gets_its_hint(grade):
    report = grade(AREA.format(area="width + height + width + height", diagonal="math.hypot(width, height)"))
    assert report.hint == Text("That is the perimeter: `width * height` is the area.", "这是周长。")


def test_another_wrong_value_gets_no_hint(grade):
    assert grade(AREA.format(area="width + height", diagonal="0.0")).hint is None


def test_a_right_value_refused_for_another_reason_gets_no_hint_of_a_fault_that_returns_it_too(exercises):
    exercise = exercises["running-mean"]
    folder = exercise.folder
    faults = (folder / "faults.py").read_text(encoding="utf-8")
    hinting = faults.replace(
        '"Adds every prefix anew.",', '"Adds every prefix anew.",\n        hint={"en": "a", "zh": "b"},'
    )
    assert hinting != faults
    (folder / "faults.py").write_text(hinting, encoding="utf-8")
    with Grader([exercise]) as grader:
        report = grader.grade(exercise, fault_sources(folder)["from_the_start"][1], 1)
    assert (report.reason, report.hint) == ("too_much", None)
