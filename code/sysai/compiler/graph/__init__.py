"""The graph: which operators a model applies to which tensors, with sizes that may be known at run time only.

    Graph    inputs, constants (weights), nodes in an order in which they can run, outputs
    Node     one operator of `operators/`, its operands and attributes, and the one value that it makes
    Value    a tensor's name, shape and dtype; a size is an integer or an expression of the graph's size variables

Values are immutable and every name is assigned once, so that a pass is a function from a graph to a graph. The other
modules here take a graph from torch, print, parse, verify and run it.
Production: Relax (TVM), FX and Inductor's IR, StableHLO, whose operators number in the hundreds; here a few dozen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sysai.compiler.tir.expr import Expr, Var

if TYPE_CHECKING:
    from torch import Tensor

Attribute = int | float | bool | str | None | Expr | tuple["Attribute", ...]


@dataclass(frozen=True)
class Value:
    """A tensor that a node computes, the caller passes or a constant is: `name` is unique in its graph."""

    name: str
    shape: tuple[Expr, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Node:
    """`output = op(inputs, attributes)`; `origin` says where in the user's program it comes from (file:line), or ''."""

    op: str
    inputs: tuple[Value, ...]
    output: Value
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    origin: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run.

    Attributes:
        name: a C identifier.
        sizes: variables of the shapes, each bound by the shape of some input.
        inputs: what the caller passes at each call.
        constants: weights and other tensors that are known now, by the name of their value; never changed.
        nodes: each uses values that come before it.
        outputs: in the order in which the caller gets them; may name inputs and constants, and one value twice.
        conditions: comparisons of sizes; only where all hold is the graph what the user's module computes.
    """

    name: str
    sizes: tuple[Var, ...]
    inputs: tuple[Value, ...]
    constants: Mapping[str, "Tensor"]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    conditions: tuple[Expr, ...] = ()

    def producers(self) -> dict[str, Node]:
        """The node that makes each value, by the value's name; inputs and constants have none."""
        return {node.output.name: node for node in self.nodes}

    def users(self) -> dict[str, list[Node]]:
        """The nodes that read each value, by the value's name."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(value.name for value in node.inputs):
                users.setdefault(name, []).append(node)
        return users

    def values(self) -> Iterator[Value]:
        """Inputs, then what the nodes make."""
        yield from self.inputs
        yield from (node.output for node in self.nodes)
