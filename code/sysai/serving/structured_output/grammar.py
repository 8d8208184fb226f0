"""Languages over bytes, and what is left of one behind a byte: the automaton behind constrained decoding.

An expression denotes a set of byte strings. Its derivative by a byte b is the expression of all that may follow b,

    D_b(L) = {w : b w in L},

so that the expressions are the states of an automaton, made as they are met (Brzozowski, JACM 1964). The rest of a
`Sequence` is what a pushdown automaton keeps on its stack: an open bracket puts its closing bracket there. Equal
expressions are one object, so that states can be compared by identity and what is known about one is found again.

A prefix can be completed if and only if its derivative is not `NEVER`: what denotes the empty set is reduced to
`NEVER` when made, from the inside out. A derivative costs time in the length of what it changes, once a state and
byte. Production grammars are compiled ahead and written in C++ or Rust (XGrammar, Dong et al., arXiv 2411.15100;
llguidance).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import reduce
from weakref import WeakValueDictionary


class Expression(ABC):
    """A language. Made by the functions of this module only: they keep equal expressions one object."""

    __slots__ = ("__weakref__", "_derivatives", "first", "nullable")

    nullable: bool  # whether the empty string is in the language
    first: frozenset[int]  # bytes that its strings begin with

    def derivative(self, byte: int) -> "Expression":
        """What may follow `byte`; `NEVER` if nothing in the language begins with it."""
        if byte not in self.first:
            return NEVER
        if byte not in self._derivatives:
            self._derivatives[byte] = self._derive(byte)
        return self._derivatives[byte]

    def follow(self, data: bytes) -> "Expression":
        """What may follow all of `data`."""
        return reduce(Expression.derivative, data, self)

    @abstractmethod
    def _derive(self, byte: int) -> "Expression":
        """The derivative by a byte that is in `first`."""


class Literal(Expression):
    """One string."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data, self.nullable, self.first = data, not data, frozenset(data[:1])

    def _derive(self, byte: int) -> Expression:
        return literal(self.data[1:])


class ByteSet(Expression):
    """One byte of several; none for `NEVER`."""

    __slots__ = ()

    def __init__(self, allowed: frozenset[int]) -> None:
        self.nullable, self.first = False, allowed

    def _derive(self, byte: int) -> Expression:
        return EMPTY


class Sequence(Expression):
    """`head`, which is no sequence, and behind it `tail`."""

    __slots__ = ("head", "tail")

    def __init__(self, head: Expression, tail: Expression) -> None:
        self.head, self.tail = head, tail
        self.nullable = head.nullable and tail.nullable
        self.first = head.first | tail.first if head.nullable else head.first

    def _derive(self, byte: int) -> Expression:
        within = sequence(self.head.derivative(byte), self.tail)
        return choice(within, self.tail.derivative(byte)) if self.head.nullable else within


class Choice(Expression):
    """Any of at least two `options`, none of them a choice."""

    __slots__ = ("options",)

    def __init__(self, options: frozenset[Expression]) -> None:
        self.options = options
        self.nullable = any(option.nullable for option in options)
        self.first = frozenset().union(*(option.first for option in options))

    def _derive(self, byte: int) -> Expression:
        return choice(*(option.derivative(byte) for option in self.options))


class Repeat(Expression):
    """`item`, which is not nullable, from `low` to `high` times; high None for any number."""

    __slots__ = ("high", "item", "low")

    def __init__(self, item: Expression, low: int, high: int | None) -> None:
        self.item, self.low, self.high = item, low, high
        self.nullable, self.first = low == 0, item.first

    def _derive(self, byte: int) -> Expression:
        more = repeat(self.item, max(self.low - 1, 0), None if self.high is None else self.high - 1)
        return sequence(self.item.derivative(byte), more)


_known: WeakValueDictionary[tuple, Expression] = WeakValueDictionary()


def _made(kind: type[Expression], *parts: object) -> Expression:
    """The one expression of this kind with these parts, which are compared by identity where expressions."""
    expression = _known.get((kind, *parts))
    if expression is None:
        expression = kind(*parts)
        expression._derivatives = {}
        _known[kind, *parts] = expression
    return expression


def literal(data: bytes) -> Expression:
    """The string `data`."""
    return _made(Literal, data)


def byte_set(allowed: Iterable[int]) -> Expression:
    """Any one of these bytes."""
    return _made(ByteSet, frozenset(allowed))


EMPTY = literal(b"")  # the empty string
NEVER = byte_set(())  # nothing


def sequence(*parts: Expression) -> Expression:
    """The parts, one behind the other."""
    if NEVER in parts:
        return NEVER
    *parts, tail = [part for part in parts if part is not EMPTY] or [EMPTY]
    for part in reversed(parts):
        heads = []
        while isinstance(part, Sequence):
            heads.append(part.head)
            part = part.tail
        tail = _made(Sequence, part, tail)
        for head in reversed(heads):
            tail = _made(Sequence, head, tail)
    return tail


def choice(*options: Expression) -> Expression:
    """Any of the options."""
    flat: set[Expression] = set()
    for option in options:
        flat |= option.options if isinstance(option, Choice) else {option}
    flat.discard(NEVER)
    if len(flat) > 1:
        return _made(Choice, frozenset(flat))
    return flat.pop() if flat else NEVER


def optional(part: Expression) -> Expression:
    """The part, or nothing."""
    return choice(EMPTY, part)


def repeat(item: Expression, low: int = 0, high: int | None = None) -> Expression:
    """The item, which must not be nullable, from `low` to `high` times."""
    assert not item.nullable, "a repetition of nothing has no end"
    if high is not None and high < low:
        return NEVER
    if high == 0 or item is NEVER:
        return EMPTY if low == 0 else NEVER
    return item if low == high == 1 else _made(Repeat, item, low, high)
