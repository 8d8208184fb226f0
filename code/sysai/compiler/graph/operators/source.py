"""Operators that need no element of an operand (full, iota), and the opaque one, which torch runs (fallback).

A `fallback` calls torch's operator `target`, for instance "aten.sort.default". In its `arguments` (a tuple) and
`keywords` (a tuple of pairs) the string "%k" stands for operand k, and "torch.float32" for that dtype. An operator of
several results has a node for each that is used, with its number in `result`; they name one `call`, which is made once.
Calls are made in the graph's order, as the `random` ones among them take numbers from one generator.
"""

from collections.abc import Sequence
from operator import attrgetter

from sysai.compiler.graph import Attribute, Value
from sysai.compiler.graph.operators import operator as ops
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.tir.expr import DTYPES, FLOATS, HALF, Expr


def _full_type(*, value: float | Expr, shape: tuple[Expr, ...], dtype: str) -> ops.Type:
    ops.require(dtype in DTYPES, f"no dtype {dtype!r}")
    kinds = bool if dtype == "bool" else (float | Expr if dtype in FLOATS else int | Expr)
    fits = isinstance(value, kinds) and (dtype == "bool") == isinstance(value, bool)
    ops.require(fits, f"the value {value!r} is no number of {dtype}, and no size")
    return shape, dtype


def _full_tensor(torch, value: float, shape: Sequence[int], dtype: str):
    """A scalar operand that 16 bits do not hold is a float32 without axes: torch computes with it as with a number."""
    exact = torch.tensor(value, dtype=torch.float64 if dtype in FLOATS else None)
    rounded = exact.to(getattr(torch, dtype))
    is_wide = not shape and dtype in HALF and rounded.double() != exact
    return exact.float() if is_wide else rounded.repeat(shape)


def _iota_type(*, axis: int, shape: tuple[Expr, ...]) -> ops.Type:
    ops.check_axes([axis], shape)
    return shape, "int64"


def _iota_tensor(torch, *, axis: int, shape: Sequence[int]) -> "ops.Tensor":
    along = [-1 if k == axis else 1 for k in range(len(shape))]
    return torch.arange(shape[axis]).reshape(along).expand(shape)


def call_torch(torch, operands: "Sequence[ops.Tensor]", target: str, arguments, keywords) -> "Sequence[ops.Tensor]":
    """All results of the operator of a fallback."""

    def decode(value: Attribute) -> object:
        if isinstance(value, tuple):
            return [decode(item) for item in value]
        if isinstance(value, str) and value.startswith("%"):
            return operands[int(value[1:])]
        if isinstance(value, str) and value.startswith("torch."):
            return getattr(torch, value.removeprefix("torch."))
        return value

    function = attrgetter(target)(torch.ops)
    results = function(*map(decode, arguments), **{name: decode(value) for name, value in keywords})
    return results if isinstance(results, tuple | list) else (results,)


def _fallback_tensor(
    torch, *operands: "ops.Tensor", target: str, arguments, keywords, call, result: int, random, shape, dtype
) -> "ops.Tensor":
    return call_torch(torch, operands, target, arguments, keywords)[result]


def _full(t, value: float | Expr) -> Value:
    return t.full(t.number(value, t.dtype), t.dtype, t.shape)


def _arange(t, start: float | Expr, end: float | Expr, step: float | Expr = 1, **_) -> Value:
    """start + step * index, in integers where all are, as torch computes it."""
    index = t.emit("iota", axis=0, shape=t.shape)
    integral = all(isinstance(number, int | Expr) for number in (start, end, step))
    dtype = "int64" if integral else t.dtype
    index = t.cast(index, dtype)
    if step != 1:
        index = t.emit("mul", index, t.operand(step, dtype))
    if start != 0:
        index = t.emit("add", index, t.operand(start, dtype))
    return t.cast(index, t.dtype)


def _triangle(t, x: Value, diagonal: int, lower: bool) -> Value:
    """x on one side of a diagonal, the diagonal included, and 0 on the other."""
    shape = as_shape(x.shape[-2:])
    row, column = (t.emit("iota", axis=axis, shape=shape) for axis in (0, 1))
    edge = t.emit("add", row, t.operand(diagonal, "int64")) if diagonal else row
    inside = t.emit("le", column, edge) if lower else t.emit("le", edge, column)
    return t.emit("select", inside, x, t.operand(0, x.dtype))


def _eye(t, *_, **__) -> Value:
    row, column = (t.emit("iota", axis=axis, shape=t.shape) for axis in (0, 1))
    return t.cast(t.emit("eq", row, column), t.dtype)


OPERATORS = (
    ops.Operator(
        "full", ops.SOURCE, 0, ("value", "shape", "dtype"), infer=_full_type, reference=_full_tensor,
        aten=("full.default", "full_like.default", "new_full.default"),
        translate=lambda t, *arguments, **_: _full(t, arguments[-1]),
    ),
    ops.Operator("iota", ops.SOURCE, 0, ("axis", "shape"), infer=_iota_type, reference=_iota_tensor),
    ops.Operator(
        "fallback", ops.OPAQUE, (0, ops.MANY),
        ("target", "arguments", "keywords", "call", "result", "random", "shape", "dtype"),
        infer=lambda *_, shape, dtype, **__: (shape, dtype),
        reference=_fallback_tensor,
    ),
)  # fmt: skip
TRANSLATIONS = {
    "scalar_tensor.default": lambda t, value, **_: _full(t, value),
    **dict.fromkeys(("ones.default", "ones_like.default", "new_ones.default"), lambda t, *_, **__: _full(t, 1)),
    **dict.fromkeys(("zeros.default", "zeros_like.default", "new_zeros.default"), lambda t, *_, **__: _full(t, 0)),
    **dict.fromkeys(
        ("empty.memory_format", "empty_like.default", "new_empty.default"), lambda t, *_, **__: _full(t, 0)
    ),
    "arange.default": lambda t, end, **_: _arange(t, 0, end),
    **dict.fromkeys(("arange.start", "arange.start_step"), _arange),
    **dict.fromkeys(("eye.default", "eye.m"), _eye),
    "triu.default": lambda t, x, diagonal=0: _triangle(t, x, diagonal, lower=False),
    "tril.default": lambda t, x, diagonal=0: _triangle(t, x, diagonal, lower=True),
}
"""Operators of ATen that are a number everywhere, or made of indices."""
