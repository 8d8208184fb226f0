"""Composite operators, in which models are written: softmax, norms, attention, linear layers, statistics.

`passes/decompose.py` takes them apart by the decompositions here. Sums and products come out as torch's up to
rounding. A softmax multiplies by 1 / sum(e), one division for a row, which rounds twice (1 unit in the last place
more); attention does so last of all.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from sysai.compiler.graph import Value
from sysai.compiler.graph.operators.operator import (
    COMPOSITE,
    Decomposition,
    NotTranslatable,
    Operator,
    Type,
    axes_of,
    axis_of,
    broadcast,
    check_axes,
    float_dtype,
    is_number,
    number,
    number_dtype,
    pair,
    reduced_shape,
    require,
)
from sysai.compiler.graph.operators.reduction import pool2d_type
from sysai.compiler.graph.sizes import same, same_shape
from sysai.compiler.tir.expr import Const

if TYPE_CHECKING:
    from torch import Tensor


Axes = int | Sequence[int] | None


def _linear_type(x: Value, weight: Value, *bias: Value) -> Type:
    """x [..., K], weight [N, K], bias [N]."""
    require(len(weight.shape) == 2 and len(x.shape) >= 1, "the weight must be a matrix, the input at least a vector")
    require(same(x.shape[-1], weight.shape[1]), f"inner sizes {x.shape[-1]} and {weight.shape[1]} differ")
    require(all(same_shape(b.shape, weight.shape[:1]) for b in bias), "the bias does not fit the weight")
    return (*x.shape[:-1], weight.shape[0]), number_dtype(x, weight, *bias)


def _floats_along_axis(x: Value, *, axis: int) -> Type:
    dtype = float_dtype(x)
    check_axes([axis], x.shape)
    return x.shape, dtype


def _cumsum_type(x: Value, *, axis: int) -> Type:
    dtype = number_dtype(x)
    check_axes([axis], x.shape)
    return x.shape, dtype


def _mean_type(x: Value, *, axes: Sequence[int], keepdim: bool, correction: int = 0) -> Type:
    require(len(axes) > 0, "needs an axis at least")
    return reduced_shape(x.shape, axes, keepdim), float_dtype(x)


def _norm_type(x: Value, *affine: Value, axes: Sequence[int], eps: float) -> Type:
    """x, then weight, then bias, of the shape of the last axes, along which the norm is."""
    require(tuple(axes) == tuple(range(len(x.shape) - len(axes), len(x.shape))), f"axes {axes} must be the last ones")
    fit = all(same_shape(value.shape, x.shape[axes[0] :]) for value in affine)
    require(fit, "weight and bias must have the shape of the last axes")
    return x.shape, float_dtype(x, *affine)


def _batch_norm_type(x: Value, *channels: Value, eps: float) -> Type:
    """x [B, C, ...], running mean, variance, weight and bias, each [C]."""
    fit = len(x.shape) >= 2 and all(same_shape(value.shape, x.shape[1:2]) for value in channels)
    require(fit, "mean, variance, weight and bias must have as many elements as x has channels (axis 1)")
    return x.shape, float_dtype(x, *channels)


def _avg_pool2d_type(x: Value, *, kernel, stride, padding, count_include_pad: bool) -> Type:
    float_dtype(x)
    return pool2d_type(x, kernel=kernel, stride=stride, padding=padding)


def _attention_type(q: Value, k: Value, v: Value, *masks: Value, is_causal: bool, scale: float) -> Type:
    """q [B, H, T, K], k [B, N, S, K], v [B, N, S, V], mask that broadcasts to [B, H, T, S]; N divides H."""
    require(len(q.shape) == len(k.shape) == len(v.shape) == 4, "operands must be [batch, heads, positions, size]")
    fit = same(q.shape[3], k.shape[3]) and same_shape(k.shape[:3], v.shape[:3]) and same(q.shape[0], k.shape[0])
    require(fit, "sizes of query, key and value do not fit together")
    H, N = q.shape[1], k.shape[1]
    fit = isinstance(H, Const) and isinstance(N, Const) and H.value % N.value == 0
    require(fit, f"{H} query heads must be a known multiple of {N} key-value heads")
    scores = (*q.shape[:3], k.shape[2])
    for mask in masks:
        require(same_shape(broadcast(mask.shape, scores), scores), "the mask does not fit the scores")
        require(mask.dtype in ("bool", q.dtype), f"the mask is {mask.dtype}, must be bool or {q.dtype}")
    return (*q.shape[:3], v.shape[3]), float_dtype(q, k, v)


def _attention_tensor(torch, *operands: "Tensor", is_causal: bool, scale: float) -> "Tensor":
    """A boolean mask hides where it is False."""
    keywords = {"is_causal": is_causal, "scale": scale, "enable_gqa": True}
    return torch.nn.functional.scaled_dot_product_attention(*operands, **keywords)


def _layer_norm_tensor(torch, x: "Tensor", *affine: "Tensor", axes: Sequence[int], eps: float) -> "Tensor":
    return torch.nn.functional.layer_norm(x, x.shape[axes[0] :], *affine, eps=eps)


def _rms_norm_tensor(torch, x: "Tensor", *weight: "Tensor", axes: Sequence[int], eps: float) -> "Tensor":
    return torch.nn.functional.rms_norm(x, x.shape[axes[0] :], *weight, eps=eps)


def _avg_pool2d_tensor(torch, x: "Tensor", *, kernel, stride, padding, count_include_pad: bool) -> "Tensor":
    return torch.nn.functional.avg_pool2d(x, kernel, stride, padding, count_include_pad=count_include_pad)


def _var_tensor(_, x: "Tensor", *, axes: Sequence[int], keepdim: bool, correction: float) -> "Tensor":
    return x.var(axes, correction=correction, keepdim=keepdim)


_LAYER_NORM = (
    "mul(d := sub(x, mean(x, axes=a, keepdim=True)),"
    " rsqrt(add(mean(mul(d, d), axes=a, keepdim=True), full(value=e, shape=(), dtype=dtype(x)))))"
)
_RMS_NORM = "mul(x, rsqrt(add(mean(mul(x, x), axes=a, keepdim=True), full(value=e, shape=(), dtype=dtype(x)))))"
_BATCH_NORM = "rsqrt(add(v, full(value=e, shape=(), dtype=dtype(v))))"


def _attention_rule(pattern: str, masked: str, where: str = "True", hides_all: bool = False) -> Decomposition:
    """Attention whose scores [B, H, T, S], before the softmax, are `masked`, an expression of them (`{scores}`).

    A row's probabilities are e / sum(e), and its result sum(e v) / sum(e): divided by the sum are K numbers instead
    of S. Where a mask may hide all of a row, the row's result is 0, as torch's is: e is then 0 everywhere, as the
    greatest score counts as 0; the sum, else 1 at least, counts as 1.
    """
    scores = masked.format(
        scores="reshape(mul(matmul(reshape(q, shape=grouped(q, k, shape(q)[3])), k, transpose_b=True),"
        " full(value=c, shape=(), dtype=dtype(q))), shape=scores(q, k))"
    )
    greatest, total = (f"reduce({{}}, combine='{combine}', axes=(3,), keepdim=True)" for combine in ("max", "add"))
    greatest, total = greatest.format("s"), total.format("e")
    if hides_all:
        greatest, total = f"select(eq(top := {greatest}, -1e999), 0, top)", f"max({total}, 1)"
    weights = f"reshape(e := exp(sub(s := {scores}, {greatest})), shape=grouped(q, k, shape(k)[2]))"
    mixed = f"matmul({weights}, v, transpose_b=False)"
    return Decomposition(
        pattern, f"reshape(mul({mixed}, reshape(div(1, {total}), shape=grouped(q, k, 1))), shape=shape(result))", where
    )


_CAUSAL = "select(le(iota(axis=1, shape=scores(q, k)[2:]), iota(axis=0, shape=scores(q, k)[2:])), {scores}, -1e999)"
_MASKED = "scaled_dot_product_attention(q, k, v, m, is_causal=False, scale=c)"


def _linear(t, x: Value, weight: Value, bias: Value | None = None) -> Value:
    return t.emit("linear", x, weight, *([] if bias is None else [bias]))


def _along_axis(op: str, t, x: Value, axis: int, *_, **__) -> Value:
    """The dtype, or whether half precision becomes float, shows in the result."""
    return t.emit(op, t.cast(x, t.dtype), axis=axis_of(axis, len(x.shape)))


def _mean(t, x: Value, axes: Axes = None, keepdim: bool = False, **_) -> Value:
    return t.emit("mean", t.cast(x, t.dtype), axes=axes_of(axes, len(x.shape)), keepdim=keepdim)


def _var(t, x: Value, axes: Axes = None, *, correction: float = 1, keepdim: bool = False) -> Value:
    axes = axes_of(axes, len(x.shape))
    return t.emit("var", x, axes=axes, keepdim=keepdim, correction=1 if correction is None else correction)


def _std(t, x: Value, axes: Axes = None, **keywords) -> Value:
    return t.emit("sqrt", _var(t, x, axes, **keywords))


def _var_mean(t, x: Value, axes: Axes = None, *, keepdim: bool = False, **keywords) -> tuple[Value, ...]:
    mean = t.emit("mean", x, axes=axes_of(axes, len(x.shape)), keepdim=keepdim)
    return _var(t, x, axes, keepdim=keepdim, **keywords), mean


def _last_axes(x: Value, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(range(len(x.shape) - len(shape), len(x.shape)))


def _affine(t, x: Value, rank: int, weight: Value | None, bias: Value | None) -> list[Value]:
    """Weight and bias as operands: a bias without a weight gets one of ones."""
    if weight is None and bias is not None:
        weight = t.full(1.0, x.dtype, x.shape[len(x.shape) - rank :])
    return [value for value in (weight, bias) if value is not None]


def _layer_norm(t, x: Value, shape, weight=None, bias=None, eps: float = 1e-5, *_) -> Value:
    return t.emit("layer_norm", x, *_affine(t, x, len(shape), weight, bias), axes=_last_axes(x, shape), eps=eps)


def _native_layer_norm(t, x: Value, shape, weight, bias, eps: float) -> tuple[Value, ...]:
    """The norm, the mean and the inverse deviation (the last two in float32 at least, for the gradient)."""
    norm = _layer_norm(t, x, shape, weight, bias, eps)
    wide = t.cast(x, t.dtypes[1])
    mean = t.emit("mean", wide, axes=_last_axes(x, shape), keepdim=True)
    variance = t.emit("var", wide, axes=_last_axes(x, shape), keepdim=True, correction=0)
    return norm, mean, t.emit("rsqrt", t.emit("add", variance, t.full(eps, wide.dtype)))


def _rms_norm(t, x: Value, shape, weight=None, eps: float | None = None) -> Value:
    """By default eps is the precision of the dtype."""
    weights = [] if weight is None else [weight]
    return t.emit("rms_norm", x, *weights, axes=_last_axes(x, shape), eps=t.precision if eps is None else eps)


def _inference_norm(t, x: Value, weight, bias, mean: Value, variance: Value, eps: float) -> Value:
    weight = t.full(1.0, x.dtype, x.shape[1:2]) if weight is None else weight
    bias = t.full(0.0, x.dtype, x.shape[1:2]) if bias is None else bias
    return t.emit("batch_norm", x, mean, variance, weight, bias, eps=eps)


def _batch_norm(t, x: Value, weight, bias, mean, variance, training: bool, _, eps: float, *__) -> Value:
    if training:
        raise NotTranslatable("batch norm while training: call eval() on the module")
    return _inference_norm(t, x, weight, bias, mean, variance, eps)


def _native_batch_norm(t, x: Value, weight, bias, mean, variance, _, eps: float) -> tuple[Value]:
    """The norm; what torch saves for the gradient is empty in inference."""
    return (_inference_norm(t, x, weight, bias, mean, variance, eps),)


def _attention(t, q, k, v, mask=None, dropout=0.0, is_causal=False, *, scale=None, enable_gqa=False) -> Value:
    if dropout:
        raise NotTranslatable("dropout within attention: call eval() on the module")
    if len(q.shape) != 4:
        raise NotTranslatable("attention whose operands are not [batch, heads, positions, size]")
    if scale is None and not is_number(q.shape[-1]):
        raise NotTranslatable("attention with heads of a dynamic size")
    scale = float(scale) if scale is not None else number(q.shape[-1]) ** -0.5
    operands = (q, k, v) if mask is None else (q, k, v, mask)
    return t.emit("scaled_dot_product_attention", *operands, is_causal=is_causal, scale=scale)


def _flash_attention(t, q, k, v, dropout=0.0, is_causal=False, *, attn_mask=None, scale=None) -> tuple[Value]:
    """Its first result is the attention; the second is for the gradient."""
    return (_attention(t, q, k, v, attn_mask, dropout, is_causal, scale=scale),)


def _avg_pool2d(
    t, x: Value, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor=None
) -> Value:
    if ceil_mode or divisor is not None or len(x.shape) != 4:
        raise NotTranslatable("pooling with ceil_mode, a divisor of its own or without a batch")
    window = {"kernel": pair(kernel), "stride": pair(stride or kernel), "padding": pair(padding)}
    return t.emit("avg_pool2d", x, count_include_pad=count_include_pad, **window)


def _adaptive_avg_pool2d(t, x: Value, size: Sequence[int]) -> Value:
    """The mean of each of size x size equal pieces of the picture."""
    height, width = x.shape[-2:]
    if pair(size) == (1, 1):
        rank = len(x.shape)
        return t.emit("mean", x, axes=(rank - 2, rank - 1), keepdim=True)
    if not is_number(height) or not is_number(width) or number(height) % size[0] or number(width) % size[1]:
        raise NotTranslatable(f"adaptive pooling to {list(size)}: it must be 1 or divide the (known) size")
    kernel = number(height) // size[0], number(width) // size[1]
    return t.emit("avg_pool2d", x, kernel=kernel, stride=kernel, padding=(0, 0), count_include_pad=True)


OPERATORS = (
    Operator(
        "linear", COMPOSITE, (2, 3), infer=_linear_type,
        reference=lambda torch, *operands: torch.nn.functional.linear(*operands),
        decompositions=(
            Decomposition("linear(x, w)", "matmul(x, w, transpose_b=True)", "rank(x) > 1"),
            Decomposition("linear(x, w, b)", "add(matmul(x, w, transpose_b=True), b)", "rank(x) > 1"),
            *(
                Decomposition(
                    f"linear(x, {weights})",
                    f"reshape(linear(reshape(x, shape=(1, *shape(x))), {weights}), shape=shape(result))",
                    "rank(x) == 1",
                )
                for weights in ("w", "w, b")
            ),
        ),
        aten=("linear.default",), translate=_linear,
    ),
    Operator(
        "softmax", COMPOSITE, 1, ("axis",), infer=_floats_along_axis, in_float32=True,
        reference=lambda _, x, axis: x.softmax(axis),
        decompositions=(
            Decomposition(
                "softmax(x, axis=a)",
                "mul(e := exp(sub(x, reduce(x, combine='max', axes=(a,), keepdim=True))),"
                " div(1, reduce(e, combine='add', axes=(a,), keepdim=True)))",
            ),
        ),
        aten=("softmax.int", "_softmax.default", "_safe_softmax.default"), translate=partial(_along_axis, "softmax"),
    ),
    Operator(
        "log_softmax", COMPOSITE, 1, ("axis",), infer=_floats_along_axis, in_float32=True,
        reference=lambda _, x, axis: x.log_softmax(axis),
        decompositions=(
            Decomposition(
                "log_softmax(x, axis=a)",
                "sub(d := sub(x, reduce(x, combine='max', axes=(a,), keepdim=True)),"
                " log(reduce(exp(d), combine='add', axes=(a,), keepdim=True)))",
            ),
        ),
        aten=("log_softmax.int", "_log_softmax.default"), translate=partial(_along_axis, "log_softmax"),
    ),
    Operator(
        "cumsum", COMPOSITE, 1, ("axis",), infer=_cumsum_type, in_float32=True,
        reference=lambda _, x, axis: x.cumsum(axis, dtype=x.dtype),
        decompositions=(
            Decomposition(
                "cumsum(x, axis=a)",
                "reduce(select(le(iota(axis=0, shape=triangle(x, a)), iota(axis=1, shape=triangle(x, a))),"
                " reshape(x, shape=one_more_axis(x, a)), 0), combine='add', axes=(a,), keepdim=False)",
            ),
        ),
        aten=("cumsum.default",), translate=partial(_along_axis, "cumsum"),
    ),
    Operator(
        "mean", COMPOSITE, 1, ("axes", "keepdim"), infer=_mean_type, in_float32=True,
        reference=lambda _, x, axes, keepdim: x.mean(axes, keepdim=keepdim),
        decompositions=(
            Decomposition(
                "mean(x, axes=a, keepdim=k)",
                "div(reduce(x, combine='add', axes=a, keepdim=k), full(value=count(x, a), shape=(), dtype=dtype(x)))",
            ),
        ),
        aten=("mean.default", "mean.dim"), translate=_mean,
    ),
    Operator(
        "var", COMPOSITE, 1, ("axes", "keepdim", "correction"), infer=_mean_type, in_float32=True,
        reference=_var_tensor,
        decompositions=(
            Decomposition(
                "var(x, axes=a, keepdim=k, correction=c)",
                "div(reduce(mul(d := sub(x, mean(x, axes=a, keepdim=True)), d), combine='add', axes=a, keepdim=k),"
                " full(value=count(x, a, c), shape=(), dtype=dtype(x)))",
            ),
        ),
        aten=("var.correction",), translate=_var,
    ),
    Operator(
        "layer_norm", COMPOSITE, (1, 3), ("axes", "eps"), infer=_norm_type, in_float32=True,
        reference=_layer_norm_tensor,
        decompositions=(
            Decomposition("layer_norm(x, axes=a, eps=e)", _LAYER_NORM),
            Decomposition("layer_norm(x, w, axes=a, eps=e)", f"mul({_LAYER_NORM}, w)"),
            Decomposition("layer_norm(x, w, b, axes=a, eps=e)", f"add(mul({_LAYER_NORM}, w), b)"),
        ),
        aten=("layer_norm.default",), translate=_layer_norm,
    ),
    Operator(
        "rms_norm", COMPOSITE, (1, 2), ("axes", "eps"), infer=_norm_type, in_float32=True, reference=_rms_norm_tensor,
        decompositions=(
            Decomposition("rms_norm(x, axes=a, eps=e)", _RMS_NORM),
            Decomposition("rms_norm(x, w, axes=a, eps=e)", f"mul({_RMS_NORM}, w)"),
        ),
        aten=("rms_norm.default",), translate=_rms_norm,
    ),
    Operator(
        "batch_norm", COMPOSITE, 5, ("eps",), infer=_batch_norm_type, in_float32=True,
        reference=lambda torch, *operands, eps: torch.nn.functional.batch_norm(*operands, training=False, eps=eps),
        decompositions=(
            Decomposition(
                "batch_norm(x, m, v, w, b, eps=e)",
                f"add(mul(x, reshape(s := mul(w, {_BATCH_NORM}), shape=channels(x))),"
                " reshape(sub(b, mul(m, s)), shape=channels(x)))",
            ),
        ),
        aten=("batch_norm.default",), translate=_batch_norm,
    ),
    Operator(
        "scaled_dot_product_attention", COMPOSITE, (3, 4), ("is_causal", "scale"), infer=_attention_type,
        in_float32=True, reference=_attention_tensor,
        decompositions=(
            _attention_rule("scaled_dot_product_attention(q, k, v, is_causal=False, scale=c)", "{scores}"),
            _attention_rule("scaled_dot_product_attention(q, k, v, is_causal=True, scale=c)", _CAUSAL),
            _attention_rule(_MASKED, "select(m, {scores}, -1e999)", "dtype(m) == 'bool'", hides_all=True),
            _attention_rule(_MASKED, "add({scores}, m)", "dtype(m) != 'bool'", hides_all=True),
        ),
        aten=("scaled_dot_product_attention.default",), translate=_attention,
    ),
    Operator(
        "avg_pool2d", COMPOSITE, 1, ("kernel", "stride", "padding", "count_include_pad"), infer=_avg_pool2d_type,
        reference=_avg_pool2d_tensor,
        decompositions=(
            Decomposition(
                "avg_pool2d(x, kernel=k, stride=s, padding=p, count_include_pad=c)",
                "div(pool2d(x, combine='add', kernel=k, stride=s, padding=p),"
                " full(value=k[0] * k[1], shape=(), dtype=dtype(x)))",
                "c or tuple(p) == (0, 0)",
            ),
            Decomposition(
                "avg_pool2d(x, kernel=k, stride=s, padding=p, count_include_pad=False)",
                "div(pool2d(x, combine='add', kernel=k, stride=s, padding=p), pool2d(full(value=1.0,"
                " shape=(1, 1, *shape(x)[2:]), dtype=dtype(x)), combine='add', kernel=k, stride=s, padding=p))",
            ),
        ),
        aten=("avg_pool2d.default",), translate=_avg_pool2d,
    ),
)  # fmt: skip
TRANSLATIONS = {
    "std.correction": _std,
    "var_mean.correction": _var_mean,
    "native_layer_norm.default": _native_layer_norm,
    "_native_batch_norm_legit_no_training.default": _native_batch_norm,
    "_scaled_dot_product_flash_attention_for_cpu.default": _flash_attention,
    **dict.fromkeys(("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default"), _adaptive_avg_pool2d),
}
"""Operators of ATen that give more than one of these does, or another form of it."""
