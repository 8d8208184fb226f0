"""Grow a graph node by node: fresh names, inferred shapes, scalars as constants.

The importer and the passes make nodes with it. `emit` infers shape and dtype, so that no node is made that could not
be verified.
"""

from collections.abc import Iterable, Mapping, Sequence
from keyword import iskeyword

from sysai.compiler.graph.graph import Attribute, Node, Value
from sysai.compiler.graph.operators import make_node
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.tir.expr import Expr


class Builder:
    """Nodes in the order in which they were emitted; names are unique among them and those `taken`."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.nodes: list[Node] = []
        self.origin = ""
        self._taken = set(taken)

    def fresh(self, hint: str) -> str:
        """A name that no value has yet and that is no word of Python: the hint, or the hint and a number."""
        name, number = hint, 1
        while name in self._taken or iskeyword(name):
            name, number = f"{hint}_{number}", number + 1
        self._taken.add(name)
        return name

    def emit(self, op: str, *inputs: Value, name: str = "", **attributes: Attribute) -> Value:
        """Append a node, and return its output.

        Raises:
            InvalidGraph: the operator does not take such operands.
        """
        node = self.make(op, inputs, attributes, self.fresh(name or op))
        self.nodes.append(node)
        return node.output

    def make(self, op: str, inputs: Sequence[Value], attributes: Mapping[str, Attribute], name: str) -> Node:
        """A node that is not appended yet; errors as for `emit`."""
        return make_node(op, inputs, attributes, name=name, origin=self.origin)

    def full(self, value: float | Expr, dtype: str, shape: Sequence[Expr] = ()) -> Value:
        """One number everywhere; by default a scalar, which broadcasts."""
        return self.emit("full", value=value, shape=tuple(shape), dtype=dtype)

    def cast(self, value: Value, dtype: str) -> Value:
        """The value in a dtype; itself where it has that already."""
        return value if value.dtype == dtype else self.emit("cast", value, dtype=dtype)

    def reshape(self, value: Value, shape: Sequence[Expr | int]) -> Value:
        """The value in another shape."""
        return self.emit("reshape", value, shape=as_shape(shape))
