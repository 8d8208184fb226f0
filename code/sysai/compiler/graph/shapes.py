"""Shape and dtype of what each operator gives: one function an operator, named as it is.

Each takes the operands' values and the attributes and returns (shape, dtype), or raises `InvalidGraph`, which says
what does not go together. Sizes may be expressions; where two must be equal, they must be so for all sizes.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from sysai.compiler.graph.graph import Attribute, Value
from sysai.compiler.graph.sizes import as_shape, evaluate, product, same, same_shape
from sysai.compiler.tir.expr import COMPARISONS, DTYPES, FLOATS, LOGIC, MATH, Const, Expr, variables

Type = tuple[tuple[Expr, ...], str]
Operands = Sequence[Value]
Attributes = Mapping[str, Attribute]


class InvalidGraph(ValueError):  # noqa: N818
    """A graph, or a node of it, that has no meaning; the message says which and why."""


def require(condition: bool, message: str | Callable[[], str]) -> None:
    """Raise InvalidGraph unless the condition holds; a message that takes time to write is given as a function."""
    if not condition:
        raise InvalidGraph(message if isinstance(message, str) else message())


def broadcast(*all_shapes: Sequence[Expr]) -> tuple[Expr, ...]:
    """The shape that shapes have together by numpy's rules: a size of 1, or a missing one, fits any other."""
    rank = max(map(len, all_shapes))
    result = []
    for axis in range(-rank, 0):
        sizes = [shape[axis] for shape in all_shapes if len(shape) >= -axis]
        wide = [size for size in sizes if not same(size, 1)]
        if not all(same(size, wide[0]) for size in wide[1:]):
            words = ", ".join(map(str, sizes))
            raise InvalidGraph(f"sizes {words} of axis {axis} do not fit together (equal ones or 1 do)")
        result.append(wide[0] if wide else Const(1, "int64"))
    return as_shape(result)


def elementwise(name: str) -> Callable[[Operands, Attributes], Type]:
    """Inference of an elementwise operator without attributes."""

    def infer(inputs: Operands, _: Attributes) -> Type:
        dtypes = {value.dtype for value in inputs}
        require(len(dtypes) == 1, f"operands of {sorted(dtypes)}: cast them to one dtype")
        (dtype,) = dtypes
        if name in LOGIC or name == "not":
            require(dtype == "bool", f"takes bool, not {dtype}: compare, or cast first")
        elif name not in COMPARISONS:
            require(dtype != "bool", "does not take bool: cast first")
        if (name in ("div", *MATH) and name != "abs") or name in ("gelu", "silu", "reciprocal"):
            require(dtype in FLOATS, f"takes floats, not {dtype}: cast first")
        return broadcast(*(value.shape for value in inputs)), "bool" if name in COMPARISONS else dtype

    return infer


def select(inputs: Operands, _: Attributes) -> Type:
    """`a` where the condition holds, else `b`."""
    condition, a, b = inputs
    require(condition.dtype == "bool", f"the condition is {condition.dtype}, must be bool")
    require(a.dtype == b.dtype, f"chooses between {a.dtype} and {b.dtype}: cast one of them")
    return broadcast(condition.shape, a.shape, b.shape), a.dtype


def cast(inputs: Operands, attributes: Attributes) -> Type:
    """Another dtype."""
    require(attributes["dtype"] in DTYPES, f"no dtype {attributes['dtype']!r}: it is none of {', '.join(DTYPES)}")
    return inputs[0].shape, attributes["dtype"]


def full(_: Operands, attributes: Attributes) -> Type:
    """One number everywhere."""
    require(attributes["dtype"] in DTYPES, f"no dtype {attributes['dtype']!r}")
    value, dtype = attributes["value"], attributes["dtype"]
    kinds = bool if dtype == "bool" else (float | Expr if dtype in FLOATS else int | Expr)
    fits = isinstance(value, kinds) and (dtype == "bool") == isinstance(value, bool)
    require(fits, f"the value {value!r} is no number of {dtype}, and no size")
    return attributes["shape"], attributes["dtype"]


