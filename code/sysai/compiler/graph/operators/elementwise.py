"""Elementwise operators: arithmetic, comparisons, logic, functions of a number, activations, select, cast.

ATen promotes operands of different dtypes; here casts that stand in the graph do.
"""

import math
from collections.abc import Callable
from operator import attrgetter

from sysai.compiler.graph import Value
from sysai.compiler.graph.operators.operator import (
    COMPOSITE,
    ELEMENTWISE,
    Decomposition,
    NotTranslatable,
    Operator,
    Translation,
    Type,
    bool_dtype,
    broadcast,
    broadcast_floats,
    broadcast_numbers,
    float_dtype,
    number_dtype,
    one_dtype,
    require,
)
from sysai.compiler.tir.expr import DTYPES, FLOATS, Expr

Operand = Value | Expr | float


def _bools_type(*operands: Value) -> Type:
    dtype = bool_dtype(*operands)
    return broadcast(*(value.shape for value in operands)), dtype


def _comparison_type(*operands: Value) -> Type:
    one_dtype(*operands)
    return broadcast(*(value.shape for value in operands)), "bool"


def _select_type(condition: Value, a: Value, b: Value) -> Type:
    require(condition.dtype == "bool", f"the condition is {condition.dtype}, must be bool")
    require(a.dtype == b.dtype, f"chooses between {a.dtype} and {b.dtype}: cast one of them")
    return broadcast(condition.shape, a.shape, b.shape), a.dtype


def _cast_type(x: Value, dtype: str) -> Type:
    require(dtype in DTYPES, f"no dtype {dtype!r}: it is none of {', '.join(DTYPES)}")
    return x.shape, dtype


def _pow_type(x: Value, exponent: float) -> Type:
    return x.shape, number_dtype(x) if exponent in (0, 1, 2, 3) else float_dtype(x)


def _as_torch(function: str) -> Callable:
    """The reference of an operator that is torch's function of this name."""
    return lambda torch, *operands: attrgetter(function)(torch)(*operands)


def _arithmetic(t, op: str, a: Operand, b: Operand) -> Value:
    """A binary operator on operands cast to the dtype of the result; of bools, the logic that it comes to."""
    if t.dtype == "bool":
        logic = {"mul": "and", "min": "and", "max": "or", "add": "or"}.get(op)
        if logic is None:
            raise NotTranslatable("arithmetic of bool: cast to integers first")
        return t.emit(logic, t.operand(a, "bool"), t.operand(b, "bool"))
    if op in ("add", "sub") and b == 0 and t.dtype not in FLOATS and isinstance(a, Value) and a.dtype == t.dtype:
        return a  # so that an index that only counts is seen to do so
    return t.emit(op, t.operand(a, t.dtype), t.operand(b, t.dtype))


def as_bool(t, x: Operand) -> Value:
    """Whether elements are not zero."""
    if isinstance(x, Value) and x.dtype != "bool":
        return t.emit("ne", x, t.operand(0, x.dtype))
    return t.operand(x, "bool")


def _scaled(t, op: str, a: Operand, b: Operand, alpha: float = 1) -> Value:
    """A sum or difference of a and alpha b."""
    scaled = b if alpha == 1 else t.emit("mul", t.operand(b, t.dtype), t.operand(alpha, t.dtype))
    return _arithmetic(t, op, a, scaled)


def _compared(t, op: str, a: Operand, b: Operand) -> Value:
    dtype = t.common_dtype(a, b)
    return t.emit(op, t.operand(a, dtype), t.operand(b, dtype))


def _bitwise(op: str) -> Translation:
    def translate(t, a: Operand, b: Operand) -> Value:
        if t.dtype != "bool":
            raise NotTranslatable(f"bits of {t.dtype}: only bool is supported")
        return t.emit(op, t.operand(a, "bool"), t.operand(b, "bool"))

    return translate


def _not(t, x: Value) -> Value:
    if t.dtype != "bool":
        raise NotTranslatable(f"bits of {t.dtype}: only bool is supported")
    return t.emit("not", as_bool(t, x))


def _pow(t, x: Value, exponent: float) -> Value:
    """Only those exponents that have a decomposition."""
    if exponent not in (0, 1, 2, 3, 0.5, -0.5, -1, -2) or (t.dtype not in FLOATS and exponent not in (0, 1, 2, 3)):
        raise NotTranslatable(f"the exponent {exponent}: powers 0 to 3, -1, -2, 0.5 and -0.5 are supported")
    return t.emit("pow", t.cast(x, t.dtype), exponent=exponent)


def _where(t, condition: Value, a: Operand, b: Operand) -> Value:
    return t.emit("select", as_bool(t, condition), t.operand(a, t.dtype), t.operand(b, t.dtype))


