"""Triton as a target: a fused group of graph nodes becomes the source of a Python module with a GPU kernel in it.

    generate_triton(graph)  the text: kernels, and `launch`, which gives grid and block sizes for given sizes
    build_triton(graph)     the text in a file of the cache, imported: `kernel(*inputs)` allocates outputs and launches
    graph_of(graph, group)  a group of a fused graph, as a graph that the two take

Triton (Tillet, Kung and Cox, MAPL 2019) compiles a function of blocks: it decides which thread holds what, stages
operands through shared memory, and chooses the matrix instructions. What is left to this generator is what TVM calls
the schedule's outer part: what one program computes, and in which order programs run.

The file is needed because `triton.jit` reads the source of what it compiles. On a machine without a GPU Triton's
interpreter runs the same kernels in numpy, for small sizes. Inductor generates Triton in the same manner.
"""

import hashlib
import os
import re
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from sysai.compiler.codegen import triton_kernels
from sysai.compiler.codegen.toolchain import writable_folder
from sysai.compiler.codegen.triton_expressions import HELPERS, RESERVED, operands_of
from sysai.compiler.codegen.triton_kernels import KernelText
from sysai.compiler.errors import UnsupportedGroup
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.interpret import TORCH_DTYPES, bind_sizes
from sysai.compiler.graph.sizes import evaluate, product
from sysai.compiler.passes.groups import Group
from sysai.compiler.tir.expr import Const, variables
from sysai.kernels.loading import import_module, require_triton
from sysai.kernels.report import POINTERS, TARGETS, KernelReport, Launch, compile_ahead

IMPORTS = """\
import torch
import triton
import triton.language as tl
"""
HALF_IMPORTS = f"""\
import os

{IMPORTS}
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DOT_TYPE = tl.constexpr(tl.float32 if INTERPRETED else tl.bfloat16)  # numpy has no bfloat16
"""


@dataclass(frozen=True)
class TritonKernel:
    """A group that can be called: its graph, the text of its module, and this as a file and imported.

    Attributes:
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
        outputs = {}
        for value in self.graph.outputs:
            shape = [evaluate(size, sizes) for size in value.shape]
            outputs[value.name] = torch.empty(shape, dtype=TORCH_DTYPES[value.dtype], device=device)
        numbers = [sizes[size.name] for size in self.graph.sizes]
        kernel, grid, constants = self.module.launch(*numbers)
        if grid[0]:
            with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
                kernel[grid](*operands, *outputs.values(), *numbers, **constants)
        return [outputs[value.name] for value in self.graph.outputs]


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
        ToolchainError: neither folder can be used.
    """
    file_name = f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
    path = writable_folder("triton", file_name) / file_name
    if not path.exists() or path.read_text() != source:
        with tempfile.TemporaryDirectory(dir=path.parent) as fresh:
            (Path(fresh) / file_name).write_text(source)
            os.replace(Path(fresh) / file_name, path)
    return path


def module_text(graph: Graph, kernels: Sequence[KernelText]) -> str:
    """The text of a module around kernels; `launch` serves who launches, and who compiles ahead of time."""
    read = {name for kernel in kernels for name in kernel.block.pointers}
    operands = [value for value in operands_of(graph) if value.name in read]
    body = "\n".join(line for kernel in kernels for line in kernel.lines)
    helpers = [(head, text) for head, text in HELPERS.items() if re.search(rf"\b{head.split('(')[0]}\b", body)]
    sections = [
        f'"""{graph.name}: generated for one fused group."""\n\n{HALF_IMPORTS if "DOT_TYPE" in body else IMPORTS}\n'
        f"OPERANDS = {[value.name for value in operands]}",
        *(_function(head, text.splitlines()) for head, text in helpers),
        *(_kernel(graph, kernel, operands) for kernel in kernels),
        _launch(graph, kernels, operands),
    ]
    return "\n\n\n".join(sections) + "\n"


def _function(signature: str, lines: Iterable[str], decorator: str = "@triton.jit\n") -> str:
    return f"{decorator}def {signature}:\n" + "\n".join(f"    {line}" for line in lines)


def _kernel(graph: Graph, kernel: KernelText, operands: Sequence[Value]) -> str:
    pointers = [kernel.block.pointer(value) for value in operands]
    sizes = [size.name for size in graph.sizes]
    constants = [f"{name}: tl.constexpr" for name in ("WIDE", *kernel.constants)]
    parameters = ", ".join([*pointers, *kernel.block.stored.values(), *sizes, *constants])
    whole = parameters.replace(": ", ":\0")  # an annotation stays beside its name
    wrapped = textwrap.fill(whole, 110, initial_indent="    ", subsequent_indent="    ").replace("\0", " ")
    return _function(f"{graph.name}_{kernel.suffix}(\n{wrapped}\n)", kernel.lines)


def _launch(graph: Graph, kernels: Sequence[KernelText], operands: Sequence[Value]) -> str:
    """Which kernel, on which grid, with which constants."""
    counts = dict.fromkeys(product(value.shape) for value in (*operands, *graph.outputs))
    largest = max((count.value for count in counts if isinstance(count, Const)), default=0)
    unknown = [str(count) for count in counts if not isinstance(count, Const)]
    wide = f"max({', '.join((*unknown, str(largest)))}) >= 2**31" if unknown else str(largest >= 1 << 31)
    extents = {"wide": wide} | {name: str(extent) for name, extent in kernels[0].extents.items()}
    lines = ['"""The kernel, its grid and its constants for these sizes."""']
    lines += [f"{', '.join(extents)} = {', '.join(extents.values())}"]
    for kernel in kernels:
        body = [*kernel.launch.splitlines(), f"return {graph.name}_{kernel.suffix}, grid, constants"]
        lines += [f"if {kernel.when}:", *(f"    {line}" for line in body)] if kernel.when else body
    return _function(f"launch({', '.join(size.name for size in graph.sizes)})", lines, "")


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
    return compile_ahead([_described(kernel, sizes) for kernel, sizes in kernels], targets, timeout_s)


def _described(kernel: TritonKernel, sizes: Mapping[str, int]) -> Launch:
    graph = kernel.graph
    wanted = [size.name for size in graph.sizes]
    if set(sizes) != set(wanted):
        raise ValueError(f"{graph.name} has the sizes {wanted}, not {sorted(sizes)}")
    dtypes = {value.name: value.dtype for value in (*operands_of(graph), *graph.outputs)}
    outputs = dict.fromkeys(value.name for value in graph.outputs)
    pointers = tuple(POINTERS[dtypes[name]] for name in (*kernel.module.OPERANDS, *outputs))
    numbers = tuple(sizes[name] for name in wanted)
    return Launch(graph.name, kernel.path, "launch", numbers, pointers, numbers)
