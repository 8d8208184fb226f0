"""From an FX graph of ATen operators to a graph: node by node, each by its translation.

Every node of FX carries in `meta["val"]` a fake tensor, with shape and dtype, whose sizes may be symbols; and where
in the user's program it was made. AOTAutograd, which serves `torch.compile`, and `torch.export` give such graphs.
"""

import operator
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, fx

from sysai.compiler.errors import InvalidGraph, UnsupportedOperator
from sysai.compiler.graph import Attribute, Graph, Value
from sysai.compiler.graph.operators import TRANSLATIONS
from sysai.compiler.graph.operators.operator import NotTranslatable
from sysai.compiler.graph.sizes import same_shape
from sysai.compiler.graph.translator import Symbols, Translator
from sysai.compiler.tir.expr import Const, Expr, Var

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_TORCH = str(Path(torch.__file__).parent)
_IGNORED = {"aten._assert_tensor_metadata.default", "aten._assert_scalar.default", "aten._assert_async.msg"}
"""Checks of what export has assumed; `Graph.conditions` holds what of them concerns sizes."""


def from_graph_module(module: fx.GraphModule, *, fallback: bool = True, name: str = "graph") -> Graph:
    """The graph of an FX graph of ATen operators, as AOTAutograd gives it to a backend of `torch.compile`.

    Args:
        module: every node has a fake tensor (or symbolic size) in `meta["val"]`; parameters are among the inputs.
        fallback: an operator that the compiler lacks becomes a `fallback` node instead of an error.
        name: of the graph.

    Returns:
        A graph of the outputs that are tensors. Its inputs are the placeholders that are tensors, in order; symbolic
        sizes among these are left out, as shapes bind them. Its conditions are empty: whoever traced the module guards
        them.

    Raises:
        UnsupportedOperator: the compiler has no such operator, and `fallback` is False; or it cannot be a node, as it
            changes its operands or the sizes of its results depend on elements.
    """
    _equate_lengths(module)
    return Importer(module, {}, fallback).run(name, conditions=False)


def _equate_lengths(module: fx.GraphModule) -> None:
    """Where attention reads keys and values of two dynamic lengths (a cache grows both), let torch guard that they are
    one: it has not compared them, and runs kernels that need it. To compare two of its sizes is to make a guard.
    """
    for node in module.graph.nodes:
        if "scaled_dot_product" in str(node.target):
            keys, values = (argument.meta["val"].shape[-2] for argument in node.args[1:3])
            if keys != values:
                raise ValueError(f"{origin_of(node)}: attention over {keys} keys and {values} values")


def is_torch(path: str) -> bool:
    """Whether a file is part of torch, or code that it generated."""
    return path.startswith((_TORCH, "torch/", "<"))


