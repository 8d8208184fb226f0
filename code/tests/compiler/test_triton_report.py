"""What compilers for three GPUs make of generated kernels; no GPU is there."""

import math
import os
from collections.abc import Mapping

import pytest
from fused_groups import T, bias_gelu, group, layer_norm, linear_gelu, product, softmax
from sysai.compiler.codegen.triton import build_triton, report
from sysai.compiler.graph import Graph
from sysai.compiler.tir.expr import COMPARISONS, LOGIC, MATH
from sysai.kernels.report import TARGETS, CompilationFailed, KernelReport

pytest.importorskip("triton", reason="Triton is not installed")


def everything(g, x, integers, small, double):
    """All operators that are not in the other groups, in one value."""
    total = x
    for name in (name for name in MATH if name != "nonzero"):  # which is a check of kernels, not an operator of graphs
        total = g.emit("add", total, g.emit(name, x))
    for name in ("min", "max", "mod", "floordiv"):
        total = g.emit("sub", total, g.emit(name, x, total))
        wide = g.cast(small, "int64")
        integers = g.emit("add", integers, g.emit(name, integers, wide))
    truth = g.emit("lt", x, total)
    for name in COMPARISONS:
        for logic in LOGIC:
            truth = g.emit(logic, truth, g.emit(name, integers, wide))
    position = g.emit("mod", g.emit("iota", axis=0, shape=x.shape), g.full(5, "int64"))
    table = g.emit("concat", g.emit("slice", x, axis=0, start=1, stop=5, step=2), x, axis=0)
    gathered = g.emit("gather", table, position, axis=0)
    padded = g.emit(
        "slice", g.emit("pad", x, before=(2,), after=(1,), value=math.inf), axis=0, start=1, stop=97, step=1
    )
    moved = g.emit("permute", g.reshape(g.emit("add", gathered, padded), (12, 8)), order=(1, 0))
    chosen = g.emit("select", g.reshape(truth, (8, 12)), moved, g.reshape(total, (8, 12)))
    return g.emit("add", chosen, g.cast(g.emit("exp", g.reshape(double, (8, 12))), "float32")), g.reshape(
        truth, (8, 12)
    )


EVERYTHING = group(
    "everything",
    {"x": ((96,), "float32"), "integers": ((96,), "int64"), "small": ((96,), "int8"), "double": ((96,), "float64")},
    everything,
)
GROUPS: Mapping[str, tuple[Graph, Mapping[str, int]]] = {
    "fp16": (linear_gelu((T,), 1024, 4096, "float16"), {"T": 4096}),
    "bf16": (linear_gelu((T,), 1024, 4096, "bfloat16"), {"T": 4096}),
    "fp32": (product((T, 256), (256, 256)), {"T": 256}),
    "softmax": (softmax((T, 4096)), {"T": 4096}),
    "looped": (softmax((64, T), "bfloat16"), {"T": 100_000}),
    "layer_norm": (layer_norm((T, 1024)), {"T": 1}),
    "pointwise": (bias_gelu((T, 1024)), {"T": 1000}),
    "huge": (bias_gelu((T, 1024)), {"T": 1 << 22}),
    "everything": (EVERYTHING, {}),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[tuple[str, str], KernelReport]:
    """All groups on all targets, by (group, target): compiled in one process."""
    cache = str(tmp_path_factory.mktemp("triton"))
    before = {name: os.environ.get(name) for name in ("SYSAI_CACHE", "TRITON_CACHE_DIR")}
    os.environ |= dict.fromkeys(before, cache)
    try:
        made = report([(build_triton(graph), sizes) for graph, sizes in GROUPS.values()])
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    keys = [(name, target) for name in GROUPS for target in TARGETS]
    return dict(zip(keys, made, strict=True))


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_products_of_half_precision_use_the_matrix_units(reports, dtype):
    forms = {"cuda:80": "HMMA.16816.F32", "cuda:90": "HGMMA.64x128x16.F32", "hip:gfx942": "v_mfma_f32"}
    for target, form in forms.items():
        made = reports[dtype, target]
        assert made.mix["matrix"] == sum(n for name, n in made.instructions.items() if name.startswith(form)) > 0
    assert "wgmma.mma_async" in reports[dtype, "cuda:90"].excerpt(r"wgmma\.mma_async")
    assert "mma.sync" in reports[dtype, "cuda:80"].excerpt(r"mma\.sync", lines=1)


def test_operands_are_copied_to_shared_memory_while_the_product_runs(reports):
    for target in ("cuda:80", "cuda:90"):
        made = reports["bf16", target]
        assert made.mix["asynchronous copy"] > 0
        tile_bytes = 2 * 2 * 128 * 64
        assert made.shared_bytes % tile_bytes == 0
        assert made.shared_bytes >= 2 * tile_bytes


def test_single_precision_is_exact_so_nvidias_matrix_units_stay_idle(reports):
    for target in ("cuda:80", "cuda:90"):
        assert "matrix" not in reports["fp32", target].mix
        assert reports["fp32", target].instructions["FFMA"] > 1000
    assert reports["fp32", "hip:gfx942"].mix["matrix"] > 0


def test_double_precision_has_matrix_units_on_nvidias(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path))
    kernel = build_triton(product((2, T, 64), (64, 64), dtype="float64"))
    (made,) = report([(kernel, {"T": 64})], ["cuda:80"])
    assert made.mix["matrix"] == sum(n for name, n in made.instructions.items() if name.startswith("DMMA")) > 0