def iota(_: Operands, attributes: Attributes) -> Type:
    """The index along an axis."""
    check_axes([attributes["axis"]], attributes["shape"])
    return attributes["shape"], "int64"


def check_axes(axes: Sequence[int], shape: Sequence[Expr]) -> None:
    """Axes are numbered from 0 (no negative ones), each at most once."""
    require(all(0 <= axis < len(shape) for axis in axes), f"axes {list(axes)} must lie in 0..{len(shape) - 1}")
    require(len(set(axes)) == len(axes), f"axes {list(axes)} name one twice")


def without(shape: Sequence[Expr], axes: Sequence[int], keepdim: bool) -> tuple[Expr, ...]:
    """A shape whose `axes` are gone, or of size 1."""
    check_axes(axes, shape)
    kept = [Const(1, "int64") if axis in axes else size for axis, size in enumerate(shape)]
    return tuple(size for axis, size in enumerate(kept) if keepdim or axis not in axes)


def reduce(inputs: Operands, attributes: Attributes) -> Type:
    """Combine along axes."""
    require(attributes["combine"] in ("add", "max", "min", "mul"), f"no way {attributes['combine']!r} to combine")
    require(inputs[0].dtype != "bool", "does not take bool: cast first")
    return without(inputs[0].shape, attributes["axes"], attributes["keepdim"]), inputs[0].dtype


def _same_dtype(inputs: Operands) -> str:
    dtypes = sorted({value.dtype for value in inputs})
    require(len(dtypes) == 1, f"operands of {dtypes}: cast them to one dtype")
    require(dtypes[0] != "bool", "does not take bool: cast first")
    return dtypes[0]


def _float_dtype(inputs: Operands) -> str:
    dtype = _same_dtype(inputs)
    require(dtype in FLOATS, f"takes floats, not {dtype}: cast first")
    return dtype


def matmul(inputs: Operands, attributes: Attributes) -> Type:
    """The product of matrices, for all the broadcast dimensions before the last two."""
    a, b = inputs
    require(len(a.shape) >= 2 and len(b.shape) >= 2, "operands must have two dimensions or more: reshape vectors")
    rows, columns = (b.shape[-1], b.shape[-2]) if attributes["transpose_b"] else b.shape[-2:]
    require(same(a.shape[-1], rows), f"inner sizes {a.shape[-1]} and {rows} differ")
    batch = broadcast(a.shape[:-2], b.shape[:-2]) if len(a.shape) + len(b.shape) > 4 else ()
    return (*batch, a.shape[-2], columns), _same_dtype(inputs)


def linear(inputs: Operands, _: Attributes) -> Type:
    """x [..., K], weight [N, K], bias [N]."""
    x, weight = inputs[:2]
    require(len(weight.shape) == 2 and len(x.shape) >= 1, "the weight must be a matrix, the input at least a vector")
    require(same(x.shape[-1], weight.shape[1]), f"inner sizes {x.shape[-1]} and {weight.shape[1]} differ")
    require(len(inputs) == 2 or same_shape(inputs[2].shape, weight.shape[:1]), "the bias does not fit the weight")
    return (*x.shape[:-1], weight.shape[0]), _same_dtype(inputs)


