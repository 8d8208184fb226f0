"""Elementwise operators: dtypes are promoted as torch does, by casts that stand in the graph."""

import math

from sysai.compiler.graph.aten.translator import (
    NotTranslatable,
    Translator,
    common_dtype,
    dtype_name,
    translates,
)
from sysai.compiler.graph.graph import Value
from sysai.compiler.tir.expr import FLOATS, Expr

Operand = Value | Expr | float

_UNARY = {
    "exp": "exp", "log": "log", "sqrt": "sqrt", "rsqrt": "rsqrt", "tanh": "tanh", "erf": "erf", "sin": "sin",
    "sigmoid": "sigmoid", "cos": "cos", "exp2": "pow2", "special_exp2": "pow2", "special_erf": "erf",
    "abs": "abs", "neg": "neg", "square": "square", "relu": "relu", "silu": "silu", "reciprocal": "reciprocal",
}  # fmt: skip
_BINARY = {
    "mul": "mul", "div": "div", "floor_divide": "floordiv", "remainder": "mod",
    "minimum": "min", "maximum": "max",
}  # fmt: skip
_COMPARISONS = {"lt": ("lt", False), "le": ("le", False), "gt": ("lt", True), "ge": ("le", True),
                "eq": ("eq", False), "ne": ("ne", False)}  # fmt: skip
_LOGIC = {"logical_and": "and", "logical_or": "or", "bitwise_and": "and", "bitwise_or": "or",
          "__and__": "and", "__or__": "or"}  # fmt: skip


def _define_unary(name: str, op: str) -> None:
    @translates(f"{name}.default")
    def unary(t: Translator, x: Value) -> Value:
        return t.emit(op, t.cast(x, t.dtype))


def _define_binary(name: str, op: str) -> None:
    overloads = ("default",) if name in ("minimum", "maximum", "floor_divide") else ("Tensor", "Scalar")

    @translates(*(f"{name}.{overload}" for overload in overloads))
    def arithmetic(t: Translator, a: Operand, b: Operand) -> Value:
        return _arithmetic(t, op, a, b)


def _define_comparison(name: str, op: str, swapped: bool) -> None:
    @translates(f"{name}.Tensor", f"{name}.Scalar")
    def comparison(t: Translator, a: Operand, b: Operand) -> Value:
        dtype = common_dtype(a, b)
        a, b = t.operand(a, dtype), t.operand(b, dtype)
        return t.emit(op, b, a) if swapped else t.emit(op, a, b)


def _define_logic(name: str, op: str) -> None:
    overloads = ("default",) if name.startswith("logical") else ("Tensor", "Scalar")

    @translates(*(f"{name}.{overload}" for overload in overloads))
    def logic(t: Translator, a: Operand, b: Operand) -> Value:
        if name.startswith("logical"):
            a, b = as_bool(t, a), as_bool(t, b)
        elif t.dtype != "bool":
            raise NotTranslatable(f"bits of {t.dtype}: only bool is supported")
        return t.emit(op, t.operand(a, "bool"), t.operand(b, "bool"))


for _name, _op in _UNARY.items():
    _define_unary(_name, _op)
for _name, _op in _BINARY.items():
    _define_binary(_name, _op)
for _name, (_op, _swapped) in _COMPARISONS.items():
    _define_comparison(_name, _op, _swapped)
for _name, _op in _LOGIC.items():
    _define_logic(_name, _op)


def _arithmetic(t: Translator, op: str, a: Operand, b: Operand) -> Value:
    if t.dtype == "bool":
        logic = {"mul": "and", "min": "and", "max": "or", "add": "or"}.get(op)
        if logic is None:
            raise NotTranslatable("arithmetic of bool: cast to integers first")
        return t.emit(logic, t.operand(a, "bool"), t.operand(b, "bool"))
    if op in ("add", "sub") and b == 0 and t.dtype not in FLOATS and isinstance(a, Value) and a.dtype == t.dtype:
        return a  # so that an index that only counts is seen to do so
    return t.emit(op, t.operand(a, t.dtype), t.operand(b, t.dtype))


def as_bool(t: Translator, x: Operand) -> Value:
    """Whether elements are not zero."""
    if isinstance(x, Value) and x.dtype != "bool":
        return t.emit("ne", x, t.operand(0, x.dtype))
    return t.operand(x, "bool")


@translates("floor.default")
def floor(t: Translator, x: Value) -> Value:
    """Integers are their own."""
    return t.emit("floor", x) if x.dtype in FLOATS else x


@translates("add.Tensor", "add.Scalar")
def add(t: Translator, a: Operand, b: Operand, alpha: float = 1) -> Value:
    """a + alpha b."""
    return _arithmetic(t, "add", a, _scaled(t, b, alpha))


@translates("sub.Tensor", "sub.Scalar")
def sub(t: Translator, a: Operand, b: Operand, alpha: float = 1) -> Value:
    """a - alpha b."""
    return _arithmetic(t, "sub", a, _scaled(t, b, alpha))


