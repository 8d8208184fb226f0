"""Elementwise operators: arithmetic, comparisons, logic, functions of a number, activations, select, cast.

ATen promotes operands of different dtypes; here casts that stand in the graph do.
"""

import math
from collections.abc import Callable
from functools import partial
from operator import attrgetter

from sysai.compiler.graph import Value
from sysai.compiler.graph.operators import operator as ops
from sysai.compiler.graph.operators.operator import Decomposition
from sysai.compiler.tir.expr import DTYPES, FLOATS, HALF, Expr

Operand = Value | Expr | float
WIDE = ("float32", "float64")

_bools_type = partial(ops.broadcast_type, ops.bool_dtype)
_comparison_type = partial(ops.broadcast_type, ops.one_dtype, dtype="bool")


def _select_type(condition: Value, a: Value, b: Value) -> ops.Type:
    ops.require(condition.dtype == "bool", f"the condition is {condition.dtype}, must be bool")
    ops.require(a.dtype == b.dtype, f"chooses between {a.dtype} and {b.dtype}: cast one of them")
    return ops.broadcast(condition.shape, a.shape, b.shape), a.dtype


def _cast_type(x: Value, dtype: str) -> ops.Type:
    ops.require(dtype in DTYPES, f"no dtype {dtype!r}: it is none of {', '.join(DTYPES)}")
    return x.shape, dtype


def _within_type(x: Value, size: Expr) -> ops.Type:
    ops.require(x.dtype == "int64", f"indices are {x.dtype}, must be int64: cast them")
    return x.shape, x.dtype


def _within_tensor(_, x, size: int):
    """Raises IndexError where an index is none of an axis of that size."""
    if ((x < 0) | (x >= size)).any():
        raise IndexError(f"index out of range: an axis of size {size} does not have all of {x.tolist()}")
    return x


def _pow_type(x: Value, exponent: float) -> ops.Type:
    return x.shape, ops.number_dtype(x) if exponent in (0, 1, 2, 3) else ops.float_dtype(x)


def _function(op: str, t, x: Value) -> Value:
    return t.emit(op, t.cast(x, t.dtype))


def _arithmetic(op: str, t, a: Operand, b: Operand) -> Value:
    """A binary operator on operands cast to the dtype of the result; of bools, the logic that it comes to."""
    if t.dtype == "bool":
        logic = {"mul": "and", "min": "and", "max": "or", "add": "or"}.get(op)
        ops.refuse(logic is None, "arithmetic of bool: cast to integers first")
        return t.emit(logic, t.operand(a, "bool"), t.operand(b, "bool"))
    if op in ("add", "sub") and b == 0 and t.dtype not in FLOATS and isinstance(a, Value) and a.dtype == t.dtype:
        return a  # so that an index that only counts is seen to do so
    wide = op in ("mul", "div")
    if wide and t.dtype in HALF and any(isinstance(x, Value) and not x.shape and x.dtype in WIDE for x in (a, b)):
        return t.cast(t.emit(op, t.operand(a, "float32"), t.operand(b, "float32")), t.dtype)
    return t.emit(op, t.operand(a, t.dtype, wide), t.operand(b, t.dtype, wide))


def _scaled(op: str, t, a: Operand, b: Operand, alpha: float = 1) -> Value:
    """A sum or difference of a and alpha b."""
    scaled = b if alpha == 1 else _arithmetic("mul", t, b, alpha)
    return _arithmetic(op, t, a, scaled)


def _compared(op: str, t, a: Operand, b: Operand) -> Value:
    dtype = t.common_dtype(a, b)
    return t.emit(op, t.operand(a, dtype), t.operand(b, dtype))


def as_bool(t, x: Operand) -> Value:
    """Whether elements are not zero."""
    if isinstance(x, Value) and x.dtype != "bool":
        return t.emit("ne", x, t.operand(0, x.dtype))
    return t.operand(x, "bool")


def _logical(op: str, t, *operands: Operand) -> Value:
    return t.emit(op, *(as_bool(t, x) for x in operands))


