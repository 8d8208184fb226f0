"""A step of the model as a list of calls: pieces of the transformer, compiled once, bound to the weights of each layer.

    piece(module) -> kernels for 1, 2, 4, 8 and any number of rows, and the names of what they read and write
    calls         -> for each layer, the piece's kernels on that layer's constants and on memory that all layers share

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

from sysai.compiler.compiled import build_all
from sysai.compiler.entry import CFunction, make_entry
from sysai.compiler.executable import Call, Program, RunKernels
from sysai.compiler.graph.from_export import import_module
from sysai.compiler.graph.sizes import evaluate, product
from sysai.compiler.lowering.matmul import pack
from sysai.compiler.lowering.schedules import default_schedule
from sysai.compiler.passes.memory_plan import storage
from sysai.compiler.pipeline import make_program
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.expr import INDEX, Const, Var
from sysai.compiler.tir.rename import with_sizes
from sysai.compiler.tir.statement import PrimFunc

FEW_ROWS = (1, 2, 4, 8)  # numbers of rows that have kernels of their own
_PACKED, _ROWS = ".packed", "T"


def padded(rows: int) -> int:
    """The rows that are computed for so many: few ones are filled up to a number that has kernels of its own."""
    return next((few for few in FEW_ROWS if rows <= few), rows)


@dataclass(eq=False)
class Piece:
    """A module of matrices with the same rows, compiled for any module of its shape.

    Attributes:
        name: of its place among others; in the names of what its kernels hand to each other.
        program: for any number of rows.
        functions: what its kernels compute, not scheduled yet, and their class.
        tensors: for each constant of the program, the name of the module's tensor that it is.
    """

    name: str
    program: Program
    functions: list[tuple[PrimFunc, str]]
    tensors: dict[str, str]

    @classmethod
    def of(cls, name: str, module: nn.Module, *widths: int) -> "Piece":
        """Compile `module`, whose inputs have these numbers of columns."""
        functions = []

        def remember(function: PrimFunc, kind: str) -> Schedule:
            functions.append((function, kind))
            return default_schedule(function, kind)

        examples = [torch.zeros(max(FEW_ROWS) + 3, width) for width in widths]
        graph = import_module(module, examples, {place: {0: _ROWS} for place in range(len(widths))}).graph
        program = make_program(graph, remember)
        names = {tensor.data_ptr(): name for name, tensor in _tensors(module).items()}
        constants = {constant.removesuffix(_PACKED) for constant in program.constants}
        tensors = {constant: names[graph.constants[constant].data_ptr()] for constant in constants}
        return cls(name, program, functions, tensors)

    @property
    def inputs(self) -> list[str]:
        """The names of what it takes."""
        return [value.name for value in self.program.graph.inputs]

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        owner = storage(self.program.groups)
        return [owner.get(value.name, value.name) for value in self.program.graph.outputs]

    def columns(self) -> dict[str, int]:
        """Elements of a row of each value that its kernels write."""
        written = {name for call in self.program.steps for name in call.operands}
        values = {value.name: value for value in self.program.graph.values()}
        others = {*self.program.constants, *self.inputs}
        return {name: evaluate(product(values[name].shape), {_ROWS: 1}) for name in written - others}

    def constants(self, module: nn.Module) -> dict[str, Tensor]:
        """The program's constants for a module of this shape."""
        tensors, found = _tensors(module), {}
        for name in self.program.constants:
            tensor = tensors[self.tensors[name.removesuffix(_PACKED)]].detach()
            found[name] = pack(tensor, transposed=True) if name.endswith(_PACKED) else tensor.contiguous()
        return found

    def schedules(self, rows: int | None) -> list[Schedule]:
        """Of its kernels, for a number of rows or, with None, for any."""
        if rows is None:
            return list(self.program.schedules)
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
        self._calls: list[tuple[Piece | CFunction, Call]] = []
        self._entries: dict[int | None, RunKernels] = {}

    def hold(self, name: str, tensor: Tensor) -> None:
        """Let calls know contiguous memory by a name."""
        assert tensor.is_contiguous(), f"{name} is not in one piece"
        self.memory[name] = tensor

    def add(self, piece: Piece, weights: str, module: nn.Module, names: Mapping[str, str]) -> None:
        """The calls of a piece.

        Args:
            weights: the name of the constants of `module`, which may be added twice.
            names: where the piece's inputs lie, and those of its results that are not left in memory of its own.
        """
        owner = storage(piece.program.groups)
        known = dict(names)
        for name, tensor in piece.constants(module).items():
            known[name] = f"{weights}.{name}"
            self.hold(known[name], tensor)
        for name, columns in piece.columns().items():
            if name not in known:
                known[name] = f"{piece.name}.{name}"
                if known[name] not in self.memory:
                    self.hold(known[name], torch.zeros(self.rows, columns))
        for step in piece.program.steps:
            operands = tuple(known[owner.get(name, name)] for name in step.operands)
            self._calls.append((piece, Call(step.kernel, operands, step.sizes and (Var(_ROWS),))))

    def call(self, function: CFunction, operands: Sequence[str], sizes: Sequence[str]) -> None:
        """A call of a function that was written by hand."""
        self._calls.append((function, Call(0, tuple(operands), tuple(Var(size) for size in sizes))))

    def compile(self) -> None:
        """Make a C function of the calls for each number of rows.

        Raises:
            ToolchainError: there is no C compiler, or it fails.
        """
        self._slots = {name: slot for slot, name in enumerate(self.memory)}
        self._addresses = np.array([tensor.data_ptr() for tensor in self.memory.values()], np.int64)
        self._sizes = tuple(dict.fromkeys([_ROWS, *(size.name for _, call in self._calls for size in call.sizes)]))
        self._numbers = np.zeros(len(self._sizes), np.int64)
        owners = list(dict.fromkeys(owner for owner, _ in self._calls))
        schedules = {
            (rows, owner): owner.schedules(rows)
            for rows in (*FEW_ROWS, None)
            for owner in owners
            if isinstance(owner, Piece)
        }
        kernels = iter(build_all([schedule for several in schedules.values() for schedule in several]))
        built = {key: [next(kernels) for _ in several] for key, several in schedules.items()}
        for rows in (*FEW_ROWS, None):
            self._entries[rows] = self._entry(rows, {owner: built.get((rows, owner), [owner]) for owner in owners})

    def _entry(self, rows: int | None, kernels: Mapping[Piece | CFunction, Sequence[CFunction]]) -> RunKernels:
        """The C function for a number of rows; `kernels` are those of each owner."""
        first = dict(zip(kernels, accumulate(map(len, kernels.values()), initial=0), strict=False))
        calls = [
            replace(
                call,
                kernel=first[owner] + call.kernel,
                sizes=() if rows is not None and isinstance(owner, Piece) else call.sizes,
            )
            for owner, call in self._calls
        ]
        table = [kernel for several in kernels.values() for kernel in several]
        return make_entry(calls, table, self._slots, [Var(name) for name in self._sizes])

    def run(self, rows: int, sizes: Mapping[str, int], given: Mapping[str, np.ndarray]) -> None:
        """Execute all calls.

        Args:
            rows: of this step; memory must have them, filled up as `padded` says.
            sizes: values of the sizes that `call` names.
            given: other memory for some names, for this time.
        """
        self._numbers[:] = [padded(rows) if name == _ROWS else sizes[name] for name in self._sizes]
        for name, array in given.items():
            self._addresses[self._slots[name]] = array.ctypes.data
        entry = self._entries.get(padded(rows)) or self._entries[None]
        entry(self._numbers.ctypes.data, self._addresses.ctypes.data)
