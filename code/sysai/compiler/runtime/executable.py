"""A compiled graph: its kernels, called in order over one arena.

What depends on the sizes of a call is computed once for each combination of shapes and kept as a `BoundPlan`: the
values of the size variables, the shapes of the results, where in the arena each value lies. A call then allocates its
results, writes their addresses and those of its inputs into a table, and enters one generated C function (`plan.py`),
so that a kernel costs a call and not a trip through Python. The arena is planned for classes of sizes, each size
rounded up to a power of two: a cache that grows by a position a step needs a new plan only when it has doubled.

Production (Inductor's wrapper, CUDA graphs, TVM's virtual machine) does the same with other means. Operators that the
compiler lacks are run by torch between two segments of kernels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sysai.compiler.cpu import ALIGNMENT
from sysai.compiler.graph import Value
from sysai.compiler.graph.interpret import TORCH_DTYPES, bind_shapes, run_call
from sysai.compiler.graph.sizes import evaluate, product
from sysai.compiler.passes.memory_plan import MemoryPlan, lifetimes, plan_memory, storage
from sysai.compiler.runtime.plan import ExecutionPlan, Fallback, KernelCall, RunKernels
from sysai.compiler.tir.expr import ITEM_BYTES, Expr, Var, print_expr

MOST_BOUND_PLANS = 4096  # combinations of shapes that are remembered
LARGE = 1 << 20  # bytes; the C library keeps smaller pieces itself


class ResultMemory:
    """The last large tensor of each result, given out again once the caller has let go of it.

    A fresh result of 64 MB is 16,384 pages, and the first write to each is a fault: three times what writing costs. The
    allocator of the C library gives such memory back to the system each time. PyTorch keeps it on GPUs (its caching
    allocator); on CPUs, allocators such as jemalloc do it for a whole process.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}

    def tensor(self, result: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory for a result: a tensor with undefined elements, which nobody else sees."""
        kept = self._kept.get(result)
        if kept is not None and kept.shape == shape and kept.dtype == dtype and _holders(kept) == 1:
            return kept.view(shape)
        fresh = torch.empty(shape, dtype=dtype)
        if fresh.nbytes < LARGE:
            return fresh
        self._kept[result] = fresh
        return fresh.view(shape)


def _holders(tensor: Tensor) -> int:
    """How many tensors have this one's memory, itself included."""
    storage = tensor.untyped_storage()
    return torch._C._storage_Use_Count(storage._cdata) - 1  # `storage` is one more


@dataclass
class BoundPlan:
    """The plan for inputs of certain shapes.

    Attributes:
        sizes: values of the graph's size variables, in order.
        result_shapes, output_shapes: of the tensors that each call allocates, and of those that it returns.
        memory: where values lie in the arena, for these sizes or larger ones.
        addresses: of every value that has memory, as C reads them; `arena` is the one in which they lie.
    """

    sizes: np.ndarray
    result_shapes: list[tuple[int, ...]]
    output_shapes: list[tuple[int, ...]]
    memory: MemoryPlan
    addresses: np.ndarray
    arena: Tensor

    def __post_init__(self) -> None:
        self.tables = self.sizes.ctypes.data, self.addresses.ctypes.data


class Executable:
    """A plan that can be called, from one thread at a time (others wait).

    Args:
        plan: what to run.
        make_entry: (calls, slot of each value in the table of addresses) -> the function that runs the calls in order,
            given the sizes and the addresses.
    """

    def __init__(
        self, plan: ExecutionPlan, make_entry: Callable[[Sequence[KernelCall], Mapping[str, int]], RunKernels]
    ) -> None:
        graph = self.graph = plan.graph
        self.plan = plan
        values = {value.name: value for value in graph.values()}
        fallbacks = [step for step in plan.steps if isinstance(step, Fallback)]
        by_torch = {node.output.name for step in fallbacks for node in step.nodes}
        self.lives = tuple(life for life in lifetimes(plan.groups, graph.outputs) if life.name not in by_torch)
        # A view has the memory of the value that it renames; outputs are looked up by that name.
        self.alias = storage(plan.groups)
        self.output_names = [self.alias.get(value.name, value.name) for value in graph.outputs]
        stored = [value.name for group in plan.groups if group.kind != "view" for value in group.outputs]
        in_arena = {life.name for life in self.lives}
        self.results = [name for name in stored if name not in in_arena and name not in by_torch]
        # Inputs and results come first in the table of addresses: they are the part that each call writes.
        names = [*(value.name for value in graph.inputs), *self.results, *plan.constants, *stored]
        self.slots = {name: slot for slot, name in enumerate(dict.fromkeys(names))}
        self.slots |= {name: self.slots[alias] for name, alias in self.alias.items() if alias in self.slots}
        self.segments: list[RunKernels | Fallback] = []
        for is_call, steps in groupby(plan.steps, lambda step: isinstance(step, KernelCall)):
            steps = list(steps)
            self.segments += [make_entry(steps, self.slots)] if is_call else steps
        in_arena_values = [values[life.name] for life in self.lives]
        result_values = [values[name] for name in self.results]
        counts = [product(value.shape) * ITEM_BYTES[value.dtype] for value in in_arena_values]
        self._arena_bytes = sizes_function(counts, graph.sizes)
        self._result_shapes = [sizes_function(value.shape, graph.sizes) for value in result_values]
        self._output_shapes = [sizes_function(value.shape, graph.sizes) for value in graph.outputs]
        self._input_dtypes = [TORCH_DTYPES[value.dtype] for value in graph.inputs]
        self._result_dtypes = [TORCH_DTYPES[value.dtype] for value in result_values]
        operands = [value.name for step in fallbacks for value in step.nodes[0].inputs]
        read = {*self.output_names, *(self.alias.get(name, name) for name in operands)}
        self._constants = {name: tensor for name, tensor in plan.constants.items() if name in read}
        passed = enumerate([*(value.name for value in graph.inputs), *self.results])
        self._read = [(name, position) for position, name in passed if name in read]
        handed_out = {*plan.constants, *(value.name for value in graph.inputs)}
        self._copied: list[int] = []  # positions of outputs whose memory is that of another value
        for index, name in enumerate(self.output_names):
            if name in handed_out:
                self._copied.append(index)
            handed_out.add(name)
        self._addresses = np.zeros(len(self.slots), np.int64)
        for name, tensor in plan.constants.items():
            self._addresses[self.slots[name]] = tensor.data_ptr()
        self._bound_plans: dict[tuple, BoundPlan] = {}
        self._memory_plans: dict[tuple[int, ...], MemoryPlan] = {}
        self._arena = torch.empty(ALIGNMENT, dtype=torch.uint8)
        self._result_memory = ResultMemory()
        self._lock = Lock()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs, each in memory of its own, which the caller may change.

        Args:
            inputs: tensors on the CPU, in the order of the graph's inputs.

        Raises:
            ValueError: number, dtypes or shapes of inputs are not those of the graph, or its conditions do not hold.
        """
        inputs = [x if x.is_contiguous() and not x.is_neg() else x.resolve_neg().contiguous() for x in inputs]
        key = tuple([tensor.shape for tensor in inputs])
        if [tensor.dtype for tensor in inputs] != self._input_dtypes:
            self._refuse_dtypes(inputs)
        with self._lock:
            bound = self._bound_plans.get(key) or self._bind(key)
            results = [
                self._result_memory.tensor(slot, shape, dtype)
                for slot, (shape, dtype) in enumerate(zip(bound.result_shapes, self._result_dtypes, strict=True))
            ]
            passed = [*inputs, *results]
            bound.addresses[: len(passed)] = [tensor.data_ptr() for tensor in passed]
            tensors = {**self._constants, **{name: passed[position] for name, position in self._read}}
            for segment in self.segments:
                if isinstance(segment, Fallback):
                    self._fall_back(segment, bound, tensors)
                else:
                    segment(*bound.tables)
        return self._outputs(bound, tensors)

    def _fall_back(self, step: Fallback, bound: BoundPlan, tensors: dict[str, Tensor]) -> None:
        """Let torch run an operator, on operands that lie where the kernels have put them.

        Its results, added to `tensors`, have memory of their own: views would lie in the arena, which others get later.
        """
        sizes = dict(zip((var.name for var in self.graph.sizes), bound.sizes.tolist(), strict=True))
        operands = [self._tensor(value, bound, sizes, tensors) for value in step.nodes[0].inputs]
        with torch.no_grad():
            outputs = run_call(step.nodes[0], operands, sizes)
        for node in step.nodes:
            name, output = node.output.name, outputs[node.attributes["result"]]
            tensors[name] = output
            bound.addresses[self.slots[name]] = output.data_ptr()

    def _tensor(self, value: Value, bound: BoundPlan, sizes: dict[str, int], tensors: dict[str, Tensor]) -> Tensor:
        """A value as a tensor: one of `tensors`, or a part of the arena."""
        name = self.alias.get(value.name, value.name)
        shape = [evaluate(size, sizes) for size in value.shape]
        if name in tensors:
            return tensors[name].view(shape)
        count = evaluate(product(value.shape), sizes) * ITEM_BYTES[value.dtype]
        start = bound.memory.offsets[name] + self._start(bound.arena)
        return bound.arena[start : start + count].view(TORCH_DTYPES[value.dtype]).view(shape)

    def _outputs(self, bound: BoundPlan, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        outputs = [tensors[name] for name in self.output_names]
        for index in self._copied:
            outputs[index] = outputs[index].detach().clone()
        shaped = zip(outputs, bound.output_shapes, strict=True)
        return tuple([tensor if tensor.shape == shape else tensor.view(shape) for tensor, shape in shaped])

    def _refuse_dtypes(self, inputs: Sequence[Tensor]) -> None:
        wanted = ", ".join(map(str, self.graph.inputs))
        got = ", ".join(f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}" for tensor in inputs)
        raise ValueError(f"{self.graph.name} takes ({wanted}), but got ({got}): cast or pass what is asked for")

    def _bind(self, shapes: tuple[Sequence[int], ...]) -> BoundPlan:
        """Bind the plan to the shapes of inputs, and remember that."""
        sizes = bind_shapes(self.graph, shapes)
        values = tuple(sizes[var.name] for var in self.graph.sizes)
        memory = self._memory_plan(values)
        if self._arena.numel() < memory.peak + ALIGNMENT:
            self._arena = torch.empty(memory.peak + ALIGNMENT, dtype=torch.uint8)
        addresses = self._addresses.copy()
        start = self._arena.data_ptr() + self._start(self._arena)
        for name, offset in memory.offsets.items():
            addresses[self.slots[name]] = start + offset
        bound = BoundPlan(
            sizes=np.array(values, np.int64),
            result_shapes=[shape(*values) for shape in self._result_shapes],
            output_shapes=[shape(*values) for shape in self._output_shapes],
            memory=memory,
            addresses=addresses,
            arena=self._arena,
        )
        if len(self._bound_plans) >= MOST_BOUND_PLANS:
            self._bound_plans.clear()
        self._bound_plans[shapes] = bound
        return bound

    @staticmethod
    def _start(arena: Tensor) -> int:
        """The first aligned byte of an arena."""
        return -arena.data_ptr() % ALIGNMENT

    def _memory_plan(self, values: tuple[int, ...]) -> MemoryPlan:
        """The plan of the class of sizes, unless some value needs more than its class (a difference of sizes may)."""
        counts = self._arena_bytes(*values)
        rounded = tuple(1 << max(value - 1, 0).bit_length() for value in values)
        if rounded not in self._memory_plans:
            self._memory_plans[rounded] = self._plan_arena(self._arena_bytes(*rounded))
        plan = self._memory_plans[rounded]
        fits = all(count <= plan.sizes[life.name] for life, count in zip(self.lives, counts, strict=True))
        return plan if fits else self._plan_arena(counts)

    def memory(self, sizes: Mapping[str, int]) -> MemoryPlan:
        """The plan of the arena for exactly these sizes."""
        return self._plan_arena(self._arena_bytes(*(sizes[var.name] for var in self.graph.sizes)))

    def _plan_arena(self, counts: Sequence[int]) -> MemoryPlan:
        return plan_memory(self.lives, {life.name: n for life, n in zip(self.lives, counts, strict=True)})


def sizes_function(sizes: Sequence[Expr | int], variables: Sequence[Var]) -> Callable[..., tuple[int, ...]]:
    """A fast function from the variables' values to the sizes' values."""
    texts = "".join(f"{size}, " if isinstance(size, int) else f"{print_expr(size)}, " for size in sizes)
    return eval(f"lambda {', '.join(var.name for var in variables)}: ({texts})", {"min": min, "max": max})
