"""The whole way: from a graph to a program of scheduled kernels, and on to something that can be called.

    graph --optimize, legalize--> core operators --fuse--> groups --lower--> tensor programs --schedule--> kernels

Groups of layers that are alike give the same program (buffers are named by their place, sizes do not count), so that
a model of thirty layers has a dozen kernels.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from sysai.compiler.executable import Call, Fallback, Program, Step
from sysai.compiler.graph.graph import Graph
from sysai.compiler.lowering import lower
from sysai.compiler.lowering.matmul import pack, packable
from sysai.compiler.lowering.schedules import default_schedule
from sysai.compiler.passes import optimize
from sysai.compiler.passes.fusion import fuse
from sysai.compiler.passes.groups import Group
from sysai.compiler.passes.legalize import legalize
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.rename import with_sizes_by_place
from sysai.compiler.tir.statement import PrimFunc

Scheduler = Callable[[PrimFunc, str], Schedule]
LONGEST_NAME = 40


@dataclass
class Seconds:
    """How long each part of a compilation took, by its name."""

    parts: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str, work: Callable, *arguments: object) -> object:
        """Call `work(*arguments)`, and note how long that takes."""
        start = time.perf_counter()
        result = work(*arguments)
        self.parts[name] = self.parts.get(name, 0.0) + time.perf_counter() - start
        return result


def make_program(graph: Graph, schedule: Scheduler = default_schedule, seconds: Seconds | None = None) -> Program:
    """What runs for a graph of any operators.

    Args:
        schedule: (lowered function, class of the group) -> its schedule.
        seconds: where to note how long the parts took.
    """
    seconds = seconds or Seconds()
    graph = seconds.measure("graph passes", lambda: legalize(optimize(graph)))
    groups = seconds.measure("fusion", fuse, graph)
    constants = dict(graph.constants)
    steps: list[Step] = []
    kernels: dict[PrimFunc, int] = {}  # the numbers of programs, whatever their sizes are called
    schedules: list[Schedule] = []
    orders: list[list[int]] = []  # of a kernel's sizes, by their places
    for group in groups:
        if group.kind == "opaque":
            steps.append(Fallback(group.nodes[0]))
        elif group.kind != "view":
            weight = packable(group, graph) if group.kind == "matmul" else None
            function = seconds.measure("lowering", lower, group, kernel_name(group), weight is not None)
            alike, sizes = with_sizes_by_place(function)
            if alike not in kernels:
                kernels[alike] = len(schedules)
                orders.append([sizes.index(size) for size in function.sizes])
                schedules.append(seconds.measure("schedules", schedule, function, group.kind))
            operands = [*(v.name for v in group.inputs), *(v.name for v in group.outputs)]
            if weight is not None:
                operands[operands.index(weight)] = _packed(group, weight, constants)
            kernel = kernels[alike]
            steps.append(Call(kernel, tuple(operands), tuple(sizes[place] for place in orders[kernel])))
    used = {name for step in steps if isinstance(step, Call) for name in step.operands}
    used |= {value.name for step in steps if isinstance(step, Fallback) for value in step.node.inputs}
    used |= {value.name for value in graph.outputs}
    owners = {group.outputs[0].name: group.inputs[0].name for group in groups if group.kind == "view"}
    used |= {owners[name] for name in used & set(owners)}
    kept = {name: tensor for name, tensor in constants.items() if name in used}
    return Program(graph, groups, tuple(steps), tuple(schedules), kept)


def _packed(group: Group, weight: str, constants: dict[str, Tensor]) -> str:
    """The name of the packed form of a constant, which is made unless it is there."""
    node = group.anchor
    transposed = node.op == "conv2d" or node.attributes["transpose_b"]
    name = f"{weight}.packed{'' if transposed else '_rows'}"
    if name not in constants:
        constants[name] = pack(constants[weight], transposed)
    return name


def kernel_name(group: Group) -> str:
    """A C identifier that tells what the kernel does; the same for groups that are alike."""
    operators = dict.fromkeys(node.op for node in group.nodes if node.op not in ("full", "reshape"))
    return "_".join([group.kind, *(name for name in operators if name != group.kind)])[:LONGEST_NAME]
