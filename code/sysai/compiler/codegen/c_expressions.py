"""Expressions in C: for one element, or for several lanes of a vectorized loop at once.

In a vectorized loop an expression that does not depend on the loop's variable stays a scalar, and is copied to all
lanes where it meets a vector. A load whose offset grows by one from lane to lane is a vector load; any other is
gathered lane by lane, and so is whatever has no vector form.

    x[i, k] with lanes over k    load_f32x16(x + (i * 64 + k))
    x[i]    with lanes over k    splat_f32x16(x[i])
    x[k, i] with lanes over k    (f32x16){x[k * 64 + i], x[(k + 1) * 64 + i], ...}
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sysai.compiler import tir
from sysai.compiler.tir.arith import Ranges, affine, proves
from sysai.compiler.tir.polynomial import polynomial

C_TYPES = {"float32": "float", "float64": "double", "float16": "_Float16", "bfloat16": "uint16_t", "int64": "int64_t",
           "int32": "int32_t", "int8": "int8_t", "bool": "uint8_t"}  # fmt: skip
"""The C type of an element in memory, by dtype."""
STORED = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "int64": "i64", "int32": "i32",
          "int8": "i8", "bool": "b8"}  # fmt: skip
"""The suffix of the header's loads and stores, by dtype."""
COMPUTED = {**STORED, "float16": "f32", "bfloat16": "f32", "bool": "i32"}
"""The type that an element is computed in; in vectors, bool is a mask: all bits of a 32-bit lane, or none."""
COMPUTED_C = {"f32": "float", "f64": "double", "i64": "int64_t", "i32": "int32_t", "i8": "int8_t"}
_KEEP_NATURAL = ("add", "mul", "floordiv", "mod", "min", "max")
"""Operations on numbers that are not negative whose result is not negative either."""
_AGAINST_ZERO = {"lt": ">", "le": ">=", "eq": "==", "ne": "!="}


def constant(value: float, dtype: str) -> str:
    """A literal; of float16 and bfloat16 a float, as in a scalar operand's place torch takes the number unrounded."""
    if dtype == "bool":
        return str(int(bool(value)))
    if dtype.startswith("int"):
        return _integer(tir.representable(int(value), dtype), dtype)
    number = tir.representable(value, dtype)
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    return repr(number) if dtype == "float64" else f"{number!r}f"


def _integer(value: int, dtype: str) -> str:
    if value == -(2**63):
        return "INT64_MIN"
    return f"{value}LL" if dtype == tir.INDEX and abs(value) > 2**31 - 1 else str(value) if value >= 0 else f"({value})"


def index_sum(op: str, a: tuple[tir.Expr, str], b: tuple[tir.Expr, str]) -> str:
    """Arithmetic on indices and their texts, without the parentheses that C's precedence makes needless."""
    left, right = _unless_product(*a), _unless_product(*b)
    if op == "mul":
        return f"({left} * {b[1]})"
    return f"({bare(a[1]) if _is_sum(a[0]) else left} {tir.ARITHMETIC[op]} {right})"


def _is_sum(expr: tir.Expr) -> bool:
    return isinstance(expr, tir.Binary) and expr.op in ("add", "sub") and expr.dtype == tir.INDEX


def _unless_product(expr: tir.Expr, text: str) -> str:
    """A product next to a sign needs no parentheses; wrapped integers do not care for the order of products."""
    return bare(text) if isinstance(expr, tir.Binary) and expr.op == "mul" and expr.dtype == tir.INDEX else text


def bare(text: str) -> str:
    """C text without parentheses around all of it."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:-1] if position == len(text) - 1 and text[0] == "(" else text
    return text


def _is_check(expr: tir.Expr) -> bool:
    """Whether evaluating may report an error."""
    return getattr(expr, "op", "") == "within" or getattr(expr, "function", "") == "nonzero"


def _checks(select: tir.Select) -> dict[tir.Expr, None]:
    """What the two sides of a choice check, each once."""
    return dict.fromkeys(node for side in (select.a, select.b) for node in tir.walk(side) if _is_check(node))


@dataclass(frozen=True)
class Lanes:
    """Iterations `base` to `base + count` of the vectorized loop over `var`."""

    var: tir.Var
    base: int
    count: int

    @property
    def start(self) -> Mapping[tir.Var, tir.Operand]:
        """The variable's value in the first lane."""
        return {self.var: tir.Const(self.base, tir.INDEX)}

    def lane(self, number: int) -> Mapping[tir.Var, tir.Operand]:
        """The variable's value in one lane."""
        return {self.var: tir.Const(self.base + number, tir.INDEX)}


