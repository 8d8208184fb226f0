"""One element of a value, as a function of its index: how injective operators become scalar expressions.

`Elements.of(value, indices)` follows the graph from a value back to what is in memory, and composes on the way what
each operator does to elements and to indices. A chain of operators is then one expression, whatever its length:
that, and nothing else, is the fusion of injective operators.

    exp(x + b) at (i, j)              exp((x[i, j] + b[j]))
    permute(reshape(x)) at (b, h, t)  x[b, t * H + h]
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from sysai.compiler.graph.graph import Node, Value
from sysai.compiler.graph.operators import ELEMENTWISE, operator_of
from sysai.compiler.graph.sizes import product, same
from sysai.compiler.passes.access import Indices, broadcast_indices, moved_indices
from sysai.compiler.passes.groups import Group
from sysai.compiler.tir.conditions import conjunction
from sysai.compiler.tir.expr import (
    INDEX,
    MATH,
    ONE,
    TRUE,
    ZERO,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Select,
    binary,
)


class Elements:
    """Elements of the values of a group.

    Args:
        group: what is lowered.
        merge: axes of the domain that are merged with the one behind them; see `mergeable_axes`.

    Attributes:
        inputs, outputs: the buffers of the group's inputs and outputs, by the values' names.
        known: where an element of a value is found that has been computed; lowering adds to it.
    """

    def __init__(self, group: Group, merge: Iterable[int] = ()) -> None:
        self.group = group
        self.merge = frozenset(merge)
        self.producers: Mapping[str, Node] = {node.output.name: node for node in group.nodes}
        self.inputs = {value.name: self._buffer(f"x{k}", value) for k, value in enumerate(group.inputs)}
        self.outputs = {value.name: self._buffer(f"y{k}", value) for k, value in enumerate(group.outputs)}
        self.known: dict[str, Callable[[Indices], Expr]] = {
            name: lambda indices, buffer=buffer: Load(buffer, indices or (ZERO,))
            for name, buffer in self.inputs.items()
        }

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Those of the inputs, then those of the outputs: the parameters of the function."""
        return (*self.inputs.values(), *self.outputs.values())

    def shape(self, value: Value) -> tuple[Expr, ...]:
        """The shape of a value, with axes merged."""
        return merged(value.shape, len(self.group.domain), self.merge)

    def of(self, value: Value, indices: Indices) -> Expr:
        """The element of a value at an index of its own (merged) shape."""
        if value.name in self.known:
            return self.known[value.name](indices)
        node = self.producers[value.name]
        if operator_of(node).kind == ELEMENTWISE:
            return scalar(node, [self.of(x, broadcast_indices(self.shape(x), indices)) for x in node.inputs])
        return getattr(self, f"_{node.op}", self._moved)(node, indices)

    def _buffer(self, name: str, value: Value) -> Buffer:
        return Buffer(name, self.shape(value) or (ONE,), value.dtype)

    def _moved(self, node: Node, indices: Indices) -> Expr:
        if node.op == "expand" and self.merge:
            return self.of(node.inputs[0], broadcast_indices(self.shape(node.inputs[0]), indices))
        return self.of(node.inputs[0], moved_indices(node, indices))

    def _full(self, node: Node, _: Indices) -> Expr:
        value, dtype = node.attributes["value"], node.output.dtype
        if isinstance(value, Expr):
            return value if dtype == INDEX else Cast(dtype, value)
        return Const(value, dtype)

    def _iota(self, node: Node, indices: Indices) -> Expr:
        return indices[node.attributes["axis"]]

    def _gather(self, node: Node, indices: Indices) -> Expr:
        (table, places), axis = node.inputs, node.attributes["axis"]
        behind = axis + len(places.shape)
        place = self.of(places, indices[axis:behind])
        return self.of(table, (*indices[:axis], place, *indices[behind:]))

    def _concat(self, node: Node, indices: Indices) -> Expr:
        axis = node.attributes["axis"]
        starts = operand_starts(node)
        result = None
        for value, start in reversed(list(zip(node.inputs, starts, strict=True))):
            part = self.of(value, (*indices[:axis], indices[axis] - start, *indices[axis + 1 :]))
            result = part if result is None else Select(indices[axis] < start + value.shape[axis], part, result)
        return result

    def _pad(self, node: Node, indices: Indices) -> Expr:
        (source,), before = node.inputs, node.attributes["before"]
        moved = tuple(index - size for index, size in zip(indices, before, strict=True))
        inside: Expr = TRUE
        for index, size, whole in zip(moved, source.shape, node.output.shape, strict=True):
            if not same(size, whole):
                inside = conjunction(inside, index >= 0, index < size)
        return Select(inside, self.of(source, moved), Const(node.attributes["value"], source.dtype))


def operand_starts(node: Node) -> list[Expr]:
    """Where along its axis each operand of a concat begins."""
    starts: list[Expr] = [ZERO]
    for value in node.inputs[:-1]:
        starts.append(starts[-1] + value.shape[node.attributes["axis"]])
    return starts


def scalar(node: Node, operands: Sequence[Expr]) -> Expr:
    """What an elementwise operator does to an element of each operand."""
    if node.op in MATH:
        return Call(node.op, *operands)
    if node.op == "select":
        return Select(*operands)
    if node.op == "cast":
        return Cast(node.attributes["dtype"], *operands)
    return binary(node.op, *operands)


def mergeable_axes(group: Group, border: int | None = None) -> frozenset[int]:
    """Axes of the domain that can be one with the axis behind them, so that loops are few and long.

    Two axes are one where every value goes along both or along none, or where one of them has a single index.
    Operators that look at indices forbid it.

    Args:
        border: an axis that must not be merged with the one before it.
    """
    rank = len(group.domain)
    if any(operator_of(node).kind != ELEMENTWISE and node.op not in ("full", "reduce") for node in group.nodes):
        return frozenset()
    shapes = [value.shape for node in group.nodes for value in (*node.inputs, node.output)]
    padded = [(ONE,) * (rank - len(shape)) + tuple(shape) for shape in shapes if len(shape) <= rank]
    squeezed = any(node.op == "reduce" and len(node.output.shape) < rank for node in group.nodes)
    if len(padded) < len(shapes) or squeezed:
        return frozenset()
    reduces = any(node.op == "reduce" for node in group.nodes)

    def go_together(axis: int) -> bool:
        if not reduces and (same(group.domain[axis], 1) or same(group.domain[axis + 1], 1)):
            return True
        return all(same(shape[axis], 1) == same(shape[axis + 1], 1) for shape in padded)

    return frozenset(axis for axis in range(rank - 1) if axis + 1 != border and go_together(axis))


def merged(shape: Sequence[Expr], rank: int, merge: frozenset[int]) -> tuple[Expr, ...]:
    """A shape that is aligned with the last of `rank` axes, with the axes in `merge` made one with the next."""
    if not merge:
        return tuple(shape)
    result: list[Expr] = []
    first = rank - len(shape)
    for axis, size in enumerate(shape, first):
        if axis - 1 in merge and result:
            result[-1] = product([result[-1], size])
        else:
            result.append(size)
    return tuple(result)
