"""The results of a traced module: tensors from the kernels, arguments handed back, sizes computed for the call.

The caller may change each result in place, as in eager mode: only what the module returns twice, or returns of its
arguments as it is, is one tensor. Results that are views of each other or of an argument in eager mode are copies,
unless `views` are asked for: AOTAutograd makes aliases anew from the strides and offsets that such results have.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import sympy
import torch
from torch import Tensor, fx
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from sysai.compiler.errors import UnsupportedOperator
from sysai.compiler.graph import Graph

Source = Callable[[Sequence[object], Sequence[Tensor]], object]  # of arguments and computed tensors


class Results:
    """How each result of a module is found.

    Args:
        module: a traced module.
        kept: names of placeholders that are no arguments (weights): what is returned of them is a copy.
        views: whether torch makes results that are views of arguments or of other results.

    Raises:
        UnsupportedOperator: a number among the outputs depends on the elements of tensors.
    """

    def __init__(self, module: fx.GraphModule, kept: Iterable[str] = (), *, views: bool = False) -> None:
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        (output,) = (node for node in module.graph.nodes if node.op == "output")
        arguments = [node for node in placeholders if node.name not in set(kept)]
        (outputs,) = output.args
        outputs = outputs if isinstance(outputs, list | tuple) else (outputs,)
        self._tensors = [item for item in outputs if isinstance(item, fx.Node) and isinstance(item.meta["val"], Tensor)]
        self._positions = {node: position for position, node in enumerate(arguments)}
        self._symbols = _symbols(arguments)
        bases = {node: self._base(node) for node in self._tensors} if views else {}
        computed = [node for node in self._tensors if node not in self._positions and bases.get(node) is None]
        self._computed = {node: index for index, node in enumerate(dict.fromkeys(computed))}
        self._sources = [self._source(item) for item in outputs]
        strided = {index: node.meta["val"] for node, index in self._computed.items() if node in bases.values()}
        strides = {index: fake.stride() for index, fake in strided.items() if not fake.is_contiguous()}
        self._strides = {index: list(map(self._formula, numbers)) for index, numbers in strides.items()}

    def select(self, graph: Graph) -> Graph:
        """The graph with those outputs only that must be computed, each once."""
        outputs = dict(zip(self._tensors, graph.outputs, strict=True))
        return replace(graph, outputs=tuple(outputs[node] for node in self._computed))

    def __call__(self, arguments: Sequence[object], tensors: Sequence[Tensor]) -> list[object]:
        """The results, given the outputs of the graph that `select` gave."""
        tensors = list(tensors)
        for index, strides in self._strides.items():  # those of eager mode, on which the strides of views depend
            shape, found = tensors[index].shape, [stride(arguments, ()) for stride in strides]
            tensors[index] = tensors[index].new_empty_strided(shape, found).copy_(tensors[index])
        return [source(arguments, tensors) for source in self._sources]

    def _base(self, node: fx.Node) -> fx.Node | None:
        """The argument or other result from which views lead to a node."""
        while _is_view_call(node):
            node = node.args[0]
            if node in self._positions or node in self._tensors:
                return node
        return None

    def _source(self, output: object) -> Source:
        if not isinstance(output, fx.Node):
            return lambda *_: output
        if output in self._positions:
            position = self._positions[output]
            return lambda arguments, _: arguments[position]
        if output in self._computed:
            index = self._computed[output]
            return lambda _, tensors: tensors[index]
        value = output.meta["val"]
        if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return self._formula(value)
        return self._view(output) if isinstance(value, Tensor | list) else lambda *_: value

    def _view(self, node: fx.Node) -> Source:
        base, *others = node.args
        source, nodes = self._source(base), []
        fx.map_arg((others, node.kwargs), nodes.append)
        sizes = {size: self._source(size) for size in nodes}

        def view(arguments: Sequence[object], tensors: Sequence[Tensor]) -> object:
            found = {size: compute(arguments, tensors) for size, compute in sizes.items()}
            others_now, keywords = fx.map_arg((others, node.kwargs), found.__getitem__)
            return node.target(source(arguments, tensors), *others_now, **keywords)

        return view

    def _formula(self, number: object) -> Source:
        """A number that is computed from sizes."""
        formula = number.node.expr if hasattr(number, "node") else sympy.sympify(number)
        if unknown := formula.free_symbols - set(self._symbols):
            raise UnsupportedOperator(f"a result is the number {formula}: {unknown} depends on elements of tensors")
        sizes = {symbol: self._symbols[symbol] for symbol in formula.free_symbols}

        def compute(arguments: Sequence[object], _: Sequence[Tensor]) -> object:
            numbers = {symbol: size(arguments) for symbol, size in sizes.items()}
            return sympy_interp(PythonReferenceAnalysis, numbers, formula)

        return compute


def _is_view_call(node: fx.Node) -> bool:
    return node.op == "call_function" and (node.target is operator.getitem or getattr(node.target, "is_view", False))


def _symbols(placeholders: Sequence[fx.Node]) -> dict[sympy.Symbol, Callable[[Sequence[object]], int]]:
    """Where each symbol's number is found in the arguments."""
    symbols: dict[sympy.Symbol, Callable] = {}
    for position, node in enumerate(placeholders):
        value = node.meta["val"]
        sizes = list(value.shape) if isinstance(value, Tensor) else []
        for axis, size in enumerate(sizes):
            if isinstance(size, torch.SymInt):
                symbols.setdefault(size.node.expr, lambda a, position=position, axis=axis: a[position].shape[axis])
        if isinstance(value, torch.SymInt | torch.SymFloat):
            symbols.setdefault(value.node.expr, lambda a, position=position: a[position])
    return symbols
