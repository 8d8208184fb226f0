"""`torch.compile(model, backend="sysai")`: the compiler as a backend of torch's own front end.

Dynamo reads the model's bytecode and gives FX graphs, of which AOTAutograd makes graphs of ATen operators without
side effects. Those for inference are compiled; those for training are run as they are, with a note. Parameters
arrive as inputs of the graph: they become constants here, so that weights are packed once. Each call looks whether
they are still the same tensors in the same version, and compiles again where they are not.

    model = torch.compile(model, backend="sysai")     # the package's entry point tells torch where the backend is
    sysai.compiler.backend.statistics                 # graphs, kernels, operators that torch runs

Dynamo and AOTAutograd: Ansel et al., PyTorch 2, ASPLOS 2024, https://doi.org/10.1145/3620665.3640366, sections 3 and 4.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, fx, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.backends.registry import list_backends, register_backend
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import unset_fake_temporarily

from sysai.compiler.graph import Graph
from sysai.compiler.graph.from_fx import from_graph_module
from sysai.compiler.pipeline import compile_graph
from sysai.compiler.runtime.compiled import Compiled


@dataclass
class Statistics:
    """Counts of the backend's work in this process.

    Attributes:
        compiled: the compiled graphs, in order.
        training: graphs that were left to torch because gradients flow through them.
        fallbacks: operators that torch runs inside compiled graphs, and how often they occur there.
    """

    compiled: list[Compiled] = field(default_factory=list)
    training: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)

    def reset(self) -> None:
        """Forget everything."""
        self.compiled.clear()
        self.fallbacks.clear()
        self.training = 0


statistics = Statistics()


def sysai(module: fx.GraphModule, example_inputs: Sequence[object], **_: object) -> Callable:
    """The backend; see the module."""
    weights = _weights(module, example_inputs)

    def inference(graph: fx.GraphModule, flat_inputs: Sequence[object]) -> Callable:
        graph_weights = weights if len(flat_inputs) == len(example_inputs) else {}
        with unset_fake_temporarily():  # weights have elements, which constant folding reads
            return _boxed(_Inference(graph, graph_weights))

    def training(graph: fx.GraphModule, _: Sequence[object]) -> Callable:
        statistics.training += 1
        warnings.warn(
            "backend sysai compiles for inference only, and this graph needs gradients: torch runs it as it is. "
            "Use torch.no_grad() or torch.inference_mode()",
            stacklevel=2,
        )
        return _boxed(graph.forward)

    compile_aot = aot_autograd(
        fw_compiler=training,
        bw_compiler=lambda graph, _: _boxed(graph.forward),
        inference_compiler=inference,
        keep_inference_input_mutations=False,
    )
    return compile_aot(module, example_inputs)


def _boxed(function: Callable) -> Callable:
    """The function as AOTAutograd calls it: with one list of arguments, which it may empty."""

    def call(arguments: list) -> Sequence[object]:
        values = tuple(arguments)
        arguments.clear()
        return function(*values)

    call._boxed_call = True
    return call


def _weights(module: fx.GraphModule, example_inputs: Sequence[object]) -> dict[int, Tensor]:
    """The inputs that are parameters or buffers of the user's module, by position."""
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    weights = {}
    for position, (node, value) in enumerate(zip(placeholders, example_inputs, strict=True)):
        static = "_dynamo_static_input_type" in (node.meta.get("tensor_dict") or {})
        if isinstance(value, nn.Parameter) or (isinstance(value, Tensor) and static):
            weights[position] = value
    return weights