def _windows(size: Expr, kernel: Expr, stride: int, padding: int, dilation: int = 1) -> Expr:
    """How many windows fit along an axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def conv2d(inputs: Operands, attributes: Attributes) -> Type:
    """[B, C, H, W] with [O, C / groups, h, w]."""
    x, weight = inputs
    require(len(x.shape) == 4 and len(weight.shape) == 4, "operands must be [B, C, H, W] and [O, C / groups, h, w]")
    require(same(x.shape[1], weight.shape[1] * attributes["groups"]), "channels of input and weight differ")
    hyper = zip(attributes["stride"], attributes["padding"], attributes["dilation"], strict=True)
    spatial = [_windows(x.shape[2 + k], weight.shape[2 + k], *numbers) for k, numbers in enumerate(hyper)]
    return (x.shape[0], weight.shape[0], *spatial), _float_dtype(inputs)


def pool2d(inputs: Operands, attributes: Attributes) -> Type:
    """[B, C, H, W]: combine the elements of each window."""
    (x,) = inputs
    require(len(x.shape) == 4, "the operand must be [B, C, H, W]")
    require(attributes.get("combine", "add") in ("max", "add"), f"no way {attributes.get('combine')!r} to combine")
    kernel, stride, padding = attributes["kernel"], attributes["stride"], attributes["padding"]
    require(all(2 * p <= k for p, k in zip(padding, kernel, strict=True)), "padding is at most half of the kernel")
    spatial = [_windows(x.shape[2 + k], Const(kernel[k], "int64"), stride[k], padding[k]) for k in range(2)]
    return (*x.shape[:2], *spatial), x.dtype


def avg_pool2d(inputs: Operands, attributes: Attributes) -> Type:
    """The mean of the elements of each window."""
    _float_dtype(inputs)
    return pool2d(inputs, attributes)


def reshape(inputs: Operands, attributes: Attributes) -> Type:
    """The same elements in order, in another shape."""
    count, wanted = product(inputs[0].shape), product(attributes["shape"])
    require(same(count, wanted), lambda: f"{count} elements do not fill a shape of {wanted}")
    return attributes["shape"], inputs[0].dtype


def permute(inputs: Operands, attributes: Attributes) -> Type:
    """Axis k of the output is axis order[k] of the operand."""
    order, shape = attributes["order"], inputs[0].shape
    require(sorted(order) == list(range(len(shape))), f"order {order} must name each of the axes 0..{len(shape) - 1}")
    return tuple(shape[axis] for axis in order), inputs[0].dtype


def expand(inputs: Operands, attributes: Attributes) -> Type:
    """Repeat along axes of size 1, and along new ones in front."""
    shape, wanted = inputs[0].shape, attributes["shape"]
    fits = len(wanted) >= len(shape) and same_shape(broadcast(shape, wanted), wanted)
    require(fits, lambda: f"cannot repeat [{', '.join(map(str, shape))}] to [{', '.join(map(str, wanted))}]")
    return wanted, inputs[0].dtype


def slice(inputs: Operands, attributes: Attributes) -> Type:
    """Every step-th index from start on, before stop."""
    axis, start, stop, step = (attributes[name] for name in ("axis", "start", "stop", "step"))
    shape = list(inputs[0].shape)
    check_axes([axis], shape)
    require(isinstance(step, int) and step > 0, f"the step is {step}, must be a positive integer")
    bounds = (0, start, stop, shape[axis])
    for low, high in pairwise(bounds):
        if not variables(low) | variables(high):
            ordered = evaluate(low, {}) <= evaluate(high, {})
            require(ordered, f"indices {start}..{stop} must be in order within 0..{shape[axis]}")
    shape[axis] = (stop - start + Const(step - 1, "int64")) // step
    return tuple(shape), inputs[0].dtype


def concat(inputs: Operands, attributes: Attributes) -> Type:
    """Operands one behind the other along an axis."""
    axis, first = attributes["axis"], inputs[0].shape
    check_axes([axis], first)
    others = [value.shape[:axis] + value.shape[axis + 1 :] for value in inputs]
    fit = all(
        len(value.shape) == len(first) and same_shape(rest, others[0])
        for value, rest in zip(inputs, others, strict=True)
    )
    require(fit, f"shapes must be equal but for axis {axis}")
    length = sum((value.shape[axis] for value in inputs[1:]), first[axis])
    dtypes = sorted({value.dtype for value in inputs})
    require(len(dtypes) == 1, f"operands of {dtypes}: cast them to one dtype")
    return (*first[:axis], length, *first[axis + 1 :]), dtypes[0]


def gather(inputs: Operands, attributes: Attributes) -> Type:
    """table[..., indices, ...]: the axis is replaced by the dimensions of the indices."""
    table, indices = inputs
    axis = attributes["axis"]
    check_axes([axis], table.shape)
    require(indices.dtype == "int64", f"indices are {indices.dtype}, must be int64: cast them")
    return (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :]), table.dtype


def pad(inputs: Operands, attributes: Attributes) -> Type:
    """A number before and after the elements of each axis."""
    shape, before, after = inputs[0].shape, attributes["before"], attributes["after"]
    require(len(before) == len(after) == len(shape), "before and after must have one size for each axis")
    return tuple(a + size + b for a, size, b in zip(before, shape, after, strict=True)), inputs[0].dtype


def fallback(_: Operands, attributes: Attributes) -> Type:
    """What torch said that it gives."""
    return attributes["shape"], attributes["dtype"]


def _along_axis(inputs: Operands, attributes: Attributes) -> Type:
    check_axes([attributes["axis"]], inputs[0].shape)
    return inputs[0].shape, inputs[0].dtype


def cumsum(inputs: Operands, attributes: Attributes) -> Type:
    """Running sums along an axis."""
    require(inputs[0].dtype != "bool", "does not take bool: cast first")
    return _along_axis(inputs, attributes)


def softmax(inputs: Operands, attributes: Attributes) -> Type:
    """Along an axis."""
    _float_dtype(inputs)
    return _along_axis(inputs, attributes)


log_softmax = softmax


def layer_norm(inputs: Operands, attributes: Attributes) -> Type:
    """x, then weight, then bias, of the shape of the last axes, along which the norm is."""
    shape, axes = inputs[0].shape, attributes["axes"]
    require(tuple(axes) == tuple(range(len(shape) - len(axes), len(shape))), f"axes {axes} must be the last ones")
    fit = all(same_shape(value.shape, shape[axes[0] :]) for value in inputs[1:])
    require(fit, "weight and bias must have the shape of the last axes")
    return shape, _float_dtype(inputs)


rms_norm = layer_norm


def batch_norm(inputs: Operands, _: Attributes) -> Type:
    """x [B, C, ...], running mean, variance, weight and bias, each [C]."""
    x = inputs[0]
    fit = len(x.shape) >= 2 and all(same_shape(value.shape, x.shape[1:2]) for value in inputs[1:])
    require(fit, "mean, variance, weight and bias must have as many elements as x has channels (axis 1)")
    return x.shape, _float_dtype(inputs)


def scaled_dot_product_attention(inputs: Operands, _: Attributes) -> Type:
    """q [B, H, T, K], k [B, N, S, K], v [B, N, S, V], mask that broadcasts to [B, H, T, S]; N divides H."""
    q, k, v = inputs[:3]
    require(len(q.shape) == len(k.shape) == len(v.shape) == 4, "operands must be [batch, heads, positions, size]")
    fit = same(q.shape[3], k.shape[3]) and same_shape(k.shape[:3], v.shape[:3]) and same(q.shape[0], k.shape[0])
    require(fit, "sizes of query, key and value do not fit together")
    H, N = q.shape[1], k.shape[1]
    fit = isinstance(H, Const) and isinstance(N, Const) and H.value % N.value == 0
    require(fit, f"{H} query heads must be a known multiple of {N} key-value heads")
    if len(inputs) == 4:
        scores = (*q.shape[:3], k.shape[2])
        require(same_shape(broadcast(inputs[3].shape, scores), scores), "the mask does not fit the scores")
        require(inputs[3].dtype in ("bool", q.dtype), f"the mask is {inputs[3].dtype}, must be bool or {q.dtype}")
    return (*q.shape[:3], v.shape[3]), _float_dtype(inputs[:3])


def mean(inputs: Operands, attributes: Attributes) -> Type:
    """The mean along axes."""
    require(len(attributes["axes"]) > 0, "needs an axis at least")
    return without(inputs[0].shape, attributes["axes"], attributes["keepdim"]), _float_dtype(inputs)


var = mean


def pow(inputs: Operands, attributes: Attributes) -> Type:
    """A power with a number as its exponent."""
    if attributes["exponent"] not in (0, 1, 2, 3):
        _float_dtype(inputs)
    return inputs[0].shape, _same_dtype(inputs)
