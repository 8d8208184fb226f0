"""What all lowerings are made of: one element of a value, as a function of its index, and nests of loops around blocks.

`Elements.of(value, indices)` follows the graph from a value back to what is in memory, and composes on the way what
each operator does to elements and to indices. A chain of operators is then one expression, whatever its length:
that, and nothing else, is the fusion of injective operators.

    exp(x + b) at (i, j)              exp((x[i, j] + b[j]))
    permute(reshape(x)) at (b, h, t)  x[b, t * H + h]

An injective group is one loop nest over its results' shape, with one block for each result. Where the result is a
concat, each part gets loops of its own: a choice between parts for every element would cost more than the copy.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sysai.compiler import tir
from sysai.compiler.graph import Node, Value
from sysai.compiler.graph.operators import ELEMENTWISE, operator_of
from sysai.compiler.graph.sizes import Indices, broadcast_indices, moved_indices, product, same
from sysai.compiler.passes.groups import Group

LETTERS = "ijklmnopqrst"


class Elements:
    """Elements of the values of a group.

    Args:
        group: the group that is lowered.
        merge: axes of the domain that are merged with the next one; see `mergeable_axes`.

    Attributes:
        inputs, outputs: the buffers of the group's inputs and outputs, by the values' names.
        computed: for values that are in memory or a register, the expression of an element; see `set_computed`.
        names: the name of the value that an expression is an element of.
    """

    def __init__(self, group: Group, merge: Iterable[int] = ()) -> None:
        self.group = group
        self.merge = frozenset(merge)
        self.producers: Mapping[str, Node] = {node.output.name: node for node in group.nodes}
        self.inputs = {value.name: self._buffer(f"x{k}", value) for k, value in enumerate(group.inputs)}
        self.outputs = {value.name: self._buffer(f"y{k}", value) for k, value in enumerate(group.outputs)}
        self.computed: dict[str, Callable[[Indices], tir.Expr]] = {
            name: lambda indices, buffer=buffer: tir.Load(buffer, indices or (tir.ZERO,))
            for name, buffer in self.inputs.items()
        }
        self.names: dict[tir.Expr, str] = {}
        self._expressions: dict[tuple[str, Indices], tir.Expr] = {}  # a value that is used twice is one expression

    def function(self, name: str, body: tir.Stmt) -> tir.PrimFunc:
        """The function of the group: buffers are its inputs, then its outputs, sizes those that it mentions."""
        buffers = (*self.inputs.values(), *self.outputs.values())
        mentioned = [size for buffer in buffers for size in buffer.shape]
        for node in self.group.nodes:
            for attribute in (*node.attributes.values(), node.output.shape):
                mentioned += attribute if isinstance(attribute, tuple) else (attribute,)
        sizes = sorted(tir.variables(*mentioned), key=lambda size: size.name)
        return tir.PrimFunc(name, tuple(sizes), buffers, body)

    def shape(self, value: Value) -> tuple[tir.Expr, ...]:
        """The shape of a value, with axes merged."""
        return merged(value.shape, len(self.group.domain), self.merge)

    def set_computed(self, value: Value, element: Callable[[Indices], tir.Expr]) -> None:
        """From now on take the elements of a value from where they are kept, by the expression `element(indices)`."""
        self.computed[value.name] = element
        self._expressions.clear()

    def of(self, value: Value, indices: Indices) -> tir.Expr:
        """The element of a value at an index of its own (merged) shape."""
        if value.name in self.computed:
            return self.computed[value.name](indices)
        key = value.name, indices
        if key not in self._expressions:
            self._expressions[key] = self._of_node(self.producers[value.name], indices)
            self.names.setdefault(self._expressions[key], value.name)
        return self._expressions[key]

    def _of_node(self, node: Node, indices: Indices) -> tir.Expr:
        if operator_of(node).kind == ELEMENTWISE:
            return scalar(node, [self.of(x, broadcast_indices(self.shape(x), indices)) for x in node.inputs])
        return getattr(self, f"_{node.op}", self._moved)(node, indices)

    def _buffer(self, name: str, value: Value) -> tir.Buffer:
        return tir.Buffer(name, self.shape(value) or (tir.ONE,), value.dtype)

    def _moved(self, node: Node, indices: Indices) -> tir.Expr:
        if node.op == "expand" and self.merge:
            return self.of(node.inputs[0], broadcast_indices(self.shape(node.inputs[0]), indices))
        return self.of(node.inputs[0], moved_indices(node, indices))

    def _full(self, node: Node, _: Indices) -> tir.Expr:
        value, dtype = node.attributes["value"], node.output.dtype
        if isinstance(value, tir.Expr):
            return value if dtype == tir.INDEX else tir.Cast(dtype, value)
        return tir.Const(value, dtype)

    def _iota(self, node: Node, indices: Indices) -> tir.Expr:
        return indices[node.attributes["axis"]]

    def _gather(self, node: Node, indices: Indices) -> tir.Expr:
        (table, positions), axis = node.inputs, node.attributes["axis"]
        end = axis + len(positions.shape)
        position = self.of(positions, indices[axis:end])
        return self.of(table, (*indices[:axis], position, *indices[end:]))

    def _concat(self, node: Node, indices: Indices) -> tir.Expr:
        axis = node.attributes["axis"]
        result = None
        for value, start in reversed(list(zip(node.inputs, operand_starts(node), strict=True))):
            element = self.of(value, (*indices[:axis], indices[axis] - start, *indices[axis + 1 :]))
            inside = indices[axis] < start + value.shape[axis]
            result = element if result is None else tir.Select(inside, element, result)
        return result

    def _pad(self, node: Node, indices: Indices) -> tir.Expr:
        (source,), before = node.inputs, node.attributes["before"]
        moved = tuple(index - size for index, size in zip(indices, before, strict=True))
        inside: tir.Expr = tir.TRUE
        for index, size, whole in zip(moved, source.shape, node.output.shape, strict=True):
            if not same(size, whole):
                inside = tir.conjunction(inside, index >= 0, index < size)
        return tir.Select(inside, self.of(source, moved), tir.Const(node.attributes["value"], source.dtype))


@dataclass(frozen=True)
class Loop:
    """The description of a loop before it is made; a loop of extent 1 is not made, and its index is 0."""

    name: str
    extent: tir.Expr
    reduces: bool = False

    @property
    def index(self) -> tir.Expr:
        """The index that the loop contributes to a block: its axis, or 0."""
        return tir.ZERO if same(self.extent, 1) else tir.Var(f"v{self.name}")

    def axis(self, combines: bool) -> tir.Axis:
        """The axis that this loop gives to a block; it reduces only in one that combines."""
        kind = tir.REDUCE if self.reduces and combines else tir.SPATIAL
        return tir.Axis(tir.Var(f"v{self.name}"), self.extent, kind, tir.Var(self.name))


def spatial(domain: Sequence[tir.Expr]) -> list[Loop]:
    """A loop for each axis of a domain: i, j, k, ..."""
    return [Loop(LETTERS[axis], size) for axis, size in enumerate(domain)]


def indices(loops: Sequence[Loop]) -> tuple[tir.Expr, ...]:
    """The indices of loops, in order."""
    return tuple(loop.index for loop in loops)


def block(
    name: str,
    loops: Sequence[Loop],
    buffer: tir.Buffer,
    at: Sequence[tir.Expr],
    value: tir.Expr,
    combine: str | None = None,
    init: tir.Expr | None = None,
) -> tir.Block:
    """A block with an axis for each of the loops around it."""
    axes = tuple(loop.axis(combine is not None) for loop in loops if not same(loop.extent, 1) or loop.reduces)
    return tir.Block(name, axes, buffer, tuple(at) or (tir.ZERO,), value, init, combine)


def nested(loops: Sequence[Loop], body: tir.Stmt) -> tir.Stmt:
    """A statement inside loops, of which the first is outermost."""
    for loop in reversed(loops):
        if not same(loop.extent, 1) or loop.reduces:
            body = tir.For(tir.Var(loop.name), loop.extent, body)
    return body


def allocate(buffers: Sequence[tir.Buffer], body: tir.Stmt) -> tir.Stmt:
    """A statement inside the allocations of buffers."""
    for buffer in reversed(buffers):
        body = tir.Allocate(buffer, body)
    return body


def lower_elementwise(group: Group, name: str) -> tir.PrimFunc:
    """The function of an injective group."""
    last = group.nodes[-1]
    if last.op == "concat" and group.outputs == (last.output,):
        return _lower_concat(group, name)
    elements = Elements(group, mergeable_axes(group))
    loops = spatial(elements.shape(group.outputs[0]))
    blocks = []
    for number, (output, buffer) in enumerate(zip(group.outputs, elements.outputs.values(), strict=True)):
        label = f"{elements.producers[output.name].op}_{number}"
        blocks.append(block(label, loops, buffer, indices(loops), elements.of(output, indices(loops))))
    return elements.function(name, nested(loops, tir.sequence(*blocks)))


def _lower_concat(group: Group, name: str) -> tir.PrimFunc:
    node, elements = group.nodes[-1], Elements(group)
    axis, nests = node.attributes["axis"], []
    (buffer,) = elements.outputs.values()
    for number, (value, start) in enumerate(zip(node.inputs, operand_starts(node), strict=True)):
        loops = spatial(value.shape)
        at = [index + start if k == axis else index for k, index in enumerate(indices(loops))]
        copy = block(f"part{number}", loops, buffer, at, elements.of(value, indices(loops)))
        nests.append(nested(loops, copy))
    return elements.function(name, tir.sequence(*nests))


def operand_starts(node: Node) -> list[tir.Expr]:
    """The index along its axis at which each operand of a concat begins."""
    lengths = (value.shape[node.attributes["axis"]] for value in node.inputs[:-1])
    return list(accumulate(lengths, initial=tir.ZERO))


def scalar(node: Node, operands: Sequence[tir.Expr]) -> tir.Expr:
    """The expression of an elementwise operator, given an element of each operand."""
    if node.op in tir.MATH:
        return tir.Call(node.op, *operands)
    if node.op == "select":
        return tir.Select(*operands)
    if node.op == "within":
        return tir.binary("within", *operands, node.attributes["size"])
    if node.op == "cast":
        return tir.Cast(node.attributes["dtype"], *operands)
    if node.op in ("floordiv", "mod") and node.output.dtype not in tir.FLOATS:
        a, b = operands
        known = isinstance(b, tir.Const) and b.value != 0
        return tir.binary(node.op, a, b if known else tir.Call("nonzero", b))
    return tir.binary(node.op, *operands)


def mergeable_axes(group: Group, border: int | None = None) -> frozenset[int]:
    """Axes of the domain that can be one with the next axis, so that loops are few and long.

    Two axes are one where every value goes along both or along none, or where one of them has a single index.
    Operators that look at indices forbid it.

    Args:
        border: an axis that must not be merged with the one before it.
    """
    rank = len(group.domain)
    if any(operator_of(node).kind != ELEMENTWISE and node.op not in ("full", "reduce") for node in group.nodes):
        return frozenset()
    shapes = [value.shape for node in group.nodes for value in (*node.inputs, node.output)]
    padded = [(tir.ONE,) * (rank - len(shape)) + tuple(shape) for shape in shapes if len(shape) <= rank]
    squeezed = any(node.op == "reduce" and len(node.output.shape) < rank for node in group.nodes)
    if len(padded) < len(shapes) or squeezed:
        return frozenset()
    reduces = any(node.op == "reduce" for node in group.nodes)

    def go_together(axis: int) -> bool:
        if not reduces and (same(group.domain[axis], 1) or same(group.domain[axis + 1], 1)):
            return True
        return all(same(shape[axis], 1) == same(shape[axis + 1], 1) for shape in padded)

    return frozenset(axis for axis in range(rank - 1) if axis + 1 != border and go_together(axis))


def merged(shape: Sequence[tir.Expr], rank: int, merge: frozenset[int]) -> tuple[tir.Expr, ...]:
    """A shape that is aligned with the last of `rank` axes, with the axes in `merge` made one with the next."""
    if not merge:
        return tuple(shape)
    result: list[tir.Expr] = []
    first = rank - len(shape)
    for axis, size in enumerate(shape, first):
        if axis - 1 in merge and result:
            result[-1] = product([result[-1], size])
        else:
            result.append(size)
    return tuple(result)
