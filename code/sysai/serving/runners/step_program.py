"""A step of the model as a list of calls: modules of the transformer, compiled once, bound to each layer's weights.

    module -> kernels for 1, 2, 4, 8 and any number of rows, and the names of the memory that they read and write
    calls  -> for each layer, the module's kernels on that layer's constants and on memory that all layers share

One generated C function makes all calls of a list, given a table of addresses and one of sizes; there is a function
for each number of rows that has kernels of its own. The table of addresses does not change but for what a step brings
along. Weights are packed once: their form does not depend on the rows.

Production: CUDA graphs record the launches of a step for a few batch sizes, and pad a batch to the next (vLLM).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn

from sysai.compiler.graph.from_export import import_module
from sysai.compiler.graph.sizes import evaluate, product
from sysai.compiler.lowering.matmul import pack
from sysai.compiler.passes.memory_plan import storage
from sysai.compiler.pipeline import build_all, make_plan
from sysai.compiler.runtime.plan import CFunction, ExecutionPlan, KernelCall, RunKernels, make_entry
from sysai.compiler.schedule.default import default_schedule
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.expr import INDEX, Const, Var
from sysai.compiler.tir.statement import PrimFunc, with_sizes

FEW_ROWS = (1, 2, 4, 8)  # numbers of rows that have kernels of their own
_PACKED, _ROWS = ".packed", "T"


def padded(rows: int) -> int:
    """Rows that are computed for so many: few rows are filled up to a number that has kernels of its own."""
    return next((few for few in FEW_ROWS if rows <= few), rows)


@dataclass(eq=False)
class ModuleKernels:
    """The kernels of a module whose inputs and outputs have a row for each token, for any module of its shape.

    Attributes:
        name: the prefix of the names of the memory in which its kernels hand values to each other.
        plan: for any number of rows.
        functions: each kernel's computation, not scheduled yet, and its class.
        tensors: for each constant of the plan, the name of the module's tensor that it is.
    """

    name: str
    plan: ExecutionPlan
    functions: list[tuple[PrimFunc, str]]
    tensors: dict[str, str]

    @classmethod
    def of(cls, name: str, module: nn.Module, *widths: int) -> "ModuleKernels":
        """Compile `module`, whose inputs have these numbers of columns."""
        functions = []

        def remember(function: PrimFunc, kind: str) -> Schedule:
            functions.append((function, kind))
            return default_schedule(function, kind)

        examples = [torch.zeros(max(FEW_ROWS) + 3, width) for width in widths]
        graph = import_module(module, examples, {i: {0: _ROWS} for i in range(len(widths))}, freeze=True).graph
        plan = make_plan(graph, remember)
        names = {tensor.data_ptr(): name for name, tensor in _tensors(module).items()}
        constants = {constant.removesuffix(_PACKED) for constant in plan.constants}
        tensors = {constant: names[graph.constants[constant].data_ptr()] for constant in constants}
        return cls(name, plan, functions, tensors)

    @property
    def inputs(self) -> list[str]:
        """The names of the module's inputs."""
        return [value.name for value in self.plan.graph.inputs]

    @property
    def outputs(self) -> list[str]:
        """The names of the memory in which the module's outputs lie."""
        memory_of = storage(self.plan.groups)
        return [memory_of.get(value.name, value.name) for value in self.plan.graph.outputs]

    def columns(self) -> dict[str, int]:
        """Elements of a row of each value that the kernels write."""
        written = {name for call in self.plan.steps for name in call.operands}
        values = {value.name: value for value in self.plan.graph.values()}
        others = {*self.plan.constants, *self.inputs}
        return {name: evaluate(product(values[name].shape), {_ROWS: 1}) for name in written - others}

    def constants(self, module: nn.Module) -> dict[str, Tensor]:
        """The plan's constants for a module of this shape."""
        tensors, constants = _tensors(module), {}
        for name in self.plan.constants:
            tensor = tensors[self.tensors[name.removesuffix(_PACKED)]].detach()
            constants[name] = pack(tensor, transposed=True) if name.endswith(_PACKED) else tensor.contiguous()
        return constants

    def schedules(self, rows: int | None) -> list[Schedule]:
        """The schedules of its kernels, for a number of rows or, with None, for any."""
        if rows is None:
            return list(self.plan.schedules)
        return [
            default_schedule(with_sizes(function, dict.fromkeys(function.sizes, Const(rows, INDEX))), kind)
            for function, kind in self.functions
        ]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


