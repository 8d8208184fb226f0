"""A compiled graph: its kernels, called in order over one arena.

What depends on the sizes of a call is computed once for each combination of shapes and kept: the values of the size
variables, the shapes of the results, where in the arena each value lies. A call then allocates its results, writes
their addresses and those of its inputs into a table, and enters one generated C function (`entry.py`), so that a
kernel costs a call and not a trip through Python. Plans are made for classes of sizes, each size rounded up to a
power of two: a cache that grows by a position a step needs a new plan only when it has doubled.

Production (Inductor's wrapper, CUDA graphs, TVM's virtual machine) does the same with other means. Operators that the
compiler lacks are run by torch between two stretches of kernels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sysai.compiler.graph.graph import Graph, Node, Value
from sysai.compiler.graph.interpret import run_node
from sysai.compiler.graph.references import TORCH_DTYPES
from sysai.compiler.graph.sizes import evaluate, product
from sysai.compiler.passes.groups import Group
from sysai.compiler.passes.memory_plan import ALIGNMENT, MemoryPlan, lifetimes, plan_memory, storage
from sysai.compiler.result_memory import ResultMemory
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.expr import ITEM_BYTES, Expr, Var, print_expr

MOST_RUNS = 4096  # combinations of shapes that are remembered


@dataclass(frozen=True)
class Call:
    """A kernel, by its number, on its operands.

    Attributes:
        operands: names of values, in the order of its function's buffers.
        sizes: those of the graph that its function's sizes are in this call, in order.
    """

    kernel: int
    operands: tuple[str, ...]
    sizes: tuple[Var, ...]


@dataclass(frozen=True)
class Fallback:
    """A node that torch runs."""

    node: Node


Step = Call | Fallback
RunKernels = Callable[[int, int], None]  # of the addresses of two tables of int64: sizes, and addresses of values


@dataclass(frozen=True)
class Program:
    """A graph with what runs for it.

    Attributes:
        graph: of core operators.
        groups: in the order in which they run.
        steps: what runs for them; views need nothing.
        schedules: of the kernels, which calls name by their numbers.
        constants: all tensors that are known beforehand, packed ones among them.
    """

    graph: Graph
    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    schedules: tuple[Schedule, ...]
    constants: Mapping[str, Tensor]


@dataclass
class Run:
    """What calls with certain shapes need to know.

    Attributes:
        sizes: values of the graph's size variables, in order.
        shapes: of what each call allocates, and of what it returns.
        plan: of the arena, for these sizes or larger ones.
        addresses: of every value that has memory, as C reads them; `arena` is the one in which they lie.
    """

    sizes: np.ndarray
    shapes: list[tuple[int, ...]]
    plan: MemoryPlan
    addresses: np.ndarray
    arena: Tensor

    def __post_init__(self) -> None:
        self.tables = self.sizes.ctypes.data, self.addresses.ctypes.data


class Executable:
    """A program that can be called, from one thread at a time (others wait).

    Args:
        program: what to run.
        make_entry: (calls, slot of each value in the table of addresses) -> the function that runs the calls in order,
            given the sizes and the addresses.
    """

    def __init__(self, program: Program, make_entry: Callable[[Sequence[Call], Mapping[str, int]], RunKernels]) -> None:
        graph = self.graph = program.graph
        self.program = program
        self.values = {value.name: value for value in graph.values()}
        self.owner = storage(program.groups)
        self.lives = lifetimes(program.groups, graph.outputs)
        stored = [value.name for group in program.groups if group.kind != "view" for value in group.outputs]
        by_torch = {step.node.output.name for step in program.steps if isinstance(step, Fallback)}
        self.lives = tuple(life for life in self.lives if life.name not in by_torch)
        in_arena = {life.name for life in self.lives}
        self.results = [name for name in stored if name not in in_arena and name not in by_torch]
        self.owners = [self.owner.get(value.name, value.name) for value in graph.outputs]
        names = [*(value.name for value in graph.inputs), *self.results, *program.constants, *stored]
        self.slots = {name: slot for slot, name in enumerate(dict.fromkeys(names))}
        self.slots |= {name: self.slots[owner] for name, owner in self.owner.items() if owner in self.slots}
        self.stretches: list[RunKernels | Node] = []
        for is_call, steps in groupby(program.steps, lambda step: isinstance(step, Call)):
            steps = list(steps)
            self.stretches += [make_entry(steps, self.slots)] if is_call else [step.node for step in steps]
        planned = [
            product(value.shape) * ITEM_BYTES[value.dtype] for value in (self.values[life.name] for life in self.lives)
        ]
        self._bytes = sizes_function(planned, graph.sizes)
        self._shapes = [
            sizes_function(value.shape, graph.sizes)
            for value in (*(self.values[name] for name in self.results), *graph.outputs)
        ]
        self._dtypes = [TORCH_DTYPES[value.dtype] for value in graph.inputs]
        self._result_dtypes = [TORCH_DTYPES[self.values[name].dtype] for name in self.results]
        self._constant_results = {name: program.constants[name] for name in self.owners if name in program.constants}
        self._addresses = np.zeros(len(self.slots), np.int64)
        for name, tensor in program.constants.items():
            self._addresses[self.slots[name]] = tensor.data_ptr()
        self._runs: dict[tuple, Run] = {}
        self._plans: dict[tuple[int, ...], MemoryPlan] = {}
        self._arena = torch.empty(ALIGNMENT, dtype=torch.uint8)
        self._given = {value.name: place for place, value in enumerate(graph.inputs)}
        self._memory = ResultMemory()
        self._lock = Lock()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs.

        Args:
            inputs: tensors on the CPU, in the order of the graph's inputs.

        Raises:
            ValueError: number, dtypes or shapes of inputs are not those of the graph, or its conditions do not hold.
        """
        inputs = [tensor if tensor.is_contiguous() else tensor.contiguous() for tensor in inputs]
        key = tuple([tensor.shape for tensor in inputs])
        if [tensor.dtype for tensor in inputs] != self._dtypes:
            self._refuse_dtypes(inputs)
        with self._lock:
            run = self._runs.get(key) or self._prepare(key)
            results = [
                self._memory.tensor(slot, shape, dtype)
                for slot, (shape, dtype) in enumerate(zip(run.shapes, self._result_dtypes, strict=False))
            ]
            addresses = run.addresses
            addresses[: len(inputs) + len(results)] = [tensor.data_ptr() for tensor in (*inputs, *results)]
            made = self._run(run, inputs, results)
        return self._returned(run, inputs, results, made)

    def _run(self, run: Run, inputs: list[Tensor], results: list[Tensor]) -> dict[str, Tensor]:
        """Run everything; return what torch has made."""
        made: dict[str, Tensor] = {}
        for stretch in self.stretches:
            if isinstance(stretch, Node):
                self._fall_back(stretch, run, inputs, results, made)
            else:
                stretch(*run.tables)
        return made

    def _fall_back(
        self, node: Node, run: Run, inputs: list[Tensor], results: list[Tensor], made: dict[str, Tensor]
    ) -> None:
        """Let torch run a node, on operands that lie where the kernels have put them."""
        sizes = dict(zip((var.name for var in self.graph.sizes), run.sizes.tolist(), strict=True))
        known = {**dict(zip(self.results, results, strict=True)), **made, **self.program.constants}
        known |= {value.name: tensor for value, tensor in zip(self.graph.inputs, inputs, strict=True)}
        operands = [self._tensor(value, run, sizes, known) for value in node.inputs]
        result = run_node(node, operands, sizes).contiguous()
        made[node.output.name] = result
        run.addresses[self.slots[node.output.name]] = result.data_ptr()

    def _tensor(self, value: Value, run: Run, sizes: Mapping[str, int], known: Mapping[str, Tensor]) -> Tensor:
        """A value as a tensor: one that is known, or a part of the arena."""
        name = self.owner.get(value.name, value.name)
        shape = [evaluate(size, sizes) for size in value.shape]
        if name in known:
            return known[name].view(shape)
        count = evaluate(product(value.shape), sizes) * ITEM_BYTES[value.dtype]
        start = run.plan.offsets[name] + self._start(run.arena)
        return run.arena[start : start + count].view(TORCH_DTYPES[value.dtype]).view(shape)

    def _returned(
        self, run: Run, inputs: list[Tensor], results: list[Tensor], made: dict[str, Tensor]
    ) -> tuple[Tensor, ...]:
        known = {**dict(zip(self.results, results, strict=True)), **made, **self._constant_results}
        given = self._given
        shapes = run.shapes[len(results) :]
        found = [known[name] if name in known else inputs[given[name]] for name in self.owners]
        return tuple(
            [
                tensor if tensor.shape == shape else tensor.view(shape)
                for tensor, shape in zip(found, shapes, strict=True)
            ]
        )

    def _refuse_dtypes(self, inputs: Sequence[Tensor]) -> None:
        wanted = ", ".join(map(str, self.graph.inputs))
        found = ", ".join(f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}" for tensor in inputs)
        raise ValueError(f"{self.graph.name} takes ({wanted}), but got ({found}): cast or pass what is asked for")

    def _prepare(self, shapes: tuple[Sequence[int], ...]) -> Run:
        """What calls of these shapes need to know."""
        sizes = self._bind(shapes)
        values = tuple(sizes[var.name] for var in self.graph.sizes)
        counts = self._bytes(*values)
        plan = self._plan(values, counts)
        if self._arena.numel() < plan.peak + ALIGNMENT:
            self._arena = torch.empty(plan.peak + ALIGNMENT, dtype=torch.uint8)
        addresses = self._addresses.copy()
        start = self._arena.data_ptr() + self._start(self._arena)
        for name, offset in plan.offsets.items():
            addresses[self.slots[name]] = start + offset
        all_shapes = [shape(*values) for shape in self._shapes]
        run = Run(np.array(values, np.int64), all_shapes, plan, addresses, self._arena)
        if len(self._runs) >= MOST_RUNS:
            self._runs.clear()
        self._runs[shapes] = run
        return run

    @staticmethod
    def _start(arena: Tensor) -> int:
        """The first aligned byte of an arena."""
        return -arena.data_ptr() % ALIGNMENT

    def _plan(self, values: tuple[int, ...], counts: Sequence[int]) -> MemoryPlan:
        """The plan of the class of sizes, unless some value needs more than its class (a difference of sizes may)."""
        rounded = tuple(1 << max(value - 1, 0).bit_length() for value in values)
        if rounded not in self._plans:
            self._plans[rounded] = self._plan_for(self._bytes(*rounded))
        plan = self._plans[rounded]
        fits = all(count <= plan.sizes[life.name] for life, count in zip(self.lives, counts, strict=True))
        return plan if fits else self._plan_for(counts)

    def memory(self, sizes: Mapping[str, int]) -> MemoryPlan:
        """The plan for given sizes, exactly."""
        return self._plan_for(self._bytes(*(sizes[var.name] for var in self.graph.sizes)))

    def _plan_for(self, counts: Sequence[int]) -> MemoryPlan:
        return plan_memory(self.lives, {life.name: n for life, n in zip(self.lives, counts, strict=True)})

    def _bind(self, shapes: tuple[Sequence[int], ...]) -> dict[str, int]:
        """The values of the size variables.

        Raises:
            ValueError: the shapes do not go together, or the graph does not hold for them.
        """
        graph, sizes = self.graph, {}
        for value, shape in zip(graph.inputs, shapes, strict=True):
            for size, number in zip(value.shape, shape, strict=False):
                if isinstance(size, Var):
                    sizes.setdefault(size.name, number)
        for value, shape in zip(graph.inputs, shapes, strict=True):
            if [evaluate(size, sizes) for size in value.shape] != list(shape):
                known = ", ".join(f"{name} = {number}" for name, number in sizes.items())
                raise ValueError(
                    f"input {value} does not have the shape {list(shape)}{f' with {known}' if known else ''}: "
                    f"pass that shape, or compile with this size as dynamic"
                )
        for condition in graph.conditions:
            if not evaluate(condition, sizes):
                raise ValueError(f"{graph.name} was compiled for sizes with {condition}, which {sizes} do not fulfil")
        return sizes


def sizes_function(sizes: Sequence[Expr | int], variables: Sequence[Var]) -> Callable[..., tuple[int, ...]]:
    """A fast function from the variables' values to the sizes' values."""
    parts = "".join(f"{size}, " if isinstance(size, int) else f"{print_expr(size)}, " for size in sizes)
    return eval(f"lambda {', '.join(var.name for var in variables)}: ({parts})", {"min": min, "max": max})
