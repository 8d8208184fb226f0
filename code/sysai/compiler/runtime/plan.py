"""The plan of a compiled graph: which kernels run on which values, in order, and which operators torch runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sysai.compiler.graph import Graph, Node
from sysai.compiler.passes.groups import Group
from sysai.compiler.passes.memory_plan import MemoryPlan
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.expr import Var


@dataclass(frozen=True)
class KernelCall:
    """A call of a kernel, which is named by its number.

    Attributes:
        operands: names of values, in the order of its function's buffers.
        sizes: those of the graph that its function's sizes are in this call, in order.
    """

    kernel: int
    operands: tuple[str, ...]
    sizes: tuple[Var, ...]


@dataclass(frozen=True)
class Fallback:
    """A call of an operator that torch runs: a node for each result that is used."""

    nodes: tuple[Node, ...]


PlanStep = KernelCall | Fallback
RunKernels = Callable[[int, int], None]  # of the addresses of two tables of int64: sizes, and addresses of values


@dataclass(frozen=True)
class ExecutionPlan:
    """A graph with the steps that compute it.

    Attributes:
        graph: of core operators.
        groups: in the order in which they run.
        steps: a call or a fallback for each group but views, which need nothing.
        schedules: of the kernels, which calls name by their numbers.
        constants: all tensors that are known beforehand, packed ones among them.
    """

    graph: Graph
    groups: tuple[Group, ...]
    steps: tuple[PlanStep, ...]
    schedules: tuple[Schedule, ...]
    constants: Mapping[str, Tensor]


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
