"""What each expectation accepts, and what its report says otherwise."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from sysai.core.language import Text
from sysai.exercises.failure import Failed
from sysai.exercises.grader import Grader
from sysai.exercises.limits import Limits
from sysai.exercises.submission import Submission
from sysai.exercises.trial import Hint, Trial

UNIT = Text("bytes", "字节")
NO, HALF = Text("no", "否"), Text("half", "半")


@pytest.fixture
def trial() -> Trial:
    """For comparisons alone; nothing is called."""
    return Trial(Submission(None, "", Limits()), seed=1)


def failure(expectation, *args, **kwargs) -> Failed:
    with pytest.raises(Failed) as caught:
        expectation(*args, **kwargs)
    assert set(caught.value.message) == {"en", "zh"}
    return caught.value


def test_equal_wants_the_same_type_all_the_way_down(trial):
    trial.expect_equal([1, (2.5, "a"), {"k": None}], [1, (2.5, "a"), {"k": None}])
    trial.expect_equal(float("nan"), float("nan"))
    assert trial.held == 2
    assert failure(trial.expect_equal, 5.0, 5).reason == "wrong_type"
    assert failure(trial.expect_equal, True, 1).reason == "wrong_type"
    assert failure(trial.expect_equal, [1, [2, 3]], [1, [2, 4]]).got["en"] == "3  [1][1]"
    assert failure(trial.expect_equal, {"a": 1}, {"b": 1}).reason == "wrong_value"
    assert failure(trial.expect_equal, [1, 2], [1, 2, 3]).expected["en"] == "[1, 2, 3]"
    assert trial.held == 2


def test_equal_shows_unit_and_hint(trial):
    fault = failure(
        trial.expect_equal,
        20_000,
        40_000,
        unit=UNIT,
        hints=[Hint(1, NO), Hint(20_000, HALF)],
    )
    assert fault.expected == Text("40,000 bytes", "40,000字节")
    assert fault.hint == HALF


@pytest.mark.parametrize(("got", "expected"), [(1.0, 1.0 + 1e-7), (2, 2.0), (float("inf"), float("inf"))])
def test_close_accepts(trial, got, expected):
    trial.expect_close(got, expected)


@pytest.mark.parametrize("got", [1.00001, float("nan"), float("inf"), -1.0, 0])
def test_close_refuses(trial, got):
    assert failure(trial.expect_close, got, 1.0).reason == "wrong_value"


@pytest.mark.parametrize("infinite", [float("inf"), 10**400], ids=["inf", "beyond all floats"])
def test_one_infinity_is_not_the_other(trial, infinite):
    for got, expected in ((infinite, -infinite), (-infinite, infinite)):
        trial.expect_close(got, got)
        wrong = failure(trial.expect_close, got, expected, hints=[Hint(expected, NO), Hint(got, HALF)])
        assert (wrong.reason, wrong.hint) == ("wrong_value", HALF)
        assert failure(trial.expect_equal, [got], [expected]).reason == "wrong_value"
        ours, theirs = (torch.full((2, 3), float("inf" if value > 0 else "-inf")) for value in (got, expected))
        wrong = failure(trial.expect_tensor, ours, theirs, hints=[Hint(theirs, NO), Hint(ours, HALF)])
        assert ("6 of 6" in wrong.message["en"], wrong.hint) == (True, HALF)


@pytest.mark.parametrize("got", [None, True, "1.0", [1.0], torch.tensor(1.0)])
def test_close_wants_a_number(trial, got):
    fault = failure(trial.expect_close, got, 1.0)
    assert fault.reason == "wrong_type"
    assert fault.hint or got is True or isinstance(got, (str, list))


def test_close_shows_enough_digits_and_hints_by_value_or_predicate(trial):
    fault = failure(trial.expect_close, 1.0000012, 1.0, hints=[Hint(lambda got: got > 1, Text("too large", "太大"))])
    assert fault.got["en"] != fault.expected["en"]
    assert fault.hint["en"] == "too large"
    assert failure(trial.expect_close, 0.0, 1e-30).reason == "wrong_value"
    trial.expect_close(0.0, 1e-30, abs=1e-20)


def test_at_most(trial):
    what = Text("tokens given to the model", "交给模型的词元")
    trial.expect_at_most(3, 3, what=what)
    fault = failure(trial.expect_at_most, 4, 3, what=what)
    assert (fault.reason, fault.expected["en"], fault.expected["zh"]) == ("too_much", "at most 3", "至多3")
    assert "tokens given to the model" in fault.message["en"]
    assert failure(trial.expect_at_most, float("nan"), 3, what=what).reason == "too_much"


def test_tensor_is_compared_by_shape_then_dtype_then_values(trial):
    expected = torch.arange(6.0).reshape(2, 3)
    trial.expect_tensor(expected.clone(), expected)
    assert failure(trial.expect_tensor, [1.0], expected).reason == "wrong_type"
    assert failure(trial.expect_tensor, expected.t(), expected).got["en"] == "[3, 2]"
    assert failure(trial.expect_tensor, expected.double(), expected).expected["en"] == "torch.float32"
    wrong = expected.clone()
    wrong[1, 2] = 9.0
    fault = failure(trial.expect_tensor, wrong, expected, hints=[Hint(wrong, Text("this one", "这个"))])
    assert "1 of 6" in fault.message["en"]
    assert "[1, 2]" in fault.message["zh"]
    assert (fault.expected["en"], fault.got["en"]) == ("5.00000", "9.00000")
    assert fault.hint["en"] == "this one"
    assert fault.picture["en"] == "···\n··█"
    wrong[0, 0] = float("nan")
    fault = failure(trial.expect_tensor, wrong, expected)
    assert fault.got["en"] == "nan"
    assert "NaN" in fault.hint["en"]


def test_tensors_of_integers_and_of_one_element(trial):
    trial.expect_tensor(torch.tensor(3), torch.tensor(3))
    assert failure(trial.expect_tensor, torch.tensor(4), torch.tensor(3)).expected["en"] == "3"
    trial.expect_tensor(torch.tensor([True]), torch.tensor([True]))
    assert failure(trial.expect_tensor, torch.tensor([True]), torch.tensor([False])).picture is None


def test_free_expectations(trial):
    trial.expect(True, Text("", ""))
    trial.picture("seen")
    fault = failure(trial.expect, False, Text("no", "否"))
    assert fault.picture == Text("seen", "seen")


def test_the_same_seed_gives_the_same_inputs():
    def draws(seed: int):
        trial = Trial(Submission(None, "", Limits()), seed)
        return trial.random.random(), torch.randn(2, generator=trial.torch_generator()).tolist()

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_callbacks_run_in_the_grader_and_their_errors_in_the_answer(exercises):
    check = """
        from sysai.exercises.trial import Trial

        def check(trial: Trial) -> None:
            seen = []

            def twice(x, *, times=2):
                seen.append(x)
                if x > 100:
                    raise ValueError("at most 100")
                return {"result": (x * times,)}

            def stop():
                trial.expect(False, {"en": "never call stop", "zh": "不要调用stop"})

            got = trial.call("use", trial.callback(twice), trial.callback(stop))
            trial.expect_equal(got, ["at most 100", {"result": (9,)}])
            trial.expect_equal(seen, [3, 101])
        """
    exercise = exercises["area"]
    (exercise.folder / "check.py").write_text(dedent(check))
    source = """
        def use(twice, stop):
            result = twice(3, times=3)
            try:
                twice(101)
            except ValueError as error:
                return [str(error), result]
        """
    with Grader([exercise]) as grader:
        report = grader.grade(exercise, dedent(source), 1)
        assert report.passed, report.text("en")
        report = grader.grade(exercise, "def use(twice, stop): stop()", 1)
        assert report.message["en"] == "never call stop"
        report = grader.grade(exercise, "def use(twice, stop): twice(object())", 1)
        assert (report.reason, report.error[:9]) == ("exception", "TypeError")
        assert "use(twice, stop)" in report.call


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CONTRIBUTING.zh.md"])
def test_the_check_and_the_fault_that_contributing_shows_work(exercises, name):
    text = (Path(__file__).parents[3] / name).read_text(encoding="utf-8")
    check, faults = (
        block for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "sysai.exercises" in block
    )
    solution = "def cache_bytes(layers, heads, width):\n    return 2 * layers * heads * width * 2\n"
    exercise = exercises["area"]
    for file, content in {"check.py": check, "faults.py": faults, "solution.py": solution}.items():
        (exercise.folder / file).write_text(content, encoding="utf-8")
    with Grader([exercise]) as grader:
        right = grader.grade(exercise, "def cache_bytes(n, heads, width): return 4 * n * heads * width", 1)
        wrong = grader.grade(exercise, "def cache_bytes(n, heads, width): return 2 * n * heads * width", 1)
    assert (right.verdict, right.held) == ("passed", 20)
    assert wrong.hint["zh"] == "缓存里既有键也有值。"


def test_a_result_that_the_check_was_not_written_for_harms_no_other(exercises):
    exercise = exercises["area"]
    (exercise.folder / "check.py").write_text("def check(trial):\n    got = trial.call('edge')\n    got[0] + 1\n")
    with Grader([exercise]) as grader:
        report = grader.grade(exercise, "def edge(): return 3", 1)
        assert (report.verdict, report.reason, report.got["en"]) == ("failed", "check_failed", "3")
        assert "check.py:3" in report.error
        assert grader.grade(exercise, "def edge(): return [3]", 1).passed
