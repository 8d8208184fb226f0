"""Gates on states and masks: legal prefixes are found by patterns on the text, ends by a search over tokens."""

import re
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Trial

State = tuple[int, str]
# No expression contains these, and every text without them, which opens before it closes, begins one.
ILLEGAL = re.compile(r"[^0-9+*/()-]|^[+*/)-]|[0-9]\(|\)[0-9(]|[+*/(-][+*/)-]|(?<![0-9])0[0-9]")
LAST = re.compile(r"(?P<operand>(^|[+*/(-])$)|(?P<closed>\)$)|(?P<zero>(^|[^0-9])0$)|(?P<number>[0-9]$)")
NO_CLOSER = ("1", "(", "))", "+", "2*(", ")+(", "x", "1(", "")  # with one level of parentheses, what opens never ends
EXAMPLE = ("1", "0", "+", "(", "))", ")*(", "2)", "", "+)", "")


def _depths(text: str) -> list[int]:
    return [text[:n].count("(") - text[:n].count(")") for n in range(len(text) + 1)]


def _legal(text: str, max_depth: int) -> bool:
    depths = _depths(text)
    return not ILLEGAL.search(text) and min(depths) >= 0 and max(depths) <= max_depth


def _state(text: str) -> State:
    """Of a legal text."""
    return _depths(text)[-1], LAST.search(text).lastgroup


def _text(state: State) -> str:
    """One that leads to the state."""
    opened, last = state
    return "(" * opened + {"operand": "", "zero": "0", "number": "1", "closed": "(1)"}[last]


def _is_whole(state: State) -> bool:
    return state[0] == 0 and state[1] != "operand"


@dataclass(frozen=True)
class Task:
    """What is the same at every step of a text."""

    vocabulary: tuple[str, ...]
    end_id: int
    max_depth: int

    def after(self, state: State) -> dict[int, State]:
        """The states to which tokens lead, by id, of those that are legal."""
        texts = {i: _text(state) + token for i, token in enumerate(self.vocabulary) if token and i != self.end_id}
        return {i: _state(text) for i, text in texts.items() if _legal(text, self.max_depth)}


@lru_cache(maxsize=1000)
def _fewest(task: Task, start: State) -> float:
    """How many tokens it takes to the end, the end token included; by search over tokens."""
    level, seen, steps = {start}, {start}, 1
    while level and not any(map(_is_whole, level)):
        level = {after for state in level for after in task.after(state).values()} - seen
        seen |= level
        steps += 1
    return steps if level else inf


def check(trial: Trial) -> None:
    for text in ("(12", "1+", "0", "00", "", ")", "((", "(((", "10*(2)", "1)", "()", "x", "(((1)"):
        _check_advance(trial, (0, "operand"), text, 2)
    for _ in range(60):
        max_depth = trial.random.randint(1, 4)
        whole = _expression(trial.random, max_depth)
        cut, end = sorted(trial.random.choices(range(len(whole) + 1), k=2))
        text = whole[cut:end]
        if trial.random.random() < 0.5:
            i = trial.random.randint(0, len(text))
            text = text[:i] + trial.random.choice(["(", ")", "0", "+", "((", "))", "²", " ", "5"]) + text[i:]
        _check_advance(trial, _state(whole[:cut]), text, max_depth)
    no_closer, example = (Task(vocabulary, len(vocabulary) - 1, n) for vocabulary, n in ((NO_CLOSER, 1), (EXAMPLE, 2)))
    _check_allowed(trial, "1+", no_closer, 3)
    for text, left in (("((1", 2), ("((1", 3), ("((1", 4), ("", 6), ("1", 1), ("0", 2), ("(1+", 9), ("1", 0)):
        _check_allowed(trial, text, example, left)
    _check_allowed(trial, "1+", no_closer, 9)
    for _ in range(6):
        task = _completable(trial.random, trial.random.randint(1, 4))
        for _ in range(3):
            _walk(trial, task, trial.random.randint(6, 14))


def _expression(random: Random, depth: int) -> str:
    terms = []
    for _ in range(random.randint(1, 3)):
        nested = depth > 0 and random.random() < 0.6
        terms.append(f"({_expression(random, depth - 1)})" if nested else random.choice(["0", "7", "10", "42", "305"]))
    return "".join(x for term in terms for x in (term, random.choice("+-*/")))[:-1]


