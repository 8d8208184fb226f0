"""Movement of elements: everything becomes reshape, permute, expand, slice, concat, gather or pad."""

from collections.abc import Sequence

from sysai.compiler.graph.aten.translator import (
    NotTranslatable,
    Translator,
    axes_of,
    axis_of,
    is_number,
    number,
    translates,
)
from sysai.compiler.graph.graph import Node, Value
from sysai.compiler.graph.shapes import broadcast
from sysai.compiler.graph.sizes import canonical, product, same
from sysai.compiler.tir.expr import INDEX, Const, Expr, as_expr

Size = int | Expr


@translates("view.default", "reshape.default", "_unsafe_view.default", "unsqueeze.default", "squeeze.default",
            "squeeze.dim", "squeeze.dims", "flatten.using_ints", "unflatten.int", "_reshape_alias.default",
            "view_copy.default")  # fmt: skip
def view(t: Translator, x: Value, *_, **__) -> Value:
    """The same elements in the shape that torch says."""
    return t.reshape(x, t.shape)


@translates("expand.default")
def expand(t: Translator, x: Value, *_, **__) -> Value:
    """Repeat along axes of size 1, and new ones."""
    return t.emit("expand", x, shape=t.shape)


@translates("repeat.default")
def repeat(t: Translator, x: Value, repeats: Sequence[Size]) -> Value:
    """Axes side by side: insert an axis before each, expand it, and merge the two."""
    shape = (*[Const(1, INDEX)] * (len(repeats) - len(x.shape)), *x.shape)
    pairs = list(zip(repeats, shape, strict=True))
    x = t.reshape(x, [size for _, size in pairs for size in (1, size)])
    x = t.emit("expand", x, shape=tuple(canonical(as_expr(size)) for pair in pairs for size in pair))
    return t.reshape(x, t.shape)


@translates("permute.default")
def permute(t: Translator, x: Value, order: Sequence[int]) -> Value:
    """Axes in another order."""
    return t.emit("permute", x, order=tuple(axis_of(axis, len(order)) for axis in order))


@translates("transpose.int", "swapaxes.default")
def transpose(t: Translator, x: Value, first: int, second: int) -> Value:
    """Two axes change places."""
    order = list(range(len(x.shape)))
    first, second = axis_of(first, len(order)), axis_of(second, len(order))
    order[first], order[second] = second, first
    return t.emit("permute", x, order=tuple(order))


@translates("t.default", "mT.default", "numpy_T.default")
def matrix_transpose(t: Translator, x: Value) -> Value:
    """The last two axes change places."""
    return transpose(t, x, -1, -2) if len(x.shape) > 1 else x


@translates("slice.Tensor")
def slice(t: Translator, x: Value, axis: int = 0, start: Size | None = None, stop: Size | None = None, step: int = 1):
    """Indices from start on; negative ones count from the end, and those beyond it are cut off."""
    axis = axis_of(axis, len(x.shape))
    return _slice(t, x, axis, _index(start or 0, x.shape[axis]), t.shape[axis], step)


def _slice(t: Translator, x: Value, axis: int, start: Expr, count: Expr, step: int = 1) -> Value:
    """`count` indices from `start` on."""
    if same(start, 0) and same(count, x.shape[axis]) and step == 1:
        return x
    stop = canonical(start + count) if step == 1 else canonical(start + (count - 1) * step + 1)
    if same(count, 0):
        stop = start
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


@translates("select.int")
def select(t: Translator, x: Value, axis: int, index: Size) -> Value:
    """One index of an axis, which goes."""
    axis = axis_of(axis, len(x.shape))
    part = _slice(t, x, axis, _index(index, x.shape[axis]), Const(1, INDEX))
    return t.reshape(part, t.shape)


@translates("narrow.default")
def narrow(t: Translator, x: Value, axis: int, start: Size, _: Size) -> Value:
    """Some indices of an axis."""
    axis = axis_of(axis, len(x.shape))
    return _slice(t, x, axis, _index(start, x.shape[axis]), t.shape[axis])


@translates("split.Tensor", "split_with_sizes.default", "chunk.default", "split.sizes")
def split(t: Translator, x: Value, _: object, axis: int = 0) -> tuple[Value, ...]:
    """Parts that are as long as torch says."""
    axis, start, parts = axis_of(axis, len(x.shape)), Const(0, INDEX), []
    for part in t.result:
        count = t.symbols.size(part.shape[axis])
        parts.append(_slice(t, x, axis, start, count))
        start = canonical(start + count)
    return tuple(parts)


@translates("unbind.int")
def unbind(t: Translator, x: Value, axis: int = 0) -> tuple[Value, ...]:
    """Each index of an axis."""
    axis = axis_of(axis, len(x.shape))
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    indices = (Const(index, INDEX) for index in range(len(t.result)))
    return tuple(t.reshape(_slice(t, x, axis, index, Const(1, INDEX)), shape) for index in indices)


