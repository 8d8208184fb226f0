"""Run a graph with torch, operator by operator: slow, and the reference for everything else."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sysai.compiler.graph import Attribute, Graph, Node, Value
from sysai.compiler.graph.operators import operator_of
from sysai.compiler.graph.sizes import evaluate
from sysai.compiler.tir.expr import DTYPES, Binary, Const, Var

TORCH_DTYPES = {name: getattr(torch, name) for name in DTYPES}


def run_graph(graph: Graph, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs of a graph for these inputs.

    Raises:
        ValueError: the inputs' number, shapes or dtypes are not those of the graph, or the sizes break one of its
            conditions.
    """
    sizes = bind_sizes(graph, inputs)
    environment = dict(graph.constants)
    environment.update({value.name: tensor for value, tensor in zip(graph.inputs, inputs, strict=True)})
    for node in graph.nodes:
        environment[node.output.name] = run_node(node, [environment[value.name] for value in node.inputs], sizes)
    return tuple(environment[value.name] for value in graph.outputs)


def run_node(node: Node, operands: Sequence[Tensor], sizes: Mapping[str, int]) -> Tensor:
    """A node's output for these operands, by the reference of its operator.

    The result is dense, never a view with strides, on which the rounding of torch's kernels could depend.
    """
    attributes = {name: number_of(value, sizes) for name, value in node.attributes.items()}
    return operator_of(node).reference(torch, *operands, **attributes).contiguous()


def number_of(attribute: Attribute, sizes: Mapping[str, int]) -> Attribute:
    """An attribute with numbers in the place of sizes."""
    if isinstance(attribute, tuple):
        return tuple(number_of(item, sizes) for item in attribute)
    return evaluate(attribute, sizes) if isinstance(attribute, Const | Var | Binary) else attribute


def bind_sizes(graph: Graph, inputs: Sequence[Tensor]) -> dict[str, int]:
    """The numbers of the graph's sizes that these inputs have; errors as for `run_graph`."""
    if len(inputs) != len(graph.inputs):
        raise ValueError(f"{graph.name} takes {len(graph.inputs)} inputs, not {len(inputs)}")
    sizes: dict[str, int] = {}
    for value, tensor in zip(graph.inputs, inputs, strict=True):
        if len(tensor.shape) != len(value.shape) or tensor.dtype != TORCH_DTYPES[value.dtype]:
            raise _misfit(value, tensor)
        for size, number in zip(value.shape, tensor.shape, strict=True):
            if isinstance(size, Var):
                sizes.setdefault(size.name, number)
    for value, tensor in zip(graph.inputs, inputs, strict=True):
        if tuple(evaluate(size, sizes) for size in value.shape) != tuple(tensor.shape):
            raise _misfit(value, tensor, sizes)
    for condition in graph.conditions:
        if not evaluate(condition, sizes):
            raise ValueError(f"{graph.name} was made for sizes with {condition}, not for {_words(sizes)}")
    return sizes


def _misfit(value: Value, tensor: Tensor, sizes: Mapping[str, int] | None = None) -> ValueError:
    where = f" where {_words(sizes)}" if sizes else ""
    return ValueError(f"input {value}{where} cannot be {tensor.dtype} of shape {list(tensor.shape)}")


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {number}" for name, number in sizes.items())
