"""The text of a module around Triton kernels: imports, `launch`, and the function that allocates and launches.

`launch(sizes)` is a function of its own because whoever compiles ahead of time wants to know what would be launched
without launching it. Block sizes are powers of two, as Triton demands, chosen by the extents and by these numbers:

    pointwise   BLOCK = 1024: 8 elements a thread with 4 warps of 32, two vector loads of 16 bytes in float32
    rows        BLOCK_R x BLOCK_C of about 2048 or one whole row, 16 elements a thread
    matmul      tiles of 128 x 128, or as small as the matrix, not below 16: what tensor cores take
"""

import textwrap
from collections.abc import Iterable

from sysai.compiler.codegen.triton_expressions import Names, operands_of
from sysai.compiler.codegen.triton_kernels import COMBINE, KernelText
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.sizes import product
from sysai.compiler.tir.expr import Const

LOOP_BLOCK = 2048
LAUNCHES = {
    ("BLOCK",): """\
BLOCK = min(1024, triton.next_power_of_2(max(count, 1)))
grid = (triton.cdiv(count, BLOCK),)
constants = {{"BLOCK": BLOCK, "WIDE": wide, "num_warps": 4}}""",
    ("BLOCK_R", "BLOCK_C"): """\
BLOCK_C = {block_c}
BLOCK_R = max(1, min(triton.next_power_of_2(max(rows, 1)), 2048 // BLOCK_C))
grid = (triton.cdiv(rows, BLOCK_R),)
num_warps = min(16, max(1, BLOCK_R * BLOCK_C // 512))
constants = {{"BLOCK_R": BLOCK_R, "BLOCK_C": BLOCK_C, "WIDE": wide, "num_warps": num_warps}}""",
    ("BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP_M"): """\
limits = ((M, {block_m}), (N, {block_m}), (K, {block_k}))
BLOCK_M, BLOCK_N, BLOCK_K = (min(limit, max(16, triton.next_power_of_2(size))) for size, limit in limits)
grid = (batch * triton.cdiv(M, BLOCK_M) * triton.cdiv(N, BLOCK_N),)
num_warps = 8 if BLOCK_M * BLOCK_N >= 128 * 128 else 4
constants = {{
    "BLOCK_M": BLOCK_M, "BLOCK_N": BLOCK_N, "BLOCK_K": BLOCK_K, "GROUP_M": 8, "WIDE": wide,
    "num_warps": num_warps, "num_stages": 3,
}}""",
}  # fmt: skip
IMPORTS = """\
import torch
import triton
import triton.language as tl

"""
INTERPRETED = 'INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"\n'

TILES = {"float16": (128, 64), "bfloat16": (128, 64), "float32": (128, 32), "float64": (64, 16)}


def module_text(graph: Graph, kernels: list[KernelText]) -> str:
    """The text of the whole module."""
    read = {name for kernel in kernels for name in kernel.block.read}
    operands = [value for value in operands_of(graph) if value.name in read]
    combiners = dict.fromkeys(name for kernel in kernels for name in kernel.combiners)
    interpreted = any("DOT_TYPE" in kernel.constants for kernel in kernels)
    sections = [
        f'"""{graph.name}: generated for one fused group."""\n\n'
        + ("import os\n\n" if interpreted else "")
        + IMPORTS
        + (INTERPRETED if interpreted else "")
        + f"OPERANDS = {[value.name for value in operands]}\n"
        + f"OPERAND_DTYPES = {[value.dtype for value in operands]}",
        *(_function(f"combine_{name}(a, b)", [f"return {COMBINE[name]}"]) for name in combiners),
        *(_kernel(graph, kernel, operands) for kernel in kernels),
        _launch(graph, kernels, operands),
        _wrapper(graph, operands),
    ]
    return "\n\n\n".join(sections) + "\n"


def _function(signature: str, lines: Iterable[str], decorator: str = "@triton.jit\n") -> str:
    return f"{decorator}def {signature}:\n" + "\n".join(f"    {line}" for line in lines)


