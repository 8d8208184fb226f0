"""Reductions, norms and softmax."""

from collections.abc import Sequence

import torch

from sysai.compiler.graph.aten.elementwise import as_bool
from sysai.compiler.graph.aten.translator import (
    NotTranslatable,
    Translator,
    axes_of,
    axis_of,
    dtype_name,
    translates,
)
from sysai.compiler.graph.graph import Value

Axes = int | Sequence[int] | None


def _reduce(t: Translator, combine: str, x: Value, axes: Axes, keepdim: bool) -> Value:
    return t.emit("reduce", x, combine=combine, axes=axes_of(axes, len(x.shape)), keepdim=keepdim)


@translates("sum.default", "sum.dim_IntList")
def sum(t: Translator, x: Value, axes: Axes = None, keepdim: bool = False, **_) -> Value:
    """In the dtype of the result, as torch does."""
    return _reduce(t, "add", t.cast(x, t.dtype), axes, keepdim)


@translates("amax.default")
def amax(t: Translator, x: Value, axes: Axes = None, keepdim: bool = False) -> Value:
    """The greatest."""
    return _reduce(t, "max", x, axes, keepdim)


@translates("amin.default")
def amin(t: Translator, x: Value, axes: Axes = None, keepdim: bool = False) -> Value:
    """The least."""
    return _reduce(t, "min", x, axes, keepdim)


@translates("max.default")
def max(t: Translator, x: Value) -> Value:
    """Of all."""
    return _reduce(t, "max", x, None, False)


@translates("min.default")
def min(t: Translator, x: Value) -> Value:
    """Of all."""
    return _reduce(t, "min", x, None, False)


@translates("prod.default")
def prod(t: Translator, x: Value, **_) -> Value:
    """Of all."""
    return _reduce(t, "mul", t.cast(x, t.dtype), None, False)


@translates("prod.dim_int")
def prod_axis(t: Translator, x: Value, axis: int, keepdim: bool = False, **_) -> Value:
    """Along an axis."""
    return _reduce(t, "mul", t.cast(x, t.dtype), axis, keepdim)


@translates("any.default", "any.dim", "any.dims")
def any(t: Translator, x: Value, axes: Axes = None, keepdim: bool = False) -> Value:
    """Whether there is one: the greatest of 0 and 1 is above 0; that of nothing is far below."""
    return _quantify(t, "max", x, axes, keepdim)


@translates("all.default", "all.dim", "all.dims")
def all(t: Translator, x: Value, axes: Axes = None, keepdim: bool = False) -> Value:
    """Whether they all are: the product of 0 and 1 is above 0; that of nothing is 1."""
    return _quantify(t, "mul", x, axes, keepdim)


def _quantify(t: Translator, combine: str, x: Value, axes: Axes, keepdim: bool) -> Value:
    holds = t.cast(as_bool(t, x), "int32")
    return t.emit("lt", t.full(0, "int32"), _reduce(t, combine, holds, axes, keepdim))


@translates("mean.default", "mean.dim")
def mean(t: Translator, x: Value, axes: Axes = None, keepdim: bool = False, **_) -> Value:
    """Along axes."""
    return t.emit("mean", t.cast(x, t.dtype), axes=axes_of(axes, len(x.shape)), keepdim=keepdim)


@translates("var.correction")
def var(t: Translator, x: Value, axes: Axes = None, *, correction: float = 1, keepdim: bool = False) -> Value:
    """Along axes."""
    axes = axes_of(axes, len(x.shape))
    return t.emit("var", x, axes=axes, keepdim=keepdim, correction=1 if correction is None else correction)


@translates("std.correction")
def std(t: Translator, x: Value, axes: Axes = None, **keywords) -> Value:
    """The root of the variance."""
    return t.emit("sqrt", var(t, x, axes, **keywords))


@translates("var_mean.correction")
def var_mean(t: Translator, x: Value, axes: Axes = None, *, keepdim: bool = False, **keywords) -> tuple[Value, Value]:
    """Both."""
    mean = t.emit("mean", x, axes=axes_of(axes, len(x.shape)), keepdim=keepdim)
    return var(t, x, axes, keepdim=keepdim, **keywords), mean