def _bitwise(op: str, t, *operands: Operand) -> Value:
    """Logic that ATen also has for the bits of integers."""
    ops.refuse(t.dtype != "bool", f"bits of {t.dtype}: only bool is supported")
    return _logical(op, t, *operands)


def _pow(t, x: Value, exponent: float) -> Value:
    """Only those exponents that have a decomposition."""
    supported = exponent in (0, 1, 2, 3) or (t.dtype in FLOATS and exponent in (0.5, -0.5, -1, -2))
    ops.refuse(not supported, f"the exponent {exponent}: powers 0 to 3, -1, -2, 0.5 and -0.5 are supported")
    return t.emit("pow", t.cast(x, t.dtype), exponent=exponent)


def _where(op: str, t, condition: Value, a: Operand, b: Operand) -> Value:
    return t.emit(op, as_bool(t, condition), t.operand(a, t.dtype), t.operand(b, t.dtype))


def _overloads(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.{kind}" for name in names for kind in ("Tensor", "Scalar"))


def _row(
    name: str, operands: int, translate: Callable[..., Value], function: str = "", aten: tuple[str, ...] = (),
    infer: Callable[..., ops.Type] = ops.broadcast_numbers, **details: object,
) -> ops.Operator:  # fmt: skip
    """An operator without attributes.

    Args:
        translate: takes the name of the operator before what `Operator.translate` takes.
        function: torch's, the reference; by default that of the same name, as for `aten`.
        details: a decomposition makes it a composite.
    """
    return ops.Operator(
        name, ops.COMPOSITE if "decomposition" in details else ops.ELEMENTWISE, operands, infer=infer,
        reference=lambda torch, *tensors: attrgetter(function or name)(torch)(*tensors),
        aten=aten or (f"{name}.default",), translate=partial(translate, name), **details,
    )  # fmt: skip


OPERATORS = (
    _row("add", 2, _scaled, aten=_overloads("add")),
    _row("sub", 2, _scaled, aten=_overloads("sub")),
    _row("mul", 2, _arithmetic, aten=_overloads("mul")),
    _row("div", 2, _arithmetic, aten=_overloads("div"), infer=ops.broadcast_floats),
    _row("floordiv", 2, _arithmetic, "floor_divide", ("floor_divide.default",)),
    _row("mod", 2, _arithmetic, "remainder", _overloads("remainder")),
    _row("min", 2, _arithmetic, "minimum", ("minimum.default",)),
    _row("max", 2, _arithmetic, "maximum", ("maximum.default",)),
    *(_row(op, 2, _compared, aten=_overloads(op), infer=_comparison_type) for op in ("lt", "le", "eq", "ne")),
    *(
        _row(op, 2, _bitwise, f"logical_{op}", _overloads(f"bitwise_{op}", f"__{op}__"), _bools_type)
        for op in ("and", "or")
    ),
    *(
        _row(op, 1, _function, infer=ops.broadcast_floats)
        for op in ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "sin", "cos")
    ),
    _row("erf", 1, _function, aten=("erf.default", "special_erf.default"), infer=ops.broadcast_floats),
    _row("abs", 1, _function),
    _row("pow2", 1, _function, "exp2", ("exp2.default", "special_exp2.default"), ops.broadcast_floats),
    _row("floor", 1, lambda op, t, x: t.emit(op, x) if x.dtype in FLOATS else x, infer=ops.broadcast_floats),
    _row(
        "select", 3, _where, "where", ("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar"),
        _select_type,
    ),
    ops.Operator(
        "cast", ops.ELEMENTWISE, 1, ("dtype",), infer=_cast_type,
        reference=lambda torch, x, dtype: x.to(getattr(torch, dtype)),
        aten=(
            "_to_copy.default", "to.dtype", "to.dtype_layout", "type_as.default", "prims.convert_element_type.default",
        ),
        translate=lambda t, x, *_, **__: t.cast(x, t.dtype),
    ),
    ops.Operator("within", ops.ELEMENTWISE, 1, ("size",), infer=_within_type, reference=_within_tensor),
    _row("neg", 1, _function, decomposition=Decomposition("neg(x)", "mul(x, -1)", exact=True)),
    _row("square", 1, _function, decomposition=Decomposition("square(x)", "mul(x, x)", exact=True)),
    _row(
        "reciprocal", 1, _function, infer=ops.broadcast_floats,
        decomposition=Decomposition("reciprocal(x)", "div(1, x)", exact=True),
    ),
    _row("relu", 1, _function, decomposition=Decomposition("relu(x)", "max(x, 0)")),
    _row(
        "silu", 1, _function, "nn.functional.silu", infer=ops.broadcast_floats, in_float32=True,
        decomposition=Decomposition("silu(x)", "mul(x, sigmoid(x))"),
    ),
    _row(
        "not", 1, _bitwise, "logical_not", ("bitwise_not.default", "logical_not.default"), _bools_type,
        decomposition=Decomposition("not_(x)", "eq(x, False)", exact=True),
    ),
    ops.Operator(
        "gelu", ops.COMPOSITE, 1, ("approximate",), infer=lambda x, approximate: ops.broadcast_floats(x),
        reference=lambda torch, x, approximate: torch.nn.functional.gelu(x, approximate=approximate),
        decomposition=(
            Decomposition("gelu(x, approximate='none')", "mul(mul(x, 0.5), add(erf(mul(x, 0.7071067811865476)), 1))"),
            Decomposition(
                "gelu(x, approximate='tanh')",
                "mul(mul(x, 0.5), add(tanh(mul(add(x, mul(mul(x, mul(x, x)), 0.044715)), 0.7978845608028654)), 1))",
            ),
        ),
        in_float32=True,
        aten=("gelu.default",), translate=lambda t, x, approximate="none": t.emit("gelu", x, approximate=approximate),
    ),
    ops.Operator(
        "pow", ops.COMPOSITE, 1, ("exponent",), infer=_pow_type, reference=lambda torch, x, exponent: x.pow(exponent),
        decomposition=(
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
    ops.refuse(rounding_mode == "trunc", "division rounded towards zero: use rounding_mode='floor'")
    return _arithmetic("floordiv" if rounding_mode else "div", t, a, b)


def _clamp(t, x: Value, low: Operand | None = None, high: Operand | None = None) -> Value:
    """Between two numbers; hardtanh leaves both out where they are -1 and 1."""
    if low is None and high is None:
        low, high = -1.0, 1.0
    x = t.cast(x, t.dtype)
    if low is not None:
        x = t.emit("max", x, t.operand(low, t.dtype))
    return x if high is None else t.emit("min", x, t.operand(high, t.dtype))


def _leaky_relu(t, x: Value, slope: float = 0.01) -> Value:
    scaled = t.emit("mul", x, t.operand(slope, x.dtype, wide=True))
    return t.emit("select", t.emit("lt", t.operand(0, x.dtype), x), x, scaled)


def _dropout(t, x: Value, probability: float, train: bool) -> Value | tuple[Value]:
    ops.refuse(train and probability, "dropout while training: call eval() on the module")
    return (x,) if isinstance(t.result, tuple | list) else x


TRANSLATIONS = {
    **dict.fromkeys(_overloads("rsub"), lambda t, a, b, alpha=1: _scaled("sub", t, b, a, alpha)),
    **dict.fromkeys(("div.Tensor_mode", "div.Scalar_mode"), _div_mode),
    **dict.fromkeys(_overloads("gt"), lambda t, a, b: _compared("lt", t, b, a)),
    **dict.fromkeys(_overloads("ge"), lambda t, a, b: _compared("le", t, b, a)),
    "logical_and.default": partial(_logical, "and"),
    "logical_xor.default": partial(_logical, "ne"),
    **dict.fromkeys(_overloads("bitwise_xor", "__xor__"), partial(_bitwise, "ne")),
    "logical_or.default": partial(_logical, "or"),
    **dict.fromkeys(_overloads("masked_fill"), lambda t, x, mask, number: _where("select", t, mask, number, x)),
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
