"""Run a plan kernel by kernel with the interpreter of tensor programs, in place of the generated C."""

import ctypes
from collections.abc import Callable

import numpy as np
from sysai.compiler.graph import Graph
from sysai.compiler.graph.sizes import evaluate
from sysai.compiler.pipeline import make_plan
from sysai.compiler.runtime.executable import Executable
from sysai.compiler.runtime.plan import ExecutionPlan, KernelCall
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.interpret import interpret, numpy_dtype
from sysai.compiler.tir.statement import PrimFunc


def unscheduled(function: PrimFunc, _: str) -> Schedule:
    """The lowered function as it is."""
    return Schedule(function)


def interpreted(graph: Graph, schedule: Callable[[PrimFunc, str], Schedule] = unscheduled) -> Executable:
    """An executable whose kernels are interpreted."""
    plan = make_plan(graph, schedule)
    return Executable(plan, lambda calls, slots: lambda numbers, p: run(plan, calls, slots, numbers, p))


def run(plan: ExecutionPlan, calls: list[KernelCall], slots: dict[str, int], numbers: int, table: int) -> None:
    """Interpret calls on the memory that a table of addresses names."""
    names = [var.name for var in plan.graph.sizes]
    values = dict(zip(names, (ctypes.c_int64 * len(names)).from_address(numbers), strict=True)) if names else {}
    addresses = (ctypes.c_int64 * len(slots)).from_address(table)
    for call in calls:
        function = plan.schedules[call.kernel].function
        sizes = {own.name: values[size.name] for own, size in zip(function.sizes, call.sizes, strict=True)}
        arrays = {}
        for buffer, name in zip(function.buffers, call.operands, strict=True):
            shape = [evaluate(size, sizes) for size in buffer.shape]
            dtype = np.dtype(numpy_dtype(buffer.dtype))
            count = int(np.prod(shape)) * dtype.itemsize
            memory = (ctypes.c_char * count).from_address(addresses[slots[name]]) if count else bytearray()
            arrays[buffer.name] = np.frombuffer(memory, dtype).reshape(shape)
        interpret(function, arrays, sizes)
