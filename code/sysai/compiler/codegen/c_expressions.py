"""Expressions in C: for one element, or for several lanes of a vectorized loop at once.

In a vectorized loop an expression that does not depend on the loop's variable stays a scalar, and is copied to all
lanes where it meets a vector. A load whose place grows by one from lane to lane is a vector load; any other is
gathered lane by lane, and so is whatever has no vector form.

    x[i, k] with lanes over k    load_f32x16(x + (i * 64 + k))
    x[i]    with lanes over k    splat_f32x16(x[i])
    x[k, i] with lanes over k    (f32x16){x[k * 64 + i], x[(k + 1) * 64 + i], ...}
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sysai.compiler.codegen.c_text import COMPUTED, COMPUTED_C, STORED, SYMBOLS, bare, constant, index_sum
from sysai.compiler.tir.arith import Ranges, affine, proves
from sysai.compiler.tir.expr import (
    COMPARISONS,
    INDEX,
    LOGIC,
    Binary,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Operand,
    Select,
    Var,
    children,
    row_major,
    substitute,
    walk,
)
from sysai.compiler.tir.polynomial import polynomial

_KEEP_NATURAL = ("add", "mul", "floordiv", "mod", "min", "max")
"""Of numbers that are not negative they give such a number."""
_AGAINST_ZERO = {"lt": ">", "le": ">=", "eq": "==", "ne": "!="}


@dataclass(frozen=True)
class Lanes:
    """Iterations `base` to `base + count` of the vectorized loop over `var`."""

    var: Var
    base: int
    count: int

    @property
    def start(self) -> Mapping[Var, Operand]:
        """The variable's value in the first lane."""
        return {self.var: Const(self.base, INDEX)}

    def lane(self, number: int) -> Mapping[Var, Operand]:
        """The variable's value in one lane."""
        return {self.var: Const(self.base + number, INDEX)}


