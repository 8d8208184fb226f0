"""Triton as a target: a fused group of graph nodes becomes the source of a Python module with a GPU kernel in it.

    generate_triton(graph)  the text: kernels, `launch` (grid and block sizes for given sizes), and a function that
                            takes the operands, allocates the outputs, and launches
    build_triton(graph)     the text in a file of the cache, imported: `kernel(*inputs)`
    graph_of(graph, group)  a group of a fused graph, as a graph that the two take

Triton (Tillet, Kung and Cox, MAPL 2019) compiles a function of blocks: it decides which thread holds what, stages
operands through shared memory, and chooses the matrix instructions. What is left to this generator is what TVM calls
the schedule's outer part: what one program computes, and in which order programs run.

The file is needed because `triton.jit` reads the source of what it compiles. On a machine without a GPU Triton's
interpreter runs the same kernels in numpy: that is slow, and meant for small sizes. Production: Inductor generates
Triton in the same manner, with many more operators, and measures candidates of block sizes.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from sysai.compiler.codegen import triton_kernels
from sysai.compiler.codegen.triton_expressions import RESERVED
from sysai.compiler.codegen.triton_module import module_text
from sysai.compiler.errors import UnsupportedGroup
from sysai.compiler.graph import Graph
from sysai.compiler.graph.interpret import bind_sizes
from sysai.compiler.passes.groups import Group
from sysai.compiler.tir.expr import variables
from sysai.kernels.loading import import_module, require_triton
from sysai.kernels.report import POINTERS, TARGETS, KernelReport, Launch, compile_ahead
from sysai.models.smollm2 import cache_folder

__all__ = ["TritonKernel", "build_triton", "generate_triton"]


@dataclass(frozen=True)
class TritonKernel:
    """A group that can be called.

    Attributes:
        graph: the group.
        source: the text of the module.
        path: the file that it was imported from.
        module: the imported module.
        interpreted: whether Triton's interpreter runs it.
    """

    graph: Graph
    source: str
    path: Path
    module: ModuleType
    interpreted: bool

    def __call__(self, *inputs: Tensor, sizes: Mapping[str, int] | None = None) -> list[Tensor]:
        """The group's outputs, fresh tensors on the inputs' device; operands that are not contiguous are copied.

        Args:
            sizes: numbers for the graph's sizes, needed where the inputs' shapes do not tell them.

        Raises:
            ValueError: number, dtype or shape of the inputs are not as the graph says, or they are not on a GPU.
        """
        sizes = bind_sizes(self.graph, inputs) if sizes is None else sizes
        if not self.interpreted and any(tensor.device.type == "cpu" for tensor in inputs):
            raise ValueError(f"{self.graph.name} runs on a GPU: move its inputs there, or build with interpret=True")
        tensors = {value.name: tensor for value, tensor in zip(self.graph.inputs, inputs, strict=True)}
        device = inputs[0].device if inputs else torch.device("cpu" if self.interpreted else "cuda")
        tensors |= {name: tensor.to(device) for name, tensor in self.graph.constants.items()}
        operands = [tensors[name].contiguous() for name in self.module.OPERANDS]
        numbers = (sizes[size.name] for size in self.graph.sizes)
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            return getattr(self.module, self.graph.name)(*operands, *numbers, device=device)


def graph_of(graph: Graph, group: Group, name: str) -> Graph:
    """A group of a fused graph as a graph of its own, with the sizes that it mentions."""
    shapes = [size for node in group.nodes for value in (*node.inputs, node.output) for size in value.shape]
    mentioned = set().union(*map(variables, shapes))
    inputs = tuple(value for value in group.inputs if value.name not in graph.constants)
    constants = {value.name: graph.constants[value.name] for value in group.inputs if value.name in graph.constants}
    sizes = tuple(size for size in graph.sizes if size in mentioned)
    return Graph(name, sizes, inputs, constants, group.nodes, group.outputs)


def build_triton(graph: Graph, interpret: bool | None = None) -> TritonKernel:
    """Generate, write to the cache, and import.

    Args:
        graph: the nodes of one group; a matrix product or reductions along the same axes, and elementwise nodes.
        interpret: run in Triton's interpreter; by default where there is no GPU.

    Raises:
        UnsupportedGroup: there is no kernel for this combination of nodes.
        RuntimeError: Triton is not installed (it exists for Linux).
    """
    require_triton("generate C instead, or just read the text that generate_triton gives")
    interpret = not torch.cuda.is_available() if interpret is None else interpret
    source = generate_triton(graph)
    path = write_module(source, graph.name)
    return TritonKernel(graph, source, path, import_module(path, interpret), interpret)


def generate_triton(graph: Graph) -> str:
    """The source of a module for a group; Triton itself is not needed for it.

    Raises:
        UnsupportedGroup: there is no kernel for this combination of nodes.
    """
    for size in graph.sizes:
        if size.name in RESERVED:
            raise UnsupportedGroup(f"a size is called {size.name}, as kernels call something of theirs: rename it")
    ops = [node.op for node in graph.nodes]
    if ops.count("matmul") + ("reduce" in ops) > 1:
        raise UnsupportedGroup(f"{graph.name} has several products, or products and reductions: split the group")
    if "matmul" in ops:
        kernels = triton_kernels.matmul(graph)
    else:
        kernels = triton_kernels.rows(graph) if "reduce" in ops else triton_kernels.pointwise(graph)
    return module_text(graph, kernels)


def write_module(source: str, name: str) -> Path:
    """A file of the cache with this text, complete or absent; among the temporary files if it can't be there.

    Raises:
        RuntimeError: neither folder can be used.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    for folder in (cache_folder() / "triton", Path(tempfile.gettempdir()) / f"sysai-triton-{os.getuid()}"):
        path = folder / f"{name}_{digest}.py"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                continue  # its owner could put other code into the file that is imported
            if not path.exists() or path.read_text() != source:
                with tempfile.TemporaryDirectory(dir=folder) as fresh:
                    (Path(fresh) / path.name).write_text(source)
                    os.replace(Path(fresh) / path.name, path)
        except OSError:
            continue
        return path
    raise RuntimeError(f"neither {cache_folder()} nor {tempfile.gettempdir()} can be used: set SYSAI_CACHE")


def report(
    kernels: Sequence[tuple[TritonKernel, Mapping[str, int]]],
    targets: Sequence[str] = tuple(TARGETS),
    timeout_s: float = 300,
) -> list[KernelReport]:
    """Compile kernels, each for given sizes, in a process of its own.

    Args:
        kernels: of `build_triton`, each with a number for each size of its graph.

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
