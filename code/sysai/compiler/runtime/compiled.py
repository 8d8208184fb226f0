"""A compiled module: a callable that can be looked into.

    compiled.graph       core operators after all passes          compiled.schedules   the trace of each kernel's loops
    compiled.groups      which of them run as one kernel          compiled.kernels     functions and their C
    compiled.report()    bytes moved, memory, seconds spent on compiling

Weights are read from the module at each call, whoever has changed them and however: nothing that depends on them is
computed ahead. With `freeze=True` they are constants of the compiled module, packed and folded when it is compiled,
and it does not see changes that are made later.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.utils import _pytree as pytree

from sysai.compiler.codegen.kernel import Kernel
from sysai.compiler.graph import Graph
from sysai.compiler.passes.fusion import traffic
from sysai.compiler.passes.groups import Group
from sysai.compiler.runtime.executable import Executable
from sysai.compiler.runtime.plan import ExecutionPlan, Fallback, KernelCall
from sysai.compiler.runtime.results import Results
from sysai.compiler.schedule.schedule import Schedule


@dataclass
class Timings:
    """How long each part of a compilation took, by its name."""

    seconds: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str, work: Callable, *arguments: object) -> object:
        """Call `work(*arguments)`, and note how long that takes."""
        start = time.perf_counter()
        result = work(*arguments)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return result


@dataclass(frozen=True)
class ModuleCall:
    """How a module's arguments and results lie in the inputs and outputs of its graph.

    Attributes:
        spec: the structure of arguments and results, as torch.export has it.
        results: how results are found.
        weights: what gives the tensors that the graph takes before the arguments.
        numbers: arguments that are no tensors, by position: those of the example, for which the graph was made.
    """

    spec: object
    results: Results
    weights: Sequence[Callable[[], Tensor]]
    numbers: Mapping[int, object]


@dataclass
class Compiled:
    """A compiled module.

    Attributes:
        call: how a module is called; None for a graph, which takes and gives flat tensors.
    """

    plan: ExecutionPlan
    executable: Executable
    kernels: list[Kernel]
    timings: Timings
    call: ModuleCall | None = None

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
        """The operators that torch runs, once for each call."""
        steps = self.plan.steps
        return tuple(step.nodes[0].attributes["target"] for step in steps if isinstance(step, Fallback))

    def __call__(self, *inputs: object, **keywords: object) -> object:
        """The module's outputs, for inputs of the structure of its example.

        Raises:
            ValueError: another structure, dtypes, shapes or numbers than it was compiled for, of arguments or weights.
        """
        if self.call is None:
            return self.executable(*inputs)
        leaves, spec = inputs, self.call.spec
        if keywords or not all(type(value) is Tensor for value in inputs):
            leaves, structure = pytree.tree_flatten((inputs, keywords))
            if spec.in_spec is not None and structure != spec.in_spec:
                raise ValueError(f"arguments have the structure {structure}, but were {spec.in_spec}")
            if changed := [k for k, number in self.call.numbers.items() if leaves[k] != number]:
                was = self.call.numbers[changed[0]]
                raise ValueError(f"{leaves[changed[0]]!r} is passed where the module was compiled for {was!r}")
        weights = [weight() for weight in self.call.weights]
        tensors = self.executable(*weights, *(leaf for leaf in leaves if isinstance(leaf, Tensor)))
        return pytree.tree_unflatten(self.call.results(leaves, tensors), spec.out_spec)

    def report(self, sizes: Mapping[str, int] | None = None) -> str:
        """Kernels with the bytes that they move, the arena, and where the time of compiling went.

        Args:
            sizes: values of the dynamic sizes, for which to count.
        """
        sizes = dict(sizes or {})
        moved = traffic(self.groups, sizes)
        calls = [step for step in self.plan.steps if isinstance(step, KernelCall)]
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
