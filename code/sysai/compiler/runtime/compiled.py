"""A compiled module: a callable that can be looked into.

    compiled.graph       core operators after all passes          compiled.schedules   the trace of each kernel's loops
    compiled.groups      which of them run as one kernel          compiled.kernels     functions and their C
    compiled.report()    bytes moved, memory, seconds spent on compiling

Weights are constants of the compiled module: it does not see changes that are made to them later.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils import _pytree as pytree

from sysai.compiler.codegen.c import generate_c
from sysai.compiler.codegen.kernel import Kernel
from sysai.compiler.graph.from_export import import_module
from sysai.compiler.graph.graph import Graph
from sysai.compiler.passes.fusion import traffic
from sysai.compiler.passes.groups import Group
from sysai.compiler.pipeline import Scheduler, Timings, make_plan
from sysai.compiler.runtime.entry import make_entry
from sysai.compiler.runtime.executable import Executable
from sysai.compiler.runtime.plan import Call, ExecutionPlan, Fallback
from sysai.compiler.schedule.default import default_schedule
from sysai.compiler.schedule.schedule import Schedule


def compile_module(
    module: nn.Module,
    example_inputs: Sequence[object],
    dynamic: Mapping[str | int, Mapping[int, str]] | None = None,
    *,
    keywords: Mapping[str, object] | None = None,
    fallback: bool = False,
    schedule: Scheduler | None = None,
) -> "Compiled":
    """Compile a module; see `sysai.compiler.compile`."""
    timings = Timings()
    imported = timings.measure(
        "export", lambda: import_module(module, example_inputs, dynamic, keywords=keywords, fallback=fallback)
    )
    compiled = compile_graph(imported.graph, schedule or default_schedule, timings)
    compiled.call_spec = imported.exported.call_spec
    return compiled


def compile_graph(graph: Graph, schedule: Scheduler = default_schedule, timings: Timings | None = None) -> "Compiled":
    """Compile a graph; the result takes and gives flat tensors."""
    timings = timings or Timings()
    plan = make_plan(graph, schedule, timings)
    kernels = timings.measure("C", build_all, plan.schedules)
    executable = timings.measure(
        "entry", Executable, plan, lambda calls, slots: make_entry(calls, kernels, slots, plan.graph.sizes)
    )
    return Compiled(plan, executable, kernels, timings)


def build_all(schedules: Sequence[Schedule]) -> list[Kernel]:
    """A kernel for each schedule; the C compiler runs on all cores, while this thread prints the next ones."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        functions = (schedule.function for schedule in schedules)
        kernels = [pool.submit(Kernel, function, generate_c(function)) for function in functions]
        return [kernel.result() for kernel in kernels]


@dataclass
class Compiled:
    """A compiled module.

    Attributes:
        call_spec: the structure of the module's arguments and results, as torch.export has it; None for flat tensors.
    """

    plan: ExecutionPlan
    executable: Executable
    kernels: list[Kernel]
    timings: Timings
    call_spec: object = None

    @property
    def graph(self) -> Graph:
        """The graph of core operators that was fused."""
        return self.plan.graph

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of the graph's nodes, in the order in which they run."""
        return self.plan.groups

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """How each kernel was scheduled, with its trace."""
        return self.plan.schedules

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The operators that torch runs, once for each time that they occur."""
        steps = self.plan.steps
        return tuple(step.node.attributes["target"] for step in steps if isinstance(step, Fallback))

    def __call__(self, *inputs: object, **keywords: object) -> object:
        """The module's outputs, for inputs of the structure of its example.

        Raises:
            ValueError: another structure, dtypes or shapes than it was compiled for.
        """
        if self.call_spec is None:
            return self.executable(*inputs)
        if not keywords and all(type(value) is torch.Tensor for value in inputs):
            flat = inputs
        else:
            leaves, structure = pytree.tree_flatten((inputs, keywords))
            if self.call_spec.in_spec is not None and structure != self.call_spec.in_spec:
                raise ValueError(f"arguments have the structure {structure}, but were {self.call_spec.in_spec}")
            flat = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        return pytree.tree_unflatten(list(self.executable(*flat)), self.call_spec.out_spec)

    def report(self, sizes: Mapping[str, int] | None = None) -> str:
        """Kernels with the bytes that they move, the arena, and where the time of compiling went.

        Args:
            sizes: values of the dynamic sizes, for which to count.
        """
        sizes = dict(sizes or {})
        moved = traffic(self.groups, sizes)
        calls = [step for step in self.plan.steps if isinstance(step, Call)]
        lines = [f"{'kernel':42} {'operators':>9} {'MB fused':>9} {'MB apart':>9}"]
        names = iter(calls)
        for group_traffic in moved:
            if group_traffic.group.kind in ("view", "opaque"):
                name = f"({group_traffic.group.kind}: {group_traffic.group.nodes[-1].op})"
            else:
                name = self.kernels[next(names).kernel].function.name
            operators = sum(node.op not in ("full", "reshape") for node in group_traffic.group.nodes)
            lines.append(f"{name:42} {operators:9} {group_traffic.fused / 1e6:9.3f} {group_traffic.apart / 1e6:9.3f}")
        fused, apart = (sum(getattr(group_traffic, which) for group_traffic in moved) for which in ("fused", "apart"))
        lines.append(f"{'all':42} {len(self.graph.nodes):9} {fused / 1e6:9.3f} {apart / 1e6:9.3f}")
        memory = self.executable.memory(sizes)
        lines.append(
            f"arena: {memory.peak} bytes (lower bound {memory.lower_bound}, without reuse {memory.total}); "
            f"{len(calls)} calls of {len(self.kernels)} kernels, {len(self.fallbacks)} operators run by torch"
        )
        spent = ", ".join(f"{name} {value:.2f}" for name, value in self.timings.seconds.items())
        return "\n".join([*lines, f"seconds: {spent}"])
