"""One check of one answer: its functions are called, and their values compared with what the check computed itself.

    def check(trial: Trial) -> None:
        for _ in range(20):
            a, b = trial.random.randint(1, 9), trial.random.randint(1, 9)
            got = trial.call("area", a, b)
            trial.expect_equal(got, a * b, unit=Text("cm²", "平方厘米"),
                hints=[Hint(2 * (a + b), Text("That is the perimeter.", "这是周长。"))])

An expectation that does not hold ends the check; the report shows the call that led to it.
"""

import ast
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sysai.core.language import Text, with_unit
from sysai.exercises import compare
from sysai.exercises.annotations import misfit
from sysai.exercises.failure import Failed, both
from sysai.exercises.show import number, show, show_call, show_pair
from sysai.exercises.submission import Callback, Submission


@dataclass(frozen=True)
class Hint:
    """Shown when the answer's value is the one that a certain mistake leads to: `when`, or ``when(value)`` is true."""

    when: object
    text: Text


class Trial:
    """One check of one answer, whose functions return what the annotations `returns` say.

    Attributes:
        random: the source of the check's inputs, `random.Random(seed)`.
        held: how many expectations held so far.
    """

    def __init__(self, submission: Submission, seed: int, returns: Mapping[str, ast.expr] | None = None):
        self.random, self.seed, self.held = random.Random(seed), seed, 0
        self.last_call: str | None = None
        self.last_request: tuple[str, tuple, dict] | None = None
        self.last_value: object = None
        self.drawn: Text | None = None
        self._submission, self._returns = submission, returns or {}

    def torch_generator(self):
        """A generator for tensors, seeded from `random`: every call gives another."""
        import torch

        return torch.Generator().manual_seed(self.random.getrandbits(62))

    def callback(self, function: Callable, name: str | None = None) -> Callback:
        """An argument for `call`: the answer can call `function`, which runs here, where its counts are safe.

        Arguments and result are data as of any call. `function` may raise ValueError with a remedy for the student.
        """
        return Callback(function, name or function.__name__)

    def call(self, function: str, /, *args: object, **kwargs: object) -> object:
        """Call the answer's `function`; return its None, bool, int, float, str, list, tuple, dict or dense tensor.

        The type is what the starter says, through and through (a whole number may stand for a float). Arguments are
        whatever can be pickled, and callbacks.
        """
        self.last_call, self.last_value, self.drawn = show_call(function, args, kwargs), None, None
        self.last_request = function, args, kwargs
        self.last_value = self._submission.call(function, args, kwargs)
        if function in self._returns and (fault := misfit(self.last_value, self._returns[function])):
            raise fault
        return self.last_value

    def picture(self, text: str | Text) -> None:
        """Show `text` (monospaced, a few lines) in the report if a later expectation on this call fails."""
        self.drawn = both(text) if isinstance(text, str) else text

    def expect(self, condition: bool, message: Text, hint: Text | None = None) -> None:
        """`condition` holds; `message` tells the student what does not."""
        self._hold(condition, lambda: Failed("wrong_value", message, hint=hint))

    def expect_equal(
        self,
        got: object,
        expected: object,
        *,
        unit: Text | None = None,
        what: Text | None = None,
        hints: Sequence[Hint] = (),
    ) -> None:
        """Equal, in value and type, for whole numbers, text and containers of them; NaN equals NaN."""
        difference = compare.first_difference(got, expected)
        self._hold(difference is None, lambda: self._unequal(got, expected, difference, unit, what, hints))

    def expect_close(
        self,
        got: object,
        expected: float,
        *,
        rel: float = 1e-6,
        abs: float = 0.0,
        unit: Text | None = None,
        what: Text | None = None,
        hints: Sequence[Hint] = (),
    ) -> None:
        """A number (int or float) within `rel` of the expected one, or within `abs`."""
        self._hold(type(got) in (int, float), lambda: compare.wrong_type(got, (float,)))

        def near(value: object) -> bool:
            return compare.is_number(value) and compare.close(got, value, rel, abs)

        def fault() -> Failed:
            texts = show_pair(compare.as_float(got) if type(expected) is float else got, expected)
            return self._wrong(*texts, unit, what, _find(hints, got, near))

        self._hold(near(expected), fault)

    def expect_at_most(
        self, got: float, limit: float, *, what: Text, unit: Text | None = None, hints: Sequence[Hint] = ()
    ) -> None:
        """A count is no larger than `limit`; `what` names what was counted."""

        def fault() -> Failed:
            message = Text(f"Too much: {what['en']}.", f"{what['zh']}过多。")
            shown = number(limit)
            limits = _with_unit(Text(f"at most {shown}", f"至多{shown}"), unit)
            hint = _find(hints, got, lambda value: value == got)
            return Failed("too_much", message, limits, _with_unit(both(number(got)), unit), hint)

        self._hold(type(got) in (int, float) and got <= limit, fault)

    def expect_tensor(
        self,
        got: object,
        expected,
        *,
        rtol: float = 1e-5,
        atol: float = 1e-6,
        what: Text | None = None,
        hints: Sequence[Hint] = (),
    ) -> None:
        """A tensor of the expected shape and dtype, each element within ``atol + rtol*|expected|``; NaN equals NaN."""

        def near(value: object) -> bool:
            return compare.tensor_fault(got, value, rtol, atol) is None

        def fault() -> Failed:
            failure = compare.tensor_fault(got, expected, rtol, atol)
            failure.hint = _find(hints, got, near) or failure.hint
            if what:
                failure.message = compare.about(what, failure.message)
            return failure

        self._hold(near(expected), fault)

    def _hold(self, condition: bool, fault: Callable[[], Failed]) -> None:
        if not condition:
            failure = fault()
            failure.picture = self.drawn or failure.picture
            raise failure
        self.held += 1

    def _unequal(self, got, expected, difference, unit, what, hints) -> Failed:
        hint = _find(hints, got, lambda value: compare.first_difference(got, value) is None)
        where, mine, wanted = difference
        if type(mine) is not type(wanted):
            failure = compare.wrong_type(mine, (type(wanted),), where)
            failure.hint = failure.hint or hint
            return failure
        texts = show_pair(mine, wanted) if compare.is_number(mine) else (show(mine), show(wanted))
        if where:
            texts = tuple(f"{text}  {where}" for text in texts)
        return self._wrong(*texts, unit, what, hint)

    def _wrong(self, got: str, expected: str, unit: Text | None, what: Text | None, hint: Text | None) -> Failed:
        message = Text("The result is wrong.", "结果不对。")
        if what:
            message = compare.about(what, message)
        return Failed("wrong_value", message, _with_unit(both(expected), unit), _with_unit(both(got), unit), hint)


def _find(hints: Sequence[Hint], got: object, near: Callable[[object], bool]) -> Text | None:
    for hint in hints:
        if hint.when(got) if callable(hint.when) else near(hint.when):
            return hint.text
    return None


def _with_unit(text: Text, unit: Text | None) -> Text:
    if unit is None:
        return text
    return {language: with_unit(content, unit[language], language) for language, content in text.items()}
