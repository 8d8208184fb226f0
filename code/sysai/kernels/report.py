"""A kernel as its compiler leaves it: registers, shared memory, spills, instructions; for GPUs that need not be there.

A thread's registers limit how many warps a multiprocessor can hold, and with them how much latency it can hide:

    registers of a warp = 32 * registers of a thread, rounded up to a multiple of 256
    warps <= 4 * floor(16,384 / registers of a warp)        (NVIDIA from Volta on: a file for each of four partitions)

Registers that do not suffice are spilled to memory. Matrix instructions show whether the tensor cores work: HMMA (a
warp, operands in registers) on sm_80, HGMMA (four warps, operands in shared memory, asynchronous; `wgmma` in PTX) on
sm_90, v_mfma on AMD's. (Triton 3.7 has none for float64 on gfx942, and refuses such products there.)

Vendors' profilers (Nsight Compute, Omniperf) tell what the machine does with them, and need the machine.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TARGETS: Mapping[str, tuple[str, int | str, int]] = {
    "cuda:80": ("cuda", 80, 32),
    "cuda:90": ("cuda", 90, 32),
    "hip:gfx942": ("hip", "gfx942", 64),
}
"""Backend, architecture and threads of a warp: A100, H100, MI300."""

KINDS: Mapping[str, str] = {
    "matrix": r"HMMA|HGMMA|DMMA|IMMA|IGMMA|v_mfma",
    "asynchronous copy": r"LDGSTS|UTMALDG|UBLKCP|global_load_lds|buffer_load\w*_lds",
    "load": r"LDG|LD\.|global_load|buffer_load|flat_load",
    "store": r"STG|ST\.|global_store|buffer_store|flat_store",
    "shared memory": r"LDS|STS|LDSM|STSM|ds_",
    "spill": r"LDL|STL|scratch_",
    "special function": r"MUFU|v_(exp|log|sqrt|rsq|rcp|sin|cos)",
    "shuffle": r"SHFL|v_\w+_dpp|ds_bpermute",
}
POINTERS = {
    "float32": "*fp32", "float64": "*fp64", "float16": "*fp16", "bfloat16": "*bf16",
    "int64": "*i64", "int32": "*i32", "int8": "*i8", "bool": "*i1",
}  # fmt: skip


REGISTERS_OF_A_PARTITION, PARTITIONS, REGISTERS_AT_ONCE, MOST_WARPS = 16_384, 4, 256, 64
"""Of a multiprocessor of compute capability 8.0 or 9.0: registers are given to a warp by 256."""


def resident_warps(registers: int, warps: int = 1) -> int:
    """How many warps a multiprocessor of an A100 or H100 holds, as far as registers go.

    Args:
        registers: of a thread, 1 or more.
        warps: of a program, which is there as a whole or not.
    """
    of_warp = -(-32 * registers // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE
    return min(MOST_WARPS, REGISTERS_OF_A_PARTITION // of_warp * PARTITIONS) // warps * warps


class CompilationFailed(RuntimeError):  # noqa: N818
    """Triton or LLVM could not compile a kernel; the message is theirs."""


@dataclass(frozen=True)
class Launch:
    """A launch of a kernel, described without tensors.

    Attributes:
        name: what messages call it.
        path: the file that the kernel stands in.
        function: the name of the file's function that gives a launch's kernel, grid and constants.
        parameters: what that function takes.
        pointers: Triton's types of the pointers, the kernel's first arguments (`POINTERS`); None where None is passed.
        numbers: the integers that follow.
    """

    name: str
    path: Path
    function: str
    parameters: tuple[int, ...]
    pointers: tuple[str | None, ...]
    numbers: tuple[int, ...] = ()

    def job(self, target: str) -> dict[str, object]:
        """The argument of `ahead.py`, for one target."""
        job = {name: getattr(self, name) for name in ("function", "parameters", "pointers", "numbers")}
        return job | {"path": str(self.path), "target": TARGETS[target]}


@dataclass(frozen=True)
class KernelReport:
    """One kernel on one target.

    Attributes:
        target: a key of TARGETS.
        kernel: the name of the kernel's function.
        grid: programs in each dimension of the launch.
        constants: block sizes and launch options.
        registers: of 4 bytes, a thread (AMD: vector registers, with the accumulation ones).
        shared_bytes: of shared memory, a program.
        spilled_bytes: a thread's stack in memory: spilled registers, and the arrays of a few functions (sin, cos).
        instructions: how often each operation stands in the machine code (not: is executed).
        assembly: PTX, or AMD's assembly language.
    """

    target: str
    kernel: str
    grid: tuple[int, ...]
    constants: Mapping[str, str]
    registers: int
    shared_bytes: int
    spilled_bytes: int
    instructions: Mapping[str, int]
    assembly: str

    @property
    def mix(self) -> dict[str, int]:
        """Instructions by kind: those of KINDS that occur, and "other"."""
        mix: Counter[str] = Counter()
        for operation, count in self.instructions.items():
            mix[next((kind for kind, form in KINDS.items() if re.match(form, operation)), "other")] += count
        return {kind: mix[kind] for kind in (*KINDS, "other") if mix[kind]}

    def excerpt(self, pattern: str, lines: int = 8) -> str:
        """The first lines of the assembly from the first that matches on.

        Raises:
            ValueError: none does.
        """
        text = self.assembly.splitlines()
        start = next((number for number, line in enumerate(text) if re.search(pattern, line)), None)
        if start is None:
            raise ValueError(f"no line of {self.kernel}'s assembly for {self.target} matches {pattern!r}")
        return "\n".join(text[start : start + lines])

    def __str__(self) -> str:
        mix = ", ".join(f"{count} {kind}" for kind, count in self.mix.items())
        return (
            f"{self.target:<10} {self.kernel}: {self.registers} registers, {self.shared_bytes} B shared, "
            f"{self.spilled_bytes} B spilled; {mix}"
        )


def compile_ahead(
    launches: Sequence[Launch], targets: Sequence[str] = tuple(TARGETS), timeout_s: float = 300
) -> list[KernelReport]:
    """Compile kernels in a process of its own; no GPU is needed.

    Returns:
        For each launch in turn, a report for each target.

    Raises:
        ValueError: an unknown target.
        CompilationFailed: the compiler refused a kernel, crashed, or took longer than `timeout_s`.
    """
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        raise ValueError(f"no target {unknown[0]!r}: it is none of {', '.join(TARGETS)}")
    wanted = [(launch, target) for launch in launches for target in targets]
    results = _compile([launch.job(target) for launch, target in wanted], timeout_s)
    return [read_report(launch.name, target, result) for (launch, target), result in zip(wanted, results, strict=True)]


def _compile(jobs: Sequence[Mapping[str, object]], timeout_s: float) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "sysai.kernels.ahead"]
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    try:
        done = subprocess.run(
            command, input=json.dumps(jobs), capture_output=True, text=True, timeout=timeout_s, env=environment
        )
    except subprocess.TimeoutExpired:
        raise CompilationFailed(f"{len(jobs)} compilations took more than {timeout_s} s: pass a longer one") from None
    if done.returncode:
        raise CompilationFailed(f"Triton's compiler ended with code {done.returncode}: {done.stderr[-2000:].strip()}")
    return json.loads(done.stdout)


def read_report(name: str, target: str, result: Mapping[str, object]) -> KernelReport:
    """The report of a kernel that messages call `name`, from what `ahead.py` gives for it.

    Raises:
        CompilationFailed: it gives an error.
    """
    if "error" in result:
        raise CompilationFailed(f"{name} for {target}: {result['error']}")
    if target.startswith("cuda"):
        used = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", result["resources"]))
        registers, spilled = int(used["REG"]), int(used["STACK"]) + int(used["LOCAL"])
        operations = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", result["sass"])
    else:
        used = dict(re.findall(r"\.(vgpr_count|agpr_count|private_segment_fixed_size):\s+(\d+)", result["assembly"]))
        registers, spilled = int(used["vgpr_count"]), int(used["private_segment_fixed_size"])
        operations = re.findall(r"^\t([a-z]\w+)", result["assembly"], flags=re.MULTILINE)
    return KernelReport(
        target=target,
        kernel=result["kernel"],
        grid=tuple(result["grid"]),
        constants=result["constants"],
        registers=registers,
        shared_bytes=result["shared"],
        spilled_bytes=spilled,
        instructions=Counter(operations),
        assembly=result["assembly"],
    )
