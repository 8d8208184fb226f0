"""What compilers for three GPUs make of the kernels at the tiles they are launched with; no GPU is there."""

from collections.abc import Mapping

import pytest
import torch
from sysai.kernels import reshape_and_cache
from sysai.kernels.paged_attention import AttentionShape, Tiles, choose_tiles, launches
from sysai.kernels.report import TARGETS, KernelReport, Launch, compile_ahead, read_report, resident_warps

pytest.importorskip("triton", reason="Triton is not installed")

SMOLLM2 = AttentionShape(
    tokens=512, sequences=4, heads=9, kv_heads=3, head_size=64, block_size=16, table_blocks=8192 // 16
)
LLAMA = AttentionShape(
    tokens=1024, sequences=1, heads=32, kv_heads=8, head_size=128, block_size=16, table_blocks=8192 // 16
)
DECODE = AttentionShape(
    tokens=4, sequences=4, heads=32, kv_heads=8, head_size=128, block_size=16, table_blocks=8192 // 16
)


def chosen(shape: AttentionShape, dtype: torch.dtype) -> list[Launch]:
    return launches(shape, choose_tiles(shape, dtype, processors=132), dtype, num_blocks=10_000)


LAUNCHES: Mapping[str, list[Launch]] = {
    "prompts": chosen(LLAMA, torch.bfloat16),
    "decode": chosen(DECODE, torch.bfloat16),
    "fp32": chosen(SMOLLM2, torch.float32),
    "write": reshape_and_cache.launches(tokens=512, width=8 * 128, dtype=torch.bfloat16, values=10_000 * 16 * 8 * 128),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[tuple[str, str, str], KernelReport]:
    """All launches on all targets, by (launch, kernel, target): compiled in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        made = compile_ahead([launch for some in LAUNCHES.values() for launch in some], timeout_s=900)
    names = [name for name, some in LAUNCHES.items() for _ in range(len(some) * len(TARGETS))]
    return {(name, report.kernel, report.target): report for name, report in zip(names, made, strict=True)}


def test_nothing_spills(reports):
    assert {(name, kernel) for name, kernel, _ in reports} == {
        ("prompts", "attention_kernel"),
        ("decode", "attention_kernel"),
        ("decode", "reduce_kernel"),
        ("fp32", "attention_kernel"),
        ("write", "reshape_and_cache_kernel"),
    }
    for key, made in reports.items():
        assert made.spilled_bytes == 0, key
        assert "spill" not in made.mix, key


def test_registers_and_shared_memory_leave_room_for_a_second_program(reports):
    """On NVIDIA's: of 65,536 registers and 164 KB (A100) or 228 KB (H100) of shared memory a multiprocessor."""
    for (name, kernel, target), made in reports.items():
        assert 0 < made.registers <= (255 if target.startswith("cuda") else 512)
        if target.startswith("cuda"):
            warps = int(made.constants["num_warps"])
            assert resident_warps(made.registers, warps) >= 2 * warps, (name, kernel, target)
            assert 2 * made.shared_bytes <= (164 if target == "cuda:80" else 228) * 1024, (name, kernel, target)


def test_half_precision_uses_the_matrix_units_and_single_precision_stays_exact(reports):
    for name in ("prompts", "decode"):
        forms = {"cuda:80": "HMMA.16816.F32.BF16", "cuda:90": "HGMMA" if name == "prompts" else "HMMA"}
        for target, form in (*forms.items(), ("hip:gfx942", "v_mfma_f32")):
            made = reports[name, "attention_kernel", target]
            assert made.mix["matrix"] == sum(n for op, n in made.instructions.items() if op.startswith(form)) > 0
    for target in ("cuda:80", "cuda:90"):
        assert "matrix" not in reports["fp32", "attention_kernel", target].mix


def test_blocks_are_read_16_bytes_at_a_time_while_the_tile_before_is_computed(reports):
    for target in ("cuda:80", "cuda:90"):
        for name in ("prompts", "decode", "fp32"):
            instructions = reports[name, "attention_kernel", target].instructions
            copies = {op: n for op, n in instructions.items() if op.startswith("LDGSTS")}
            assert copies
            assert all(".128" in op for op in copies), (name, target, copies)


def test_tiles_that_are_too_large_do_spill():
    """So that the absence of spills above means something."""
    (launch,) = launches(SMOLLM2, Tiles(64, 32), torch.float32, num_blocks=10_000)
    (made,) = compile_ahead([launch], ["cuda:90"], timeout_s=900)
    assert made.spilled_bytes > 0
    assert made.mix["spill"] > 0


OCCUPANCY = {
    16: (64, 64), 24: (64, 64), 32: (64, 64), 33: (48, 48), 40: (48, 48), 41: (40, 40), 48: (40, 40), 64: (32, 32),
    65: (28, 24), 72: (28, 24), 80: (24, 24), 84: (20, 16), 96: (20, 16), 100: (16, 16), 104: (16, 16), 112: (16, 16),
    128: (16, 16), 129: (12, 8), 160: (12, 8), 168: (12, 8), 200: (8, 8), 232: (8, 8), 255: (8, 8),
}  # fmt: skip
"""Warps of a multiprocessor with programs of 4 and of 8 warps, by registers of a thread, as
cudaOccMaxActiveBlocksPerMultiprocessor of NVIDIA's cuda_occupancy.h (in Triton 3.7.1) counts them for compute
capability 8.0, and for 9.0."""


def test_registers_limit_warps_as_in_nvidias_occupancy_calculator():
    for registers, counts in OCCUPANCY.items():
        assert (resident_warps(registers, 4), resident_warps(registers, 8)) == counts, registers


SASS = """
        /*0090*/                   IMAD.WIDE R2, R7, R2, c[0x0][0x160] ;      /* 0x00005800070027a5 */
        /*00a0*/              @!P0 LDG.E.128 R8, [R2.64] ;                    /* 0x0000000402088981 */
        /*00b0*/              @P1  STG.E [R4.64], R8 ;                        /* 0x0000000804001986 */
        /*00c0*/             @!UP2 UIADD3 UR4, UR4, 0x1, URZ ;                /* 0x0000000104042890 */
        /*00d0*/               @PT EXIT ;                                     /* 0x000000000000794d */
        /*00e0*/              @UP0 LDGSTS.E.BYPASS.128 [R5], [R2.64] ;        /* 0x0000000002057fae */
"""


def test_instructions_under_a_predicate_count():
    result = {
        "kernel": "kernel", "grid": [1], "constants": {}, "shared": 0, "assembly": "", "sass": SASS,
        "resources": "REG:12 STACK:0 SHARED:0 LOCAL:0",
    }  # fmt: skip
    made = read_report("a kernel", "cuda:80", result)
    assert sum(made.instructions.values()) == SASS.count(";")
    assert made.mix == {"asynchronous copy": 1, "load": 1, "store": 1, "other": 3}