def origin_of(node: fx.Node) -> str:
    """file:line of the innermost frame of the user's program, or ''."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    users = [f"{path}:{line}" for path, line in frames if not is_torch(path)]
    return users[-1] if users else ""


class Importer:
    """Translates one FX graph.

    Args:
        constants: tensors that never change, by the names of their placeholders.
        fallback: what happens with operators that have no translation: a node, or UnsupportedOperator.
    """

    def __init__(self, module: fx.GraphModule, constants: Mapping[str, Tensor], fallback: bool) -> None:
        self.module, self.fallback = module, fallback
        self.constants = dict(constants)
        self.symbols = Symbols()
        self.translator = Translator(self.symbols)
        self.results: dict[fx.Node, object] = {}
        self.placeholders = {node.name: node for node in module.graph.nodes if node.op == "placeholder"}

    def name_size(self, placeholder: str, axis: int, name: str) -> None:
        """Call the size of an input's axis `name`.

        Raises:
            ValueError: no identifier, no such axis, or the size is fixed.
        """
        value = self.placeholders[placeholder].meta["val"]
        if not name.isidentifier():
            raise ValueError(f"a size is called {name!r}: choose an identifier")
        if not isinstance(value, Tensor) or not -value.dim() <= axis < value.dim():
            raise ValueError(f"input {placeholder} has no axis {axis}: check `dynamic`")
        size = value.shape[axis]
        if not isinstance(size, torch.SymInt) or not size.node.expr.is_Symbol:
            raise ValueError(f"axis {axis} of input {placeholder} is fixed to {size} by the module: leave it static")
        self.symbols.bind(size.node.expr.name, name)

    def run(self, name: str, conditions: bool = True) -> Graph:
        """The graph; `conditions` says whether the guards of the trace become conditions of the graph."""
        inputs = self._inputs()
        outputs: tuple[Value, ...] = ()
        for node in self.module.graph.nodes:
            if node.op == "get_attr":
                self.results[node] = self._attribute(node)
            elif node.op == "call_function":
                self.results[node] = self._call(node)
            elif node.op == "output":
                outputs = self._outputs(node)
        sizes = tuple(dict.fromkeys(size for value in inputs for size in value.shape if isinstance(size, Var)))
        nodes, guards = tuple(self.translator.nodes), self._conditions() if conditions else ()
        return Graph(re.sub(r"\W", "_", name), sizes, inputs, self.constants, nodes, outputs, guards)

    def _symbolic_sizes(self) -> list[torch.SymInt]:
        """The sizes of the placeholders that are symbols or formulas of such."""
        tensors = [node.meta["val"] for node in self.placeholders.values() if isinstance(node.meta["val"], Tensor)]
        return [size for tensor in tensors for size in tensor.shape if isinstance(size, torch.SymInt)]

    def _inputs(self) -> tuple[Value, ...]:
        """Bind the symbols by the inputs' axes, and make the values of placeholders."""
        for symbol in (size.node.expr for size in self._symbolic_sizes()):
            if symbol.is_Symbol:
                self.symbols.bind(symbol.name, symbol.name)
        inputs = []
        for name, node in self.placeholders.items():
            if not isinstance(value := node.meta["val"], Tensor):
                self.results[node] = self._number(value)
                continue
            _require_strided(node, value)
            self.results[node] = self.symbols.value(self.translator.fresh(name), value)
            if name not in self.constants:
                inputs.append(self.results[node])
        return tuple(inputs)

    def _attribute(self, node: fx.Node) -> object:
        """A tensor that the module holds becomes a constant."""
        value = operator.attrgetter(node.target)(self.module)
        if not isinstance(value, Tensor):
            return value
        name = self.translator.fresh(node.name)
        self.constants[name] = value.detach()
        return self.symbols.value(name, value)

    def _call(self, node: fx.Node) -> object:
        target = str(node.target)
        if target in _IGNORED:
            return None
        if isinstance(value := node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool | int | float):
            return self._number(value)
        arguments = self._values(node.args)
        keywords = {key: self._values(value) for key, value in node.kwargs.items()}
        if node.target is operator.getitem:
            return arguments[0][arguments[1]]
        self.translator.origin, self.translator.result = origin_of(node), node.meta.get("val")
        first_node = len(self.translator.nodes)
        try:
            if target not in TRANSLATIONS:
                raise NotTranslatable("the compiler has no such operator")
            result = TRANSLATIONS[target](self.translator, *arguments, **keywords)
            self._check(result, node)
            return result
        except (NotTranslatable, InvalidGraph, TypeError) as error:
            del self.translator.nodes[first_node:]  # emitted before the translation failed
            if not self.fallback:
                raise _unsupported(node, error) from error
            return self._fall_back(node, arguments, keywords)

    def _number(self, value: object) -> object:
        """A size as an expression; a number that is none stays as it is."""
        try:
            return self.symbols.size(value) if isinstance(value, torch.SymInt) else value
        except UnsupportedOperator:
            return value

    def _values(self, argument: object) -> object:
        """Arguments with values and sizes in the place of FX nodes."""
        if isinstance(argument, fx.Node):
            if isinstance(value := self.results[argument], torch.SymInt | torch.SymFloat | torch.SymBool):
                raise UnsupportedOperator(f"the number {value} (from {origin_of(argument)}) is no size of an input")
            return value
        if isinstance(argument, list | tuple):
            return tuple(self._values(item) for item in argument)
        return argument

    def _check(self, result: object, node: fx.Node) -> None:
        """Raise InvalidGraph unless shape and dtype are those that torch says."""
        fakes = node.meta["val"]
        for value, fake in zip(result, fakes, strict=False) if isinstance(result, tuple) else ((result, fakes),):
            expected = self.symbols.value("torch", fake)
            if not same_shape(value.shape, expected.shape) or value.dtype != expected.dtype:
                raise InvalidGraph(f"its translation gives {value}, not {expected}")

    def _fall_back(self, node: fx.Node, arguments: tuple, keywords: dict) -> object:
        """Nodes that call torch: one for each result that is used."""
        fakes = node.meta["val"]
        several = isinstance(fakes, tuple | list)
        used = {user.args[1] for user in node.users if user.target is operator.getitem} if several else {0}
        if reason := _no_fallback(node):
            raise _unsupported(node, reason)
        operands: list[Value] = []
        encoded = _encode(arguments, operands)
        named = tuple((key, _encode(value, operands)) for key, value in keywords.items() if key != "pin_memory")
        call = {"target": str(node.target), "arguments": encoded, "keywords": named, "call": node.name}
        call["random"] = torch.Tag.nondeterministic_seeded in node.target.tags
        results: list[Value | None] = []
        for index, fake in enumerate(fakes if several else [fakes]):
            if index not in used:
                results.append(None)
                continue
            if not isinstance(fake, Tensor):
                raise _unsupported(node, f"gives {type(fake).__name__}, not a tensor")
            _require_strided(node, fake)
            value = self.symbols.value(node.name, fake)
            attributes = {**call, "result": index, "shape": value.shape, "dtype": value.dtype}
            results.append(self.translator.emit("fallback", *operands, name=value.name, **attributes))
        return tuple(results) if several else results[0]

    def _outputs(self, node: fx.Node) -> tuple[Value, ...]:
        (outputs,) = node.args
        nodes = outputs if isinstance(outputs, list | tuple) else (outputs,)
        values = (self.results[node] for node in nodes if isinstance(node, fx.Node))
        return tuple(value for value in values if isinstance(value, Value))

    def _conditions(self) -> tuple[Expr, ...]:
        """The guards on sizes under which torch traced the module."""
        symbolic = self._symbolic_sizes()
        guards = symbolic[0].node.shape_env.guards if symbolic else ()
        bound = set(self.symbols.names)
        formulas = [guard.expr for guard in guards if {str(symbol) for symbol in guard.expr.free_symbols} <= bound]
        conditions = [self.symbols.expression(formula) for formula in formulas]
        return tuple(dict.fromkeys(condition for condition in conditions if not isinstance(condition, Const)))


