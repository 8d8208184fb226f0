"""Compile kernels for GPUs that need not be there; run as a program of its own.

    python -m sysai.kernels.ahead < jobs.json > results.json

A process of its own has two reasons: its Triton is the compiler even where its caller's is the interpreter, and a crash
of LLVM ends nothing else. `report.py` writes the jobs and reads the results:

    job      {path, function, parameters, pointers, numbers: a `Launch`, target: [backend, architecture, warp]}
    result   {kernel, grid, constants, shared, assembly, sass, resources}, or {error}
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ALIGNMENT = 16
"""Pointers, and numbers that are a multiple of it, are compiled as such, as Triton does at a launch."""


def compile_job(job: Mapping[str, object]) -> dict[str, object]:
    """The result for one job; what Triton raises stands in it as text."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sysai.kernels.loading import import_module

    module = import_module(Path(job["path"]), interpret=False)
    kernel, grid, constants = getattr(module, job["function"])(*job["parameters"])
    options = {name: constants.pop(name) for name in ("num_warps", "num_stages") if name in constants}
    types = [*job["pointers"], *("i64" if number >= 1 << 31 else "i32" for number in job["numbers"])]
    runtime = dict(zip(kernel.arg_names, types, strict=False))
    values = dict(zip(list(runtime)[len(job["pointers"]) :], job["numbers"], strict=True))
    # as Triton specializes at a launch: 1 becomes a constant, a multiple of ALIGNMENT is told to the compiler
    general = {param.name for param in kernel.params if param.do_not_specialize}
    fixed = constants | {name: None for name, kind in runtime.items() if kind is None}
    fixed |= {name: 1 for name, number in values.items() if number == 1 and name not in general}
    signature = runtime | dict.fromkeys(fixed, "constexpr")
    special = [name for name in runtime if name not in fixed and name not in general]
    aligned = [name for name in special if values.get(name, 0) % ALIGNMENT == 0]
    attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", ALIGNMENT]] for name in aligned}
    backend, architecture, warp = job["target"]
    try:
        source = ASTSource(fn=kernel, signature=signature, constexprs=fixed, attrs=attributes)
        compiled = triton.compile(source, target=GPUTarget(backend, architecture, warp), options=options)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    sass, resources = _disassemble(compiled.asm["cubin"]) if backend == "cuda" else ("", "")
    return {
        "kernel": kernel.fn.__name__,
        "grid": grid,
        "constants": {name: str(value) for name, value in (constants | options).items()},
        "shared": compiled.metadata.shared,
        "assembly": compiled.asm["ptx" if backend == "cuda" else "amdgcn"],
        "sass": sass,
        "resources": resources,
    }


def _disassemble(cubin: bytes) -> tuple[str, str]:
    """The machine code, and what a kernel uses, by the tool in Triton's package."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return _run(tool, "-sass", file.name), _run(tool, "-res-usage", file.name)


def _run(tool: Path, *arguments: str) -> str:
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout


def main(jobs: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Compile all jobs and return their results."""
    return [compile_job(job) for job in jobs]


if __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
