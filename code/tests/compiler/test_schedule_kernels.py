"""The schedules that real kernels need, applied from end to end."""

import pytest
import torch
from schedule_programs import CHAIN, SOFTMAX, assert_same, matmul
from sysai.compiler.codegen.kernel import build
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.schedule.tree import find_block, find_loop
from sysai.compiler.tir.statement import Allocate, PrimFunc, statements
from sysai.compiler.tir.text import parse

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")


def _buffers(schedule: Schedule) -> dict[str, tuple[str, str]]:
    found = (stmt.buffer for stmt in statements(schedule.function.body) if isinstance(stmt, Allocate))
    return {buffer.name: (str(list(map(str, buffer.shape))), buffer.scope) for buffer in found}


def _matmul(function: PrimFunc) -> Schedule:
    """6 x 16 accumulators in registers, both operands packed, rows of tiles in parallel."""
    schedule = Schedule(function)
    pack_b = schedule.cache_read("matmul", "b", "global", "d1 // 16, d0, d1 % 16")
    pack_a = schedule.cache_read("matmul", "a", "global", "d0 // 6, d1, d0 % 6")
    write = schedule.cache_write("matmul")
    i_0, j_0, i_1, j_1 = schedule.tile(["i", "j"], [6, 16])
    schedule.reorder(i_0, j_0, "k", i_1, j_1)
    schedule.reverse_compute_at(write, j_0)
    schedule.compute_at(pack_a, i_0)
    init = schedule.decompose_reduction("matmul", "k")
    schedule.parallel(schedule.loops_of(pack_b)[0])
    schedule.parallel(i_0)
    for block in ("matmul", init, write):
        *_, rows, columns = schedule.loops_of(block)
        schedule.unroll(rows)
        schedule.vectorize(columns)
    return schedule


@pytest.mark.parametrize("sizes", [(12, 32, 5), (13, 35, 5), (1, 1, 1), None])
def test_register_tiled_packed_parallel_matmul(sizes):
    function = matmul(*sizes) if sizes else matmul()
    schedule = _matmul(function)
    assert _buffers(schedule)["c_local"] == ("['6', '16']", "local")
    assert schedule.loops_of("matmul") == ("i_0", "j_0", "k", "i_1", "j_1")
    assert find_block(schedule.function, "matmul").init is None
    named = dict(zip("MNK", sizes or (13, 35, 5), strict=True))
    assert_same(schedule, function, {} if sizes else named)
    if sizes is None:
        assert_same(schedule, function, {"M": 1, "N": 17, "K": 2}, {"M": 0, "N": 3, "K": 2})


def _by_row(schedule: Schedule, last: str, inlined: tuple[str, ...], moved: tuple[str, ...]) -> str:
    """Everything inlined or at the last block's row loop, which is parallel."""
    for block in inlined:
        schedule.compute_inline(block)
    row, _ = schedule.loops_of(last)
    for block in moved:
        schedule.compute_at(block, row)
    schedule.parallel(row)
    return row


def _vectors(schedule: Schedule, reductions: tuple[str, ...], others: tuple[str, ...]) -> None:
    for block in reductions:
        _, lane = schedule.split(schedule.loops_of(block)[-1], 8)
        schedule.rfactor(block, lane)
        schedule.vectorize(lane)
    for block in others:
        _, lane = schedule.split(schedule.loops_of(block)[-1], 8)
        schedule.vectorize(lane)


def _softmax(function: PrimFunc) -> Schedule:
    schedule = Schedule(function)
    _by_row(schedule, "quotient", (), ("row_sum", "exps", "row_max"))
    _vectors(schedule, ("row_max", "row_sum"), ("exps", "quotient"))
    return schedule


def _chain(function: PrimFunc) -> Schedule:
    schedule = Schedule(function)
    _by_row(schedule, "normal", ("gelu",), ("squares", "sum", "residual", "biased"))
    _vectors(schedule, ("sum", "squares"), ("normal", "residual", "biased"))
    return schedule


def test_softmax_by_row():
    function = parse(SOFTMAX)
    schedule = _softmax(function)
    assert {name: shape for name, (shape, _) in _buffers(schedule).items()} == {
        "m": "['1']", "s": "['1']", "e": "['1', 'N']", "m_rf": "['1', '8']", "s_rf": "['1', '8']",
    }  # fmt: skip
    assert_same(schedule, function, {"R": 3, "N": 21}, {"R": 2, "N": 8}, {"R": 1, "N": 1}, exact=False)


def test_softmax_with_the_sum_in_the_pass_of_the_exponentials():
    function = parse(SOFTMAX)
    schedule = Schedule(function)
    row = _by_row(schedule, "quotient", (), ("row_sum", "exps", "row_max"))
    outer, _ = schedule.split(schedule.loops_of("exps")[-1], 8)
    schedule.reverse_compute_at("row_sum", outer)
    lane = schedule.loops_of("row_sum")[-1]
    schedule.rfactor("row_sum", lane)
    schedule.vectorize(lane)
    assert schedule.loops_of("row_sum_rf") == (row, outer, lane)
    assert_same(schedule, function, {"R": 3, "N": 21}, {"R": 2, "N": 8}, exact=False)


def test_chain_of_bias_gelu_residual_and_layer_norm_by_row():
    function = parse(CHAIN)
    schedule = _chain(function)
    assert {name: shape for name, (shape, _) in _buffers(schedule).items()} == {
        "t": "['1', 'N']", "h": "['1', 'N']", "mean": "['1']", "var": "['1']",
        "mean_rf": "['1', '8']", "var_rf": "['1', '8']",
    }  # fmt: skip
    assert find_loop(schedule.function, schedule.loops_of("normal")[0]).kind == "parallel"
    assert_same(schedule, function, {"R": 3, "N": 21}, {"R": 2, "N": 16}, exact=False)


def test_their_c_computes_the_same():
    torch.manual_seed(0)
    a, b, c = torch.randn(37, 29), torch.randn(29, 51), torch.empty(37, 51)
    build(_matmul(matmul()).function)(a, b, c)
    torch.testing.assert_close(c.double(), a.double() @ b.double(), rtol=1e-5, atol=1e-5)
    x, y = torch.randn(13, 77), torch.empty(13, 77)
    build(_softmax(parse(SOFTMAX)).function)(x, y)
    torch.testing.assert_close(y.double(), x.double().softmax(1), rtol=1e-5, atol=1e-6)
    skip, bias, weight, shift = torch.randn(13, 77), *torch.randn(3, 77)
    build(_chain(parse(CHAIN)).function)(x, bias, skip, weight, shift, y)
    t = (x + bias).double()
    h = t * (1 + torch.erf(t * 0.7)) + skip
    expected = torch.nn.functional.layer_norm(h, (77,), weight.double(), shift.double(), 1e-5)
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-5)
