"""What compilers make of generated kernels, for GPUs that need not be there: see `sysai.kernels.report`."""

from collections.abc import Mapping, Sequence

from sysai.compiler.codegen.triton import TritonKernel
from sysai.kernels.report import POINTERS, TARGETS, KernelReport, Launch, compile_ahead


def report(
    kernels: Sequence[tuple[TritonKernel, Mapping[str, int]]],
    targets: Sequence[str] = tuple(TARGETS),
    timeout_s: float = 300,
) -> list[KernelReport]:
    """Compile kernels, each for given sizes, in a process of its own.

    Args:
        kernels: what `build_triton` gave, with a number for each size of its graph.

    Returns:
        For each kernel in turn, a report for each target.

    Raises:
        ValueError: an unknown target, or sizes that the graph does not have.
        CompilationFailed: the compiler refused a kernel, crashed, or took longer than `timeout_s`.
    """
    return compile_ahead([_launch(kernel, sizes) for kernel, sizes in kernels], targets, timeout_s)


def _launch(kernel: TritonKernel, sizes: Mapping[str, int]) -> Launch:
    graph = kernel.graph
    wanted = [size.name for size in graph.sizes]
    if set(sizes) != set(wanted):
        raise ValueError(f"{graph.name} has the sizes {wanted}, not {sorted(sizes)}")
    outputs = {value.name: value.dtype for value in graph.outputs}
    pointers = tuple(POINTERS[dtype] for dtype in (*kernel.module.OPERAND_DTYPES, *outputs.values()))
    numbers = tuple(sizes[name] for name in wanted)
    return Launch(graph.name, kernel.path, "launch", numbers, pointers, numbers)