@translates("cumsum.default")
def cumsum(t: Translator, x: Value, axis: int, **_) -> Value:
    """Running sums."""
    return t.emit("cumsum", t.cast(x, t.dtype), axis=axis_of(axis, len(x.shape)))


def _along(op: str, t: Translator, x: Value, axis: int) -> Value:
    return t.emit(op, t.cast(x, t.dtype), axis=axis_of(axis, len(x.shape)))


@translates("softmax.int", "_softmax.default", "_safe_softmax.default")
def softmax(t: Translator, x: Value, axis: int, *_, **__) -> Value:
    """Along an axis; the dtype, or whether half precision becomes float, shows in the result."""
    return _along("softmax", t, x, axis)


@translates("log_softmax.int", "_log_softmax.default")
def log_softmax(t: Translator, x: Value, axis: int, *_, **__) -> Value:
    """Along an axis."""
    return _along("log_softmax", t, x, axis)


def _affine(t: Translator, x: Value, rank: int, weight: Value | None, bias: Value | None) -> list[Value]:
    """Weight and bias as operands: a bias without a weight gets one of ones."""
    if weight is None and bias is not None:
        weight = t.full(1.0, x.dtype, x.shape[len(x.shape) - rank :])
    return [value for value in (weight, bias) if value is not None]


@translates("layer_norm.default")
def layer_norm(t: Translator, x: Value, shape: Sequence[int], weight=None, bias=None, eps: float = 1e-5, *_) -> Value:
    """Over the last axes."""
    axes = tuple(range(len(x.shape) - len(shape), len(x.shape)))
    return t.emit("layer_norm", x, *_affine(t, x, len(shape), weight, bias), axes=axes, eps=eps)


@translates("native_layer_norm.default")
def native_layer_norm(t: Translator, x: Value, shape: Sequence[int], weight, bias, eps: float) -> tuple[Value, ...]:
    """The norm, the mean and the inverse deviation (the last two in float32 at least, for the gradient)."""
    axes = tuple(range(len(x.shape) - len(shape), len(x.shape)))
    norm = t.emit("layer_norm", x, *_affine(t, x, len(shape), weight, bias), axes=axes, eps=eps)
    wide = t.cast(x, dtype_name(t.result[1].dtype))
    mean = t.emit("mean", wide, axes=axes, keepdim=True)
    variance = t.emit("var", wide, axes=axes, keepdim=True, correction=0)
    return norm, mean, t.emit("rsqrt", t.emit("add", variance, t.full(eps, wide.dtype)))


@translates("rms_norm.default")
def rms_norm(t: Translator, x: Value, shape: Sequence[int], weight=None, eps: float | None = None) -> Value:
    """Over the last axes; by default eps is the precision of the dtype."""
    axes = tuple(range(len(x.shape) - len(shape), len(x.shape)))
    eps = torch.finfo(t.result.dtype).eps if eps is None else eps
    return t.emit("rms_norm", x, *([] if weight is None else [weight]), axes=axes, eps=eps)


def _batch_norm(t: Translator, x: Value, weight, bias, mean: Value, variance: Value, eps: float) -> Value:
    weight = t.full(1.0, x.dtype, x.shape[1:2]) if weight is None else weight
    bias = t.full(0.0, x.dtype, x.shape[1:2]) if bias is None else bias
    return t.emit("batch_norm", x, mean, variance, weight, bias, eps=eps)


@translates("batch_norm.default")
def batch_norm(t: Translator, x: Value, weight, bias, mean, variance, training: bool, _, eps: float, *__) -> Value:
    """With the running statistics."""
    if training:
        raise NotTranslatable("batch norm while training: call eval() on the module")
    return _batch_norm(t, x, weight, bias, mean, variance, eps)


@translates("_native_batch_norm_legit_no_training.default")
def native_batch_norm(t: Translator, x: Value, weight, bias, mean, variance, _, eps: float) -> tuple[Value]:
    """The norm; what torch saves for the gradient is empty in inference."""
    return (_batch_norm(t, x, weight, bias, mean, variance, eps),)
