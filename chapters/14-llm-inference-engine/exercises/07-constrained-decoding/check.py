"""Gates on states and masks: legal prefixes are found by patterns on the text, ends by a search over tokens."""

import re
from random import Random

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

State = tuple[int, str]
# No expression contains these, and every text without them, which opens before it closes, begins one.
ILLEGAL = re.compile(r"[^0-9+*/()-]|^[+*/)-]|[0-9]\(|\)[0-9(]|[+*/(-][+*/)-]|(?<![0-9])0[0-9]")
NO_CLOSER = ["1", "(", "))", "+", "2*(", ")+(", "x", ""]  # with one level of parentheses, what opens never ends
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
    example = Ends(EXAMPLE, len(EXAMPLE) - 1, 2)
    for text, left in (("((1", 2), ("((1", 3), ("((1", 4), ("", 6), ("1", 1), ("0", 2), ("(1+", 9), ("1", 0)):
        _check_allowed(trial, text, example, left)
    for left in (3, 9):
        _check_allowed(trial, "1+", Ends(NO_CLOSER, len(NO_CLOSER) - 1, 1), left)
    for _ in range(6):
        max_depth = trial.random.randint(1, 4)
        ends = _completable(trial.random, max_depth)
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
        tokens |= {
            random.choice(["00", "01", "7("]),
            random.choice(["+)", "()", ")("]),
            random.choice(["x", "1 ", "(a"]),
        }
        vocabulary = [*sorted(tokens), "", ""]
        random.shuffle(vocabulary)
        ends = Ends(vocabulary, vocabulary.index(""), max_depth)
        if ends.fewest("") is not None:
            return ends


def _check_advances(trial: Trial) -> None:
    for text in ("(12", "1+", "0", "00", "", ")", "((", "(((", "10*(2)", "1)", "()", "x"):
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
    expected = _state(before + text) if _legal(before + text, max_depth) else None
    first_bad = next((n for n in range(1, len(text) + 1) if not _legal(before + text[:n], max_depth)), None)
    trial.expect_type(got, tuple | None)
    if expected is None:
        at = first_bad - 1
        hint = Text(
            f"Character {at} ({text[at]!r}) can't stand there. All must be legal, not only the first.",
            f"{at}号字符（{text[at]!r}）不能出现在那里。每个字符都要合法，而不只是第一个。",
        )
        if _legal(before + text, max_depth + len(text)):
            hint = Text(
                "More than max_depth parentheses are open on the way, even if some are closed again.",
                "途中打开的括号超过了max_depth个，即使后来又闭合了一些。",
            )
        message = Text(
            f"No expression goes on so: None, not {got!r}.", f"没有表达式会这样继续：应为None，而不是{got!r}。"
        )
        trial.expect(got is None, message, hint)
        return
    message = Text(
        f"An expression can go on so: the state is {expected!r}, not None.",
        f"表达式可以这样继续：状态应为{expected!r}，而不是None。",
    )
    trial.expect(got is not None, message)
    hints = [
        Hint(
            lambda got: {got[-1:], expected[-1:]} == {("zero",), ("number",)},
            Text(
                "A number that begins with another digit may end in 0 and go on; only the number 0 itself is 'zero'.",
                "以其他数字开头的数，即使末位是0也还能继续；只有0这个数本身才是“zero”。",
            ),
        ),
    ]
    trial.expect_equal(got, expected, what=Text("The state", "状态"), hints=hints)


def _walk(trial: Trial, ends: Ends, left: int) -> None:
    """From the start to the end by allowed tokens, drawn."""
    text = ""
    while True:
        right = _check_allowed(trial, text, ends, left)
        if not right:
            return  # the budget was too small from the start
        token = trial.random.choice(right)
        if token == ends.end_id:
            return
        text, left = text + ends.vocabulary[token], left - 1


def _check_allowed(trial: Trial, text: str, ends: Ends, left: int) -> list[int]:
    state, vocabulary, end_id, max_depth = _state(text), ends.vocabulary, ends.end_id, ends.max_depth
    got = trial.call("allowed", state, vocabulary, end_id=end_id, tokens_left=left, max_depth=max_depth)
    trial.expect(
        type(got) is list and len(got) == len(vocabulary) and all(type(x) is bool for x in got),
        Text(
            f"Return a list of {len(vocabulary)} bools, one for each token.",
            f"应返回{len(vocabulary)}个bool的列表，每个词元一个。",
        ),
    )
    after: dict[int, int | None] = {}  # tokens needed behind each token that is legal
    for i, token in enumerate(vocabulary):
        if token and i != end_id and _legal(text + token, max_depth):
            after[i] = ends.fewest(text + token)
    can_end = state[0] == 0 and state[1] != "operand"
    end = [end_id] if can_end and left else []
    right = sorted([*end, *(i for i, n in after.items() if n is not None and n < left)])
    tokens = [i for i, ok in enumerate(got) if ok]
    trial.picture(_picture(ends, text, left, after, right, tokens))
    what = Text(
        f"The tokens allowed behind {text!r} with {left} left", f"在{text!r}之后、还剩{left}个词元时，允许的词元"
    )
    trial.expect_equal(tokens, right, what=what, hints=_hints(ends, text, left, after, end))
    return right


