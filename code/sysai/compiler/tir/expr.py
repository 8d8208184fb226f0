"""Scalar expressions: the value of one element, or an index.

An expression is an immutable tree of the classes below; two trees that look alike are equal. Index expressions
are integers (`int64`): loop variables, sizes that are known only at run time, and arithmetic on them. Value
expressions have the dtype of their loads. Python operators build trees (`i * 4 + j`, `x < y`), and fold
constants; `/` is a division of floats, `//` and `%` round towards minus infinity, as Python's do.

Halide's and TVM's expressions are of the same kind; theirs also carry vector lanes, which here come from the loop.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

INDEX = "int64"
FLOATS = ("float32", "float64", "float16", "bfloat16")
HALF = ("float16", "bfloat16")
DTYPES = (*FLOATS, "int64", "int32", "int8", "bool")
SCOPES = ("global", "local", "shared")
"""Where a buffer lives, see Buffer."""
ITEM_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "bool": 1}
"""Bytes of an element in memory, by dtype."""

Number = int | float | bool
LARGEST_FLOAT32 = (2 - 2**-24) * 2.0**127
"""Numbers from here on round to infinity."""


def _operator(op: str) -> "Callable[[Expr, Operand], Expr]":
    return lambda self, other: binary(op, self, other)


def _reflected(op: str) -> "Callable[[Expr, Operand], Expr]":
    return lambda self, other: binary(op, other, self)


class Expr:
    """Base of all expressions; `dtype` is the type of the value, `operands` names the attributes that are operands."""

    dtype: str
    operands: tuple[str, ...] = ()

    __add__, __radd__ = _operator("add"), _reflected("add")
    __sub__, __rsub__ = _operator("sub"), _reflected("sub")
    __mul__, __rmul__ = _operator("mul"), _reflected("mul")
    __truediv__, __rtruediv__ = _operator("div"), _reflected("div")
    __floordiv__, __mod__ = _operator("floordiv"), _operator("mod")
    __lt__, __gt__ = _operator("lt"), _reflected("lt")
    __le__, __ge__ = _operator("le"), _reflected("le")

    def __neg__(self) -> "Expr":
        return binary("sub", Const(0 if self.dtype == INDEX else 0.0, self.dtype), self)

    def __str__(self) -> str:
        return print_expr(self)

    def __repr__(self) -> str:
        return f"<{print_expr(self)}>"


Operand = Expr | Number


def _node(cls: type) -> type:
    """A frozen dataclass whose hash is computed once: trees are keys of many tables, and are deep."""
    cls = dataclass(frozen=True, repr=False)(cls)
    compute = cls.__hash__

    def cached(self: object) -> int:
        known_hash = self.__dict__.get("hash")
        if known_hash is None:
            known_hash = self.__dict__["hash"] = compute(self)
        return known_hash

    cls.__hash__ = cached
    return cls


@_node
class Const(Expr):
    """A number; 0.0 and -0.0 are two."""

    value: Number
    dtype: str

    def __eq__(self, other: object) -> bool:
        if self is other or type(other) is not Const:
            return self is other
        same = self.value == other.value and self.dtype == other.dtype
        return same and (self.value != 0 or math.copysign(1, self.value) == math.copysign(1, other.value))


@_node
class Var(Expr):
    """An integer with a name: a loop variable, an axis of a block, or a size that is a parameter."""

    name: str
    dtype: str = INDEX


@_node
class Buffer:
    """A dense row-major array.

    `scope` says where it lives: "global" (memory that the caller or the planner gives), "local" (the stack or the
    registers of one core; its shape is constant after lowering), "shared" (a GPU's shared memory).
    """

    name: str
    shape: tuple[Expr, ...]
    dtype: str = "float32"
    scope: str = "global"

    def __getitem__(self, indices: "Operand | tuple[Operand, ...]") -> "Load":
        indices = indices if isinstance(indices, tuple) else (indices,)
        return Load(self, tuple(as_expr(index) for index in indices))


@_node
class Load(Expr):
    """An element of a buffer."""

    buffer: Buffer
    indices: tuple[Expr, ...]
    dtype = property(lambda self: self.buffer.dtype)


@_node
class Binary(Expr):
    """One of OPERATORS on two operands of the same dtype; comparisons and logic give bool."""

    op: str
    a: Expr
    b: Expr
    operands = ("a", "b")
    dtype = property(lambda self: "bool" if self.op in COMPARISONS or self.op in LOGIC else self.a.dtype)


@_node
class Call(Expr):
    """A function of MATH, of one operand, of the same dtype."""

    function: str
    argument: Expr
    operands = ("argument",)
    dtype = property(lambda self: self.argument.dtype)


@_node
class Select(Expr):
    """`a` where `condition` holds, else `b`; only the chosen one is evaluated."""

    condition: Expr
    a: Expr
    b: Expr
    operands = ("condition", "a", "b")
    dtype = property(lambda self: self.a.dtype)


@_node
class Cast(Expr):
    """The value in another dtype, rounded as C and torch do."""

    dtype: str
    value: Expr
    operands = ("value",)


TRUE, FALSE = Const(True, "bool"), Const(False, "bool")
ZERO, ONE = Const(0, INDEX), Const(1, INDEX)


class Operator(NamedTuple):
    """A binary operator: its symbol in Python, how tightly it binds, and the function of Python numbers."""

    symbol: str | None
    precedence: int
    function: Callable[[Number, Number], Number]


OPERATORS = {
    "or": Operator("or", 1, lambda a, b: a or b),
    "and": Operator("and", 2, lambda a, b: a and b),
    "lt": Operator("<", 3, operator.lt),
    "le": Operator("<=", 3, operator.le),
    "eq": Operator("==", 3, operator.eq),
    "ne": Operator("!=", 3, operator.ne),
    "add": Operator("+", 4, operator.add),
    "sub": Operator("-", 4, operator.sub),
    "mul": Operator("*", 5, operator.mul),
    "div": Operator("/", 5, operator.truediv),
    "floordiv": Operator("//", 5, operator.floordiv),
    "mod": Operator("%", 5, operator.mod),
    "min": Operator(None, 6, min),
    "max": Operator(None, 6, max),
    "within": Operator(None, 7, lambda index, _: index),
}
"""Minimum and maximum have no symbol; with a NaN operand they give NaN, and of equal ones (0 and -0) the first, as
torch's do. within(i, n) is i, an index that has been read, where 0 <= i < n; else a kernel reports an IndexError."""


def _symbols(*precedences: int) -> dict[str, str | None]:
    return {name: row.symbol for name, row in OPERATORS.items() if row.precedence in precedences}


LOGIC, COMPARISONS, ARITHMETIC, EXTREMES = _symbols(1, 2), _symbols(3), _symbols(4, 5), _symbols(6)
MATH = ("exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sigmoid", "sin", "cos", "abs", "floor", "pow2", "nonzero")
"""Functions of Call, as torch's functions of these names; pow2(x) is 2 ** x. nonzero(x) is x, an integer that divides
another; if it is 0, a kernel reports a RuntimeError, as torch does."""


def representable(value: Number, dtype: str) -> Number:
    """A number as arithmetic in a dtype takes it: integers wrap around, floats beyond float64 or float32 are infinite.

    Numbers of 16 bits are computed with in float32, also by torch, so that a scalar operand may lie beyond their range.
    """
    if dtype in FLOATS:
        largest = math.inf if dtype == "float64" else LARGEST_FLOAT32
        return math.copysign(math.inf, value) if abs(value) > largest else float(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    half = 2 ** (8 * ITEM_BYTES[dtype] - 1)
    return (value + half) % (2 * half) - half


def as_expr(value: Operand, dtype: str = INDEX) -> Expr:
    """A Python number as a constant of `dtype`; an expression as it is."""
    return value if isinstance(value, Expr) else Const(value, dtype)


def binary(op: str, a: Operand, b: Operand) -> Expr:
    """`a op b`, where a Python number takes the dtype of the other operand; constants of integers are folded.

    Raises:
        TypeError: the operands' dtypes differ, or the operation does not exist.
    """
    if op not in OPERATORS:
        raise TypeError(f"no binary operation {op!r}")
    dtype = a.dtype if isinstance(a, Expr) else b.dtype if isinstance(b, Expr) else INDEX
    a, b = as_expr(a, dtype), as_expr(b, dtype)
    if a.dtype != b.dtype:
        raise TypeError(f"{a} is {a.dtype} and {b} is {b.dtype}: cast one of them before `{op}`")
    folds = isinstance(a, Const) and isinstance(b, Const) and a.dtype in (INDEX, "bool") and op != "div"
    if folds and not _fails(op, a.value, b.value):
        value = OPERATORS[op].function(a.value, b.value)
        return Const(value, "bool" if op in COMPARISONS or op in LOGIC else a.dtype)
    if a.dtype == INDEX:
        return _without_neutral(op, a, b)
    return Binary(op, a, b)


def _fails(op: str, a: Number, b: Number) -> bool:
    return b == 0 if op in ("floordiv", "mod") else op == "within" and not 0 <= a < b


def _without_neutral(op: str, a: Expr, b: Expr) -> Expr:
    left, right = (operand.value if isinstance(operand, Const) else None for operand in (a, b))
    match op, left, right:
        case ("add", 0, _) | ("mul", 1, _):
            return b
        case ("add" | "sub", _, 0) | ("mul" | "floordiv", _, 1):
            return a
        case ("mul", 0, _) | ("mul", _, 0) | ("mod", _, 1):
            return ZERO
    return Binary(op, a, b)


def ceildiv(a: Expr, b: int) -> Expr:
    """How many groups of `b` hold `a` things."""
    return (a + (b - 1)) // b


def row_major(indices: Iterable[Expr], shape: Iterable[Expr]) -> Expr:
    """The row-major offset of the element at `indices`: how many elements stand in memory before it."""
    offset: Expr = ZERO
    for index, length in zip(indices, shape, strict=True):
        offset = offset * length + index
    return offset


def children(expr: Expr) -> tuple[Expr, ...]:
    """The operands of an expression, in order."""
    return expr.indices if isinstance(expr, Load) else tuple([getattr(expr, name) for name in expr.operands])


def rebuild(expr: Expr, operands: tuple[Expr, ...]) -> Expr:
    """The same expression with other operands; a constant where they are."""
    match expr:
        case Load(buffer, _):
            return Load(buffer, operands)
        case Binary(op, _, _):
            return binary(op, *operands)
    return replace(expr, **dict(zip(expr.operands, operands, strict=True)))


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and all that it is made of, itself first."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def variables(*exprs: Operand) -> set[Var]:
    """The variables of expressions; numbers have none."""
    return {node for expr in exprs if isinstance(expr, Expr) for node in walk(expr) if isinstance(node, Var)}


def depends_on_data(expr: Expr) -> bool:
    """Whether the expression reads a buffer."""
    return any(isinstance(node, Load) for node in walk(expr))


def transform(expr: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """Rebuild from the leaves up; `change` gives a replacement for a node whose operands are done, or None."""
    operands = children(expr)
    changed = tuple(transform(operand, change) for operand in operands)
    if changed != operands:
        expr = rebuild(expr, changed)
    replacement = change(expr)
    return expr if replacement is None else replacement


def substitute(expr: Expr, values: Mapping[Var, Operand]) -> Expr:
    """The expression with variables replaced by values."""
    return transform(expr, lambda node: as_expr(values[node]) if isinstance(node, Var) and node in values else None)


def print_expr(expr: Expr, precedence: int = 0) -> str:
    """The expression as `text.parse` reads it: in Python's syntax, constants other than integers with their dtype.

    Parentheses stand where the operator around, of `precedence`, would bind the operands of this one.
    """
    match expr:
        case Const(value, dtype):
            if dtype == INDEX:
                return str(value)
            if dtype == "bool":
                return str(bool(value))
            number = f"'{value}'" if isinstance(value, float) and not math.isfinite(value) else repr(value)
            return f"{dtype}({number})"
        case Var(name):
            return name
        case Load(buffer, indices):
            return f"{buffer.name}[{', '.join(map(print_expr, indices)) or '()'}]"
        case Binary(op, a, b):
            symbol, own, _ = OPERATORS[op]
            if symbol is None:
                return f"{op}({print_expr(a)}, {print_expr(b)})"
            left = own + 1 if op in COMPARISONS else own
            text = f"{print_expr(a, left)} {symbol} {print_expr(b, own + 1)}"
            return f"({text})" if own < precedence else text
        case Call(function, argument):
            return f"{function}({print_expr(argument)})"
        case Select(condition, a, b):
            return f"select({print_expr(condition)}, {print_expr(a)}, {print_expr(b)})"
        case Cast(dtype, value):
            return f"cast({dtype}, {print_expr(value)})"
    raise TypeError(f"not an expression: {expr!r}")


def conjunction(*conditions: Expr) -> Expr:
    """`a and b and ...`, where TRUE and conditions that repeat the one before are left out; TRUE if there are none."""

    def both(a: Expr, b: Expr) -> Expr:
        if TRUE in (a, b):
            return b if a == TRUE else a
        return a if a == b else binary("and", a, b)

    return reduce(both, conditions, TRUE)


def conjuncts(condition: Expr) -> tuple[Expr, ...]:
    """The parts of a conjunction."""
    match condition:
        case Binary("and", a, b):
            return *conjuncts(a), *conjuncts(b)
    return () if condition == TRUE else (condition,)


def opposite(condition: Expr) -> Expr | None:
    """The condition that holds where this one does not; None where it cannot be written."""
    match condition:
        case Const(value, "bool"):
            return Const(not value, "bool")
        case Binary("lt" | "le" as op, a, b) if a.dtype.startswith("int"):
            return binary("le" if op == "lt" else "lt", b, a)
        case Binary("eq" | "ne" as op, a, b):
            return binary("ne" if op == "eq" else "eq", a, b)
        case Binary("and" | "or" as op, a, b):
            left, right = opposite(a), opposite(b)
            return None if left is None or right is None else binary("or" if op == "and" else "and", left, right)
    return None
