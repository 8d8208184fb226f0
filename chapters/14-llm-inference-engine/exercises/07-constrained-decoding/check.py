"""Gates on states and masks: legal prefixes are found by patterns on the text, ends by a search over tokens."""

import re
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Trial

State = tuple[int, str]
# No expression contains these, and every text without them, which opens before it closes, begins one.
ILLEGAL = re.compile(r"[^0-9+*/()-]|^[+*/)-]|[0-9]\(|\)[0-9(]|[+*/(-][+*/)-]|(?<![0-9])0[0-9]")
NO_CLOSER = ["1", "(", "))", "+", "2*(", ")+(", "x", "1(", ""]  # with one level of parentheses, what opens never ends
EXAMPLE = ["1", "0", "+", "(", "))", ")*(", "2)", "", "+)", ""]


def _depths(text: str) -> list[int]:
    return [text[:n].count("(") - text[:n].count(")") for n in range(len(text) + 1)]


def _legal(text: str, max_depth: int) -> bool:
    depths = _depths(text)
    return not ILLEGAL.search(text) and min(depths) >= 0 and max(depths) <= max_depth


def _state(text: str) -> State:
    """Of a legal text."""
    if re.search(r"(?:^|[+*/(-])$", text):
        last = "operand"
    elif text.endswith(")"):
        last = "closed"
    else:
        last = "zero" if re.search(r"(?:^|[^0-9])0$", text) else "number"
    return _depths(text)[-1], last


def _text(state: State) -> str:
    """One that leads to the state."""
    opened, last = state
    return "(" * opened + {"operand": "", "zero": "0", "number": "1", "closed": "(1)"}[last]


class Ends:
    """How many tokens it takes from a text to the end, the end token included; by search over tokens."""

    def __init__(self, vocabulary: list[str], end_id: int, max_depth: int):
        self.vocabulary, self.end_id = vocabulary, end_id
        self.tokens = [text for i, text in enumerate(vocabulary) if text and i != end_id]
        self.max_depth = max_depth
        self.known: dict[State, int | None] = {}

    def fewest(self, text: str) -> int | None:
        """None if there is no end; texts in the same state are searched once."""
        start = _state(text)
        if start not in self.known:
            self.known[start] = self._search(start)
        return self.known[start]

    def _search(self, start: State) -> int | None:
        level, seen, steps = {start}, {start}, 1
        while level:
            if any(opened == 0 and last != "operand" for opened, last in level):
                return steps
            texts = [_text(state) + token for state in level for token in self.tokens]
            level = {_state(text) for text in texts if _legal(text, self.max_depth)} - seen
            seen |= level
            steps += 1
        return None


def check(trial: Trial) -> None:
    _check_advances(trial)
    no_closer, example = (Ends(vocabulary, len(vocabulary) - 1, n) for vocabulary, n in ((NO_CLOSER, 1), (EXAMPLE, 2)))
    _check_allowed(trial, "1+", no_closer, 3)
    for text, left in (("((1", 2), ("((1", 3), ("((1", 4), ("", 6), ("1", 1), ("0", 2), ("(1+", 9), ("1", 0)):
        _check_allowed(trial, text, example, left)
    _check_allowed(trial, "1+", no_closer, 9)
    for _ in range(6):
        ends = _completable(trial.random, trial.random.randint(1, 4))
        for _ in range(3):
            _walk(trial, ends, trial.random.randint(6, 14))


def _expression(random: Random, depth: int) -> str:
    terms = []
    for _ in range(random.randint(1, 3)):
        nested = depth > 0 and random.random() < 0.6
        terms.append(f"({_expression(random, depth - 1)})" if nested else random.choice(["0", "7", "10", "42", "305"]))
    return "".join(x for term in terms for x in (term, random.choice("+-*/")))[:-1]


