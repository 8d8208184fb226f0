"""Run a graph with torch, operator by operator: slow, and the reference for everything else."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sysai.compiler.graph import Attribute, Graph, Node
from sysai.compiler.graph.operators import operator_of
from sysai.compiler.graph.operators.source import call_torch
from sysai.compiler.graph.sizes import evaluate, product
from sysai.compiler.tir.expr import Var

_DTYPES = [dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)]
TORCH_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _DTYPES}


def run_graph(graph: Graph, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs of a graph for these inputs.

    Raises:
        ValueError: the inputs' number, shapes or dtypes are not those of the graph, or the sizes break one of its
            conditions.
    """
    sizes = bind_sizes(graph, inputs)
    environment = {**graph.constants, **{value.name: x for value, x in zip(graph.inputs, inputs, strict=True)}}
    calls: dict[str, list[Tensor]] = {}
    for node in graph.nodes:
        operands = [environment[value.name] for value in node.inputs]
        if node.op == "fallback":
            call = node.attributes["call"]
            calls[call] = calls.get(call) or run_call(node, operands, sizes)
            environment[node.output.name] = calls[call][node.attributes["result"]]
        else:
            environment[node.output.name] = run_node(node, operands, sizes)
    return tuple(environment[value.name] for value in graph.outputs)


def run_node(node: Node, operands: Sequence[Tensor], sizes: Mapping[str, int]) -> Tensor:
    """A node's output for these operands, by the reference of its operator.

    The result is dense, never a view with strides, on which the rounding of torch's kernels could depend.
    """
    attributes = {name: _with_numbers(value, sizes) for name, value in node.attributes.items()}
    output = operator_of(node).reference(torch, *operands, **attributes).contiguous()
    return output if node.op == "full" else output.to(TORCH_DTYPES[node.output.dtype])


def run_call(node: Node, operands: Sequence[Tensor], sizes: Mapping[str, int]) -> list[Tensor]:
    """All results of a fallback's call: dense, and in memory that is neither the operands' nor each other's."""
    call = (_with_numbers(node.attributes[name], sizes) for name in ("target", "arguments", "keywords"))
    taken = {tensor.untyped_storage()._cdata for tensor in operands}
    results = []
    for result in call_torch(torch, operands, *call):
        if isinstance(result, Tensor):  # others are not used
            result = result.resolve_conj().resolve_neg()
            shared = result.untyped_storage()._cdata in taken
            result = result.clone(memory_format=torch.contiguous_format) if shared else result.contiguous()
            taken.add(result.untyped_storage()._cdata)
        results.append(result)
    return results


def _with_numbers(attribute: Attribute, sizes: Mapping[str, int]) -> Attribute:
    if isinstance(attribute, tuple):
        return tuple(_with_numbers(item, sizes) for item in attribute)
    return evaluate(attribute, sizes)


def bind_sizes(graph: Graph, inputs: Sequence[Tensor]) -> dict[str, int]:
    """The numbers of the graph's sizes that these inputs have; errors as for `run_graph`."""
    if len(inputs) != len(graph.inputs):
        raise ValueError(f"{graph.name} takes {len(graph.inputs)} inputs, not {len(inputs)}")
    for value, tensor in zip(graph.inputs, inputs, strict=True):
        if tensor.dtype != TORCH_DTYPES[value.dtype]:
            raise ValueError(f"input {value} cannot be {tensor.dtype}")
    return bind_shapes(graph, [tensor.shape for tensor in inputs])


def bind_shapes(graph: Graph, shapes: Sequence[Sequence[int]]) -> dict[str, int]:
    """The numbers of the graph's sizes where its inputs have these shapes.

    Raises:
        ValueError: the shapes do not go together, or the graph does not hold for them.
        IndexError: an empty axis is indexed, of which not even another element can be read.
    """
    sizes: dict[str, int] = {}
    for value, shape in zip(graph.inputs, shapes, strict=True):
        for size, number in zip(value.shape, shape, strict=False):
            if isinstance(size, Var):
                sizes.setdefault(size.name, number)
    bound = ", ".join(f"{name} = {number}" for name, number in sizes.items())
    for value, shape in zip(graph.inputs, shapes, strict=True):
        if len(shape) != len(value.shape) or [evaluate(size, sizes) for size in value.shape] != list(shape):
            raise ValueError(
                f"input {value} does not have the shape {list(shape)}{f' with {bound}' if bound else ''}: "
                f"pass that shape, or compile with this size as dynamic"
            )
    for node in graph.nodes:
        is_empty = node.op == "within" and evaluate(node.attributes["size"], sizes) == 0
        if is_empty and evaluate(product(node.output.shape), sizes):
            raise IndexError(f"{graph.name}: index out of range, as an axis is empty (from {node.origin})")
    for condition in graph.conditions:
        if not evaluate(condition, sizes):
            raise ValueError(f"{graph.name} was compiled for sizes with {condition}, not for {bound}")
    return sizes
