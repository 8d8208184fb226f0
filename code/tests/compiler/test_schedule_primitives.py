"""Each primitive: what it makes, and that the values stay."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from schedule_programs import assert_same, in_another_order, matmul, run
from sysai.compiler.schedule.schedule import Schedule, Trace, replay
from sysai.compiler.schedule.tree import find_block, find_buffer, find_loop, replace_loop
from sysai.compiler.tir.statement import Allocate, statements
from sysai.compiler.tir.text import parse
from test_schedule_illegal import STENCIL, refused

DOUBLE = """
def double(M: size, N: size, x: float32[M, N], y: float32[M, N]):
    for i in range(M):
        for j in range(N):
            with block("double"):
                vi = spatial(M, i)
                vj = spatial(N, j)
                y[vi, vj] = x[vi, vj] * float32(2.0)
"""


def _shapes(schedule: Schedule) -> dict[str, list[str]]:
    found = (stmt.buffer for stmt in statements(schedule.function.body) if isinstance(stmt, Allocate))
    return {buffer.name: list(map(str, buffer.shape)) for buffer in found}


@examples(40)
@given(st.integers(1, 9), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 3), st.booleans())
def test_split_by_any_factors(extent, factors, place, symbolic):
    factors = [*factors[:place], None, *factors[place:]]
    function = parse(DOUBLE if symbolic else DOUBLE.replace("M: size, ", "").replace("M", str(extent)))
    schedule = Schedule(function)
    names = schedule.split("i", factors)
    assert names == tuple(f"i_{position}" for position in range(len(factors)))
    assert schedule.loops_of("double") == (*names, "j")
    assert_same(schedule, function, {"M": extent, "N": 2})


def test_split_adds_a_predicate_only_where_it_is_needed():
    exact, rest = Schedule(matmul(12, 16, 8)), Schedule(matmul(13, 16, 8))
    exact.split("i", 4)
    rest.split("i", 4)
    assert str(find_block(exact.function, "matmul").predicate) == "True"
    assert str(find_block(rest.function, "matmul").predicate) == "i_0 * 4 + i_1 < 13"


def test_a_fused_loop_is_independent_and_stays_so_when_it_is_split():
    function = parse(DOUBLE)
    schedule = Schedule(function)
    outer, lane = schedule.split(schedule.fuse("i", "j"), 4)
    schedule.parallel(outer)
    schedule.vectorize(lane)
    assert_same(schedule, function, {"M": 3, "N": 5}, {"M": 1, "N": 1}, {"M": 0, "N": 2})


def test_three_fused_loops_of_a_matmul():
    function = matmul(3, 4, 5)
    schedule = Schedule(function)
    schedule.reorder("k", "j", "i")
    schedule.fuse("k", "j", "i")
    assert schedule.loops_of("matmul") == ("k_j_i",)
    assert_same(schedule, function)


def test_the_first_iteration_of_a_reduction_stays_the_first():
    function = matmul(2, 3, 4)
    schedule = Schedule(function)
    outer, inner = schedule.split(schedule.fuse("j", "k"), 3)
    refused(schedule, "may change which comes first of two iterations", "reorder", inner, outer)
    with pytest.raises(ValueError, match="both a spatial and a reduction loop"):
        schedule.decompose_reduction("matmul", outer)
    schedule = Schedule(function)
    outer, inner = schedule.split("k", 3)
    schedule.reorder(inner, outer, "j", "i")
    assert_same(schedule, function)


def test_compute_at_computes_the_halo_of_a_tile():
    function = parse(STENCIL)
    schedule = Schedule(function)
    i, j = schedule.loops_of("after")
    i_0, j_0, i_1, j_1 = schedule.tile([i, j], [4, 5])
    schedule.compute_at("before", j_0)
    assert _shapes(schedule) == {"t": ["4", "5"]}  # what a tile reads: as many rows and columns, shifted by one
    assert schedule.loops_of("before")[:2] == (i_0, j_0)
    schedule.parallel(i_0)
    schedule.vectorize(j_1)
    schedule.unroll(i_1)
    assert_same(schedule, function)
    wider = parse(STENCIL.replace("t[vi - 1, vj + 1]", "t[vi - 1, vj + 1] + t[vi, vj]"))
    schedule = Schedule(wider)
    _, j_0, _, _ = schedule.tile(schedule.loops_of("after"), [4, 5])
    schedule.compute_at("before", j_0)
    assert _shapes(schedule) == {"t": ["5", "6"]}
    assert_same(schedule, wider)


def test_compute_inline_of_a_stencil():
    function = parse(STENCIL)
    schedule = Schedule(function)
    schedule.compute_inline("before")
    assert _shapes(schedule) == {}
    assert str(find_block(schedule.function, "after").value) == (
        "select(0 < vi and vj < 9, x[vi - 1, vj + 1] * float32(2.0), float32(0.0))"
    )
    assert_same(schedule, function)


@pytest.mark.parametrize("lanes", ["k_0", "k_1"])
@pytest.mark.parametrize("depth", [1, 5, 8])
def test_rfactor_over_either_part_of_a_split_reduction(lanes, depth):
    function = matmul(2, 3, depth)
    schedule = Schedule(function)
    schedule.split("k", 4)
    partial = schedule.rfactor("matmul", lanes)
    schedule.parallel(lanes)
    assert _shapes(schedule)["c_rf"] == ["1", "1", "4" if lanes == "k_1" else str(-(-depth // 4))]
    assert partial == "matmul_rf"
    assert_same(schedule, function)


def test_rfactor_outside_of_spatial_loops():
    function = matmul()
    schedule = Schedule(function)
    outer, _ = schedule.split("k", 3)
    schedule.reorder(outer, "i", "j", "k_1")
    schedule.rfactor("matmul", outer)
    schedule.parallel(outer)
    assert _shapes(schedule) == {"c_rf": ["M", "N", "(K + 2) // 3"]}
    assert_same(schedule, function, {"M": 3, "N": 2, "K": 8}, {"M": 1, "N": 2, "K": 1})


def test_a_decomposed_reduction_over_nothing_is_its_initial_value():
    schedule = Schedule(matmul())
    schedule.decompose_reduction("matmul", "k")
    assert not run(schedule.function, {"M": 2, "N": 3, "K": 0})["c"].any()


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        (None, ["K", "N"]),
        ("d1, d0", ["N", "K"]),
        ("d1 // 4, d0, d1 % 4", ["(N + 3) // 4", "K", "4"]),
        ("d0 // 2, d1 // 3, d0 % 2, d1 % 3", ["(K + 1) // 2", "(N + 2) // 3", "2", "3"]),
    ],
)
def test_cache_read_in_any_layout(layout, shape):
    function = matmul()
    schedule = Schedule(function)
    schedule.cache_read("matmul", "b", layout=layout)
    assert list(_shapes(schedule).values()) == [shape]
    assert_same(schedule, function, {"M": 2, "N": 5, "K": 3})


def test_a_tile_of_a_packed_copy_is_local():
    function = matmul(6, 32, 8)
    schedule = Schedule(function)
    copy = schedule.cache_read("matmul", "b", layout="d1 // 16, d0, d1 % 16")
    j_0, _ = schedule.split("j", 16)
    k_0, _ = schedule.split("k", 4)
    schedule.reorder(j_0, k_0, "i", "k_1", "j_1")
    schedule.compute_at(copy, k_0)
    assert _shapes(schedule) == {"b_packed": ["1", "4", "16"]}
    assert_same(schedule, function)


def test_a_copy_is_local_only_once_it_is_small():
    schedule = Schedule(matmul(256, 256, 256))
    copy = schedule.cache_write("matmul", "local")
    schedule.split("j", 16)
    assert find_buffer(schedule.function, "c_local").scope == "global"
    schedule.reverse_compute_at(copy, "j_0")
    assert find_buffer(schedule.function, "c_local").scope == "local"


EPILOGUE = """
def f(M: size, N: size, a: float32[M, 6], b: float32[6, N], bias: float32[N], y: float32[M, N]):
    with allocate(float32[M, N], "global") as c:
        for i in range(M):
            for j in range(N):
                for k in range(6):
                    with block("matmul"):
                        vi = spatial(M, i)
                        vj = spatial(N, j)
                        vk = reduce(6, k)
                        c[vi, vj] = init(float32(0.0))
                        c[vi, vj] += a[vi, vk] * b[vk, vj]
        for i in range(M):
            for j in range(N):
                with block("epilogue"):
                    vi = spatial(M, i)
                    vj = spatial(N, j)
                    y[vi, vj] = max(c[vi, vj] + bias[vj], float32(0.0))
