"""The plan of a compiled graph: the kernels' calls, in order, and the one C function that is generated to make them.

    int run(void *const *kernels, char *const *p, const int64_t *n, int threads)
    {
        int failed;
        if ((failed = ((call_3_1)kernels[4])(p[12], p[3], p[0], n[0], threads))) return 8 * 4 + failed;
        ...

`p` has the address of every value, `n` the sizes: both are tables that the caller fills. Kernels are libraries of
their own, so that models share them in the cache; `run` knows only where they are. A call costs nanoseconds.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sysai.compiler.codegen.kernel import raise_failure
from sysai.compiler.codegen.toolchain import compile_c
from sysai.compiler.graph import Graph, Node
from sysai.compiler.passes.groups import Group
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


class CFunction(Protocol):
    """A function of a library: of addresses of values, then sizes, then the number of threads; 0 if it was executed.

    A `Kernel` is one; so is what was written by hand.
    """

    name: str
    library: Path


def entry_source(calls: Sequence[KernelCall], slots: Mapping[str, int], sizes: Sequence[Var]) -> str:
    """The C source of the function that makes `calls`, in order."""
    positions = {var.name: position for position, var in enumerate(sizes)}
    shapes, lines = set(), []
    for call in calls:
        shape = len(call.operands), len(call.sizes)
        shapes.add(shape)
        pointers = [f"p[{slots[name]}]" for name in call.operands]
        numbers = [f"n[{positions[var.name]}]" for var in call.sizes]
        arguments = ", ".join([*pointers, *numbers, "threads"])
        kernel = f"((call_{shape[0]}_{shape[1]})kernels[{call.kernel}])"
        lines.append(f"    if ((failed = {kernel}({arguments}))) return {8 * call.kernel} + failed;")
    types = [
        f"typedef int (*call_{buffers}_{numbers})({', '.join(['char *'] * buffers + ['int64_t'] * numbers + ['int'])});"
        for buffers, numbers in sorted(shapes)
    ]
    head = "int run(void *const *kernels, char *const *p, const int64_t *n, int threads)\n{\n    int failed;"
    return "\n".join(["#include <stdint.h>", *types, "", head, *lines, "    return 0;", "}", ""])


def make_entry(
    calls: Sequence[KernelCall], slots: Mapping[str, int], kernels: Sequence[CFunction], sizes: Sequence[Var]
) -> RunKernels:
    """The function that makes `calls`, given the values of `sizes` and the addresses of all values.

    Raises:
        ToolchainError: there is no C compiler, or it fails.
    """
    library = ctypes.CDLL(str(compile_c(entry_source(calls, slots, sizes))))
    library.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    functions = [ctypes.CDLL(str(kernel.library))[kernel.name] for kernel in kernels]
    table = np.array([ctypes.cast(function, ctypes.c_void_p).value for function in functions], np.int64)
    entry, where = library.run, table.ctypes.data

    def run(numbers: int, addresses: int, _: np.ndarray = table) -> None:  # the table lives as long as this function
        if failed := entry(where, addresses, numbers, torch.get_num_threads()):
            raise_failure(failed % 8, kernels[failed // 8].name)

    return run
