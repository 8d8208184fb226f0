"""The whole way: from a graph to a plan of scheduled kernels, and on to something that can be called.

    graph --optimize, legalize--> core operators --fuse--> groups --lower--> tensor programs --schedule--> kernels

Groups of layers that are alike give the same program, as buffers are named by their position and names of sizes do not
count: a model of thirty layers has a dozen kernels.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor, nn

from sysai.compiler.codegen.c import generate_c
from sysai.compiler.codegen.kernel import Kernel
from sysai.compiler.graph import Graph
from sysai.compiler.graph.from_export import Dynamic, import_module
from sysai.compiler.lowering import lower
from sysai.compiler.lowering.matmul import pack, packable
from sysai.compiler.passes import optimize
from sysai.compiler.passes.decompose import legalize
from sysai.compiler.passes.fusion import fuse_operators
from sysai.compiler.passes.groups import Group
from sysai.compiler.passes.memory_plan import storage
from sysai.compiler.runtime.compiled import Compiled, ModuleCall, Timings
from sysai.compiler.runtime.executable import Executable
from sysai.compiler.runtime.plan import ExecutionPlan, Fallback, KernelCall, PlanStep, make_entry
from sysai.compiler.runtime.results import Results
from sysai.compiler.schedule.default import default_schedule
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import PrimFunc, with_canonical_sizes
from sysai.compiler.tir.verify import verify_function

Scheduler = Callable[[PrimFunc, str], Schedule]
LONGEST_NAME = 40


def compile_module(
    module: nn.Module,
    example_inputs: Sequence[object],
    dynamic: Dynamic | None = None,
    schedule: Scheduler | None = None,
    **options: object,
) -> Compiled:
    """Compile a module; see `sysai.compiler.compile`, whose other options are those of `import_module`."""
    timings = Timings()
    imported = timings.measure("export", lambda: import_module(module, example_inputs, dynamic, **options))
    results = Results(imported.exported.graph_module, imported.weight_names)
    compiled = compile_graph(results.select(imported.graph), schedule or default_schedule, timings)
    compiled.call = ModuleCall(imported.exported.call_spec, results, imported.weights, imported.numbers)
    return compiled


def compile_graph(graph: Graph, schedule: Scheduler = default_schedule, timings: Timings | None = None) -> Compiled:
    """Compile a graph; the result takes and gives flat tensors."""
    timings = timings or Timings()
    plan = make_plan(graph, schedule, timings)
    kernels = timings.measure("C", build_all, plan.schedules)
    entry = partial(make_entry, kernels=kernels, sizes=plan.graph.sizes)
    return Compiled(plan, timings.measure("entry", Executable, plan, entry), kernels, timings)


def build_all(schedules: Sequence[Schedule]) -> list[Kernel]:
    """A kernel for each schedule; the C compiler runs on all cores, while this thread prints the next ones."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        functions = (schedule.function for schedule in schedules)
        kernels = [pool.submit(Kernel, function, generate_c(function)) for function in functions]
        return [kernel.result() for kernel in kernels]


def make_plan(graph: Graph, schedule: Scheduler = default_schedule, timings: Timings | None = None) -> ExecutionPlan:
    """The plan of a graph of any operators.

    Args:
        schedule: (lowered function, class of the group) -> its schedule.
        timings: where to note how long the parts took.
    """
    timings = timings or Timings()
    graph = timings.measure("graph passes", lambda: legalize(optimize(graph)))
    groups = timings.measure("fusion", fuse_operators, graph)
    constants = dict(graph.constants)
    steps: list[PlanStep] = []
    # The number of each function's kernel, whatever its sizes are called, and these as positions in its shapes' order.
    kernels: dict[PrimFunc, tuple[int, list[int]]] = {}
    schedules: list[Schedule] = []
    for group in groups:
        if group.kind == "opaque":
            steps.append(Fallback(group.nodes))
        elif group.kind != "view":
            weight = packable(group, graph) if group.kind == "matmul" else None
            function = _verified(timings.measure("lowering", lower, group, kernel_name(group), weight is not None))
            alike, sizes = with_canonical_sizes(function)
            if alike not in kernels:
                kernels[alike] = len(schedules), [sizes.index(size) for size in function.sizes]
                schedules.append(timings.measure("schedules", schedule, function, group.kind))
                _verified(schedules[-1].function)
            operands = [*(v.name for v in group.inputs), *(v.name for v in group.outputs)]
            if weight is not None:
                operands[operands.index(weight)] = _packed(group, weight, constants)
            kernel, order = kernels[alike]
            steps.append(KernelCall(kernel, tuple(operands), tuple(sizes[position] for position in order)))
    # A weight that is only read in packed form is not kept in its own.
    read = [value.name for value in graph.outputs]
    for step in steps:
        read += step.operands if isinstance(step, KernelCall) else (value.name for value in step.nodes[0].inputs)
    owners = storage(groups)
    used = {owners.get(name, name) for name in read}
    constants = {name: tensor for name, tensor in constants.items() if name in used}
    return ExecutionPlan(graph, groups, tuple(steps), tuple(schedules), constants)


def _verified(function: PrimFunc) -> PrimFunc:
    """The function; checked first if the environment variable SYSAI_VERIFY is 1, as the tests set it.

    Raises:
        InvalidProgram: lowering or a schedule has broken a rule of tensor programs.
    """
    if os.environ.get("SYSAI_VERIFY") == "1":
        verify_function(function)
    return function


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
