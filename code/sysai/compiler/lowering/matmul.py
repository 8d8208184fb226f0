"""Products: matmul and conv2d, with the elementwise operators on their results.

    acc[i, j]  += a[i, k] * b[k, j]       the product
    y[i, j]     = epilogue(acc[i, j])     bias, activation, residual: while the tile is in registers

The schedule makes a tile of registers of `acc`. Leading dimensions that the right operand has not are rows like any
others: [B, T, K] x [K, N] has B T rows.

A right operand that is constant is packed when the graph is compiled: columns in panels of P, two vectors, and each
panel row by row, so that a loop over k reads it from front to back, whatever the number of rows (Goto and van de Geijn,
2008).

    weight [N, K]  ->  packed [ceil(N / P), K, P], filled with zeros        F.linear's weight is transposed; of any
                                                                            dtype, widened as it is read
    conv weight [O, C, h, w]  ->  [ceil(O / P), C, h, w, P]

An operand that is not constant is packed when the product runs, unless packing costs more than it gains:
of few rows (a step of decoding), the product reads it as it is stored. If that is [N, K], vectors lie along the sum.

A convolution is the product of its windows [B Y X, C h w] with the weights, without the windows being written out.
One in groups has few channels for a place, and goes along the rows of the image instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from sysai.compiler.cpu import lanes
from sysai.compiler.graph import Graph, Node, Value
from sysai.compiler.graph.sizes import broadcast_indices, product, same
from sysai.compiler.lowering.elements import Elements, Loop, allocate, block, indices, mergeable_axes, nested, spatial
from sysai.compiler.passes.groups import Group, widens
from sysai.compiler.tir.accesses import goes_along
from sysai.compiler.tir.expr import INDEX, ONE, ZERO, Buffer, Cast, Const, Expr, Load, Select
from sysai.compiler.tir.statement import PrimFunc, Stmt, identity, sequence

UNPACKED_ROWS = 16  # of the left operand, for which to pack the right one would take longer than the product
NARROW_COLUMNS = 256  # columns, of which rows do not yet fall into few sets of the first cache


def panel_columns() -> int:
    """Columns of a panel: two vectors."""
    return 2 * lanes()


def pack(weight: Tensor, transposed: bool) -> Tensor:
    """Columns in panels: [K, N], or transposed [N, K, ...], to [ceil(N / P), K, ..., P]."""
    rows = weight if transposed else weight.mT
    padded = F.pad(rows, [0, 0] * (rows.dim() - 1) + [0, -len(rows) % panel_columns()])
    panels = padded.reshape(-1, panel_columns(), *rows.shape[1:])
    return panels.movedim(1, -1).contiguous()


def panels_for(columns: Expr) -> Expr:
    """How many panels hold that many columns."""
    return (columns + (panel_columns() - 1)) // panel_columns()


def padded(columns: Expr) -> Expr:
    """The columns of all panels; a single column remains one."""
    return columns if same(columns, 1) else panels_for(columns) * panel_columns()


def packable(group: Group, graph: Graph) -> str | None:
    """The name of the right operand, if it is a constant matrix or filter that is to be packed.

    One that is a table of embeddings as well would be kept twice: for few rows it stays as it is.
    """
    node = group.anchor
    weight = _stored(group)
    produced = {inner.output.name for inner in group.nodes}
    used_once = sum(value.name == weight.name for inner in group.nodes for value in inner.inputs) == 1
    plain = len(weight.shape) == 2 if node.op == "matmul" else node.attributes["groups"] == 1
    if weight.name not in set(graph.constants) - produced or not plain or not used_once:
        return None
    few = node.op == "matmul" and node.attributes["transpose_b"] and _are_few(product(node.output.shape[:-1]))
    stays = few and any(user.op == "gather" for user in graph.users()[weight.name])
    return None if stays else weight.name


def _stored(group: Group) -> Value:
    """The right operand as memory has it: before it is widened, if the group does that."""
    weight = group.anchor.inputs[1]
    widening = (node for node in group.nodes if node.output.name == weight.name and widens(node))
    return next((node.inputs[0] for node in widening), weight)


def lower_product(group: Group, name: str, packed: bool = False) -> PrimFunc:
    """The function of a group around a product: buffers are its inputs, then its output.

    Args:
        packed: the right operand comes packed, see `pack`.
    """
    return (_convolution if group.anchor.op == "conv2d" else _matmul)(group, name, packed)


_Copy = tuple[Stmt, Buffer]


def _matmul(group: Group, name: str, packed: bool) -> PrimFunc:
    node = group.anchor
    a, b = node.inputs
    produced = {inner.output.name for inner in group.nodes}
    rank = len(group.domain)
    merge: frozenset[int] = frozenset()
    if len(b.shape) == 2 and a.name not in produced:
        others = [inner for inner in group.nodes if inner is not node]
        rows = replace(node, op="full", inputs=(a,))  # as far as merging goes, a product is elementwise in its rows
        merge = mergeable_axes(replace(group, nodes=(*others, rows)), border=rank - 1)
    elements = Elements(group, merge)
    loops = spatial(elements.shape(node.output))
    k = Loop("r", a.shape[-1], reduces=True)
    *batch, row, column = indices(loops)
    a_element = elements.of(a, (*broadcast_indices(elements.shape(a)[:-2], batch), row, k.index))
    if packed:
        stored = _panels(elements, _stored(group).name, column, (k,))
        b_element = stored if stored.dtype == b.dtype else Cast(b.dtype, stored)
        return _product(elements, name, loops, [k], a_element * b_element, across=loops[-1])

    def element(batch: Sequence[Expr], row: Expr, column: Expr) -> Expr:
        matrix = (column, row) if node.attributes["transpose_b"] else (row, column)
        return elements.of(b, (*broadcast_indices(elements.shape(b)[:-2], batch), *matrix))

    plain = element(batch, k.index, column)
    if same(loops[-1].extent, 1) or _reads_well(a_element, plain, loops[-2:], k):
        return _product(elements, name, loops, [k], a_element * plain)
    copy, b_element = _packing([*loops[:-2], loops[-1]], [k], b.dtype, lambda *at: element(at[:-2], at[-1], at[-2]))
    return _product(elements, name, loops, [k], a_element * b_element, across=loops[-1], copy=copy)


def _are_few(rows: Expr) -> bool:
    return isinstance(rows, Const) and rows.value <= UNPACKED_ROWS


def _reads_well(a: Expr, b: Expr, loops: Sequence[Loop], k: Loop) -> bool:
    """Whether the right operand is read as it is: along the sum for few rows, or along columns if these are few."""
    (rows, width), (_, column) = (loop.extent for loop in loops), indices(loops)
    few = _are_few(rows)
    if few and goes_along(a, k.index) and goes_along(b, k.index):
        return True
    whole = isinstance(width, Const) and width.value % panel_columns() == 0
    return whole and goes_along(b, column) and (few or width.value <= NARROW_COLUMNS)


def _packing(
    loops: Sequence[Loop], summed: Sequence[Loop], dtype: str, element: Callable[..., Expr]
) -> tuple[_Copy, Expr]:
    """The loops that pack the right operand at run time, with their buffer; and an element of the packed operand.

    Args:
        loops: over the matrices, if there are several, and over columns.
        element: (indices of `loops`, then of the sum) -> the element as it is stored.
    """
    *batch, column = loops
    panels = Loop("panel", panels_for(column.extent))
    nest = [*(replace(loop, name=loop.name * 3) for loop in batch), panels]
    nest += [Loop(f"depth_{loop.name}", loop.extent) for loop in summed]
    across = Loop("across", Const(panel_columns(), INDEX))
    source_column = indices(nest)[len(batch)] * panel_columns() + across.index
    source = (*indices(nest)[: len(batch)], source_column, *indices(nest)[len(loops) :])
    value = Select(source_column < column.extent, element(*source), identity("add", dtype))
    buffer_loops = [loop for loop in nest if not same(loop.extent, 1)]
    buffer = Buffer("panels", (*(loop.extent for loop in buffer_loops), Const(panel_columns(), INDEX)), dtype)
    copy = block("pack", [*nest, across], buffer, indices([*buffer_loops, across]), value)
    sources = [*indices(batch), column.index // panel_columns(), *indices(summed)]
    read = [index for index, loop in zip(sources, nest, strict=True) if loop in buffer_loops]
    return (nested([*nest, across], copy), buffer), buffer[(*read, column.index % panel_columns())]


def _panels(elements: Elements, weight: str, column: Expr, summed: Sequence[Loop]) -> Expr:
    """An element of a packed operand, whose buffer takes the place of the plain one."""
    plain = elements.inputs[weight]
    columns = elements.producers[elements.group.anchor.output.name].output.shape
    count = columns[1] if len(summed) > 1 else columns[-1]
    shape = (panels_for(count), *(loop.extent for loop in summed), Const(panel_columns(), INDEX))
    buffer = elements.inputs[weight] = Buffer(plain.name, shape, plain.dtype)
    return buffer[(column // panel_columns(), *(loop.index for loop in summed), column % panel_columns())]


def _convolution(group: Group, name: str, packed: bool) -> PrimFunc:
    node, elements = group.anchor, Elements(group)
    (x, weight), attributes = node.inputs, node.attributes
    image, channel, row, column = spatial(group.domain)
    inner, height, width = (Loop(n, size, reduces=True) for n, size in zip("rst", weight.shape[1:], strict=True))
    (dy, dx), (stride_y, stride_x) = attributes["dilation"], attributes["stride"]
    grouped = attributes["groups"] > 1
    of_group = channel.index // (weight.shape[0] // attributes["groups"]) * weight.shape[1] if grouped else ZERO
    pixel = (row.index * stride_y + height.index * dy, column.index * stride_x + width.index * dx)
    a_element = elements.of(x, (image.index, of_group + inner.index, *pixel))
    summed = [inner, height, width]
    loops, order = [image, row, column, channel], (0, 2, 3, 1)
    if packed:
        b_element, copy = _panels(elements, weight.name, channel.index, summed), None
    elif grouped:
        b_element = elements.of(weight, (channel.index, *indices(summed)))
        return _product(elements, name, [image, channel, row, column], summed, a_element * b_element)
    else:
        copy, b_element = _packing([channel], summed, weight.dtype, lambda at, *of: elements.of(weight, (at, *of)))
    return _product(elements, name, loops, summed, a_element * b_element, order, across=channel, copy=copy)


def _product(
    elements: Elements,
    name: str,
    loops: Sequence[Loop],
    summed: Sequence[Loop],
    factors: Expr,
    order: Sequence[int] | None = None,
    across: Loop | None = None,
    copy: _Copy | None = None,
) -> PrimFunc:
    """The function of a product with its epilogue.

    Args:
        loops: over the result, rows before columns.
        summed: loops over the sum of `factors`, the product of an element of either operand.
        order: for which axis of the domain each of `loops` is; by default as they come.
        across: the loop that goes over panels, if one does.
        copy: the loops that pack the right operand first, and their buffer, if it is not constant.
    """
    node, (output,) = elements.group.anchor, elements.group.outputs
    order = range(len(loops)) if order is None else order
    whole = [replace(loop, extent=padded(loop.extent)) if loop is across else loop for loop in loops]
    acc_axes = [axis for axis, loop in enumerate(loops) if not same(loop.extent, 1)]
    acc = Buffer("acc", tuple(whole[axis].extent for axis in acc_axes) or (ONE,), node.output.dtype)
    element = [loops[axis].index for axis in acc_axes]
    multiply = block("product", [*whole, *summed], acc, element, factors, "add", identity("add", acc.dtype))
    elements.set_computed(node.output, lambda at: Load(acc, tuple(at[order[axis]] for axis in acc_axes) or (ZERO,)))
    names = [*(loop.name * 2 for loop in loops[:-2]), "row", "column"]
    stored = [replace(loop, name=name) for loop, name in zip(loops, names, strict=True)]
    at = tuple(stored[order.index(axis)].index for axis in range(len(order)))
    # A permute at the end of the group needs no loops of its own: each element is stored where it is moved to.
    last: Node = elements.producers[output.name]
    source, target = output, at
    if last.op == "permute":
        source, target = last.inputs[0], tuple(at[axis] for axis in last.attributes["order"])
    (buffer,) = elements.outputs.values()
    store = block("store", stored, buffer, target, elements.of(source, at))
    nests = [nested([*whole, *summed], multiply), nested(stored, store)]
    buffers = [acc]
    if copy:
        nests.insert(0, copy[0])
        buffers.append(copy[1])
    return elements.function(name, allocate(buffers, sequence(*nests)))
