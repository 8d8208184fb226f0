"""Operators that move elements: everything of ATen's becomes reshape, permute, expand, slice, concat, gather or pad."""

from collections.abc import Sequence
from itertools import pairwise

from sysai.compiler.graph import Node, Value
from sysai.compiler.graph.operators import operator as ops
from sysai.compiler.graph.sizes import canonical, evaluate, product, same, same_shape
from sysai.compiler.tir.expr import INDEX, Const, Expr, as_expr, variables

Size = int | Expr
Shape = tuple[Expr, ...]


def _reshape_type(x: Value, *, shape: Shape) -> ops.Type:
    count, wanted = product(x.shape), product(shape)
    ops.require(same(count, wanted), lambda: f"{count} elements do not fill a shape of {wanted}")
    return shape, x.dtype


def _permute_type(x: Value, *, order: Sequence[int]) -> ops.Type:
    """Axis k of the output is axis order[k] of the operand."""
    rank = len(x.shape)
    ops.require(sorted(order) == list(range(rank)), f"order {order} must name each of the axes 0..{rank - 1}")
    return tuple(x.shape[axis] for axis in order), x.dtype


def _expand_type(x: Value, *, shape: Shape) -> ops.Type:
    """Repeat along axes of size 1, and along new ones in front."""
    fits = len(shape) >= len(x.shape) and same_shape(ops.broadcast(x.shape, shape), shape)
    ops.require(fits, lambda: f"cannot repeat [{', '.join(map(str, x.shape))}] to [{', '.join(map(str, shape))}]")
    return shape, x.dtype


def _slice_type(x: Value, *, axis: int, start: Expr, stop: Expr, step: int) -> ops.Type:
    """Every step-th index from start on, before stop."""
    shape = list(x.shape)
    ops.check_axes([axis], shape)
    ops.require(isinstance(step, int) and step > 0, f"the step is {step}, must be a positive integer")
    for low, high in pairwise((0, start, stop, shape[axis])):
        if not variables(low) | variables(high):
            ordered = evaluate(low, {}) <= evaluate(high, {})
            ops.require(ordered, f"indices {start}..{stop} must be in order within 0..{shape[axis]}")
    shape[axis] = (stop - start + Const(step - 1, "int64")) // step
    return tuple(shape), x.dtype


def _concat_type(*operands: Value, axis: int) -> ops.Type:
    first = operands[0].shape
    ops.check_axes([axis], first)
    rest = first[:axis] + first[axis + 1 :]
    fit = all(
        len(value.shape) == len(first) and same_shape(value.shape[:axis] + value.shape[axis + 1 :], rest)
        for value in operands
    )
    ops.require(fit, f"shapes must be equal but for axis {axis}")
    length = sum((value.shape[axis] for value in operands[1:]), first[axis])
    return (*first[:axis], length, *first[axis + 1 :]), ops.one_dtype(*operands)


def _gather_type(table: Value, indices: Value, *, axis: int) -> ops.Type:
    """table[..., indices, ...]: the axis is replaced by the dimensions of the indices."""
    ops.check_axes([axis], table.shape)
    ops.require(indices.dtype == "int64", f"indices are {indices.dtype}, must be int64: cast them")
    return (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :]), table.dtype


def _pad_type(x: Value, *, before: Shape, after: Shape, value: float) -> ops.Type:
    ops.require(len(before) == len(after) == len(x.shape), "before and after must have one size for each axis")
    return tuple(a + size + b for a, size, b in zip(before, x.shape, after, strict=True)), x.dtype


def _slice_tensor(torch, x: "ops.Tensor", *, axis: int, start: int, stop: int, step: int) -> "ops.Tensor":
    """Raises ValueError where the axis has not so many indices."""
    if not 0 <= start <= stop <= x.shape[axis]:
        raise ValueError(f"indices {start} to {stop} do not exist along an axis of size {x.shape[axis]}")
    return x.index_select(axis, torch.arange(start, stop, step))


def _gather_tensor(_, table: "ops.Tensor", indices: "ops.Tensor", *, axis: int) -> "ops.Tensor":
    shape = (*table.shape[:axis], *indices.shape, *table.shape[axis + 1 :])
    return table.index_select(axis, indices.flatten()).reshape(shape)


def _pad_tensor(torch, x: "ops.Tensor", *, before, after, value: float) -> "ops.Tensor":
    last_axis_first = reversed(list(zip(before, after, strict=True)))
    return torch.nn.functional.pad(x, [size for widths in last_axis_first for size in widths], value=value)


def _transpose(t, x: Value, first: int, second: int) -> Value:
    order = list(range(len(x.shape)))
    first, second = ops.axis_of(first, len(order)), ops.axis_of(second, len(order))
    order[first], order[second] = second, first
    return t.emit("permute", x, order=tuple(order))


def _repeat(t, x: Value, repeats: Sequence[Size]) -> Value:
    """Axes side by side: insert an axis before each, expand it, and merge the two."""
    shape = (*[Const(1, INDEX)] * (len(repeats) - len(x.shape)), *x.shape)
    pairs = list(zip(repeats, shape, strict=True))
    x = t.reshape(x, [size for _, size in pairs for size in (1, size)])
    x = t.emit("expand", x, shape=tuple(size for pair in pairs for size in pair))
    return t.reshape(x, t.shape)