class Expressions:
    """Prints expressions.

    Args:
        name: the C name of a variable, or of a buffer.
        register: the C expression for an element of a buffer that is kept in registers, or for some lanes of it, given
            the constant offset and the number of lanes; None for other buffers.
    """

    def __init__(
        self, name: Callable[[tir.Var | tir.Buffer], str], register: Callable[[tir.Buffer, tir.Expr, int], str | None]
    ) -> None:
        self.name, self.register = name, register
        self.ranges = {}
        self._steps: dict[tuple[tir.Expr, tir.Var], int | None] = {}

    @property
    def ranges(self) -> Ranges:
        """The ranges of variables at the statement that is printed."""
        return self._ranges

    @ranges.setter
    def ranges(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._naturals: dict[tir.Expr, bool] = {}

    def step(self, index: tir.Expr, var: tir.Var) -> int | None:
        """By how much an integer expression grows from lane to lane; None where that changes or is not known."""
        if (index, var) not in self._steps:
            split = affine(index, [var])
            factor = split[0].get(var, tir.Const(0, tir.INDEX)) if split else None
            self._steps[index, var] = factor.value if isinstance(factor, tir.Const) else None
        return self._steps[index, var]

    # ---- one element ----

    def scalar(self, expr: tir.Expr) -> str:
        """The C expression for one value."""
        match expr:
            case tir.Const(value, dtype):
                return constant(value, dtype)
            case tir.Var():
                return self.name(expr)
            case tir.Load(buffer, indices):
                return self._scalar_load(buffer, tir.row_major(indices, buffer.shape))
            case tir.Binary(op, a, b):
                return self._scalar_binary(op, a, b)
            case tir.Call(function, argument):
                return self._scalar_call(function, argument)
            case tir.Select(_, a, b):
                return f"({self._condition(expr)} ? {self.scalar(a)} : {self.scalar(b)})"
            case tir.Cast(dtype, value):
                return self._scalar_cast(dtype, value)
        raise TypeError(f"not an expression: {expr!r}")

    def _condition(self, select: tir.Select) -> str:
        """The condition of a choice; first what both sides check, as torch computes both, where that does no harm."""
        checks = [check for check in _checks(select) if all(map(self._always_defined, tir.children(check)))]
        texts = [self.scalar(expr) for expr in (*checks, select.condition)]
        return f"({', '.join(texts)})" if checks else texts[0]

    def _scalar_load(self, buffer: tir.Buffer, offset: tir.Expr) -> str:
        variable = self.register(buffer, offset, 1)
        if variable is not None:
            return variable
        element = f"{self.name(buffer)}[{self.plain(offset)}]"
        if buffer.dtype == "bfloat16":
            return f"from_bf16({element})"
        return f"(float){element}" if buffer.dtype == "float16" else element

    def _scalar_binary(self, op: str, a: tir.Expr, b: tir.Expr) -> str:
        left, right, kind = self.scalar(a), self.scalar(b), COMPUTED[a.dtype]
        if op in tir.COMPARISONS:
            return f"({left} {tir.COMPARISONS[op]} {right})"
        if op in tir.LOGIC:
            return f"({left} {'&&' if op == 'and' else '||'} {right})"
        if op in ("min", "max"):
            return f"{op}_{kind}({left}, {right})"
        if op == "within":
            return f"within_i64({left}, {right}, &failed)"
        if op in ("floordiv", "mod"):
            if not a.dtype.startswith("int"):
                return f"{op}_{kind}({left}, {right})"
            if self._natural(a) and self._natural(b):
                return f"({left} {'/' if op == 'floordiv' else '%'} {right})"
            return f"({COMPUTED_C[kind]}){op}_i64({left}, {right})"
        if a.dtype == "bool":
            return f"({left} {'|' if op == 'add' else '&'} {right})"
        if a.dtype == tir.INDEX:
            return index_sum(op, (a, left), (b, right))
        text = f"({left} {tir.ARITHMETIC[op]} {right})"
        return f"(int8_t){text}" if a.dtype == "int8" else text

    def _natural(self, expr: tir.Expr) -> bool:
        """Whether an index is 0 or more: of such ones, C's / and % round as floordiv and mod do."""
        if expr.dtype != tir.INDEX:
            return False
        if expr not in self._naturals:
            keeps = isinstance(expr, tir.Binary) and expr.op in _KEEP_NATURAL
            evident = keeps and self._natural(expr.a) and self._natural(expr.b)
            self._naturals[expr] = evident or proves(expr >= 0, self.ranges)
        return self._naturals[expr]

    def _scalar_call(self, function: str, argument: tir.Expr) -> str:
        text, kind = self.scalar(argument), COMPUTED[argument.dtype]
        if kind.startswith("f"):
            return f"{function}_{kind}({text})"
        if function == "nonzero":
            return f"({COMPUTED_C[kind]})nonzero_i64({text}, &failed)"
        if function == "abs":
            return f"({COMPUTED_C[kind]})llabs({text})"
        if function == "floor":
            return text
        raise ValueError(f"{function} of {argument.dtype}: cast the operand to a float first")

    def _scalar_cast(self, dtype: str, value: tir.Expr) -> str:
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

    def plain(self, index: tir.Expr) -> str:
        """An index without the outermost parentheses."""
        return bare(self.scalar(index))

    # ---- several lanes ----

    def vector(self, expr: tir.Expr, lanes: Lanes) -> str:
        """The C expression for a vector of `lanes.count` values of a loop's iterations; masks for bool."""
        if lanes.var not in tir.walk(expr):
            return self._splat(expr, self.scalar(expr), lanes)
        match expr:
            case tir.Load(buffer, indices):
                return self._vector_load(expr, buffer, tir.row_major(indices, buffer.shape), lanes)
            case tir.Binary(op, a, b):
                return self._vector_binary(expr, op, a, b, lanes)
            case tir.Call(function, argument) if COMPUTED[argument.dtype].startswith("f"):
                return f"{function}_{self._kind(expr, lanes)}({self.vector(argument, lanes)})"
            case tir.Select(condition, a, b):
                return self._vector_select(expr, condition, a, b, lanes)
            case tir.Cast(dtype, value):
                return self._vector_cast(expr, dtype, value, lanes)
        return self._gather(expr, lanes)

    def _kind(self, expr: tir.Expr, lanes: Lanes) -> str:
        return f"{COMPUTED[expr.dtype]}x{lanes.count}"

    def _splat(self, expr: tir.Expr, text: str, lanes: Lanes) -> str:
        return f"splat_{self._kind(expr, lanes)}({'-' if expr.dtype == 'bool' else ''}{text})"

    def _gather(self, expr: tir.Expr, lanes: Lanes) -> str:
        sign = "-" if expr.dtype == "bool" else ""
        values = (sign + self.scalar(tir.substitute(expr, lanes.lane(number))) for number in range(lanes.count))
        return f"({self._kind(expr, lanes)}){{{', '.join(values)}}}"

    def _vector_load(self, load: tir.Load, buffer: tir.Buffer, offset: tir.Expr, lanes: Lanes) -> str:
        if self.step(offset, lanes.var) == 1:
            first = tir.substitute(offset, lanes.start)
            variable = self.register(buffer, first, lanes.count)
            if variable is not None:
                return variable
            return f"load_{STORED[buffer.dtype]}x{lanes.count}({self.name(buffer)} + {self.plain(first)})"
        return self._gather(load, lanes)

    def _vector_binary(self, expr: tir.Expr, op: str, a: tir.Expr, b: tir.Expr, lanes: Lanes) -> str:
        kind = COMPUTED[a.dtype]
        if op in tir.COMPARISONS and a.dtype == tir.INDEX:
            compared = self._index_comparison(op, a, b, lanes)
            if compared is not None:
                return compared
        if op in ("floordiv", "mod", "within"):
            return self._gather(expr, lanes)
        if op in tir.LOGIC and not self._always_defined(b):
            return self._gather(expr, lanes)
        left, right = self.vector(a, lanes), self.vector(b, lanes)
        if op in tir.COMPARISONS:
            if a.dtype == "bool":
                left, right = right, left  # as a mask, true is -1
            compared = f"({left} {tir.COMPARISONS[op]} {right})"
            return compared if kind in ("f32", "i32") else f"__builtin_convertvector({compared}, i32x{lanes.count})"
        if op in tir.LOGIC:
            return f"({left} {'&' if op == 'and' else '|'} {right})"
        if a.dtype == "bool":
            return f"({left} {'|' if op in ('add', 'max') else '&'} {right})"
        if op in ("min", "max"):
            return f"{op}_{self._kind(a, lanes)}({left}, {right})"
        return f"({left} {tir.ARITHMETIC[op]} {right})"

    def _index_comparison(self, op: str, a: tir.Expr, b: tir.Expr, lanes: Lanes) -> str | None:
        """A comparison of sums of indices, in 32 bits: of a gap that is wide only the sign counts."""
        gap = b - a
        step = self.step(gap, lanes.var)
        if step is None:
            return None
        first = self.scalar(tir.substitute(gap, lanes.start))
        steps = ", ".join(str(step * number) for number in range(lanes.count))
        kind = f"i32x{lanes.count}"
        return f"((splat_{kind}(as_i32({first})) + ({kind}){{{steps}}}) {_AGAINST_ZERO[op]} 0)"

    def _vector_select(self, expr: tir.Select, condition: tir.Expr, a: tir.Expr, b: tir.Expr, lanes: Lanes) -> str:
        checks_lanes = any(lanes.var in tir.walk(check) for check in _checks(expr))
        if not checks_lanes and (lanes.var not in tir.walk(condition) or self._uniform(condition, lanes)):
            first = self._condition(tir.substitute(expr, lanes.start))
            return f"({first} ? {self.vector(a, lanes)} : {self.vector(b, lanes)})"
        if not (self._always_defined(a) and self._always_defined(b)):
            return self._gather(expr, lanes)
        mask = self.vector(condition, lanes)
        return f"select_{self._kind(expr, lanes)}({mask}, {self.vector(a, lanes)}, {self.vector(b, lanes)})"

    def _uniform(self, condition: tir.Expr, lanes: Lanes) -> bool:
        """Whether an order of indices surely is the same in all lanes, as that of 16 i + lane and 32 in 16 lanes.

        With a gap of m q + r + lane * step, the first lane and the last have to ask the same of the unknown q.
        """
        match condition:
            case tir.Binary("lt" | "le" as op, a, b) if a.dtype == tir.INDEX:
                step = self.step(b - a, lanes.var)
                gap = polynomial(tir.substitute(b - a, lanes.start)) - (op == "lt")
                unit = math.gcd(*(factor for product, factor in gap.terms.items() if product))
                ends = (gap.offset, gap.offset + (step or 0) * (lanes.count - 1))
                return step is not None and unit > 0 and ends[0] // unit == ends[1] // unit
        return False

    def _vector_cast(self, expr: tir.Cast, dtype: str, value: tir.Expr, lanes: Lanes) -> str:
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

    def _always_defined(self, expr: tir.Expr) -> bool:
        """Whether evaluating does no harm where it is not asked for: no load outside, nothing that can fail."""
        match expr:
            case _ if _is_check(expr):
                return False
            case tir.Binary("floordiv" | "mod", a, b) if a.dtype.startswith("int"):
                return proves(b >= tir.Const(1, b.dtype), self.ranges) and self._always_defined(a)
            case tir.Load(buffer, indices):
                for index, length in zip(indices, buffer.shape, strict=True):
                    if not (proves(index >= 0, self.ranges) and proves(index < length, self.ranges)):
                        return False
        return all(map(self._always_defined, tir.children(expr)))