def _completable(random: Random, max_depth: int) -> Task:
    """Pieces of expressions, some junk, special tokens without text; ")" alone is often missing."""
    while True:
        tokens = {*random.sample("0123456789", 3), random.choice("+-*/"), "(", *random.sample([")", "))", "))+("], 2)}
        for _ in range(18):
            text = _expression(random, max_depth)
            start = random.randrange(len(text))
            tokens.add(text[start : start + random.randint(2, 4)])
        junk = (["00", "01", "7("], ["+)", "()", ")("], ["x", "1 ", "(a"])
        tokens.update(map(random.choice, junk))
        vocabulary = random.sample([*sorted(tokens), "", ""], len(tokens) + 2)
        end_id = random.choice([i for i, token in enumerate(vocabulary) if not token])
        task = Task(tuple(vocabulary), end_id, max_depth)
        if _fewest(task, (0, "operand")) < inf:
            return task


def _check_advance(trial: Trial, state: State, text: str, max_depth: int) -> None:
    got = trial.call("advance", state, text, max_depth=max_depth)
    before = _text(state)
    legal = [_legal(before + text[:n], max_depth) for n in range(len(text) + 1)]
    expected = _state(before + text) if all(legal) else None
    message = Text(f"The state is {expected!r}, not {got!r}.", f"状态应为{expected!r}，而不是{got!r}。")
    if expected is None:
        at = legal.index(False) - 1
        message = Text(
            f"No expression goes on so: None, not {got!r}. Character {at} ({text[at]!r}) can't stand there.",
            f"没有表达式会这样继续：应为None，而不是{got!r}。{at}号字符（{text[at]!r}）不能出现在那里。",
        )
    trial.expect(got == expected, message)


def _walk(trial: Trial, task: Task, left: int) -> None:
    """From the start to the end by allowed tokens, drawn; nowhere if there are too few from the start."""
    text = ""
    while right := _check_allowed(trial, text, task, left):
        token = trial.random.choice(right)
        if token == task.end_id:
            return
        text, left = text + task.vocabulary[token], left - 1


def _check_allowed(trial: Trial, text: str, task: Task, left: int) -> list[int]:
    """Compare the mask behind a legal text with `left` tokens to come; return the tokens that are right."""
    state, vocabulary, end_id = _state(text), task.vocabulary, task.end_id
    got = trial.call("allowed", state, [*vocabulary], end_id=end_id, tokens_left=left, max_depth=task.max_depth)
    needed = {i: _fewest(task, after) for i, after in task.after(state).items()}  # behind each token that is legal
    if _is_whole(state):
        needed[end_id] = 0
    right = [i for i in sorted(needed) if needed[i] < left]
    chosen = [i for i, _ in enumerate(vocabulary) if got[i : i + 1] == [True]]
    trial.picture(_picture(text, task, left, needed, right, chosen))
    what = Text(f"The tokens allowed behind {text!r}, {left} left", f"在{text!r}之后、还剩{left}个时，允许的词元")
    trial.expect_equal(got, [i in right for i in range(len(vocabulary))], what=what)
    return right


def _picture(text: str, task: Task, left: int, needed: dict[int, float], right: list[int], got: list[int]) -> Text:
    """The tokens on which the two differ, first, and some others that are legal."""
    differing, rows = {*right} ^ {*got}, ""
    for i in [*sorted(differing), *(i for i in needed if i not in differing)][:10]:
        marks = " ".join(f"{'yes' if i in ids else 'no':<5}" for ids in (right, got))
        rows += f"\n{i:>4}  {text + task.vocabulary[i]!r:<24} {marks} {needed.get(i, '-')}"
    return Text(
        "token, text behind it; right, yours; tokens needed behind it: - is illegal or without text, inf never ends, "
        f"at most {left - 1} may come{rows}",
        "词元、之后的文本；应为、你的；之后至少还需的词元：-为不合法或没有文本，inf为无法完成，"
        f"至多还可以有{left - 1}个{rows}",
    )
