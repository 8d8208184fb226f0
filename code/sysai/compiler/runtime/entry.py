"""One generated C function that calls kernels in order.

    int run(void *const *kernels, char *const *p, const int64_t *n, int threads)
    {
        int failed;
        if ((failed = ((call_3_1)kernels[4])(p[12], p[3], p[0], n[0], threads))) return 8 * 4 + failed;
        ...

`p` has the address of every value, `n` the sizes: both are tables that the caller fills. Kernels are libraries of
their own, so that models share them in the cache; the entry knows only where they are. A call costs nanoseconds.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from sysai.compiler.codegen.kernel import raise_failure
from sysai.compiler.codegen.toolchain import compile_c
from sysai.compiler.runtime.plan import KernelCall, RunKernels
from sysai.compiler.tir.expr import Var


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
    calls: Sequence[KernelCall], kernels: Sequence[CFunction], slots: Mapping[str, int], sizes: Sequence[Var]
) -> RunKernels:
    """The function that makes `calls`, given the values of `sizes` and the addresses of all values.

    Raises:
        ToolchainError: there is no C compiler, or it fails.
    """
    library = ctypes.CDLL(str(compile_c(entry_source(calls, slots, sizes))))
    library.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    table = np.array([address(kernel) for kernel in kernels], np.int64)
    entry: Callable[..., int] = library.run

    where = table.ctypes.data

    def run(numbers: int, addresses: int, table: np.ndarray = table) -> None:
        if failed := entry(where, addresses, numbers, torch.get_num_threads()):
            raise_failure(failed % 8, kernels[failed // 8].name)

    return run


def address(kernel: CFunction) -> int:
    """The address of a kernel's function in this process."""
    return ctypes.cast(ctypes.CDLL(str(kernel.library))[kernel.name], ctypes.c_void_p).value