class _Inference:
    """A graph whose weights are constants for as long as they do not change."""

    def __init__(self, module: fx.GraphModule, weights: Mapping[int, Tensor]) -> None:
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        self.results = _Results(module)
        self.tensors = [p for p, node in enumerate(placeholders) if isinstance(node.meta["val"], Tensor)]
        self.number_positions = _numbers_as_lengths(module)
        self.graph = from_graph_module(module, fallback=True)
        names = [value.name for value in self.graph.inputs]
        self.names = dict(zip(self.tensors, names, strict=False))  # after these come the lengths
        self.weight_positions = [position for position in self.tensors if position in weights]
        self.other_positions = [position for position in self.tensors if position not in weights]
        self.compile([weights[position] for position in self.weight_positions])

    def compile(self, weights: Sequence[Tensor]) -> None:
        """Compile with these tensors as constants."""
        constants = {
            self.names[position]: w.detach() for position, w in zip(self.weight_positions, weights, strict=True)
        }
        compiled = compile_graph(_with_constants(self.graph, constants))
        self.weight_versions = [(weight.data_ptr(), _version(weight)) for weight in weights]
        self.kept_weights = list(weights)  # so that no other tensor comes to lie at their addresses
        statistics.compiled.append(compiled)
        statistics.fallbacks.update(compiled.fallbacks)
        if compiled.fallbacks:
            counts = ", ".join(f"{name} ({count})" for name, count in Counter(compiled.fallbacks).items())
            warnings.warn(f"backend sysai lacks operators, which torch runs: {counts}", stacklevel=2)
        self.run = compiled.executable

    def __call__(self, *arguments: object) -> Sequence[object]:
        weights = [arguments[position] for position in self.weight_positions]
        if [(weight.data_ptr(), _version(weight)) for weight in weights] != self.weight_versions:
            self.compile(weights)
        lengths = [torch.empty(arguments[position], dtype=torch.int8) for position in self.number_positions]
        with torch.no_grad():
            outputs = self.run(*[arguments[position].detach() for position in self.other_positions], *lengths)
        return self.results(arguments, outputs)


def _numbers_as_lengths(module: fx.GraphModule) -> list[int]:
    """Bind the numbers among the inputs that are no axis of any tensor (a cache's position): each becomes the length
    of a further input, which has no other use. Returns their places.
    """
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    values = [node.meta["val"] for node in placeholders]
    axes = [size for value in values if isinstance(value, Tensor) for size in value.shape]
    bound = {size.node.expr for size in axes if isinstance(size, torch.SymInt)}
    positions = []
    for position, value in enumerate(values):
        if isinstance(value, torch.SymInt) and value.node.expr.is_Symbol and value.node.expr not in bound:
            bound.add(value.node.expr)
            with module.graph.inserting_after(placeholders[-1]):
                placeholders.append(module.graph.placeholder(f"length_of_{placeholders[position].name}"))
            with detect_fake_mode(values):
                placeholders[-1].meta["val"] = torch.empty((value,), dtype=torch.int8)
            positions.append(position)
    return positions


class _Results:
    """Tensors among the outputs come from the kernels; sizes and None are filled in."""

    def __init__(self, module: fx.GraphModule) -> None:
        (output,) = (node for node in module.graph.nodes if node.op == "output")
        self.outputs = output.args[0]
        self.placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]

    def __call__(self, arguments: Sequence[object], tensors: Sequence[Tensor]) -> list[object]:
        computed = iter(tensors)
        inputs = dict(zip(self.placeholders, arguments, strict=True))
        result: list[object] = []
        for output in self.outputs:
            if isinstance(output, fx.Node) and isinstance(output.meta["val"], Tensor):
                result.append(next(computed))
            else:
                result.append(inputs.get(output, output) if isinstance(output, fx.Node) else output)
        return result


def _version(tensor: Tensor) -> int:
    """A number that grows when the tensor is changed in place; 0 for inference tensors, which do not count changes."""
    return 0 if tensor.is_inference() else tensor._version


def _with_constants(graph: Graph, constants: Mapping[str, Tensor]) -> Graph:
    inputs = tuple(value for value in graph.inputs if value.name not in constants)
    return replace(graph, inputs=inputs, constants={**graph.constants, **constants})


if "sysai" not in list_backends():  # a checkout that is imported without having been installed
    register_backend(sysai, name="sysai")
