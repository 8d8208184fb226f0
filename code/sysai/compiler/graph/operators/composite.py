"""Composite operators, in which models are written: softmax, norms, attention, linear layers, statistics.

`passes/decompose.py` takes them apart by the decompositions here. Sums and products come out as torch's up to
rounding. A softmax multiplies by 1 / sum(e), one division for a row, which rounds twice (1 unit in the last place
more); attention does so last of all.
"""

from collections.abc import Callable, Sequence
from functools import partial

from sysai.compiler.graph import Value
from sysai.compiler.graph.operators import operator as ops
from sysai.compiler.graph.operators.operator import Decomposition
from sysai.compiler.graph.operators.reduction import pool2d_type
from sysai.compiler.graph.sizes import same, same_shape
from sysai.compiler.tir.expr import Const


def _linear_type(x: Value, weight: Value, *bias: Value) -> ops.Type:
    """x [..., K], weight [N, K], bias [N]."""
    fit = len(weight.shape) == 2 and len(x.shape) >= 1
    ops.require(fit, "the weight must be a matrix, the input at least a vector")
    ops.require(same(x.shape[-1], weight.shape[1]), f"inner sizes {x.shape[-1]} and {weight.shape[1]} differ")
    ops.require(all(same_shape(b.shape, weight.shape[:1]) for b in bias), "the bias does not fit the weight")
    return (*x.shape[:-1], weight.shape[0]), ops.number_dtype(x, weight, *bias)


def _along_axis_type(check: Callable[..., str], x: Value, *, axis: int) -> ops.Type:
    dtype = check(x)
    ops.check_axes([axis], x.shape)
    return x.shape, dtype


def _mean_type(x: Value, *, axes: Sequence[int], keepdim: bool, correction: int = 0) -> ops.Type:
    ops.require(len(axes) > 0, "needs an axis at least")
    return ops.reduced_shape(x.shape, axes, keepdim), ops.float_dtype(x)


def _norm_type(x: Value, *affine: Value, axes: Sequence[int], eps: float) -> ops.Type:
    """x, then weight, then bias, of the shape of the last axes, along which the norm is."""
    ops.require(tuple(axes) == _last_axes(x, axes), f"axes {axes} must be the last ones")
    fit = all(same_shape(value.shape, x.shape[axes[0] :]) for value in affine)
    ops.require(fit, "weight and bias must have the shape of the last axes")
    return x.shape, ops.float_dtype(x, *affine)


def _batch_norm_type(x: Value, *channels: Value, eps: float) -> ops.Type:
    """x [B, C, ...], running mean, variance, weight and bias, each [C]."""
    fit = len(x.shape) >= 2 and all(same_shape(value.shape, x.shape[1:2]) for value in channels)
    ops.require(fit, "mean, variance, weight and bias must have as many elements as x has channels (axis 1)")
    return x.shape, ops.float_dtype(x, *channels)


def _avg_pool2d_type(x: Value, *, kernel, stride, padding, count_include_pad: bool) -> ops.Type:
    ops.float_dtype(x)
    return pool2d_type(x, kernel=kernel, stride=stride, padding=padding)


def _attention_type(q: Value, k: Value, v: Value, *masks: Value, is_causal: bool, scale: float) -> ops.Type:
    """q [B, H, T, K], k [B, N, S, K], v [B, N, S, V], mask that broadcasts to [B, H, T, S]; N divides H."""
    ops.require(len(q.shape) == len(k.shape) == len(v.shape) == 4, "operands must be [batch, heads, positions, size]")
    fit = same(q.shape[3], k.shape[3]) and same_shape(k.shape[:3], v.shape[:3]) and same(q.shape[0], k.shape[0])
    ops.require(fit, "sizes of query, key and value do not fit together")
    H, N = q.shape[1], k.shape[1]
    fit = isinstance(H, Const) and isinstance(N, Const) and H.value % N.value == 0
    ops.require(fit, f"{H} query heads must be a known multiple of {N} key-value heads")
    scores = (*q.shape[:3], k.shape[2])
    for mask in masks:
        ops.require(same_shape(ops.broadcast(mask.shape, scores), scores), "the mask does not fit the scores")
        ops.require(mask.dtype in ("bool", q.dtype), f"the mask is {mask.dtype}, must be bool or {q.dtype}")
    return (*q.shape[:3], v.shape[3]), ops.float_dtype(q, k, v)


def _norm_tensor(name: str, torch, x: "ops.Tensor", *affine: "ops.Tensor", axes, eps: float) -> "ops.Tensor":
    return getattr(torch.nn.functional, name)(x, x.shape[axes[0] :], *affine, eps=eps)


def _avg_pool2d_tensor(torch, x: "ops.Tensor", *, kernel, stride, padding, count_include_pad: bool) -> "ops.Tensor":
    return torch.nn.functional.avg_pool2d(x, kernel, stride, padding, count_include_pad=count_include_pad)


