"""From a module of torch to a graph: `torch.export` traces it, and each of its operators is translated.

    module, example inputs --torch.export--> FX graph of ATen operators --from_fx--> Graph

Export runs the module once on fake tensors that have shapes but no elements, and notes which operators it applies.
What depends on elements (`if x.sum() > 0`) cannot be noted, and is refused. A size that may change between calls is
a symbol; where the module decides by it, export takes the branch of the example and notes a condition on the size.
torch.export: https://docs.pytorch.org/docs/stable/export.html; Ansel et al., ASPLOS 2024, for the symbols.

Composite operators that the compiler knows are kept whole; all others torch takes apart into its core set. Beside
these, production compilers import mutation of inputs, control flow, sparse and quantized tensors.
"""

import inspect
import re
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.fx.experimental import _config as symbolic_shapes

from sysai.compiler.graph import Graph
from sysai.compiler.graph.from_fx import Importer, is_torch
from sysai.compiler.graph.operators import TRANSLATIONS

Dynamic = Mapping[str | int, Mapping[int, str]]


@dataclass(frozen=True)
class Imported:
    """A graph, and how the module's arguments and results lie in its flat inputs and outputs.

    Attributes:
        graph: the graph.
        exported: torch's program; its `call_spec` has the structure of arguments and results.
        weights: for each of the graph's first inputs, a function that gives the module's tensor as it is now; none
            where the weights are constants of the graph.
        weight_names: of the program's placeholders that are no arguments.
        numbers: arguments that are no tensors, by position; the graph holds for these.
    """

    graph: Graph
    exported: ExportedProgram
    weights: tuple[Callable[[], Tensor], ...]
    weight_names: tuple[str, ...]
    numbers: Mapping[int, object]


def from_module(
    module: nn.Module, example_inputs: Sequence[object], dynamic: Dynamic | None = None, *,
    keywords: Mapping[str, object] | None = None, fallback: bool = False,
) -> Graph:  # fmt: skip
    """The graph of `module(*example_inputs, **keywords)`, in inference.

    Args:
        module: in evaluation mode, where it has one.
        example_inputs: tensors, and what else the module takes; sizes that are dynamic are not 0 or 1 here.
        dynamic: which sizes may change between calls: for an input, by position or name, the name of the size of
            an axis, as in `{0: {0: "B", 1: "T"}}`. The same name is the same size. By default all sizes stay.
        keywords: arguments by name.
        fallback: an operator that the compiler lacks becomes a `fallback` node instead of an error.

    Raises:
        UnsupportedOperator: the compiler has no such operator; the message names it and its line.
        ValueError: control flow depends on elements, a dynamic size is fixed by the module, the module changes its
            buffers or inputs, or a dtype that the compiler has not.
    """
    return import_module(module, example_inputs, dynamic, keywords=keywords, fallback=fallback, freeze=True).graph


def import_module(
    module: nn.Module, example_inputs: Sequence[object], dynamic: Dynamic | None = None, *,
    keywords: Mapping[str, object] | None = None, fallback: bool = False, freeze: bool = False,
) -> Imported:  # fmt: skip
    """The graph as `from_module` gives it, and torch's ExportedProgram.

    Args:
        freeze: whether the module's tensors are constants of the graph; otherwise those that are used are its first
            inputs.
    """
    arguments, keywords = tuple(example_inputs), dict(keywords or {})
    axes = _dynamic_axes(module, arguments, keywords, dynamic or {})
    exported = _export(module, arguments, keywords, axes)
    signature = exported.graph_signature
    if changed := [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]:
        raise ValueError(f"the module changes {', '.join(changed)}: call eval() on it, or return the new value")
    specs = {spec.arg.name: spec for spec in signature.input_specs}
    inputs = {name: spec for name, spec in specs.items() if spec.kind == InputKind.USER_INPUT}
    placeholders = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    named = {**exported.constants, **exported.state_dict}
    tensors = {name: named[spec.target] for name, spec in specs.items() if name not in inputs}
    live = [] if freeze else [name for name in tensors if placeholders[name].users]
    constants = {name: tensor.detach() for name, tensor in tensors.items() if name not in live}
    now = {name: _current(module, specs[name].target, tensor) for name, tensor in tensors.items()}
    tied = {name: {specs[n].target: now[n] for n in tensors if tensors[n] is tensors[name]} for name in live}
    weights = tuple(_one_tensor(tied[name]) if len(tied[name]) > 1 else now[name] for name in live)
    importer = Importer(exported.graph_module, constants, fallback)
    for placeholder, sizes in zip(inputs, axes.values(), strict=False):
        for axis, size in sizes.items():
            importer.name_size(placeholder, axis, size)
    items = enumerate(spec.arg for spec in inputs.values())
    numbers = {position: item.value for position, item in items if isinstance(item, ConstantArgument)}
    return Imported(importer.run(type(module).__name__), exported, weights, tuple(tensors), numbers)