def _binary(
    name: str, function: str, aten: tuple[str, ...], infer: Callable[..., Type] = broadcast_numbers,
    translate: Callable[..., Value] = _arithmetic,
) -> Operator:  # fmt: skip
    """Arithmetic on two operands, `function` of torch."""

    def translate_as(t, *operands: Operand, **keywords: float) -> Value:
        return translate(t, name, *operands, **keywords)

    return Operator(name, ELEMENTWISE, 2, infer=infer, reference=_as_torch(function), aten=aten, translate=translate_as)


def _comparison(name: str) -> Operator:
    return Operator(
        name, ELEMENTWISE, 2, infer=_comparison_type, reference=_as_torch(name),
        aten=(f"{name}.Tensor", f"{name}.Scalar"), translate=lambda t, a, b: _compared(t, name, a, b),
    )  # fmt: skip


def _logic(name: str) -> Operator:
    return Operator(
        name, ELEMENTWISE, 2, infer=_bools_type, reference=_as_torch(f"logical_{name}"),
        aten=tuple(f"{torch}.{kind}" for torch in (f"bitwise_{name}", f"__{name}__") for kind in ("Tensor", "Scalar")),
        translate=_bitwise(name),
    )  # fmt: skip


def _function(
    name: str, function: str = "", aten: tuple[str, ...] = (), infer: Callable[..., Type] = broadcast_floats
) -> Operator:
    """A function of one number: torch's and ATen's of the same name where no others are given."""
    return Operator(
        name, ELEMENTWISE, 1, infer=infer, reference=_as_torch(function or name), aten=aten or (f"{name}.default",),
        translate=lambda t, x: t.emit(name, t.cast(x, t.dtype)),
    )  # fmt: skip


def _activation(
    name: str, function: str, decomposition: Decomposition, infer: Callable[..., Type] = broadcast_numbers,
    in_float32: bool = False,
) -> Operator:  # fmt: skip
    """A composite function of one number."""
    return Operator(
        name, COMPOSITE, 1, infer=infer, reference=_as_torch(function), decompositions=(decomposition,),
        in_float32=in_float32, aten=(f"{name}.default",), translate=lambda t, x: t.emit(name, t.cast(x, t.dtype)),
    )  # fmt: skip