"""


@pytest.mark.parametrize("fused_before", [True, False])
def test_an_epilogue_runs_while_its_tile_is_in_registers(fused_before):
    function = parse(EPILOGUE)
    schedule = Schedule(function)
    i_0, j_0, i_1, j_1 = schedule.tile(["i", "j"], [4, 8])
    schedule.reorder(i_0, j_0, "k", i_1, j_1)
    if fused_before:
        tiles = schedule.fuse(i_0, j_0)
        schedule.parallel(tiles)
        schedule.reverse_compute_at("epilogue", tiles)
    else:
        schedule.reverse_compute_at("epilogue", j_0)
        schedule.parallel(schedule.fuse(i_0, j_0))
    schedule.decompose_reduction("matmul", "k")
    schedule.vectorize(j_1)
    assert _shapes(schedule) == {"c": ["4", "8"]}
    assert "0 <=" not in str(find_block(schedule.function, "epilogue").predicate)
    assert_same(schedule, function, {"M": 9, "N": 19}, {"M": 1, "N": 8})


CONVOLUTION = """
def convolution(x: float32[20], w: float32[3], y: float32[18]):
    with allocate(float32[20], "global") as p:
        for i in range(20):
            with block("scale"):
                vi = spatial(20, i)
                p[vi] = x[vi] * float32(2.0)
        for j in range(18):
            for k in range(3):
                with block("convolution"):
                    vj = spatial(18, j)
                    vk = reduce(3, k)
                    y[vj] = init(float32(0.0))
                    y[vj] += p[vj + vk] * w[vk]
