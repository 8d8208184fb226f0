"""Constant folding: what depends on nothing that the caller passes is computed now, by the references.

    all operands known, result small             -> a constant
    elementwise, all operands `full` of numbers  -> `full` of a number, whatever the shape
    a constant scalar                            -> `full`

A result counts as small where it has no more elements than the constants that it is computed from (a transposed
weight, a batch norm's scale), or at most SMALL: an index or a mask that is generated where it is read costs nothing,
a stored one costs memory traffic. So does a weight of 8 bits that is made one of 32: it is widened as it is read.
Exact, as the same reference would run later; only that a compiled kernel may round otherwise than torch does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sysai.compiler.graph import Graph, Node, Value
from sysai.compiler.graph.operators import ELEMENTWISE, OPAQUE, operator_of
from sysai.compiler.graph.sizes import product
from sysai.compiler.graph.verify import constant_value
from sysai.compiler.passes.groups import widens
from sysai.compiler.tir.expr import DTYPES, Const, Expr

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 1024


def fold_constants(graph: Graph) -> Graph:
    """The graph with constants in the place of nodes that compute the same at every call."""
    constants = dict(graph.constants)
    tensors: dict[str, Tensor] = dict(graph.constants)
    values = {name: constant_value(graph, name) for name, x in constants.items() if x.dim() == 0 and _round_trips(x)}
    nodes = [_full(constants[name], value) for name, value in values.items() if value.dtype in DTYPES]
    uniform = {node.output.name: node for node in nodes}
    for node in graph.nodes:
        node = _fold_uniform(node, uniform) or node
        if node.op == "full":
            uniform[node.output.name] = node
        if (tensor := _evaluate(node, tensors)) is not None:
            tensors[node.output.name] = tensor
            if node.op not in ("full", "iota"):
                constants[node.output.name] = tensor
                continue
        nodes.append(node)
    names = {node.output.name for node in nodes}
    constants = {name: tensor for name, tensor in constants.items() if name not in names}
    return replace(graph, nodes=tuple(nodes), constants=constants)


def _full(number: "Tensor", output: Value, origin: str = "") -> Node:
    attributes = {"value": number.item(), "shape": output.shape, "dtype": output.dtype}
    return Node("full", (), output, attributes, origin)


def _fold_uniform(node: Node, uniform: dict[str, Node]) -> Node | None:
    """`full` for an elementwise node all of whose operands are; None where it is not so."""
    producers = [uniform.get(value.name) for value in node.inputs]
    if operator_of(node).kind != ELEMENTWISE or None in producers or any(map(_has_sizes, producers)):
        return None
    scalars = [replace(producer, attributes={**producer.attributes, "shape": ()}) for producer in producers]
    result = _run(node, [_run(scalar, []) for scalar in scalars])
    return None if result is None or not _round_trips(result) else _full(result, node.output, node.origin)


def _evaluate(node: Node, tensors: "Mapping[str, Tensor]") -> "Tensor | None":
    """The tensor of a node whose operands are all in `tensors`, if it is small; else None."""
    size = product(node.output.shape)
    if operator_of(node).kind == OPAQUE or not isinstance(size, Const) or widens(node):
        return None
    if any(value.name not in tensors for value in node.inputs) or _has_sizes(node):
        return None
    if size.value > max(SMALL, *(tensors[value.name].numel() for value in node.inputs), 0):
        return None
    return _run(node, [tensors[value.name] for value in node.inputs])


def _has_sizes(node: Node) -> bool:
    return node.op == "full" and isinstance(node.attributes["value"], Expr)


def _run(node: Node, operands: "Sequence[Tensor]") -> "Tensor | None":
    """The node's output; None for an error, which belongs to the call."""
    from sysai.compiler.graph.interpret import run_node  # it needs torch, the other passes do not

    try:
        return run_node(node, operands, {})
    except (IndexError, RuntimeError):
        return None


def _round_trips(tensor: "Tensor") -> bool:
    """Whether a Python number holds the scalar: all do but NaNs, of which any will do."""
    return not tensor.isnan().item() if tensor.is_floating_point() else True
