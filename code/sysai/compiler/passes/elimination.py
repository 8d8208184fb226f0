"""Elimination of common subexpressions (CSE), computed twice from the same operands, and of dead code (DCE).

CSE is value numbering (Cocke 1970): a node's key is its operator, its operands and its attributes; a second node of
the same key gives way to the first, unless torch runs it, as it may be random. One walk, as operands come first and
are numbered already. Constants that are one tensor, or equal numbers, become one too (tied weights).

Dead is what no output needs, unless it draws random numbers: one walk backwards.
"""

import math
from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from sysai.compiler.graph import Attribute, Graph, Node, Value
from sysai.compiler.graph.operators import OPAQUE, operator_of

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 64  # elements; larger constants are compared by where they lie, not element by element


def eliminate_common_subexpressions(graph: Graph) -> Graph:
    """The graph in which no two nodes are the same operator on the same operands."""
    new_name: dict[str, str] = {}
    first_constant: dict[Hashable, str] = {}
    for name, tensor in graph.constants.items():
        first = first_constant.setdefault(_constant_key(tensor), name)
        if first != name:
            new_name[name] = first

    def renamed(value: Value) -> Value:
        return replace(value, name=new_name[value.name]) if value.name in new_name else value

    first_node: dict[Hashable, Node] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed(value) for value in node.inputs))
        first = node if operator_of(node).kind == OPAQUE else first_node.setdefault(_key(node), node)
        if first is node:
            nodes.append(node)
        else:
            new_name[node.output.name] = first.output.name
    outputs = tuple(renamed(value) for value in graph.outputs)
    constants = {name: tensor for name, tensor in graph.constants.items() if name not in new_name}
    return replace(graph, nodes=tuple(nodes), outputs=outputs, constants=constants)


def eliminate_dead_code(graph: Graph) -> Graph:
    """The graph without what no output depends on; inputs stay, as callers pass them."""
    needed = {value.name for value in graph.outputs}
    nodes = []
    for node in reversed(graph.nodes):
        if node.output.name in needed or node.attributes.get("random"):
            needed.update(value.name for value in node.inputs)
            nodes.append(node)
    constants = {name: tensor for name, tensor in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants)


def _key(node: Node) -> Hashable:
    attributes = tuple((name, _hashable(value)) for name, value in sorted(node.attributes.items()))
    return node.op, tuple(value.name for value in node.inputs), attributes


def _hashable(attribute: Attribute) -> Hashable:
    """Attributes that are equal and mean the same: 1, 1.0 and True differ, as do 0.0 and -0.0; NaN equals itself."""
    if isinstance(attribute, tuple):
        return tuple(map(_hashable, attribute))
    if isinstance(attribute, float):
        return "float", "nan" if math.isnan(attribute) else (attribute, math.copysign(1, attribute))
    return type(attribute).__name__, attribute


def _constant_key(tensor: "Tensor") -> Hashable:
    large = tensor.numel() > SMALL or tensor.is_complex()
    location = tensor.data_ptr(), tensor.stride() if large else None
    content = location if large else tuple(_hashable(number) for number in tensor.flatten().tolist())
    return tensor.dtype, tensor.shape, content