"""


def test_a_window_slides_over_a_local_buffer():
    function = parse(CONVOLUTION)
    schedule = Schedule(function)
    tiles, lanes = schedule.split("j", 4)
    schedule.compute_at("scale", tiles)
    schedule.reorder("k", lanes)
    schedule.vectorize(lanes)
    schedule.decompose_reduction("convolution", "k")
    schedule.parallel(tiles)
    assert _shapes(schedule) == {"p": ["6"]}
    assert_same(schedule, function)


def test_a_shrunk_window_may_be_reduced_in_parts():
    function = parse(CONVOLUTION)
    schedule = Schedule(function)
    k_0, k_1 = schedule.split("k", 2)
    tiles, lanes = schedule.split("j", 4)
    schedule.reorder(tiles, k_0, lanes, k_1)
    schedule.compute_at("scale", k_0)
    schedule.rfactor("convolution", k_0)
    assert _shapes(schedule) == {"y_rf": ["4", "2"], "p": ["5"]}
    assert_same(schedule, function)


def test_a_reduction_that_moves_to_its_producer_begins_with_the_first_part():
    text = """
def f(x: float32[8], y: float32[1]):
    with allocate(float32[8], "global") as h:
        for i in range(8):
            with block("make"):
                vi = spatial(8, INDEX)
                h[vi] = x[vi] + float32(1.0)
        for j in range(8):
            with block("sum"):
                vj = reduce(8, j)
                y[0] = init(float32(0.0))
                y[0] += h[vj]
"""
    function = parse(text.replace("INDEX", "i"))
    schedule = Schedule(function)
    tiles, _ = schedule.split("i", 3)
    schedule.reverse_compute_at("sum", tiles)
    assert _shapes(schedule) == {"h": ["3"]}
    assert_same(schedule, function)
    backwards = Schedule(parse(text.replace("INDEX", "7 - i")))
    refused(backwards, "it would initialize before a part that is not the first", "reverse_compute_at", "sum", "i")
    at_once = Schedule(function)
    at_once.parallel("i")
    refused(at_once, "in order only if all loops there are serial", "reverse_compute_at", "sum", "i")


def test_traces_are_read_by_people_and_machines():
    function = matmul(8, 8, 8)
    schedule = Schedule(function)
    i_0, j_0, i_1, j_1 = schedule.tile(["i", "j"], [4, 4])
    schedule.reorder(i_0, j_0, "k", i_1, j_1)
    schedule.split("k", [None, 2])
    schedule.cache_read("matmul", "a", layout="d1, d0")
    schedule.vectorize(j_1)
    assert str(schedule.trace).splitlines() == [
        "schedule.tile(['i', 'j'], [4, 4])  # makes i_0, j_0, i_1, j_1",
        "schedule.reorder('i_0', 'j_0', 'k', 'i_1', 'j_1')",
        "schedule.split('k', [None, 2])  # makes k_0, k_1",
        "schedule.cache_read('matmul', 'a', layout='d1, d0')  # makes copy_a_packed",
        "schedule.vectorize('j_1')",
    ]
    again = {"schedule": Schedule(function)}
    exec(str(schedule.trace), again)  # a trace as text is Python
    assert again["schedule"].function == schedule.function
    loaded = Trace.from_json(schedule.trace.to_json())
    assert loaded == schedule.trace
    assert replay(loaded, matmul(5, 6, 7)).loops_of("matmul") == schedule.loops_of("matmul")


def test_another_order_shows_an_illegal_parallel_loop():
    function = parse("""
def prefix(x: float32[6], y: float32[6]):
    for i in range(6):
        with block("prefix"):
            vi = spatial(6, i)
            y[vi] = select(0 < vi, x[vi] + y[vi - 1], x[vi])
""")
    forced = replace_loop(
        function, "i", type(find_loop(function, "i"))(**{**vars(find_loop(function, "i")), "kind": "parallel"})
    )
    assert not np.array_equal(run(in_another_order(forced), {})["y"], run(function, {})["y"])
    refused(Schedule(function), "an iteration may touch elements of y that another one writes", "parallel", "i")