def _current(module: nn.Module, target: str, traced: Tensor) -> Callable[[], Tensor]:
    """A function that gives the tensor that the module has under a name, or the traced one, if it has none."""
    *path, name = target.split(".")

    def current() -> Tensor:
        owner = module
        for part in path:
            owner = owner._modules[part]
        tensor = owner._parameters.get(name)
        return getattr(owner, name, traced) if tensor is None else tensor

    return current


def _one_tensor(tied: Mapping[str, Callable[[], Tensor]]) -> Callable[[], Tensor]:
    """A function that gives the tensor that a module has under several names; a ValueError where it is not one."""

    def current() -> Tensor:
        tensors = [get() for get in tied.values()]
        if any(tensor is not tensors[0] for tensor in tensors):
            raise ValueError(f"{' and '.join(tied)} are one tensor in the compiled module: compile it again")
        return tensors[0]

    return current


def _dynamic_axes(module: nn.Module, inputs: tuple, keywords: dict, dynamic: Dynamic) -> dict[str, dict[int, str]]:
    """For each argument by name, the names of the sizes of its dynamic axes."""
    try:
        names = list(inspect.signature(module.forward).bind(*inputs, **keywords).arguments)
    except TypeError as error:
        raise ValueError(f"the module does not take these example inputs: {error}") from None
    if unknown := set(dynamic) - set(range(len(names))) - set(names):
        raise ValueError(f"dynamic names {sorted(map(str, unknown))}, but the inputs are {names}")
    return {name: {**dynamic.get(position, {}), **dynamic.get(name, {})} for position, name in enumerate(names)}


def _export(module: nn.Module, inputs: tuple, keywords: dict, axes: Mapping[str, Mapping]) -> ExportedProgram:
    by_name = {name: dict.fromkeys(sizes, Dim.DYNAMIC) or None for name, sizes in axes.items()}
    shapes = (by_name if keywords else tuple(by_name.values())) if any(axes.values()) else None
    # torch assumes of a dynamic size that it is never 0 or 1, unless told to take note where that matters.
    try:
        with torch.no_grad(), symbolic_shapes.patch(backed_size_oblivious=True), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # torch's of itself
            exported = torch.export.export(module, inputs, keywords, dynamic_shapes=shapes)
            return exported.run_decompositions(_decompositions())
    except Exception as error:
        if not is_torch(type(error).__module__.replace(".", "/") + ".py") and type(error) is not RuntimeError:
            raise
        raise ValueError(_explanation(error)) from error


def _decompositions() -> dict:
    """How torch takes operators apart into its core set: those that have no translation here.

    Two stay whole, as their parts take negative indices, which they do not.
    """
    table = torch.export.default_decompositions()
    whole = (*TRANSLATIONS, "aten.index_add.default", "aten.index_copy.default")
    for operator in [operator for operator in table if str(operator) in whole]:
        del table[operator]
    return table


def _explanation(error: Exception) -> str:
    """An error of torch.export in the user's terms: the line, and what to do about it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_torch(frame.filename)]
    frame = frames[-1]
    line = f"{frame.filename}:{frame.lineno}: {frame.line}" if frame.filename != __file__ else "the module"
    text = str(error)
    if re.search("data-dependent|Dynamic control flow|GuardOnDataDependent", text + type(error).__name__):
        return (
            f"{line}\ndepends on the elements of a tensor, which are not known when the graph is made: "
            f"use torch.where, or keep this part out of the compiled module"
        )
    if re.search("onstraint|specialized|not all values of", text):
        return f"a size that should be dynamic is fixed by the module, or is 0 or 1 in the example:\n{text}"
    return f"{line}\ncannot be exported: {text.splitlines()[0] if text else type(error).__name__}"