@translates("cat.default", "concat.default")
def cat(t: Translator, parts: Sequence[Value], axis: int = 0) -> Value:
    """One behind the other; torch lets empty vectors pass whatever the shape."""
    rank = len(t.shape)
    parts = [t.cast(part, t.dtype) for part in parts if len(part.shape) == rank]
    return t.emit("concat", *parts, axis=axis_of(axis, rank)) if len(parts) > 1 else parts[0]


@translates("stack.default")
def stack(t: Translator, parts: Sequence[Value], axis: int = 0) -> Value:
    """Along a new axis."""
    axis = axis_of(axis, len(t.shape))
    shape = (*parts[0].shape[:axis], 1, *parts[0].shape[axis:])
    return cat(t, [t.reshape(part, shape) for part in parts], axis)


@translates("constant_pad_nd.default")
def constant_pad(t: Translator, x: Value, widths: Sequence[int], value: float = 0) -> Value:
    """torch gives pairs from the last axis on; a negative width cuts."""
    if any(not is_number(width) or number(width) < 0 for width in widths):
        raise NotTranslatable("padding by a negative or dynamic width: slice instead")
    pairs = [(0, 0)] * (len(x.shape) - len(widths) // 2)
    pairs += reversed([(widths[k], widths[k + 1]) for k in range(0, len(widths), 2)])
    before, after = zip(*pairs, strict=True)
    return t.emit("pad", x, before=before, after=after, value=value)


@translates("flip.default")
def flip(t: Translator, x: Value, axes: Sequence[int]) -> Value:
    """Axes backwards: gather by size - 1 - index."""
    for axis in axes_of(axes, len(x.shape)):
        size = x.shape[axis]
        last = t.full(canonical(size - 1), "int64")
        x = t.emit("gather", x, t.emit("sub", last, t.emit("iota", axis=0, shape=(size,))), axis=axis)
    return x


@translates("embedding.default")
def embedding(t: Translator, table: Value, indices: Value, *_) -> Value:
    """Rows of the table."""
    return t.emit("gather", table, t.cast(indices, "int64"), axis=0)


@translates("index_select.default")
def index_select(t: Translator, x: Value, axis: int, indices: Value) -> Value:
    """Indices of an axis."""
    return t.emit("gather", x, t.cast(indices, "int64"), axis=axis_of(axis, len(x.shape)))


@translates("index.Tensor")
def index(t: Translator, x: Value, indices: Sequence[Value | None]) -> Value:
    """Index tensors for neighbouring axes: these are merged into one, of which elements are gathered.

    Where the index tensors only count along axes of their own (which is how masks are built), nothing needs to be
    gathered: the elements lie in order already.
    """
    axes = [axis for axis, part in enumerate(indices) if part is not None]
    parts = [part for part in indices if part is not None]
    if axes != list(range(axes[0], axes[0] + len(axes))):
        raise NotTranslatable("index tensors for axes that are not neighbours")
    if any(part.dtype == "bool" for part in parts):
        raise NotTranslatable("a boolean index: how many elements it chooses depends on the data")
    sizes = [x.shape[axis] for axis in axes]
    if _counts(t, parts, sizes):
        return t.reshape(x, t.shape)
    merged = t.reshape(x, (*x.shape[: axes[0]], product(sizes), *x.shape[axes[-1] + 1 :])) if len(axes) > 1 else x
    place: Value | None = None
    for part, size in zip(parts, sizes, strict=True):
        part = _from_front(t, t.cast(part, "int64"), size)
        if place is not None:
            part = t.emit("add", t.emit("mul", place, t.full(size, "int64")), part)
        place = part
    return t.emit("gather", merged, place, axis=axes[0])


def _origin(t: Translator, value: Value) -> Node | None:
    """The iota that a value is a reshaping of, or None."""
    producers = {node.output.name: node for node in t.nodes}
    node = producers.get(value.name)
    while node is not None and node.op == "reshape":
        node = producers.get(node.inputs[0].name)
    return node if node is not None and node.op == "iota" and len(node.output.shape) == 1 else None


def _counts(t: Translator, parts: Sequence[Value], sizes: Sequence[Expr]) -> bool:
    """Whether each part counts through its whole axis, along an axis of the result behind that of the part before."""
    last = -1
    rank = len(broadcast(*(part.shape for part in parts)))
    for part, size in zip(parts, sizes, strict=True):
        wide = [axis + rank - len(part.shape) for axis, length in enumerate(part.shape) if not same(length, 1)]
        iota = _origin(t, part)
        if iota is None or len(wide) != 1 or wide[0] <= last or not same(iota.output.shape[0], size):
            return False
        last = wide[0]
    return True


def _from_front(t: Translator, index: Value, size: Expr) -> Value:
    """Negative indices count from the end."""
    if _origin(t, index) is not None:
        return index
    negative = t.emit("lt", index, t.full(0, "int64"))
    return t.emit("select", negative, t.emit("add", index, t.full(size, "int64")), index)
