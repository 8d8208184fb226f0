"""What each operator means: one function of torch an operator, named as it is.

Each takes the operands' tensors and the attributes, in which sizes have become numbers. The interpreter runs graphs
by them, and everything that the compiler generates is compared with them. Nothing here is fast.

A `fallback` calls torch's operator `target`, for instance "aten.sort.default". In its `arguments` (a tuple) and
`keywords` (a tuple of pairs) the string "%k" stands for operand k, and "torch.float32" for that dtype; `result` is
None, or which of several results is wanted.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sysai.compiler.graph.graph import Attribute

Operands = Sequence[Tensor]
Attributes = Mapping[str, Attribute]

TORCH_DTYPES = {
    name: getattr(torch, name)
    for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int8", "bool")
}
FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "floordiv": torch.floor_divide,
    "mod": torch.remainder, "min": torch.minimum, "max": torch.maximum, "lt": torch.lt, "le": torch.le,
    "eq": torch.eq, "ne": torch.ne, "and": torch.logical_and, "or": torch.logical_or, "exp": torch.exp,
    "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "tanh": torch.tanh, "erf": torch.erf,
    "sigmoid": torch.sigmoid, "sin": torch.sin, "cos": torch.cos, "abs": torch.abs, "floor": torch.floor,
    "pow2": torch.exp2, "select": torch.where, "neg": torch.neg, "not": torch.logical_not, "relu": torch.relu,
    "silu": F.silu, "square": torch.square, "reciprocal": torch.reciprocal,
}  # fmt: skip


def elementwise(name: str) -> Callable[[Operands, Attributes], Tensor]:
    """Reference of an operator without attributes."""
    return lambda operands, _: FUNCTIONS[name](*operands)


def cast(operands: Operands, attributes: Attributes) -> Tensor:
    """Another dtype."""
    return operands[0].to(TORCH_DTYPES[attributes["dtype"]])


def full(_: Operands, attributes: Attributes) -> Tensor:
    """One number everywhere."""
    return torch.full(attributes["shape"], attributes["value"], dtype=TORCH_DTYPES[attributes["dtype"]])


def iota(_: Operands, attributes: Attributes) -> Tensor:
    """The index along an axis."""
    shape, axis = attributes["shape"], attributes["axis"]
    along = [-1 if k == axis else 1 for k in range(len(shape))]
    return torch.arange(shape[axis]).reshape(along).expand(shape)


def reduce(operands: Operands, attributes: Attributes) -> Tensor:
    """Combine along axes."""
    (x,), axes, keepdim = operands, attributes["axes"], attributes["keepdim"]
    if not axes:
        return x.clone()
    match attributes["combine"]:
        case "add":
            return x.sum(axes, keepdim=keepdim, dtype=x.dtype)
        case "max":
            return x.amax(axes, keepdim=keepdim)
        case "min":
            return x.amin(axes, keepdim=keepdim)
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keepdim, dtype=x.dtype)
    return x


def pool2d(operands: Operands, attributes: Attributes) -> Tensor:
    """Combine the elements of each window."""
    window = attributes["kernel"], attributes["stride"], attributes["padding"]
    if attributes["combine"] == "max":
        return F.max_pool2d(operands[0], *window)
    return F.avg_pool2d(operands[0], *window, count_include_pad=True, divisor_override=1)


def avg_pool2d(operands: Operands, attributes: Attributes) -> Tensor:
    """The mean of each window."""
    window = attributes["kernel"], attributes["stride"], attributes["padding"]
    return F.avg_pool2d(operands[0], *window, count_include_pad=attributes["count_include_pad"])


def matmul(operands: Operands, attributes: Attributes) -> Tensor:
    """The product of matrices."""
    a, b = operands
    return a @ (b.mT if attributes["transpose_b"] else b)


def linear(operands: Operands, _: Attributes) -> Tensor:
    """x weight^T + bias."""
    return F.linear(*operands)


def conv2d(operands: Operands, attributes: Attributes) -> Tensor:
    """Correlation with the weights, as torch's."""
    numbers = attributes["stride"], attributes["padding"], attributes["dilation"], attributes["groups"]
    return F.conv2d(*operands, None, *numbers)


def reshape(operands: Operands, attributes: Attributes) -> Tensor:
    """The same elements in another shape."""
    return operands[0].reshape(attributes["shape"])


def permute(operands: Operands, attributes: Attributes) -> Tensor:
    """Axes in another order."""
    return operands[0].permute(attributes["order"])