def _slice(t, x: Value, axis: int = 0, start: Size | None = None, stop: Size | None = None, step: int = 1) -> Value:
    """Negative indices count from the end, and those beyond it are cut off: torch's shape says where it stops."""
    axis = ops.axis_of(axis, len(x.shape))
    return _range(t, x, axis, _index(start or 0, x.shape[axis]), t.shape[axis], step)


def _range(t, x: Value, axis: int, start: Expr, count: Expr, step: int = 1) -> Value:
    """`count` indices from `start` on."""
    if same(start, 0) and same(count, x.shape[axis]) and step == 1:
        return x
    stop = start if same(count, 0) else start + (count - 1) * step + 1
    return t.emit("slice", x, axis=axis, start=start, stop=stop, step=step)


def _index(index: Size, size: Expr) -> Expr:
    """An index counted from the front, within 0..size as far as that is known."""
    index = canonical(as_expr(index))
    if isinstance(index, Const):
        if index.value < 0:
            index = canonical(size + index)
        if isinstance(size, Const) and isinstance(index, Const):
            return Const(min(max(index.value, 0), size.value), INDEX)
    return index


def _select(t, x: Value, axis: int, index: Size) -> Value:
    """One index of an axis, which goes."""
    axis = ops.axis_of(axis, len(x.shape))
    return t.reshape(_range(t, x, axis, _index(index, x.shape[axis]), Const(1, INDEX)), t.shape)


def _split(t, x: Value, _: object, axis: int = 0) -> tuple[Value, ...]:
    """Pieces as long as torch says."""
    axis, start, pieces = ops.axis_of(axis, len(x.shape)), Const(0, INDEX), []
    for fake in t.result:
        count = t.symbols.size(fake.shape[axis])
        pieces.append(_range(t, x, axis, start, count))
        start = canonical(start + count)
    return tuple(pieces)


def _unbind(t, x: Value, axis: int = 0) -> tuple[Value, ...]:
    axis = ops.axis_of(axis, len(x.shape))
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    indices = (Const(index, INDEX) for index in range(len(t.result)))
    return tuple(t.reshape(_range(t, x, axis, index, Const(1, INDEX)), shape) for index in indices)


def _cat(t, operands: Sequence[Value], axis: int = 0) -> Value:
    """torch lets empty vectors pass whatever the shape: they are left out."""
    rank = len(t.shape)
    operands = [t.cast(value, t.dtype) for value in operands if len(value.shape) == rank]
    return t.emit("concat", *operands, axis=ops.axis_of(axis, rank)) if len(operands) > 1 else operands[0]


def _stack(t, operands: Sequence[Value], axis: int = 0) -> Value:
    axis = ops.axis_of(axis, len(t.shape))
    shape = (*operands[0].shape[:axis], 1, *operands[0].shape[axis:])
    return _cat(t, [t.reshape(value, shape) for value in operands], axis)