def _kernel(graph: Graph, kernel: KernelText, operands: list[Value]) -> str:
    pointers = [kernel.block.pointer(value) for value in operands]
    sizes = [size.name for size in graph.sizes]
    constants = [f"{name}: tl.constexpr" for name in ("WIDE", *kernel.constants)]
    parameters = ", ".join([*pointers, *kernel.block.stored.values(), *sizes, *constants])
    whole = parameters.replace(": ", ":\0")  # an annotation stays beside its name
    wrapped = textwrap.fill(whole, 110, initial_indent="    ", subsequent_indent="    ").replace("\0", " ")
    return _function(f"{graph.name}_{kernel.suffix}(\n{wrapped}\n)", kernel.lines)


def _launch(graph: Graph, kernels: list[KernelText], operands: list[Value]) -> str:
    """Which kernel, on which grid, with which constants."""
    counts = dict.fromkeys(product(value.shape) for value in (*operands, *graph.outputs))
    largest = max((count.value for count in counts if isinstance(count, Const)), default=0)
    unknown = [str(count) for count in counts if not isinstance(count, Const)]
    wide = f"max({', '.join((*unknown, str(largest)))}) >= 2**31" if unknown else str(largest >= 1 << 31)
    extents = {"wide": wide} | {name: str(extent) for name, extent in kernels[0].extents.items()}
    lines = ['"""The kernel, its grid and its constants for these sizes."""']
    lines += [f"{', '.join(extents)} = {', '.join(extents.values())}"]
    for kernel in kernels:
        body = _launch_kernel(graph, kernel)
        lines += [f"if {kernel.when}:", *(f"    {line}" for line in body)] if kernel.when else body
    return _function(f"launch({', '.join(size.name for size in graph.sizes)})", lines, "")


def _launch_kernel(graph: Graph, kernel: KernelText) -> list[str]:
    names = tuple(name for name in kernel.constants if name != "DOT_TYPE")
    looped = kernel.suffix.startswith("looped")
    block_c = str(LOOP_BLOCK) if looped else "triton.next_power_of_2(max(columns, 1))"
    dtype = next((node.inputs[0].dtype for node in graph.nodes if node.op == "matmul"), "float32")
    block_m, block_k = TILES[dtype]
    lines = LAUNCHES[names].format(block_c=block_c, block_m=block_m, block_k=block_k).splitlines()
    if "DOT_TYPE" in kernel.constants:
        lines.append('constants["DOT_TYPE"] = tl.float32 if INTERPRETED else tl.bfloat16')
    return [*lines, f"return {graph.name}_{kernel.suffix}, grid, constants"]


def _wrapper(graph: Graph, operands: list[Value]) -> str:
    names = Names([*(size.name for size in graph.sizes), graph.name])
    arguments = [names.fresh(value.name) for value in operands]
    outputs = {value.name: (value, names.fresh(value.name)) for value in graph.outputs}
    sizes = [size.name for size in graph.sizes]
    taken = ", ".join(f"{name} {v.dtype}{_shape(v)}" for name, v in zip(arguments, operands, strict=True))
    lines = [f'"""{taken} -> {", ".join(f"{value.dtype}{_shape(value)}" for value in graph.outputs)}."""']
    lines += [
        f"{name} = torch.empty({_shape(value)}, dtype=torch.{value.dtype}, device=device)"
        for value, name in outputs.values()
    ]
    lines += [f"kernel, grid, constants = launch({', '.join(sizes)})", "if grid[0]:"]
    passed = ", ".join([*arguments, *(name for _, name in outputs.values()), *sizes])
    lines += [f"    kernel[grid]({passed}, **constants)"]
    lines += [f"return [{', '.join(outputs[value.name][1] for value in graph.outputs)}]"]
    return _function(f"{graph.name}({', '.join([*arguments, *sizes, 'device'])})", lines, "")


def _shape(value: Value) -> str:
    return f"[{', '.join(map(str, value.shape))}]"
