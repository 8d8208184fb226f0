"""Languages over bytes and their derivatives by a byte: the automaton that constrained decoding runs.

An expression denotes a set of byte strings. Its derivative by a byte b is the expression of all that may follow b,

    D_b(L) = {w : b w in L},

so that the expressions are the states of an automaton, made as they are met (Brzozowski, JACM 1964). The tail of a
`Concatenation` is the stack of a pushdown automaton: an open bracket puts its closing bracket there. Equal
expressions are one object, so that states can be compared by identity, and a state's derivatives and masks are found
again.

A prefix can be completed if and only if its derivative is not `NEVER`: an expression of the empty set is reduced to
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
        """The strings that may follow `byte`; `NEVER` if nothing in the language begins with it."""
        if byte not in self.first:
            return NEVER
        if byte not in self._derivatives:
            self._derivatives[byte] = self._derive(byte)
        return self._derivatives[byte]

    def cost(self, byte: int) -> int:
        """How many derivatives `derivative` takes: one of each option of a union, unless it is known."""
        return len(self.options) if isinstance(self, Union) and byte not in self._derivatives else 1

    def follow(self, data: bytes) -> "Expression":
        """The strings that may follow all of `data`."""
        return reduce(Expression.derivative, data, self)

    @abstractmethod
    def _derive(self, byte: int) -> "Expression":
        """The derivative by a byte that is in `first`."""


class Literal(Expression):
    """The language of one string."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data, self.nullable, self.first = data, not data, frozenset(data[:1])

    def _derive(self, byte: int) -> Expression:
        return literal(self.data[1:])


class ByteSet(Expression):
    """Strings of one byte, out of several; out of none for `NEVER`."""

    __slots__ = ()

    def __init__(self, allowed: frozenset[int]) -> None:
        self.nullable, self.first = False, allowed

    def _derive(self, byte: int) -> Expression:
        return EMPTY


class Concatenation(Expression):
    """Strings of `head`, which is no concatenation, each followed by a string of `tail`."""

    __slots__ = ("head", "tail")

    def __init__(self, head: Expression, tail: Expression) -> None:
        self.head, self.tail = head, tail
        self.nullable = head.nullable and tail.nullable
        self.first = head.first | tail.first if head.nullable else head.first

    def _derive(self, byte: int) -> Expression:
        within = concat(self.head.derivative(byte), self.tail)
        return union(within, self.tail.derivative(byte)) if self.head.nullable else within


class Union(Expression):
    """The strings of at least two `options`, none of which is a union."""

    __slots__ = ("options",)

    def __init__(self, options: frozenset[Expression]) -> None:
        self.options = options
        self.nullable = any(option.nullable for option in options)
        self.first = frozenset().union(*(option.first for option in options))

    def _derive(self, byte: int) -> Expression:
        return union(*(option.derivative(byte) for option in self.options))


class Repeat(Expression):
    """`item`, which is not nullable, from `low` to `high` times; high None for any number."""

    __slots__ = ("high", "item", "low")

    def __init__(self, item: Expression, low: int, high: int | None) -> None:
        self.item, self.low, self.high = item, low, high
        self.nullable, self.first = low == 0, item.first

    def _derive(self, byte: int) -> Expression:
        more = repeat(self.item, max(self.low - 1, 0), None if self.high is None else self.high - 1)
        return concat(self.item.derivative(byte), more)


_interned: WeakValueDictionary[tuple, Expression] = WeakValueDictionary()


def _intern(kind: type[Expression], *parts: object) -> Expression:
    """Get the one expression of this kind with these parts; parts that are expressions are compared by identity."""
    expression = _interned.get((kind, *parts))
    if expression is None:
        expression = kind(*parts)
        expression._derivatives = {}
        _interned[kind, *parts] = expression
    return expression


def literal(data: bytes) -> Expression:
    """The language of the string `data` alone."""
    return _intern(Literal, data)


def byte_set(allowed: Iterable[int]) -> Expression:
    """The language of single bytes, those in `allowed`."""
    return _intern(ByteSet, frozenset(allowed))


EMPTY = literal(b"")  # the language of the empty string
NEVER = byte_set(())  # the empty language


def concat(*parts: Expression) -> Expression:
    """Strings of the parts, one after the other."""
    if NEVER in parts:
        return NEVER
    *parts, tail = [part for part in parts if part is not EMPTY] or [EMPTY]
    for part in reversed(parts):
        heads = []  # a part that is a concatenation itself is taken apart: the chain goes down its tails alone
        while isinstance(part, Concatenation):
            heads.append(part.head)
            part = part.tail
        tail = _intern(Concatenation, part, tail)
        for head in reversed(heads):
            tail = _intern(Concatenation, head, tail)
    return tail


def union(*options: Expression) -> Expression:
    """The strings of any of the options."""
    flat: set[Expression] = set()
    for option in options:
        flat |= option.options if isinstance(option, Union) else {option}
    flat.discard(NEVER)
    if len(flat) > 1:
        return _intern(Union, frozenset(flat))
    return flat.pop() if flat else NEVER


def optional(expression: Expression) -> Expression:
    """The strings of an expression, and the empty string."""
    return union(EMPTY, expression)


def nonempty(expression: Expression) -> Expression:
    """The strings of an expression but the empty one."""
    if not expression.nullable:
        return expression
    match expression:
        case Union():
            return union(*map(nonempty, expression.options))
        case Concatenation():
            return union(concat(nonempty(expression.head), expression.tail), nonempty(expression.tail))
        case Repeat():
            return repeat(expression.item, 1, expression.high)
    return NEVER


def repeat(item: Expression, low: int = 0, high: int | None = None) -> Expression:
    """From `low` to `high` strings of the item, which must not be nullable, one after the other."""
    assert not item.nullable, "a repetition of nothing has no end"
    if high is not None and high < low:
        return NEVER
    if high == 0 or item is NEVER:
        return EMPTY if low == 0 else NEVER
    return item if low == high == 1 else _intern(Repeat, item, low, high)