class Expressions:
    """Prints expressions.

    Args:
        name: the C name of a variable, or of a buffer.
        register: the C expression for an element of a buffer that is kept in registers, or for some lanes of it, given
            the constant offset and the number of lanes; None for other buffers.
    """

    def __init__(
        self, name: Callable[[Var | Buffer], str], register: Callable[[Buffer, Expr, int], str | None]
    ) -> None:
        self.name, self.register = name, register
        self.ranges = {}
        self._steps: dict[tuple[Expr, Var], int | None] = {}

    @property
    def ranges(self) -> Ranges:
        """What the variables are between at the place that is printed."""
        return self._ranges

    @ranges.setter
    def ranges(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._naturals: dict[Expr, bool] = {}

    def step(self, index: Expr, var: Var) -> int | None:
        """By how much an integer expression grows from lane to lane; None where that changes or is not known."""
        if (index, var) not in self._steps:
            split = affine(index, [var])
            factor = split[0].get(var, Const(0, INDEX)) if split else None
            self._steps[index, var] = factor.value if isinstance(factor, Const) else None
        return self._steps[index, var]

    # ---- one element ----

    def scalar(self, expr: Expr) -> str:
        """The C expression for one value."""
        match expr:
            case Const(value, dtype):
                return constant(value, dtype)
            case Var():
                return self.name(expr)
            case Load(buffer, indices):
                return self._scalar_load(buffer, row_major(indices, buffer.shape))
            case Binary(op, a, b):
                return self._scalar_binary(op, a, b)
            case Call(function, argument):
                return self._scalar_call(function, argument)
            case Select(condition, a, b):
                return f"({self.scalar(condition)} ? {self.scalar(a)} : {self.scalar(b)})"
            case Cast(dtype, value):
                return self._scalar_cast(dtype, value)
        raise TypeError(f"not an expression: {expr!r}")

    def _scalar_load(self, buffer: Buffer, place: Expr) -> str:
        kept = self.register(buffer, place, 1)
        if kept is not None:
            return kept
        element = f"{self.name(buffer)}[{self.plain(place)}]"
        if buffer.dtype == "bfloat16":
            return f"from_bf16({element})"
        return f"(float){element}" if buffer.dtype == "float16" else element

    def _scalar_binary(self, op: str, a: Expr, b: Expr) -> str:
        left, right, kind = self.scalar(a), self.scalar(b), COMPUTED[a.dtype]
        if op in COMPARISONS:
            return f"({left} {COMPARISONS[op]} {right})"
        if op in LOGIC:
            return f"({left} {'&&' if op == 'and' else '||'} {right})"
        if op in ("min", "max"):
            return f"{op}_{kind}({left}, {right})"
        if op in ("floordiv", "mod"):
            if not a.dtype.startswith("int"):
                return f"{op}_{kind}({left}, {right})"
            if self._natural(a) and self._natural(b):
                return f"({left} {'/' if op == 'floordiv' else '%'} {right})"
            return f"({COMPUTED_C[kind]}){op}_i64({left}, {right})"
        if a.dtype == "bool":
            return f"({left} {'|' if op == 'add' else '&'} {right})"
        if a.dtype == INDEX:
            return index_sum(op, (a, left), (b, right))
        text = f"({left} {SYMBOLS[op]} {right})"
        return f"(int8_t){text}" if a.dtype == "int8" else text

    def _natural(self, expr: Expr) -> bool:
        """Whether an index is 0 or more: of such ones, C's / and % round as floordiv and mod do."""
        if expr.dtype != INDEX:
            return False
        if expr not in self._naturals:
            keeps = isinstance(expr, Binary) and expr.op in _KEEP_NATURAL
            evident = keeps and self._natural(expr.a) and self._natural(expr.b)
            self._naturals[expr] = evident or proves(expr >= 0, self.ranges)
        return self._naturals[expr]

    def _scalar_call(self, function: str, argument: Expr) -> str:
        text, kind = self.scalar(argument), COMPUTED[argument.dtype]
        if kind.startswith("f"):
            return f"{function}_{kind}({text})"
        if function == "abs":
            return f"({COMPUTED_C[kind]})llabs({text})"
        if function == "floor":
            return text
        raise ValueError(f"{function} of {argument.dtype}: cast the operand to a float first")

    def _scalar_cast(self, dtype: str, value: Expr) -> str:
        text, of = self.scalar(value), value.dtype
        if dtype == of:
            return text
        if dtype == "bool":
            return f"({text} != 0)"
        if dtype in ("float16", "bfloat16"):
            return f"round_{STORED[dtype]}((float){text})"
        if dtype == "int8" and of.startswith(("float", "bfloat")):
            return f"(int8_t)(int32_t){text}"
        return f"({COMPUTED_C[COMPUTED[dtype]]}){text}"

    def plain(self, index: Expr) -> str:
        """An index without the outermost parentheses."""
        return bare(self.scalar(index))

    # ---- several lanes ----

    def vector(self, expr: Expr, lanes: Lanes) -> str:
        """The C expression for a vector of `lanes.count` values of a loop's iterations; masks for bool."""
        if lanes.var not in walk(expr):
            return self._splat(expr, self.scalar(expr), lanes)
        match expr:
            case Load(buffer, indices):
                return self._vector_load(expr, buffer, row_major(indices, buffer.shape), lanes)
            case Binary(op, a, b):
                return self._vector_binary(expr, op, a, b, lanes)
            case Call(function, argument) if COMPUTED[argument.dtype].startswith("f"):
                return f"{function}_{self._kind(expr, lanes)}({self.vector(argument, lanes)})"
            case Select(condition, a, b):
                return self._vector_select(expr, condition, a, b, lanes)
            case Cast(dtype, value):
                return self._vector_cast(expr, dtype, value, lanes)
        return self._gather(expr, lanes)

    def _kind(self, expr: Expr, lanes: Lanes) -> str:
        return f"{COMPUTED[expr.dtype]}x{lanes.count}"

    def _splat(self, expr: Expr, text: str, lanes: Lanes) -> str:
        return f"splat_{self._kind(expr, lanes)}({'-' if expr.dtype == 'bool' else ''}{text})"

    def _gather(self, expr: Expr, lanes: Lanes) -> str:
        sign = "-" if expr.dtype == "bool" else ""
        values = (sign + self.scalar(substitute(expr, lanes.lane(number))) for number in range(lanes.count))
        return f"({self._kind(expr, lanes)}){{{', '.join(values)}}}"

    def _vector_load(self, load: Load, buffer: Buffer, place: Expr, lanes: Lanes) -> str:
        if self.step(place, lanes.var) == 1:
            first = substitute(place, lanes.start)
            kept = self.register(buffer, first, lanes.count)
            if kept is not None:
                return kept
            return f"load_{STORED[buffer.dtype]}x{lanes.count}({self.name(buffer)} + {self.plain(first)})"
        return self._gather(load, lanes)

    def _vector_binary(self, expr: Expr, op: str, a: Expr, b: Expr, lanes: Lanes) -> str:
        kind = COMPUTED[a.dtype]
        if op in COMPARISONS and a.dtype == INDEX:
            compared = self._index_comparison(op, a, b, lanes)
            if compared is not None:
                return compared
        if op in ("floordiv", "mod"):
            return self._gather(expr, lanes)
        if op in LOGIC and not self._always_defined(b):
            return self._gather(expr, lanes)
        left, right = self.vector(a, lanes), self.vector(b, lanes)
        if op in COMPARISONS:
            if a.dtype == "bool":
                left, right = right, left  # as a mask, true is -1
            compared = f"({left} {COMPARISONS[op]} {right})"
            return compared if kind in ("f32", "i32") else f"__builtin_convertvector({compared}, i32x{lanes.count})"
        if op in LOGIC:
            return f"({left} {'&' if op == 'and' else '|'} {right})"
        if a.dtype == "bool":
            return f"({left} {'|' if op in ('add', 'max') else '&'} {right})"
        if op in ("min", "max"):
            return f"{op}_{self._kind(a, lanes)}({left}, {right})"
        return f"({left} {SYMBOLS[op]} {right})"

    def _index_comparison(self, op: str, a: Expr, b: Expr, lanes: Lanes) -> str | None:
        """A comparison of sums of indices, in 32 bits: of a gap that is wide only the sign counts."""
        gap = b - a
        step = self.step(gap, lanes.var)
        if step is None:
            return None
        first = self.scalar(substitute(gap, lanes.start))
        steps = ", ".join(str(step * number) for number in range(lanes.count))
        kind = f"i32x{lanes.count}"
        return f"((splat_{kind}(as_i32({first})) + ({kind}){{{steps}}}) {_AGAINST_ZERO[op]} 0)"

    def _vector_select(self, expr: Select, condition: Expr, a: Expr, b: Expr, lanes: Lanes) -> str:
        if lanes.var not in walk(condition) or self._uniform(condition, lanes):
            first = self.scalar(substitute(condition, lanes.start))
            return f"({first} ? {self.vector(a, lanes)} : {self.vector(b, lanes)})"
        if not (self._always_defined(a) and self._always_defined(b)):
            return self._gather(expr, lanes)
        mask = self.vector(condition, lanes)
        return f"select_{self._kind(expr, lanes)}({mask}, {self.vector(a, lanes)}, {self.vector(b, lanes)})"

    def _uniform(self, condition: Expr, lanes: Lanes) -> bool:
        """Whether an order of indices surely is the same in all lanes, as that of 16 i + lane and 32 in 16 lanes.

        With a gap of m q + r + lane * step, the first lane and the last have to ask the same of the unknown q.
        """
        match condition:
            case Binary("lt" | "le" as op, a, b) if a.dtype == INDEX:
                step = self.step(b - a, lanes.var)
                gap = polynomial(substitute(b - a, lanes.start)) - (op == "lt")
                unit = math.gcd(*(factor for product, factor in gap.terms.items() if product))
                ends = (gap.offset, gap.offset + (step or 0) * (lanes.count - 1))
                return step is not None and unit > 0 and ends[0] // unit == ends[1] // unit
        return False

    def _vector_cast(self, expr: Cast, dtype: str, value: Expr, lanes: Lanes) -> str:
        text, to, of = self.vector(value, lanes), self._kind(expr, lanes), self._kind(value, lanes)
        if dtype == value.dtype:
            return text
        if dtype == "bool":
            nonzero = f"({text} != 0)"
            return nonzero if of.startswith(("f32", "i32")) else f"__builtin_convertvector({nonzero}, {to})"
        if value.dtype == "bool":
            text = f"-{text}"
        if value.dtype == "int8" and to.startswith(("f32", "i32")):
            text, of = f"widen_i8x{lanes.count}({text})", f"i32x{lanes.count}"
        if dtype == "int8" and of.startswith("f"):
            text = f"__builtin_convertvector({text}, i32x{lanes.count})"
        converted = text if to == of else f"__builtin_convertvector({text}, {to})"
        return f"round_{STORED[dtype]}x{lanes.count}({converted})" if dtype in ("float16", "bfloat16") else converted

    def _always_defined(self, expr: Expr) -> bool:
        """Whether evaluating does no harm where it is not asked for: no load outside, no division of integers."""
        match expr:
            case Binary("floordiv" | "mod", a, b) if a.dtype.startswith("int"):
                return proves(b >= Const(1, b.dtype), self.ranges) and self._always_defined(a)
            case Load(buffer, indices):
                for index, length in zip(indices, buffer.shape, strict=True):
                    if not (proves(index >= 0, self.ranges) and proves(index < length, self.ranges)):
                        return False
        return all(map(self._always_defined, children(expr)))