def test_nothing_spills(reports):
    for (name, target), made in reports.items():
        if name != "everything":  # sines of large numbers keep an array on the stack
            assert made.spilled_bytes == 0, (name, target)
            assert "spill" not in made.mix, (name, target)
        assert 0 < made.registers <= (255 if target.startswith("cuda") else 512)


def test_rows_that_fit_are_read_and_written_once_by_wide_instructions(reports):
    threads, columns = 8 * 32, 4096
    made = reports["softmax", "cuda:90"]
    assert (made.grid, made.constants["BLOCK_C"], made.constants["num_warps"]) == ((4096,), "4096", "8")
    wide = {name: count for name, count in made.instructions.items() if name.startswith(("LDG", "STG"))}
    assert wide == {"LDG.E.128": columns / threads / 4, "STG.E.128": columns / threads / 4}
    assert made.mix["shuffle"] > 0


def test_rows_that_do_not_fit_are_read_three_times(reports):
    made = reports["looped", "cuda:90"]
    assert made.kernel == "softmax_looped_kernel"
    assert made.mix["load"] == 3 * made.mix["store"]


def test_the_maximum_of_floats_hands_on_nan(reports):
    assert "max.NaN.f32" in reports["softmax", "cuda:90"].assembly


def test_64_bit_indices_only_where_tensors_are_that_large(reports):
    assert reports["pointwise", "cuda:80"].constants["WIDE"] == "False"
    assert reports["huge", "cuda:80"].constants["WIDE"] == "True"


def test_every_operator_compiles_for_every_target(reports):
    for target in TARGETS:
        assert reports["everything", target].grid == (1,)
        assert sum(reports["everything", target].mix.values()) == sum(
            reports["everything", target].instructions.values()
        )


def test_a_report_says_the_figures(reports):
    text = str(reports["fp16", "cuda:90"])
    assert text.startswith("cuda:90    linear_gelu_kernel: ")
    assert "0 B spilled; 4 matrix" in text
    with pytest.raises(ValueError, match="no line"):
        reports["fp16", "cuda:80"].excerpt("wgmma")


def test_wrong_requests_are_refused():
    kernel = build_triton(softmax((T, 8)))
    with pytest.raises(ValueError, match="cuda:70"):
        report([(kernel, {"T": 1})], ["cuda:70"])
    with pytest.raises(ValueError, match=r"\['T'\]"):
        report([(kernel, {})])


def test_a_kernel_that_cannot_be_compiled_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path))
    kernel = build_triton(softmax((T, 8)))
    kernel.path.write_text(kernel.source.replace("tl.exp", "tl.no_such_function"))
    with pytest.raises(CompilationFailed, match="no_such_function"):
        report([(kernel, {"T": 1})], ["cuda:90"])
    kernel.path.write_text("import os\nos.abort()")
    with pytest.raises(CompilationFailed, match="ended with code"):
        report([(kernel, {"T": 1})], ["cuda:90"])


def test_a_compiler_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path))
    kernel = build_triton(softmax((T, 8)))
    with pytest.raises(CompilationFailed, match="more than"):
        report([(kernel, {"T": 1})], ["cuda:90"], timeout_s=0.05)