class StepProgram:
    """Calls in order, on memory by name. Build it with `hold`, `add` and `call`, then `compile`, then `run`.

    Args:
        rows: the most rows of a step.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.memory: dict[str, Tensor] = {}  # whatever has an address, by name
        self._calls: list[tuple[ModuleKernels | CFunction, KernelCall]] = []
        self._entries: dict[int | None, RunKernels] = {}

    def hold(self, name: str, tensor: Tensor) -> None:
        """Let calls know contiguous memory by a name."""
        assert tensor.is_contiguous(), f"{name} is not in one piece"
        self.memory[name] = tensor

    def add(self, kernels: ModuleKernels, weights: str, module: nn.Module, names: Mapping[str, str]) -> None:
        """Append the calls of a module's kernels.

        Args:
            weights: the name of the constants of `module`, which may be added twice.
            names: where the module's inputs lie, and those of its results that are not left in memory of its own.
        """
        memory_of = storage(kernels.plan.groups)
        name_of = dict(names)
        for name, tensor in kernels.constants(module).items():
            name_of[name] = f"{weights}.{name}"
            self.hold(name_of[name], tensor)
        for name, columns in kernels.columns().items():
            if name not in name_of:  # a value between two kernels; all layers may leave theirs in the same memory
                name_of[name] = f"{kernels.name}.{name}"
                if name_of[name] not in self.memory:
                    self.hold(name_of[name], torch.zeros(self.rows, columns))
        for call in kernels.plan.steps:
            operands = tuple(name_of[memory_of.get(name, name)] for name in call.operands)
            self._calls.append((kernels, KernelCall(call.kernel, operands, call.sizes and (Var(_ROWS),))))

    def call(self, function: CFunction, operands: Sequence[str], sizes: Sequence[str]) -> None:
        """Append a call of a function that was written by hand."""
        self._calls.append((function, KernelCall(0, tuple(operands), tuple(Var(size) for size in sizes))))

    def compile(self) -> None:
        """Make a C function of the calls for each number of rows.

        Raises:
            ToolchainError: there is no C compiler, or it fails.
        """
        self._slots = {name: slot for slot, name in enumerate(self.memory)}
        self._addresses = np.array([tensor.data_ptr() for tensor in self.memory.values()], np.int64)
        # Addresses and sizes are read by the C functions at each run: the tables stay where they are.
        self._sizes = tuple(dict.fromkeys([_ROWS, *(size.name for _, call in self._calls for size in call.sizes)]))
        self._numbers = np.zeros(len(self._sizes), np.int64)
        owners = list(dict.fromkeys(owner for owner, _ in self._calls))
        schedules = {
            (rows, owner): owner.schedules(rows)
            for rows in (*FEW_ROWS, None)
            for owner in owners
            if isinstance(owner, ModuleKernels)
        }
        kernels = iter(build_all([schedule for several in schedules.values() for schedule in several]))
        built = {key: [next(kernels) for _ in several] for key, several in schedules.items()}
        for rows in (*FEW_ROWS, None):
            self._entries[rows] = self._entry(rows, {owner: built.get((rows, owner), [owner]) for owner in owners})

    def _entry(self, rows: int | None, kernels: Mapping[ModuleKernels | CFunction, Sequence[CFunction]]) -> RunKernels:
        """Make the C function for a number of rows; `kernels` are those of each owner."""
        # A call names its kernel by its number among its owner's; the function has one table of all kernels.
        first = dict(zip(kernels, accumulate(map(len, kernels.values()), initial=0), strict=False))
        calls = [
            replace(
                call,
                kernel=first[owner] + call.kernel,
                sizes=() if rows is not None and isinstance(owner, ModuleKernels) else call.sizes,
            )
            for owner, call in self._calls
        ]
        table = [kernel for several in kernels.values() for kernel in several]
        return make_entry(calls, self._slots, table, [Var(name) for name in self._sizes])

    def run(self, rows: int, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray]) -> None:
        """Execute all calls.

        Args:
            rows: of this step; memory must have them, filled up as `padded` says.
            sizes: values of the sizes that `call` names.
            arrays: other memory for some names, for this time.
        """
        self._numbers[:] = [padded(rows) if name == _ROWS else sizes[name] for name in self._sizes]
        for name, array in arrays.items():
            self._addresses[self._slots[name]] = array.ctypes.data
        entry = self._entries.get(padded(rows)) or self._entries[None]
        entry(self._numbers.ctypes.data, self._addresses.ctypes.data)