@translates("rsub.Scalar", "rsub.Tensor")
def rsub(t: Translator, a: Operand, b: Operand, alpha: float = 1) -> Value:
    """b - alpha a."""
    return _arithmetic(t, "sub", b, _scaled(t, a, alpha))


def _scaled(t: Translator, x: Operand, alpha: float) -> Operand:
    return x if alpha == 1 else t.emit("mul", t.operand(x, t.dtype), t.operand(alpha, t.dtype))


@translates("div.Tensor_mode", "div.Scalar_mode")
def div_mode(t: Translator, a: Operand, b: Operand, rounding_mode: str | None) -> Value:
    """A division that is rounded downwards."""
    if rounding_mode == "trunc":
        raise NotTranslatable("division rounded towards zero: use rounding_mode='floor'")
    return _arithmetic(t, "floordiv" if rounding_mode else "div", a, b)


@translates("bitwise_not.default", "logical_not.default")
def logical_not(t: Translator, x: Value) -> Value:
    """True where false."""
    if t.dtype != "bool":
        raise NotTranslatable(f"bits of {t.dtype}: only bool is supported")
    return t.emit("not", as_bool(t, x))


@translates("pow.Tensor_Scalar")
def pow(t: Translator, x: Value, exponent: float) -> Value:
    """Those exponents that `decompose` has a rule for."""
    if exponent not in (0, 1, 2, 3, 0.5, -0.5, -1, -2) or (t.dtype not in FLOATS and exponent not in (0, 1, 2, 3)):
        raise NotTranslatable(f"the exponent {exponent}: powers 0 to 3, -1, -2, 0.5 and -0.5 are supported")
    return t.emit("pow", t.cast(x, t.dtype), exponent=exponent)


@translates("gelu.default")
def gelu(t: Translator, x: Value, approximate: str = "none") -> Value:
    """Exact, or by tanh."""
    return t.emit("gelu", x, approximate=approximate)


@translates("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def where(t: Translator, condition: Value, a: Operand, b: Operand) -> Value:
    """a where the condition holds, else b."""
    return t.emit("select", as_bool(t, condition), t.operand(a, t.dtype), t.operand(b, t.dtype))


@translates("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(t: Translator, x: Value, mask: Value, number: Operand) -> Value:
    """A number where the mask holds."""
    return t.emit("select", mask, t.operand(number, t.dtype), t.cast(x, t.dtype))


@translates("clamp.default", "clamp.Tensor", "hardtanh.default")
def clamp(t: Translator, x: Value, low: Operand | None = None, high: Operand | None = None) -> Value:
    """Between two numbers."""
    if not isinstance(t.result, tuple) and low is None and high is None:
        low, high = -1.0, 1.0
    x = t.cast(x, t.dtype)
    if low is not None:
        x = t.emit("max", x, t.operand(low, t.dtype))
    return x if high is None else t.emit("min", x, t.operand(high, t.dtype))


@translates("clamp_min.default", "clamp_min.Tensor")
def clamp_min(t: Translator, x: Value, low: Operand) -> Value:
    """At least a number."""
    return clamp(t, x, low)


@translates("clamp_max.default", "clamp_max.Tensor")
def clamp_max(t: Translator, x: Value, high: Operand) -> Value:
    """At most a number."""
    return clamp(t, x, None, high)


@translates("leaky_relu.default")
def leaky_relu(t: Translator, x: Value, slope: float = 0.01) -> Value:
    """x where positive, else slope x."""
    scaled = t.emit("mul", x, t.operand(slope, x.dtype))
    return t.emit("select", t.emit("lt", t.operand(0, x.dtype), x), x, scaled)


@translates("isnan.default")
def isnan(t: Translator, x: Value) -> Value:
    """NaN differs from itself."""
    return t.emit("ne", x, x)


@translates("isinf.default")
def isinf(t: Translator, x: Value) -> Value:
    """Either infinity."""
    return t.emit("eq", t.emit("abs", x), t.full(math.inf, x.dtype))


@translates("_to_copy.default", "to.dtype", "to.dtype_layout", "type_as.default", "prims.convert_element_type.default")
def to_copy(t: Translator, x: Value, *_, **__) -> Value:
    """A cast."""
    return t.cast(x, dtype_name(t.result.dtype))


@translates("clone.default", "alias.default", "detach.default", "contiguous.default", "lift_fresh_copy.default",
            "lift_fresh.default", "detach_.default")  # fmt: skip
def identity(_: Translator, x: Value, **__) -> Value:
    """Values are immutable and dense: nothing to do."""
    return x


@translates("dropout.default", "native_dropout.default")
def dropout(t: Translator, x: Value, probability: float, train: bool) -> Value | tuple[Value]:
    """Nothing in evaluation."""
    if train and probability:
        raise NotTranslatable("dropout while training: call eval() on the module")
    return (x,) if isinstance(t.result, tuple | list) else x
