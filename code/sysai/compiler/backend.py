"""`torch.compile(model, backend="sysai")`: the compiler as a backend of torch's own front end.

Dynamo reads the model's bytecode and gives FX graphs, of which AOTAutograd makes graphs of ATen operators without
side effects. Those for inference are compiled. Those for training, and those that hold what the compiler has not even
as a fallback (sizes that depend on elements), are run by torch as they are, with a warning. Parameters are inputs of
the graph, so that each call reads them as they are.

    model = torch.compile(model, backend="sysai")     # the package's entry point tells torch where the backend is
    model = torch.compile(model, backend="sysai", options={"freeze": True})       # weights are packed and folded once
    sysai.compiler.backend.statistics                 # graphs, kernels, operators that torch runs

A frozen graph holds for the weights that it was compiled with, but for buffers that it changes itself. It raises
RuntimeError where a weight is another tensor or was changed in place; torch does not count what is written through
`.data`, so that such a change is not seen.

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
from torch._guards import TracingContext, detect_fake_mode
from torch._subclasses.fake_tensor import unset_fake_temporarily

from sysai.compiler.errors import UnsupportedOperator
from sysai.compiler.graph.from_fx import from_graph_module
from sysai.compiler.pipeline import compile_graph
from sysai.compiler.runtime.compiled import Compiled
from sysai.compiler.runtime.results import Results


@dataclass
class Statistics:
    """Counts of the backend's work in this process.

    Attributes:
        compiled: the compiled graphs, in order.
        training: graphs that were left to torch because gradients flow through them.
        unsupported: graphs that were left to torch because they hold what the compiler has not.
        fallbacks: operators that torch runs inside compiled graphs, and how often they occur there.
    """

    compiled: list[Compiled] = field(default_factory=list)
    training: int = 0
    unsupported: int = 0
    fallbacks: Counter[str] = field(default_factory=Counter)

    def reset(self) -> None:
        """Forget everything."""
        self.compiled.clear()
        self.fallbacks.clear()
        self.training = self.unsupported = 0


statistics = Statistics()


def sysai(
    module: fx.GraphModule, example_inputs: Sequence[object], *, options: Mapping[str, bool] | None = None, **_: object
) -> Callable:
    """The backend; see the module.

    Raises:
        ValueError: `options` holds another one than `freeze`.
    """
    if unknown := set(options or {}) - {"freeze"}:
        raise ValueError(f"backend sysai has no option {', '.join(unknown)}: there is freeze, True or False")
    weights = _weights(module, example_inputs) if options and options["freeze"] else {}

    def inference(graph: fx.GraphModule, flat_inputs: Sequence[object]) -> Callable:
        metadata = TracingContext.get().fw_metadata
        changed = metadata.mutated_inp_runtime_indices if len(flat_inputs) == len(example_inputs) else weights
        frozen = {position: weight for position, weight in weights.items() if position not in changed}
        try:
            with unset_fake_temporarily():  # weights have elements, which constant folding reads
                return _boxed(_Inference(graph, frozen))
        except UnsupportedOperator as error:
            statistics.unsupported += 1
            warnings.warn(f"backend sysai leaves a graph to torch, which runs it as it is: {error}", stacklevel=2)
            return _boxed(graph.forward)

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
    """A compiled graph of ATen operators, called as torch calls it.

    Args:
        frozen: the weights that become constants, by position.
    """

    def __init__(self, module: fx.GraphModule, frozen: Mapping[int, Tensor]) -> None:
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        self.results = Results(module, views=True)
        tensors = [p for p, node in enumerate(placeholders) if isinstance(node.meta["val"], Tensor)]
        self.number_positions = _numbers_as_lengths(module)
        graph = self.results.select(from_graph_module(module, fallback=True))
        values = dict(zip(tensors, graph.inputs, strict=False))  # after these come the lengths
        constants = {values[position].name: weight.detach() for position, weight in frozen.items()}
        inputs = tuple(value for value in graph.inputs if value.name not in constants)
        graph = replace(graph, inputs=inputs, constants={**graph.constants, **constants})
        self.tensor_positions = [position for position in tensors if position not in frozen]
        self.frozen = {position: (weight, _state(weight)) for position, weight in frozen.items()}
        compiled = compile_graph(graph)
        statistics.compiled.append(compiled)
        statistics.fallbacks.update(compiled.fallbacks)
        if compiled.fallbacks:
            counts = ", ".join(f"{name} ({count})" for name, count in Counter(compiled.fallbacks).items())
            warnings.warn(f"backend sysai lacks operators, which torch runs: {counts}", stacklevel=2)
        self.run = compiled.executable

    def __call__(self, *arguments: object) -> Sequence[object]:
        if any(_state(arguments[position]) != state for position, (_, state) in self.frozen.items()):
            raise RuntimeError(
                "weights of a frozen graph have changed: call torch._dynamo.reset(), so that it is compiled again, or "
                "compile without freeze"
            )
        lengths = [torch.empty(arguments[position], dtype=torch.int8) for position in self.number_positions]
        with torch.no_grad():
            outputs = self.run(*[arguments[position] for position in self.tensor_positions], *lengths)
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


def _state(tensor: Tensor) -> tuple[int, int]:
    """What changes where a tensor gets other memory or is changed in place; inference tensors do not count changes."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


if "sysai" not in list_backends():  # a checkout that is imported without having been installed
    register_backend(sysai, name="sysai")
