"""Operators that combine many elements for one: reductions, pooling, products of matrices, convolutions."""

from collections.abc import Sequence
from functools import partial

from sysai.compiler.graph import Value
from sysai.compiler.graph.operators import operator as ops
from sysai.compiler.graph.operators.elementwise import as_bool
from sysai.compiler.graph.sizes import same
from sysai.compiler.tir.expr import INDEX, Const, Expr


def _reduce_type(x: Value, *, combine: str, axes: Sequence[int], keepdim: bool) -> ops.Type:
    ops.require(combine in ("add", "max", "min", "mul"), f"no way {combine!r} to combine")
    dtype = ops.number_dtype(x)
    return ops.reduced_shape(x.shape, axes, keepdim), dtype


def _windows(size: Expr, kernel: Expr, stride: int, padding: int, dilation: int = 1) -> Expr:
    """How many windows fit along an axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def pool2d_type(x: Value, *, kernel, stride, padding, combine: str = "add") -> ops.Type:
    """The type of the pooling of [B, C, H, W] over windows of kernel[0] x kernel[1]."""
    ops.require(len(x.shape) == 4, "the operand must be [B, C, H, W]")
    ops.require(combine in ("max", "add"), f"no way {combine!r} to combine")
    ops.require(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)), "padding is at most half of the kernel")
    spatial = [_windows(x.shape[2 + k], Const(kernel[k], "int64"), stride[k], padding[k]) for k in range(2)]
    return (*x.shape[:2], *spatial), x.dtype


def _matmul_type(a: Value, b: Value, *, transpose_b: bool) -> ops.Type:
    ops.require(len(a.shape) >= 2 and len(b.shape) >= 2, "operands must have two dimensions or more: reshape vectors")
    rows, columns = (b.shape[-1], b.shape[-2]) if transpose_b else b.shape[-2:]
    ops.require(same(a.shape[-1], rows), f"inner sizes {a.shape[-1]} and {rows} differ")
    batch = ops.broadcast(a.shape[:-2], b.shape[:-2]) if len(a.shape) + len(b.shape) > 4 else ()
    return (*batch, a.shape[-2], columns), ops.number_dtype(a, b)


def _conv2d_type(x: Value, weight: Value, *, stride, padding, dilation, groups: int) -> ops.Type:
    ops.require(len(x.shape) == 4 and len(weight.shape) == 4, "operands must be [B, C, H, W] and [O, C / groups, h, w]")
    ops.require(same(x.shape[1], weight.shape[1] * groups), "channels of input and weight differ")
    axes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    spatial = [_windows(*along_axis) for along_axis in axes]
    return (x.shape[0], weight.shape[0], *spatial), ops.float_dtype(x, weight)


def _reduce_tensor(_, x: "ops.Tensor", *, combine: str, axes: Sequence[int], keepdim: bool) -> "ops.Tensor":
    if not axes:
        return x.clone()
    match combine:
        case "add":
            return x.sum(axes, keepdim=keepdim, dtype=x.dtype)
        case "max":
            return x.amax(axes, keepdim=keepdim)
        case "min":
            return x.amin(axes, keepdim=keepdim)
    for axis in sorted(axes, reverse=True):  # torch's prod takes one axis
        x = x.prod(axis, keepdim=keepdim, dtype=x.dtype)
    return x


def _pool2d_tensor(torch, x: "ops.Tensor", *, combine: str, kernel, stride, padding) -> "ops.Tensor":
    functional = torch.nn.functional
    if combine == "max":
        return functional.max_pool2d(x, kernel, stride, padding)
    return functional.avg_pool2d(x, kernel, stride, padding, count_include_pad=True, divisor_override=1)


def _reduced(combine: str, t, x: Value, axes: ops.Axes = None, keepdim: bool = False, **_) -> Value:
    if t.dtype == "bool":
        return _quantified({"min": "mul"}.get(combine, combine), t, x, axes, keepdim)
    x = t.cast(x, t.dtype)
    return t.emit("reduce", x, combine=combine, axes=ops.axes_of(axes, len(x.shape)), keepdim=keepdim)


def _quantified(combine: str, t, x: Value, axes: ops.Axes = None, keepdim: bool = False) -> Value:
    """Any is the greatest of 0 and 1, which of nothing is far below 0; all is their product, which of nothing is 1."""
    holds, axes, zero = t.cast(as_bool(t, x), "int32"), ops.axes_of(axes, len(x.shape)), t.full(0, "int32")
    return t.emit("lt", zero, t.emit("reduce", holds, combine=combine, axes=axes, keepdim=keepdim))


def _max_pool2d(t, x: Value, kernel, stride=(), padding=0, dilation=1, ceil_mode: bool = False):
    unsupported = ceil_mode or ops.pair(dilation) != (1, 1) or len(x.shape) != 4
    ops.refuse(unsupported, "pooling with ceil_mode, dilation or without a batch")
    window = {"kernel": ops.pair(kernel), "stride": ops.pair(stride or kernel), "padding": ops.pair(padding)}
    result = t.emit("pool2d", x, combine="max", **window)
    return (result,) if isinstance(t.result, tuple | list) else result


def _matmul(t, a: Value, b: Value) -> Value:
    """Vectors are matrices with one row or column; the dimensions before the last two are broadcast."""
    left = t.reshape(a, (Const(1, INDEX), *a.shape)) if len(a.shape) == 1 else a
    right = t.reshape(b, (*b.shape, Const(1, INDEX))) if len(b.shape) == 1 else b
    result = t.emit("matmul", left, right, transpose_b=False)
    return t.reshape(result, t.shape) if len(a.shape) == 1 or len(b.shape) == 1 else result


def _addmm(t, bias: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """beta bias + alpha a b."""
    result = t.emit("matmul", a, b, transpose_b=False)
    if alpha != 1:
        result = t.emit("mul", result, t.operand(alpha, result.dtype, wide=True))
    if beta == 0:
        return result
    if beta != 1:
        bias = t.emit("mul", bias, t.operand(beta, bias.dtype, wide=True))
    return t.emit("add", result, bias)


def _conv2d(t, x: Value, weight: Value, bias: Value | None = None, stride=1, padding=0, dilation=1, groups=1) -> Value:
    window = {"stride": ops.pair(stride), "padding": ops.pair(padding), "dilation": ops.pair(dilation)}
    result = t.emit("conv2d", x, weight, **window, groups=groups)
    return result if bias is None else t.emit("add", result, t.reshape(bias, (bias.shape[0], 1, 1)))


def _convolution(t, x, weight, bias, stride, padding, dilation, transposed, _, groups: int) -> Value:
    ops.refuse(transposed or len(x.shape) != 4, "a convolution that is transposed or not over two dimensions")
    return _conv2d(t, x, weight, bias, stride, padding, dilation, groups)


OPERATORS = (
    ops.Operator(
        "reduce", ops.REDUCTION, 1, ("combine", "axes", "keepdim"), infer=_reduce_type, reference=_reduce_tensor,
        aten=("sum.default", "sum.dim_IntList"), translate=partial(_reduced, "add"),
    ),
    ops.Operator(
        "pool2d", ops.REDUCTION, 1, ("combine", "kernel", "stride", "padding"), infer=pool2d_type,
        reference=_pool2d_tensor,
        aten=("max_pool2d.default", "max_pool2d_with_indices.default"), translate=_max_pool2d,
    ),
    ops.Operator(
        "matmul", ops.MATMUL, 2, ("transpose_b",), infer=_matmul_type,
        reference=lambda torch, a, b, transpose_b: a @ (b.mT if transpose_b else b),
        aten=("mm.default", "bmm.default", "matmul.default", "dot.default", "mv.default"), translate=_matmul,
    ),
    ops.Operator(
        "conv2d", ops.MATMUL, 2, ("stride", "padding", "dilation", "groups"), infer=_conv2d_type,
        reference=lambda torch, x, weight, stride, padding, dilation, groups: torch.nn.functional.conv2d(
            x, weight, None, stride, padding, dilation, groups
        ),
        aten=("conv2d.default",), translate=_conv2d,
    ),
)  # fmt: skip
TRANSLATIONS = {
    **dict.fromkeys(("prod.default", "prod.dim_int"), partial(_reduced, "mul")),
    **dict.fromkeys(("max.default", "amax.default"), partial(_reduced, "max")),
    **dict.fromkeys(("min.default", "amin.default"), partial(_reduced, "min")),
    **dict.fromkeys(("any.default", "any.dim", "any.dims"), partial(_quantified, "max")),
    **dict.fromkeys(("all.default", "all.dim", "all.dims"), partial(_quantified, "mul")),
    **dict.fromkeys(("addmm.default", "baddbmm.default"), _addmm),
    "convolution.default": _convolution,
}
"""Operators of ATen that become one of these with another combination, or with other operators around it."""
