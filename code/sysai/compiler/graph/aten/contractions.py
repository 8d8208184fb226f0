"""Products of matrices, convolutions, pooling, attention."""

from collections.abc import Sequence

from sysai.compiler.graph.aten.translator import NotTranslatable, Translator, is_number, number, pair, translates
from sysai.compiler.graph.graph import Value
from sysai.compiler.tir.expr import INDEX, Const


@translates("linear.default")
def linear(t: Translator, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """x weight^T + bias."""
    return t.emit("linear", x, weight, *([] if bias is None else [bias]))


@translates("mm.default", "bmm.default", "matmul.default")
def matmul(t: Translator, a: Value, b: Value) -> Value:
    """Vectors are matrices with one row or column; the dimensions before the last two are broadcast."""
    one = Const(1, INDEX)
    left = t.reshape(a, (one, *a.shape)) if len(a.shape) == 1 else a
    right = t.reshape(b, (*b.shape, one)) if len(b.shape) == 1 else b
    result = t.emit("matmul", left, right, transpose_b=False)
    return t.reshape(result, t.shape) if len(a.shape) == 1 or len(b.shape) == 1 else result


@translates("dot.default", "mv.default")
def vector_product(t: Translator, a: Value, b: Value) -> Value:
    """As matmul."""
    return matmul(t, a, b)


@translates("addmm.default", "baddbmm.default")
def addmm(t: Translator, bias: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    """beta bias + alpha a b."""
    result = t.emit("matmul", a, b, transpose_b=False)
    if alpha != 1:
        result = t.emit("mul", result, t.operand(alpha, result.dtype))
    if beta == 0:
        return result
    if beta != 1:
        bias = t.emit("mul", bias, t.operand(beta, bias.dtype))
    return t.emit("add", result, bias)


@translates("scaled_dot_product_attention.default")
def attention(
    t: Translator, q, k, v, mask=None, dropout=0.0, is_causal=False, *, scale=None, enable_gqa=False
) -> Value:
    """softmax(q k^T * scale + mask) v."""
    if dropout:
        raise NotTranslatable("dropout within attention: call eval() on the module")
    if len(q.shape) != 4:
        raise NotTranslatable("attention whose operands are not [batch, heads, positions, size]")
    operands = (q, k, v) if mask is None else (q, k, v, mask)
    scale = float(scale) if scale is not None else _default_scale(q)
    return t.emit("scaled_dot_product_attention", *operands, is_causal=is_causal, scale=scale)


def _default_scale(q: Value) -> float:
    if not is_number(q.shape[-1]):
        raise NotTranslatable("attention with heads of a dynamic size")
    return number(q.shape[-1]) ** -0.5


@translates("_scaled_dot_product_flash_attention_for_cpu.default")
def flash_attention(
    t: Translator, q, k, v, dropout=0.0, is_causal=False, *, attn_mask=None, scale=None
) -> tuple[Value]:
    """Its first result is the attention; the second is for the gradient."""
    return (attention(t, q, k, v, attn_mask, dropout, is_causal, scale=scale),)


@translates("conv2d.default")
def conv2d(
    t: Translator, x: Value, weight: Value, bias: Value | None = None, stride=1, padding=0, dilation=1, groups: int = 1
) -> Value:
    """A convolution, and its bias for each channel."""
    result = t.emit(
        "conv2d", x, weight, stride=pair(stride), padding=pair(padding), dilation=pair(dilation), groups=groups
    )
    return result if bias is None else t.emit("add", result, t.reshape(bias, (bias.shape[0], 1, 1)))


@translates("convolution.default")
def convolution(t, x, weight, bias, stride, padding, dilation, transposed, _: Sequence[int], groups: int) -> Value:
    """In two dimensions."""
    if transposed or len(x.shape) != 4:
        raise NotTranslatable("a convolution that is transposed or not over two dimensions")
    return conv2d(t, x, weight, bias, stride, padding, dilation, groups)


@translates("max_pool2d.default", "max_pool2d_with_indices.default")
def max_pool2d(t: Translator, x: Value, kernel, stride=(), padding=0, dilation=1, ceil_mode: bool = False):
    """The greatest of each window."""
    if ceil_mode or pair(dilation) != (1, 1) or len(x.shape) != 4:
        raise NotTranslatable("pooling with ceil_mode, dilation or without a batch")
    window = {"kernel": pair(kernel), "stride": pair(stride or kernel), "padding": pair(padding)}
    result = t.emit("pool2d", x, combine="max", **window)
    return (result,) if isinstance(t.result, tuple | list) else result


@translates("avg_pool2d.default")
def avg_pool2d(
    t: Translator, x: Value, kernel, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor=None
) -> Value:
    """The mean of each window."""
    if ceil_mode or divisor is not None or len(x.shape) != 4:
        raise NotTranslatable("pooling with ceil_mode, a divisor of its own or without a batch")
    window = {"kernel": pair(kernel), "stride": pair(stride or kernel), "padding": pair(padding)}
    return t.emit("avg_pool2d", x, count_include_pad=count_include_pad, **window)


@translates("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(t: Translator, x: Value, size: Sequence[int]) -> Value:
    """The mean of each of size x size equal parts of the picture."""
    height, width = x.shape[-2:]
    if pair(size) == (1, 1):
        rank = len(x.shape)
        return t.emit("mean", x, axes=(rank - 2, rank - 1), keepdim=True)
    if not is_number(height) or not is_number(width) or number(height) % size[0] or number(width) % size[1]:
        raise NotTranslatable(f"adaptive pooling to {list(size)}: it must be 1 or divide the (known) size")
    kernel = number(height) // size[0], number(width) // size[1]
    return t.emit("avg_pool2d", x, kernel=kernel, stride=kernel, padding=(0, 0), count_include_pad=True)