def _pad(t, x: Value, widths: Sequence[int], value: float = 0) -> Value:
    """torch gives pairs from the last axis on; a negative width cuts."""
    unsupported = any((size := ops.known(width)) is None or size < 0 for width in widths)
    ops.refuse(unsupported, "padding by a negative or dynamic width: slice instead")
    pairs = [(0, 0)] * (len(x.shape) - len(widths) // 2)
    pairs += reversed([(widths[k], widths[k + 1]) for k in range(0, len(widths), 2)])
    before, after = zip(*pairs, strict=True)
    return t.emit("pad", x, before=before, after=after, value=t.number(value, x.dtype))


def _flip(t, x: Value, axes: Sequence[int]) -> Value:
    """Gather by size - 1 - index."""
    for axis in ops.axes_of(axes, len(x.shape)):
        size = x.shape[axis]
        last = t.full(canonical(size - 1), "int64")
        x = t.emit("gather", x, t.emit("sub", last, t.emit("iota", axis=0, shape=(size,))), axis=axis)
    return x


def _index_select(t, x: Value, axis: int, indices: Value) -> Value:
    axis = ops.axis_of(axis, len(x.shape))
    return t.emit("gather", x, t.emit("within", t.cast(indices, "int64"), size=x.shape[axis]), axis=axis)


def _index_tensors(t, x: Value, indices: Sequence[Value | None]) -> Value:
    """Index tensors for neighbouring axes: these are merged into one, of which elements are gathered.

    Where the index tensors only count along axes of their own (which is how masks are built), nothing needs to be
    gathered: the elements lie in order already.
    """
    axes = [axis for axis, tensor in enumerate(indices) if tensor is not None]
    tensors = [tensor for tensor in indices if tensor is not None]
    ops.refuse(axes != list(range(axes[0], axes[0] + len(axes))), "index tensors for axes that are not neighbours")
    boolean = any(tensor.dtype == "bool" for tensor in tensors)
    ops.refuse(boolean, "a boolean index: how many elements it chooses depends on the data")
    sizes = [x.shape[axis] for axis in axes]
    if _counts(t, tensors, sizes):
        return t.reshape(x, t.shape)
    merged = t.reshape(x, (*x.shape[: axes[0]], product(sizes), *x.shape[axes[-1] + 1 :])) if len(axes) > 1 else x
    flat_index: Value | None = None
    for tensor, size in zip(tensors, sizes, strict=True):
        index = _from_front(t, t.cast(tensor, "int64"), size)
        if flat_index is not None:
            index = t.emit("add", t.emit("mul", flat_index, t.full(size, "int64")), index)
        flat_index = index
    return t.emit("gather", merged, flat_index, axis=axes[0])


def _iota_of(t, value: Value) -> Node | None:
    """The iota that a value is a reshaping of, or None."""
    producers = {node.output.name: node for node in t.nodes}
    node = producers.get(value.name)
    while node is not None and node.op == "reshape":
        node = producers.get(node.inputs[0].name)
    return node if node is not None and node.op == "iota" and len(node.output.shape) == 1 else None


def _counts(t, tensors: Sequence[Value], sizes: Sequence[Expr]) -> bool:
    """Whether each tensor counts through its whole axis, along a later axis of the result than the tensor before."""
    last = -1
    rank = len(ops.broadcast(*(tensor.shape for tensor in tensors)))
    for tensor, size in zip(tensors, sizes, strict=True):
        wide = [axis + rank - len(tensor.shape) for axis, length in enumerate(tensor.shape) if not same(length, 1)]
        iota = _iota_of(t, tensor)
        if iota is None or len(wide) != 1 or wide[0] <= last or not same(iota.output.shape[0], size):
            return False
        last = wide[0]
    return True


def _from_front(t, index: Value, size: Expr) -> Value:
    """The index, checked; negative ones count from the end."""
    if _iota_of(t, index) is None:
        negative = t.emit("lt", index, t.full(0, "int64"))
        index = t.emit("select", negative, t.emit("add", index, t.full(size, "int64")), index)
    return t.emit("within", index, size=size)


OPERATORS = (
    ops.Operator(
        "reshape", ops.MOVEMENT, 1, ("shape",), infer=_reshape_type, reference=lambda _, x, shape: x.reshape(shape),
        aten=(
            "view.default", "reshape.default", "_unsafe_view.default", "unsqueeze.default", "squeeze.default",
            "squeeze.dim", "squeeze.dims", "flatten.using_ints", "unflatten.int", "_reshape_alias.default",
            "view_copy.default",
        ),
        translate=lambda t, x, *_, **__: t.reshape(x, t.shape),
    ),
    ops.Operator(
        "permute", ops.MOVEMENT, 1, ("order",), infer=_permute_type, reference=lambda _, x, order: x.permute(order),
        aten=("permute.default",),
        translate=lambda t, x, order: t.emit("permute", x, order=tuple(ops.axis_of(k, len(order)) for k in order)),
    ),
    ops.Operator(
        "expand", ops.MOVEMENT, 1, ("shape",), infer=_expand_type, reference=lambda _, x, shape: x.expand(shape),
        aten=("expand.default",), translate=lambda t, x, *_, **__: t.emit("expand", x, shape=t.shape),
    ),
    ops.Operator(
        "slice", ops.MOVEMENT, 1, ("axis", "start", "stop", "step"), infer=_slice_type, reference=_slice_tensor,
        aten=("slice.Tensor",), translate=_slice,
    ),
    ops.Operator(
        "concat", ops.MOVEMENT, (1, ops.MANY), ("axis",), infer=_concat_type,
        reference=lambda torch, *operands, axis: torch.cat(operands, axis),
        aten=("cat.default", "concat.default"), translate=_cat,
    ),
    ops.Operator(
        "gather", ops.MOVEMENT, 2, ("axis",), infer=_gather_type, reference=_gather_tensor,
        aten=("index_select.default",), translate=_index_select,
    ),
    ops.Operator(
        "pad", ops.MOVEMENT, 1, ("before", "after", "value"), infer=_pad_type, reference=_pad_tensor,
        aten=("constant_pad_nd.default",), translate=_pad,
    ),
)  # fmt: skip
TRANSLATIONS = {
    **dict.fromkeys(("transpose.int", "swapaxes.default"), _transpose),
    **dict.fromkeys(
        ("t.default", "mT.default", "numpy_T.default"), lambda t, x: _transpose(t, x, -1, -2) if len(x.shape) > 1 else x
    ),
    "repeat.default": _repeat,
    "select.int": _select,
    "narrow.default": lambda t, x, axis, start, length: _slice(t, x, axis, start),
    **dict.fromkeys(("split.Tensor", "split_with_sizes.default", "split.sizes", "chunk.default"), _split),
    "unbind.int": _unbind,
    "stack.default": _stack,
    "flip.default": _flip,
    "embedding.default": lambda t, table, indices, *_: _index_select(t, table, 0, indices),
    "index.Tensor": _index_tensors,
}
"""Operators of ATen that become several of these, or one with other arguments."""