def _completable(random: Random, max_depth: int) -> Ends:
    """Pieces of expressions, some junk, special tokens without text; ")" alone is often missing."""
    while True:
        tokens = {*random.sample("0123456789", 3), random.choice("+-*/"), "(", *random.sample([")", "))", "))+("], 2)}
        for _ in range(18):
            text = _expression(random, max_depth)
            start = random.randrange(len(text))
            tokens.add(text[start : start + random.randint(2, 4)])
        junk = (["00", "01", "7("], ["+)", "()", ")("], ["x", "1 ", "(a"])
        tokens.update(map(random.choice, junk))
        vocabulary = [*sorted(tokens), "", ""]
        random.shuffle(vocabulary)
        ends = Ends(vocabulary, vocabulary.index(""), max_depth)
        if ends.fewest("") is not None:
            return ends


def _check_advances(trial: Trial) -> None:
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


def _check_advance(trial: Trial, state: State, text: str, max_depth: int) -> None:
    got = trial.call("advance", state, text, max_depth=max_depth)
    before = _text(state)
    legal = [_legal(before + text[:n], max_depth) for n in range(len(text) + 1)]
    expected = _state(before + text) if all(legal) else None
    message = Text(
        f"An expression can go on so: the state is {expected!r}, not None.",
        f"表达式可以这样继续：状态应为{expected!r}，而不是None。",
    )
    if expected is None:
        at = legal.index(False) - 1
        message = Text(
            f"No expression goes on so: None, not {got!r}. Character {at} ({text[at]!r}) can't stand there.",
            f"没有表达式会这样继续：应为None，而不是{got!r}。{at}号字符（{text[at]!r}）不能出现在那里。",
        )
    trial.expect((got is None) == (expected is None), message)
    trial.expect_equal(got, expected, what=Text("The state", "状态"))


def _walk(trial: Trial, ends: Ends, left: int) -> None:
    """From the start to the end by allowed tokens, drawn; nowhere if there are too few from the start."""
    text = ""
    while right := _check_allowed(trial, text, ends, left):
        token = trial.random.choice(right)
        if token == ends.end_id:
            return
        text, left = text + ends.vocabulary[token], left - 1


def _check_allowed(trial: Trial, text: str, ends: Ends, left: int) -> list[int]:
    """Compare the mask behind a legal text with `left` tokens to come; return the tokens that are right."""
    state, vocabulary, end_id, max_depth = _state(text), ends.vocabulary, ends.end_id, ends.max_depth
    got = trial.call("allowed", state, vocabulary, end_id=end_id, tokens_left=left, max_depth=max_depth)
    after = {  # tokens needed behind each token that is legal
        i: ends.fewest(text + token)
        for i, token in enumerate(vocabulary)
        if token and i != end_id and _legal(text + token, max_depth)
    }
    right = {i for i, n in after.items() if n is not None and n < left}
    if state[0] == 0 and state[1] != "operand" and left:
        right.add(end_id)
    if type(got) is list:
        trial.picture(_picture(ends, text, left, after, right, {i for i, ok in enumerate(got) if ok}))
    what = Text(f"The tokens allowed behind {text!r}, {left} left", f"在{text!r}之后、还剩{left}个时，允许的词元")
    trial.expect_equal(got, [i in right for i in range(len(vocabulary))], what=what)
    return sorted(right)


def _picture(ends: Ends, text: str, left: int, after: dict[int, int | None], right: set[int], got: set[int]) -> Text:
    """The tokens on which the two differ, first, and some others that are legal."""
    differing = [i for i in range(len(ends.vocabulary)) if (i in right) != (i in got)]
    rows = []
    for i in [*differing, *(i for i in after if i not in differing)][:10]:
        marks = " ".join(f"{'yes' if i in ids else 'no':<5}" for ids in (right, got))
        needed = "end" if i == ends.end_id else {None: "∞"}.get(after[i], after[i]) if i in after else "-"
        rows.append(f"\n{i:>4}  {text + ends.vocabulary[i]!r:<24} {marks} {needed}")
    return Text(
        "token, text behind it; right, yours; tokens needed behind it: - is illegal or without text, ∞ never ends, "
        f"at most {left - 1} may come{''.join(rows)}",
        "词元、之后的文本；应为、你的；之后至少还需的词元：-为不合法或没有文本，∞为无法完成，"
        f"至多还可以有{left - 1}个{''.join(rows)}",
    )