def _hints(ends: Ends, text: str, left: int, after: dict[int, int | None], end: list[int]) -> list[Hint]:
    vocabulary, end_id = ends.vocabulary, ends.end_id

    def at_most(most: float) -> list[int]:
        return sorted([*end, *(i for i, n in after.items() if n is not None and n <= most)])

    def closed_one_by_one(i: int) -> int:
        opened, last = _state(text + vocabulary[i])
        return opened + (last == "operand") + 1

    special = {i for i, token in enumerate(vocabulary) if not token} - {end_id}
    begin = {i for i, token in enumerate(vocabulary) if token and _legal(text + token[0], ends.max_depth)}
    return [
        Hint(
            lambda got: bool(special & set(got)),
            Text(
                "You allow a special token without text: it changes nothing, and takes one of the tokens left.",
                "你允许了没有文本的特殊词元：它什么也不改变，却用掉一个剩余的词元。",
            ),
        ),
        Hint(
            lambda got: end_id in got and not end,
            Text(
                "You allow the end token where the text is not a whole expression, or where no token is left.",
                "文本还不是完整的表达式，或者已经没有剩余词元，你却允许了结束词元。",
            ),
        ),
        Hint(
            lambda got: bool(end) and end_id not in got,
            Text("The text is a whole expression: the end token is allowed.", "文本已是完整的表达式：应允许结束词元。"),
        ),
        Hint(
            lambda got: {*got} - {end_id} == begin and begin != set(after),
            Text(
                "You looked at the first character of each token. All of them must be legal, one behind the other.",
                "你只看了每个词元的第一个字符。它的字符必须依次全都合法。",
            ),
        ),
        Hint(
            sorted([*end, *after]),
            Text(
                "All of these are legal now, but behind some the way to the end is longer than tokens_left, or "
                "there is "
                "none. Look ahead.",
                "这些词元此刻都合法，但其中有些之后，走到结束的路比tokens_left长，或者根本没有路。要往前看。",
            ),
        ),
        Hint(
            at_most(float("inf")),
            Text(
                "Behind each of these there is a way to the end, but it may be longer than tokens_left.",
                "这些词元之后都有路走到结束，但可能比tokens_left长。",
            ),
        ),
        Hint(
            at_most(left),
            Text(
                "One token too many: tokens_left counts this token as well as the end token.",
                "多用了一个词元：tokens_left既包括这个词元，也包括结束词元。",
            ),
        ),
        Hint(
            at_most(left - 2),
            Text("One token too few: is the end token counted twice?", "少用了一个词元：结束词元是否算了两次？"),
        ),
        Hint(
            sorted([*end, *(i for i in after if closed_one_by_one(i) < left)]),
            Text(
                "You counted a token for each parenthesis that is open. A token may close several, and perhaps none "
                "closes one alone: what the vocabulary has, decides.",
                "你给每个打开的括号算了一个词元。一个词元可能闭合好几个，也可能没有词元只闭合一个：要看词表里有什么。",
            ),
        ),
        Hint(
            lambda got: not set(got) <= {*after, end_id},
            Text(
                "You allow a token that makes the text illegal at once.", "你允许的词元中，有一个使文本立即变得不合法。"
            ),
        ),
    ]


def _picture(
    ends: Ends, text: str, left: int, after: dict[int, int | None], right: list[int], got: list[int]
) -> dict[str, str]:
    """The tokens on which the two differ, first, and some others that are legal."""
    differing = sorted(set(right) ^ set(got))
    shown = [*differing, *(i for i in after if i not in differing)][:10]
    rows = Text([], [])
    for i in shown:
        needed = after.get(i)
        reasons = Text(f"{needed} more", f"还要{needed}个")
        if i == ends.end_id:
            reasons = Text("the end", "结束")
        elif not ends.vocabulary[i]:
            reasons = Text("no text", "没有文本")
        elif i not in after:
            reasons = Text("illegal", "不合法")
        elif needed is None:
            reasons = Text("never ends", "无法完成")
        marks = " ".join(f"{'yes' if i in ids else 'no':<5}" for ids in (right, got))
        for language, reason in reasons.items():
            rows[language].append(f"{i:>4}  {text + ends.vocabulary[i]!r:<24} {marks} {reason}")
    return Text(
        f"token, text behind it; right, yours; tokens needed behind it ({left - 1} may come)\n" + "\n".join(rows["en"]),
        f"词元、之后的文本；应为、你的；之后至少还需的词元（还可以有{left - 1}个）\n" + "\n".join(rows["zh"]),
    )