OPERATORS = (
    _binary("add", "add", ("add.Tensor", "add.Scalar"), translate=_scaled),
    _binary("sub", "sub", ("sub.Tensor", "sub.Scalar"), translate=_scaled),
    _binary("mul", "mul", ("mul.Tensor", "mul.Scalar")),
    _binary("div", "div", ("div.Tensor", "div.Scalar"), broadcast_floats),
    _binary("floordiv", "floor_divide", ("floor_divide.default",)),
    _binary("mod", "remainder", ("remainder.Tensor", "remainder.Scalar")),
    _binary("min", "minimum", ("minimum.default",)),
    _binary("max", "maximum", ("maximum.default",)),
    *map(_comparison, ("lt", "le", "eq", "ne")),
    *map(_logic, ("and", "or")),
    *map(_function, ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos")),
    _function("erf", aten=("erf.default", "special_erf.default")),
    _function("abs", infer=broadcast_numbers),
    _function("pow2", "exp2", ("exp2.default", "special_exp2.default")),
    Operator(
        "floor", ELEMENTWISE, 1, infer=broadcast_floats, reference=_as_torch("floor"),
        aten=("floor.default",), translate=lambda t, x: t.emit("floor", x) if x.dtype in FLOATS else x,
    ),
    Operator(
        "select", ELEMENTWISE, 3, infer=_select_type, reference=_as_torch("where"),
        aten=("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar"), translate=_where,
    ),
    Operator(
        "cast", ELEMENTWISE, 1, ("dtype",), infer=_cast_type,
        reference=lambda torch, x, dtype: x.to(getattr(torch, dtype)),
        aten=(
            "_to_copy.default", "to.dtype", "to.dtype_layout", "type_as.default", "prims.convert_element_type.default",
        ),
        translate=lambda t, x, *_, **__: t.cast(x, t.dtype),
    ),
    _activation("neg", "neg", Decomposition("neg(x)", "mul(x, -1)", exact=True)),
    _activation("square", "square", Decomposition("square(x)", "mul(x, x)", exact=True)),
    _activation(
        "reciprocal", "reciprocal", Decomposition("reciprocal(x)", "div(1, x)", exact=True), broadcast_floats
    ),
    _activation("relu", "relu", Decomposition("relu(x)", "max(x, 0)")),
    _activation(
        "silu", "nn.functional.silu", Decomposition("silu(x)", "mul(x, sigmoid(x))"), broadcast_floats, in_float32=True
    ),
    Operator(
        "not", COMPOSITE, 1, infer=_bools_type, reference=_as_torch("logical_not"),
        decompositions=(Decomposition("not_(x)", "eq(x, False)", exact=True),),
        aten=("bitwise_not.default", "logical_not.default"), translate=_not,
    ),
    Operator(
        "gelu", COMPOSITE, 1, ("approximate",), infer=lambda x, approximate: broadcast_floats(x),
        reference=lambda torch, x, approximate: torch.nn.functional.gelu(x, approximate=approximate),
        decompositions=(
            Decomposition(
                "gelu(x, approximate='none')", "mul(mul(x, 0.5), add(erf(mul(x, 0.7071067811865476)), 1))"
            ),
            Decomposition(
                "gelu(x, approximate='tanh')",
                "mul(mul(x, 0.5), add(tanh(mul(add(x, mul(mul(x, mul(x, x)), 0.044715)), 0.7978845608028654)), 1))",
            ),
        ),
        in_float32=True,
        aten=("gelu.default",), translate=lambda t, x, approximate="none": t.emit("gelu", x, approximate=approximate),
    ),
    Operator(
        "pow", COMPOSITE, 1, ("exponent",), infer=_pow_type, reference=lambda torch, x, exponent: x.pow(exponent),
        decompositions=(
            Decomposition("pow(x, exponent=0)", "full(value=1, shape=shape(x), dtype=dtype(x))", exact=True),
            Decomposition("pow(x, exponent=1)", "x", exact=True),
            Decomposition("pow(x, exponent=2)", "mul(x, x)", exact=True),
            Decomposition("pow(x, exponent=3)", "mul(mul(x, x), x)", exact=True),
            Decomposition("pow(x, exponent=0.5)", "sqrt(x)", exact=True),
            Decomposition("pow(x, exponent=-0.5)", "rsqrt(x)"),
            Decomposition("pow(x, exponent=-1)", "div(1, x)", exact=True),
            Decomposition("pow(x, exponent=-2)", "div(1, mul(x, x))", exact=True),
        ),
        aten=("pow.Tensor_Scalar",), translate=_pow,
    ),
)  # fmt: skip


def _div_mode(t, a: Operand, b: Operand, rounding_mode: str | None) -> Value:
    if rounding_mode == "trunc":
        raise NotTranslatable("division rounded towards zero: use rounding_mode='floor'")
    return _arithmetic(t, "floordiv" if rounding_mode else "div", a, b)


def _masked_fill(t, x: Value, mask: Value, number: Operand) -> Value:
    return t.emit("select", mask, t.operand(number, t.dtype), t.cast(x, t.dtype))


def _clamp(t, x: Value, low: Operand | None = None, high: Operand | None = None) -> Value:
    """Between two numbers; hardtanh leaves both out where they are -1 and 1."""
    if not isinstance(t.result, tuple) and low is None and high is None:
        low, high = -1.0, 1.0
    x = t.cast(x, t.dtype)
    if low is not None:
        x = t.emit("max", x, t.operand(low, t.dtype))
    return x if high is None else t.emit("min", x, t.operand(high, t.dtype))


def _leaky_relu(t, x: Value, slope: float = 0.01) -> Value:
    scaled = t.emit("mul", x, t.operand(slope, x.dtype))
    return t.emit("select", t.emit("lt", t.operand(0, x.dtype), x), x, scaled)


def _dropout(t, x: Value, probability: float, train: bool) -> Value | tuple[Value]:
    if train and probability:
        raise NotTranslatable("dropout while training: call eval() on the module")
    return (x,) if isinstance(t.result, tuple | list) else x


TRANSLATIONS = {
    **dict.fromkeys(("rsub.Tensor", "rsub.Scalar"), lambda t, a, b, alpha=1: _scaled(t, "sub", b, a, alpha)),
    **dict.fromkeys(("div.Tensor_mode", "div.Scalar_mode"), _div_mode),
    **dict.fromkeys(("gt.Tensor", "gt.Scalar"), lambda t, a, b: _compared(t, "lt", b, a)),
    **dict.fromkeys(("ge.Tensor", "ge.Scalar"), lambda t, a, b: _compared(t, "le", b, a)),
    "logical_and.default": lambda t, a, b: t.emit("and", as_bool(t, a), as_bool(t, b)),
    "logical_or.default": lambda t, a, b: t.emit("or", as_bool(t, a), as_bool(t, b)),
    **dict.fromkeys(("masked_fill.Scalar", "masked_fill.Tensor"), _masked_fill),
    **dict.fromkeys(
        ("clamp.default", "clamp.Tensor", "hardtanh.default", "clamp_min.default", "clamp_min.Tensor"), _clamp
    ),
    **dict.fromkeys(("clamp_max.default", "clamp_max.Tensor"), lambda t, x, high: _clamp(t, x, None, high)),
    "leaky_relu.default": _leaky_relu,
    "isnan.default": lambda t, x: t.emit("ne", x, x),
    "isinf.default": lambda t, x: t.emit("eq", t.emit("abs", x), t.full(math.inf, x.dtype)),
    **dict.fromkeys(("dropout.default", "native_dropout.default"), _dropout),
    **dict.fromkeys(
        (
            "clone.default", "alias.default", "detach.default", "detach_.default", "contiguous.default",
            "lift_fresh.default", "lift_fresh_copy.default",
        ),
        lambda t, x, **_: x,  # values are immutable and dense
    ),
}  # fmt: skip
"""Operators of ATen that become several of the graph's, or none."""