def expand(operands: Operands, attributes: Attributes) -> Tensor:
    """Repeat."""
    return operands[0].expand(attributes["shape"])


def slice(operands: Operands, attributes: Attributes) -> Tensor:
    """Every step-th index from start on, before stop.

    Raises:
        ValueError: the axis has not so many indices.
    """
    (x,), axis, start, stop, step = operands, *(attributes[name] for name in ("axis", "start", "stop", "step"))
    if not 0 <= start <= stop <= x.shape[axis]:
        raise ValueError(f"indices {start} to {stop} do not exist along an axis of size {x.shape[axis]}")
    index = torch.arange(start, stop, step)
    return x.index_select(axis, index)


def concat(operands: Operands, attributes: Attributes) -> Tensor:
    """One behind the other."""
    return torch.cat(list(operands), attributes["axis"])


def gather(operands: Operands, attributes: Attributes) -> Tensor:
    """table[..., indices, ...]."""
    (table, indices), axis = operands, attributes["axis"]
    shape = (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :])
    return table.index_select(axis, indices.flatten()).reshape(shape)


def pad(operands: Operands, attributes: Attributes) -> Tensor:
    """A number around."""
    pairs = zip(attributes["before"], attributes["after"], strict=True)
    return F.pad(operands[0], [size for pair in reversed(list(pairs)) for size in pair], value=attributes["value"])


def fallback(operands: Operands, attributes: Attributes) -> Tensor:
    """Torch's own operator."""
    function = torch.ops
    for part in attributes["target"].split("."):
        function = getattr(function, part)
    keywords = {name: _decode(value, operands) for name, value in attributes["keywords"]}
    results = function(*(_decode(value, operands) for value in attributes["arguments"]), **keywords)
    return results if attributes["result"] is None else results[attributes["result"]]


def _decode(value: Attribute, operands: Operands) -> object:
    if isinstance(value, tuple):
        return [_decode(part, operands) for part in value]
    if isinstance(value, str) and value.startswith("%"):
        return operands[int(value[1:])]
    if isinstance(value, str) and value.startswith("torch."):
        return getattr(torch, value.removeprefix("torch."))
    return value


def softmax(operands: Operands, attributes: Attributes) -> Tensor:
    """exp(x) over its sum along an axis."""
    return operands[0].softmax(attributes["axis"])


def log_softmax(operands: Operands, attributes: Attributes) -> Tensor:
    """The logarithm of softmax."""
    return operands[0].log_softmax(attributes["axis"])


def layer_norm(operands: Operands, attributes: Attributes) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias along the last axes."""
    shape = operands[0].shape[attributes["axes"][0] :]
    return F.layer_norm(operands[0], shape, *operands[1:], eps=attributes["eps"])


def rms_norm(operands: Operands, attributes: Attributes) -> Tensor:
    """x / sqrt(mean of squares + eps) * weight along the last axes."""
    shape = operands[0].shape[attributes["axes"][0] :]
    return F.rms_norm(operands[0], shape, *operands[1:], eps=attributes["eps"])


def batch_norm(operands: Operands, attributes: Attributes) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias of each channel, with the statistics that are given."""
    return F.batch_norm(*operands, training=False, eps=attributes["eps"])


def scaled_dot_product_attention(operands: Operands, attributes: Attributes) -> Tensor:
    """softmax(q k^T * scale + mask) v; a boolean mask hides where it is False."""
    keywords = {"is_causal": attributes["is_causal"], "scale": attributes["scale"], "enable_gqa": True}
    return F.scaled_dot_product_attention(*operands, **keywords)


def mean(operands: Operands, attributes: Attributes) -> Tensor:
    """The mean along axes."""
    return operands[0].mean(attributes["axes"], keepdim=attributes["keepdim"])


def var(operands: Operands, attributes: Attributes) -> Tensor:
    """The variance along axes: squares of deviations over (number - correction)."""
    keywords = {"correction": attributes["correction"], "keepdim": attributes["keepdim"]}
    return operands[0].var(attributes["axes"], **keywords)


def cumsum(operands: Operands, attributes: Attributes) -> Tensor:
    """Running sums along an axis."""
    return operands[0].cumsum(attributes["axis"], dtype=operands[0].dtype)


def gelu(operands: Operands, attributes: Attributes) -> Tensor:
    """x times the normal distribution's function of x, exactly ("none") or by "tanh"."""
    return F.gelu(operands[0], approximate=attributes["approximate"])


def pow(operands: Operands, attributes: Attributes) -> Tensor:
    """x to the power of a number."""
    return operands[0].pow(attributes["exponent"])
