"""Regular expressions of JSON Schema's `pattern`, and those that its `format` names stand for, over JSON strings.

Of ECMA-262's syntax, what is regular: characters, `.`, classes in brackets, \\d \\w \\s and their opposites,
alternatives, groups, and ? * + {m,n}, greedy or lazy alike; ^ only at the beginning of an alternative of the whole, $
only at its end. Without them anything may stand before or after, as JSON Schema wants it. A character is spelled as
`json.dumps` does; of characters beyond ASCII only those that a pattern names, or all.
"""

import json
import re
from collections.abc import Callable

from sysai.serving.structured_output.grammar import EMPTY, NEVER, Expression, concat, nonempty, optional, repeat, union

_ASCII = frozenset(map(chr, range(128))) - frozenset("\x1c\x1d\x1e\x1f")  # which are space to some and not to others
_OTHERS = "others"  # stands for all characters beyond ASCII
_SOME = "some"  # and this for some of them, as \\w may or may not have; none is written
_DIGITS = frozenset("0123456789")
_WORD = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_CLASSES = {"d": _DIGITS | {_SOME}, "w": _WORD | {_SOME}, "s": frozenset(" \t\n\r\f\v") | {_SOME}}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_BOUNDS = re.compile(r"\{(\d+)(,?)(\d*)\}")
_MOST_REPEATS = 100

_YEAR = r"[12]\d{3}"
_DAY = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+\-]([01]\d|2[0-3]):[0-5]\d)"
_OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_LABEL = r"[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*"
_HOST = rf"{_LABEL}(\.{_LABEL})*"
_ATOM = r"[a-zA-Z0-9_%+\-]+"
FORMATS = {
    "date": rf"^{_YEAR}-{_DAY}$",
    "time": rf"^{_TIME}$",
    "date-time": rf"^{_YEAR}-{_DAY}T{_TIME}$",
    "duration": r"^P(\d{1,9}W|\d{1,9}D(T\d{1,9}H)?|T(\d{1,9}H(\d{1,9}M)?|\d{1,9}M(\d{1,9}S)?|\d{1,9}S))$",
    "email": rf"^{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})+$",
    "hostname": rf"^{_HOST}$",
    "ipv4": rf"^({_OCTET}\.){{3}}{_OCTET}$",
    "ipv6": r"^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$",
    "uri": rf"^https?://{_HOST}(:\d{{1,4}})?(/[a-zA-Z0-9._~\-]*)*$",
    "uuid": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
}


def compile_pattern(pattern: str, text: Callable[[bytes], Expression], others: Expression) -> Expression:
    """The language of what stands between the quotes of a JSON string in which `pattern` is found.

    Args:
        text: the language of a few bytes, if they can be written.
        others: one character beyond ASCII, any.

    Raises:
        ValueError: a pattern that is wrong or not supported.
    """
    return _Parser(pattern, text, others).whole()


def _opposite(members: set[str] | frozenset[str]) -> set[str]:
    """The other characters: of those beyond ASCII all, or none if `members` has any."""
    return set(_ASCII - members) | ({_OTHERS} if members <= _ASCII else set())


class _Parser:
    def __init__(self, pattern: str, text: Callable[[bytes], Expression], others: Expression) -> None:
        self.pattern, self.text, self.others, self.at = pattern, text, others, 0
        self.anything = repeat(self.one_of(_ASCII | {_OTHERS}))

    def whole(self) -> Expression:
        options = [self.anchored()]
        while self.skip("|"):
            options.append(self.anchored())
        self.expect(self.at == len(self.pattern), "it has a ) without (")
        return union(*options)

    def anchored(self) -> Expression:
        before = EMPTY if self.skip("^") else self.anything
        inner = self.sequence()
        return concat(before, inner, EMPTY if self.skip("$") else self.anything)

    def sequence(self) -> Expression:
        parts = []
        while self.peek() not in ("", "|", ")") and not (self.peek() == "$" and self.pattern[self.at + 1 :][:1] in "|"):
            parts.append(self.repeated(self.atom()))
        return concat(*parts)

    def atom(self) -> Expression:
        match sign := self.take():
            case "(":
                if self.skip("?"):
                    self.expect(self.skip(":"), "of the groups with (? only (?: is supported")
                options = [self.sequence()]
                while self.skip("|"):
                    options.append(self.sequence())
                self.expect(self.peek() != "$", "$ is not supported there")
                self.expect(self.skip(")"), "a group has no end")
                return union(*options)
            case "[":
                return self.one_of(self.bracket())
            case ".":
                return self.one_of((_ASCII | {_OTHERS}) - set("\n\r"))
            case "\\":
                return self.one_of(self.escape())
        self.expect(sign not in "^$*+?{", f"{sign} is not supported there")
        return self.one_of({sign})

    def repeated(self, item: Expression) -> Expression:
        low, high = 1, 1
        if self.skip("*"):
            low, high = 0, None
        elif self.skip("+"):
            high = None
        elif self.skip("?"):
            low = 0
        elif found := _BOUNDS.match(self.pattern, self.at):
            self.at = found.end()
            low = int(found[1])
            high = low if not found[2] else int(found[3]) if found[3] else None
            self.expect(max(low, high or 0) <= _MOST_REPEATS, f"it repeats more than {_MOST_REPEATS} times")
            self.expect(high is None or low <= high, "the bounds of a repetition are in the wrong order")
        else:
            return item
        self.skip("?")  # lazy or not, the language is the same
        if item.nullable:
            item, low = nonempty(item), 0
        return optional(item) if (low, high) == (0, 1) else repeat(item, low, high)

    def bracket(self) -> set[str]:
        negated, members, first = self.skip("^"), set(), True
        while first or not self.skip("]"):
            first = False
            low = self.member()
            following = self.pattern[self.at + 1 :][:1]
            if len(low) == 1 and self.peek() == "-" and following not in ("", "]"):
                self.at += 1
                (begin,), high = low, self.member()
                self.expect(len(high) == 1, "a range ends with a class")
                (end,) = high
                self.expect(begin <= end and end < "\x80", "a range is in the wrong order or not of ASCII")
                low = set(map(chr, range(ord(begin), ord(end) + 1)))
            members |= low
        return _opposite(members) if negated else members

    def member(self) -> set[str]:
        sign = self.take()
        return self.escape() if sign == "\\" else {sign}

    def escape(self) -> set[str]:
        sign = self.take()
        if sign in _CLASSES:
            return set(_CLASSES[sign])
        if sign.lower() in _CLASSES:
            return _opposite(_CLASSES[sign.lower()])
        self.expect(sign in _CONTROLS or not sign.isalnum(), f"\\{sign} is not supported")
        return {_CONTROLS.get(sign, sign)}

    def one_of(self, members: set[str] | frozenset[str]) -> Expression:
        """One character of these, in its spelling within a JSON string."""
        spelled = [
            self.text(json.dumps(c, ensure_ascii=False)[1:-1].encode()) for c in sorted(members - {_OTHERS, _SOME})
        ]
        return union(*spelled, self.others if _OTHERS in members else NEVER)

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def take(self) -> str:
        self.expect(self.at < len(self.pattern), "it ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def skip(self, sign: str) -> bool:
        found = self.peek() == sign
        self.at += found
        return found

    def expect(self, condition: bool, fault: str) -> None:
        if not condition:
            raise ValueError(f"the pattern {self.pattern!r} can't be followed: {fault} (at character {self.at})")
