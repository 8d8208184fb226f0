"""The results of a traced module: tensors from the kernels, arguments handed back, sizes computed for the call.

The caller may change each result in place, as in eager mode: only what the module returns twice, or returns of its
arguments as it is, is one tensor. Results that are views of each other or of an argument in eager mode are copies here.
"""

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

    Raises:
        UnsupportedOperator: a number among the outputs depends on the elements of tensors.
    """

    def __init__(self, module: fx.GraphModule, kept: Iterable[str] = ()) -> None:
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        (output,) = (node for node in module.graph.nodes if node.op == "output")
        arguments = [node for node in placeholders if node.name not in set(kept)]
        self._positions = {node: position for position, node in enumerate(arguments)}
        self._symbols = _symbols(arguments)
        self._computed: dict[fx.Node, int] = {}
        self._outputs_computed: list[bool] = []  # for each tensor among the outputs, whether a kernel makes it
        (outputs,) = output.args
        self._sources = [self._source(item) for item in (outputs if isinstance(outputs, list | tuple) else (outputs,))]

    def select(self, graph: Graph) -> Graph:
        """The graph with those outputs only that must be computed."""
        outputs = zip(graph.outputs, self._outputs_computed, strict=True)
        return replace(graph, outputs=tuple(value for value, computed in outputs if computed))

    def __call__(self, arguments: Sequence[object], tensors: Sequence[Tensor]) -> list[object]:
        """The results, given the outputs of the graph that `select` gave."""
        return [source(arguments, tensors) for source in self._sources]

    def _source(self, output: object) -> Source:
        if not isinstance(output, fx.Node):
            return lambda *_: output
        value, position = output.meta["val"], self._positions.get(output)
        if isinstance(value, Tensor):
            self._outputs_computed.append(position is None and output not in self._computed)
        if position is not None:
            return lambda arguments, _: arguments[position]
        if isinstance(value, Tensor):
            index = self._computed.setdefault(output, len(self._computed))
            return lambda _, tensors: tensors[index]
        if not isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return lambda *_: value
        return self._formula(value.node.expr)

    def _formula(self, formula: sympy.Basic) -> Source:
        """A number that is computed from sizes."""
        if unknown := formula.free_symbols - set(self._symbols):
            raise UnsupportedOperator(f"a result is the number {formula}: {unknown} depends on elements of tensors")
        sizes = {symbol: self._symbols[symbol] for symbol in formula.free_symbols}

        def compute(arguments: Sequence[object], _: Sequence[Tensor]) -> object:
            numbers = {symbol: size(arguments) for symbol, size in sizes.items()}
            return sympy_interp(PythonReferenceAnalysis, numbers, formula)

        return compute


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