def _unsupported(node: fx.Node, reason: object) -> UnsupportedOperator:
    return UnsupportedOperator(f"{node.target} at {origin_of(node) or 'an unknown line'}: {reason}")


def _require_strided(node: fx.Node, tensor: Tensor) -> None:
    if tensor.layout != torch.strided:
        raise _unsupported(node, f"{tensor.layout} is no dense tensor")


def _no_fallback(node: fx.Node) -> str:
    """Why torch cannot run an operator as a node of a graph, or ''."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return "is no operator of torch but a function"
    if target._schema.is_mutable:
        return "changes its operands"
    if target.name().startswith("aten::as_strided"):
        seen = node.args[0].meta["val"]
        dense = seen.is_contiguous() and seen.untyped_storage().nbytes() == seen.numel() * seen.itemsize
        return "" if dense else "sees where its operand's elements lie in memory; a compiled graph has them in order"
    return ""


def _encode(argument: object, operands: list[Value]) -> Attribute:
    """An argument of a fallback: tensors become "%k", dtypes and the like their names."""
    if isinstance(argument, Value):
        operands.append(argument)
        return f"%{len(operands) - 1}"
    if isinstance(argument, list | tuple):
        return tuple(_encode(item, operands) for item in argument)
    if isinstance(argument, torch.dtype | torch.layout | torch.memory_format):
        return str(argument)
    if isinstance(argument, torch.device):
        return argument.type
    return argument
