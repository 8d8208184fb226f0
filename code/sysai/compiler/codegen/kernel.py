"""Kernels: a function, compiled and loaded, that takes torch tensors.

    kernel = build(function)
    kernel(x, weight, out)          # in the order of function.buffers; outputs are written in place

A call checks dtypes, shapes and overlaps, then goes through ctypes: about 2 us for three tensors. Shapes that
were seen before cost one look into a table. `bind` does all that once, for tensors that stay where they are: calling
what it returns takes 0.6 us. Production extensions (pybind11, torch's dispatcher) take as long.
"""

import ctypes
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from sysai.compiler import cpu
from sysai.compiler.codegen.c import generate_c
from sysai.compiler.codegen.toolchain import compile_c
from sysai.compiler.codegen.vector_header import HEADER_NAME, vector_header
from sysai.compiler.tir.interpret import infer_sizes, require_initialized
from sysai.compiler.tir.statement import PrimFunc


def build(function: PrimFunc, flags: tuple[str, ...] = ()) -> "Kernel":
    """Compile a scheduled function for this machine, or find it compiled.

    Args:
        function: scheduled, or as it was lowered.
        flags: for the compiler, after `toolchain.FLAGS`.

    Raises:
        ValueError: the function can't be expressed in C.
        ToolchainError: there is no compiler, or it fails.
    """
    return Kernel(function, generate_c(function), flags)


def raise_failure(failed: int, name: str) -> None:
    """Raise the error that a generated function has reported by what it returned, as torch would.

    Raises:
        MemoryError: there is no memory for the buffers that it allocates.
        IndexError: an index that was read from memory is outside its axis.
        RuntimeError: an integer was divided by zero.
    """
    if failed & 1:
        raise MemoryError(f"{name}: no memory for its buffers")
    if failed & 2:
        raise IndexError(f"{name}: index out of range")
    raise RuntimeError(f"ZeroDivisionError: {name} divides an integer by 0")


class Kernel:
    """A compiled function of torch tensors on the CPU.

    Attributes:
        function: what it computes.
        name: of the function in the library.
        source: its C.
        library: the file that was compiled from it.
    """

    def __init__(self, function: PrimFunc, source: str, flags: tuple[str, ...] = ()) -> None:
        width = cpu.vector_bytes()
        self.function, self.name, self.source = function, function.name, source
        wide = ("-mprefer-vector-width=512",) if width == 64 else ()
        self.library: Path = compile_c(source, {HEADER_NAME: vector_header(width)}, (*wide, *flags))
        self._dtypes = tuple(getattr(torch, buffer.dtype) for buffer in function.buffers)
        written = {buffer.name for buffer in function.outputs}
        self._pairs = tuple(
            (out, other)
            for out, buffer in enumerate(function.buffers)
            for other, another in enumerate(function.buffers)
            if buffer.name in written and out != other and (another.name not in written or out < other)
        )
        self._known: dict[object, tuple[tuple[int, ...], ...]] = {}

    def __call__(self, *tensors: Tensor, sizes: Mapping[str, int] | None = None) -> None:
        """Run; outputs are among the tensors.

        Args:
            tensors: contiguous, one for each buffer.
            sizes: those that no shape has as a dimension of its own.

        Raises:
            ValueError: a tensor has a wrong dtype, shape or layout, or an output overlaps another tensor, or elements
                would be reduced over an empty axis by a block that initializes them in its first iteration.
            MemoryError, IndexError, RuntimeError: see `raise_failure`; outputs are then undefined.
        """
        if failed := self._entry(*self._arguments(tensors, sizes), torch.get_num_threads()):
            raise_failure(failed, self.function.name)

    def bind(self, *tensors: Tensor, sizes: Mapping[str, int] | None = None) -> Callable[[], None]:
        """A call for these tensors, checked now; they must stay alive and where they are while it is used."""
        entry, threads = self._entry, torch.get_num_threads
        kinds = zip(entry.argtypes[:-1], self._arguments(tensors, sizes), strict=True)
        fixed = tuple(kind(value) for kind, value in kinds)

        def call() -> None:
            if failed := entry(*fixed, threads()):
                raise_failure(failed, self.function.name)

        call.tensors = tensors
        return call

    @cached_property
    def _entry(self) -> Callable[..., int]:
        entry = ctypes.CDLL(str(self.library))[self.function.name]
        buffers, sizes = len(self.function.buffers), len(self.function.sizes)
        entry.argtypes = [ctypes.c_void_p] * buffers + [ctypes.c_int64] * sizes + [ctypes.c_int]
        entry.restype = ctypes.c_int
        return entry

    def _arguments(self, tensors: tuple[Tensor, ...], sizes: Mapping[str, int] | None) -> tuple[int, ...]:
        key = tuple([tensor.shape for tensor in tensors])  # a list comprehension is faster than a generator
        if sizes:
            key = key, tuple(sorted(sizes.items()))
        bound = self._known.get(key)
        if bound is None:
            bound = self._known[key] = self._measure(tensors, sizes)
        values, lengths = bound
        pointers = []
        for tensor, dtype in zip(tensors, self._dtypes, strict=True):
            if tensor.dtype is not dtype or not tensor.is_contiguous() or not tensor.is_cpu:
                self._refuse(tensors)
            pointers.append(tensor.data_ptr())
        for out, other in self._pairs:
            if pointers[out] < pointers[other] + lengths[other] and pointers[other] < pointers[out] + lengths[out]:
                names = [self.function.buffers[position].name for position in (out, other)]
                raise ValueError(f"{self.function.name}: {names[0]} overlaps {names[1]}: give them memory of their own")
        return *pointers, *values

    def _measure(self, tensors: tuple[Tensor, ...], sizes: Mapping[str, int] | None) -> tuple[tuple[int, ...], ...]:
        """(values of the sizes, bytes of the tensors); refuses shapes that don't fit."""
        function = self.function
        names = [buffer.name for buffer in function.buffers]
        if len(tensors) != len(names):
            raise ValueError(f"{function.name} takes {len(names)} tensors ({', '.join(names)}), not {len(tensors)}")
        shapes = {name: tuple(tensor.shape) for name, tensor in zip(names, tensors, strict=True)}
        values = infer_sizes(function, shapes, sizes)
        require_initialized(function, values)
        lengths = tuple(tensor.numel() * dtype.itemsize for tensor, dtype in zip(tensors, self._dtypes, strict=True))
        return tuple(values[size.name] for size in function.sizes), lengths

    def _refuse(self, tensors: tuple[Tensor, ...]) -> None:
        for tensor, buffer, dtype in zip(tensors, self.function.buffers, self._dtypes, strict=True):
            subject = f"{self.function.name}: {buffer.name}"
            if tensor.device.type != "cpu":
                raise ValueError(f"{subject} is on {tensor.device}: move it to the CPU")
            if tensor.dtype is not dtype:
                raise ValueError(f"{subject} is {tensor.dtype}, but should be {buffer.dtype}")
            if not tensor.is_contiguous():
                raise ValueError(f"{subject} is not contiguous: call .contiguous() on it")