_LAYER_NORM = (
    "mul(d := sub(x, mean(x, axes=a, keepdim=True)),"
    " rsqrt(add(mean(mul(d, d), axes=a, keepdim=True), full(value=e, shape=(), dtype=dtype(x)))))"
)
_RMS_NORM = "mul(x, rsqrt(add(mean(mul(x, x), axes=a, keepdim=True), full(value=e, shape=(), dtype=dtype(x)))))"


def _attention_rule(pattern: str, masked: str, where: str = "True", hides_all: bool = False) -> Decomposition:
    """Attention whose scores [B, H, T, S], before the softmax, are `masked`, an expression of them (`{scores}`).

    A row's probabilities are e / sum(e), and its result sum(e v) / sum(e): divided by the sum are K numbers instead
    of S. Where a mask may hide all of a row, the row's result is 0, as torch's is: e is then 0 everywhere, as the
    greatest score counts as 0; the sum, else 1 at least, counts as 1.
    """
    scores = masked.format(
        scores="reshape(mul(matmul(reshape(q, shape=grouped(q, k, shape(q)[3])), k, transpose_b=True),"
        " full(value=c, shape=(), dtype=dtype(q))), shape=(*shape(q)[:3], shape(k)[2]))"
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


_KEY, _QUERY = (f"iota(axis={axis}, shape=(shape(q)[2], shape(k)[2]))" for axis in (1, 0))
_CAUSAL = f"select(le({_KEY}, {_QUERY}), {{scores}}, -1e999)"
_MASKED = "scaled_dot_product_attention(q, k, v, m, is_causal=False, scale=c)"


def _along_axis(op: str, t, x: Value, axis: int, *_, **__) -> Value:
    """The dtype, or whether half precision becomes float, shows in the result."""
    return t.emit(op, t.cast(x, t.dtype), axis=ops.axis_of(axis, len(x.shape)))


def _mean(t, x: Value, axes: ops.Axes = None, keepdim: bool = False, **_) -> Value:
    return t.emit("mean", t.cast(x, t.dtype), axes=ops.axes_of(axes, len(x.shape)), keepdim=keepdim)


def _var(t, x: Value, axes: ops.Axes = None, *, correction: float = 1, keepdim: bool = False) -> Value:
    axes = ops.axes_of(axes, len(x.shape))
    return t.emit("var", x, axes=axes, keepdim=keepdim, correction=1 if correction is None else correction)


def _var_mean(t, x: Value, axes: ops.Axes = None, *, keepdim: bool = False, **keywords) -> tuple[Value, ...]:
    mean = t.emit("mean", x, axes=ops.axes_of(axes, len(x.shape)), keepdim=keepdim)
    return _var(t, x, axes, keepdim=keepdim, **keywords), mean


def _last_axes(x: Value, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(range(len(x.shape) - len(shape), len(x.shape)))


def _layer_norm(t, x: Value, shape, weight=None, bias=None, eps: float = 1e-5, *_) -> Value:
    """A bias without a weight gets one of ones."""
    if weight is None and bias is not None:
        weight = t.full(1.0, x.dtype, x.shape[len(x.shape) - len(shape) :])
    return t.emit("layer_norm", x, weight, bias, axes=_last_axes(x, shape), eps=eps)


def _native_layer_norm(t, x: Value, shape, weight, bias, eps: float) -> tuple[Value, ...]:
    """The norm, the mean and the inverse deviation (the last two in float32 at least, for the gradient)."""
    norm = _layer_norm(t, x, shape, weight, bias, eps)
    wide = t.cast(x, t.dtypes[1])
    mean = t.emit("mean", wide, axes=_last_axes(x, shape), keepdim=True)
    variance = t.emit("var", wide, axes=_last_axes(x, shape), keepdim=True, correction=0)
    return norm, mean, t.emit("rsqrt", t.emit("add", variance, t.full(eps, wide.dtype)))


def _rms_norm(t, x: Value, shape, weight=None, eps: float | None = None) -> Value:
    """By default eps is the precision of the dtype."""
    return t.emit("rms_norm", x, weight, axes=_last_axes(x, shape), eps=t.precision if eps is None else eps)


def _batch_norm(t, x: Value, weight, bias, mean, variance, training: bool, _, eps: float, *__) -> Value:
    ops.refuse(training, "batch norm while training: call eval() on the module")
    weight = t.full(1.0, x.dtype, x.shape[1:2]) if weight is None else weight
    bias = t.full(0.0, x.dtype, x.shape[1:2]) if bias is None else bias
    return t.emit("batch_norm", x, mean, variance, weight, bias, eps=eps)


def _native_batch_norm(t, x: Value, weight, bias, mean, variance, momentum: float, eps: float) -> tuple[Value]:
    """The norm; what torch saves for the gradient is empty in inference."""
    return (_batch_norm(t, x, weight, bias, mean, variance, False, momentum, eps),)


def _attention(t, q, k, v, mask=None, dropout=0.0, is_causal=False, *, scale=None, enable_gqa=False) -> Value:
    ops.refuse(dropout, "dropout within attention: call eval() on the module")
    ops.refuse(len(q.shape) != 4, "attention whose operands are not [batch, heads, positions, size]")
    head_size = ops.known(q.shape[-1])
    ops.refuse(scale is None and head_size is None, "attention with heads of a dynamic size")
    scale = float(scale) if scale is not None else head_size**-0.5
    return t.emit("scaled_dot_product_attention", q, k, v, mask, is_causal=is_causal, scale=scale)


def _flash_attention(t, q, k, v, dropout=0.0, is_causal=False, *, attn_mask=None, scale=None) -> tuple[Value]:
    """Its first result is the attention; the second is for the gradient."""
    return (_attention(t, q, k, v, attn_mask, dropout, is_causal, scale=scale),)


def _avg_pool2d(t, x, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor=None) -> Value:
    unsupported = ceil_mode or divisor is not None or len(x.shape) != 4
    ops.refuse(unsupported, "pooling with ceil_mode, a divisor of its own or without a batch")
    window = {"kernel": ops.pair(kernel), "stride": ops.pair(stride or kernel), "padding": ops.pair(padding)}
    return t.emit("avg_pool2d", x, count_include_pad=count_include_pad, **window)


def _adaptive_avg_pool2d(t, x: Value, size: Sequence[int]) -> Value:
    """The mean of each of size x size equal pieces of the picture."""
    if ops.pair(size) == (1, 1):
        rank = len(x.shape)
        return t.emit("mean", x, axes=(rank - 2, rank - 1), keepdim=True)
    pieces = [(ops.known(length), count) for length, count in zip(x.shape[-2:], ops.pair(size), strict=True)]
    divides = all(length is not None and length % count == 0 for length, count in pieces)
    ops.refuse(not divides, f"adaptive pooling to {list(size)}: it must be 1 or divide the (known) size")
    kernel = tuple(length // count for length, count in pieces)
    return t.emit("avg_pool2d", x, kernel=kernel, stride=kernel, padding=(0, 0), count_include_pad=True)


OPERATORS = (
    ops.Operator(
        "linear", ops.COMPOSITE, (2, 3), infer=_linear_type,
        reference=lambda torch, *operands: torch.nn.functional.linear(*operands),
        decomposition=(
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
        aten=("linear.default",),
        translate=lambda t, x, weight, bias=None: t.emit("linear", x, weight, bias),
    ),
    ops.Operator(
        "softmax", ops.COMPOSITE, 1, ("axis",), infer=partial(_along_axis_type, ops.float_dtype), in_float32=True,
        reference=lambda _, x, axis: x.softmax(axis),
        decomposition=Decomposition(
            "softmax(x, axis=a)",
            "mul(e := exp(sub(x, reduce(x, combine='max', axes=(a,), keepdim=True))),"
            " div(1, reduce(e, combine='add', axes=(a,), keepdim=True)))",
        ),
        aten=("softmax.int", "_softmax.default", "_safe_softmax.default"), translate=partial(_along_axis, "softmax"),
    ),
    ops.Operator(
        "log_softmax", ops.COMPOSITE, 1, ("axis",), infer=partial(_along_axis_type, ops.float_dtype), in_float32=True,
        reference=lambda _, x, axis: x.log_softmax(axis),
        decomposition=Decomposition(
            "log_softmax(x, axis=a)",
            "sub(d := sub(x, reduce(x, combine='max', axes=(a,), keepdim=True)),"
            " log(reduce(exp(d), combine='add', axes=(a,), keepdim=True)))",
        ),
        aten=("log_softmax.int", "_log_softmax.default"), translate=partial(_along_axis, "log_softmax"),
    ),
    ops.Operator(
        "cumsum", ops.COMPOSITE, 1, ("axis",), infer=partial(_along_axis_type, ops.number_dtype), in_float32=True,
        reference=lambda _, x, axis: x.cumsum(axis, dtype=x.dtype),
        decomposition=Decomposition(
            "cumsum(x, axis=a)",
            "reduce(select(le(iota(axis=0, shape=triangle(x, a)), iota(axis=1, shape=triangle(x, a))),"
            " reshape(x, shape=(*shape(x)[:a + 1], 1, *shape(x)[a + 1:])), 0),"
            " combine='add', axes=(a,), keepdim=False)",
        ),
        aten=("cumsum.default",), translate=partial(_along_axis, "cumsum"),
    ),
    ops.Operator(
        "mean", ops.COMPOSITE, 1, ("axes", "keepdim"), infer=_mean_type, in_float32=True,
        reference=lambda _, x, axes, keepdim: x.mean(axes, keepdim=keepdim),
        decomposition=Decomposition(
            "mean(x, axes=a, keepdim=k)",
            "div(reduce(x, combine='add', axes=a, keepdim=k), full(value=count(x, a), shape=(), dtype=dtype(x)))",
        ),
        aten=("mean.default", "mean.dim"), translate=_mean,
    ),
    ops.Operator(
        "var", ops.COMPOSITE, 1, ("axes", "keepdim", "correction"), infer=_mean_type, in_float32=True,
        reference=lambda _, x, axes, keepdim, correction: x.var(axes, correction=correction, keepdim=keepdim),
        decomposition=Decomposition(
            "var(x, axes=a, keepdim=k, correction=c)",
            "div(reduce(mul(d := sub(x, mean(x, axes=a, keepdim=True)), d), combine='add', axes=a, keepdim=k),"
            " full(value=count(x, a, c), shape=(), dtype=dtype(x)))",
        ),
        aten=("var.correction",), translate=_var,
    ),
    ops.Operator(
        "layer_norm", ops.COMPOSITE, (1, 3), ("axes", "eps"), infer=_norm_type, in_float32=True,
        reference=partial(_norm_tensor, "layer_norm"),
        decomposition=(
            Decomposition("layer_norm(x, axes=a, eps=e)", _LAYER_NORM),
            Decomposition("layer_norm(x, w, axes=a, eps=e)", f"mul({_LAYER_NORM}, w)"),
            Decomposition("layer_norm(x, w, b, axes=a, eps=e)", f"add(mul({_LAYER_NORM}, w), b)"),
        ),
        aten=("layer_norm.default",), translate=_layer_norm,
    ),
    ops.Operator(
        "rms_norm", ops.COMPOSITE, (1, 2), ("axes", "eps"), infer=_norm_type, in_float32=True,
        reference=partial(_norm_tensor, "rms_norm"),
        decomposition=(
            Decomposition("rms_norm(x, axes=a, eps=e)", _RMS_NORM),
            Decomposition("rms_norm(x, w, axes=a, eps=e)", f"mul({_RMS_NORM}, w)"),
        ),
        aten=("rms_norm.default",), translate=_rms_norm,
    ),
    ops.Operator(
        "batch_norm", ops.COMPOSITE, 5, ("eps",), infer=_batch_norm_type, in_float32=True,
        reference=lambda torch, *operands, eps: torch.nn.functional.batch_norm(*operands, training=False, eps=eps),
        decomposition=Decomposition(
            "batch_norm(x, m, v, w, b, eps=e)",
            "add(mul(x, reshape(s := mul(w, rsqrt(add(v, full(value=e, shape=(), dtype=dtype(v))))),"
            " shape=channels(x))), reshape(sub(b, mul(m, s)), shape=channels(x)))",
        ),
        aten=("batch_norm.default",), translate=_batch_norm,
    ),
    ops.Operator(
        "scaled_dot_product_attention", ops.COMPOSITE, (3, 4), ("is_causal", "scale"), infer=_attention_type,
        in_float32=True,
        reference=lambda torch, *operands, is_causal, scale: torch.nn.functional.scaled_dot_product_attention(
            *operands, is_causal=is_causal, scale=scale, enable_gqa=True
        ),
        decomposition=(
            _attention_rule("scaled_dot_product_attention(q, k, v, is_causal=False, scale=c)", "{scores}"),
            _attention_rule("scaled_dot_product_attention(q, k, v, is_causal=True, scale=c)", _CAUSAL),
            _attention_rule(_MASKED, "select(m, {scores}, -1e999)", "dtype(m) == 'bool'", hides_all=True),
            _attention_rule(_MASKED, "add({scores}, m)", "dtype(m) != 'bool'", hides_all=True),
        ),
        aten=("scaled_dot_product_attention.default",), translate=_attention,
    ),
    ops.Operator(
        "avg_pool2d", ops.COMPOSITE, 1, ("kernel", "stride", "padding", "count_include_pad"), infer=_avg_pool2d_type,
        reference=_avg_pool2d_tensor,
        decomposition=(
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
    "std.correction": lambda t, x, axes=None, **keywords: t.emit("sqrt", _var(t, x, axes, **keywords)),
    "var_mean.correction": _var_mean,
    "native_layer_norm.default": _native_layer_norm,
    "_native_batch_norm_legit_no_training.default": _native_batch_norm,
    "_scaled_dot_product_flash_attention_for_cpu.default": _flash_attention,
    **dict.fromkeys(("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default"), _adaptive_avg_pool2d),
}
"""Operators of ATen that give more than one of these does, or another form of it."""
