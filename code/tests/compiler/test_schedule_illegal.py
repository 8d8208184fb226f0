"""Illegal schedules are refused, in words that say why, and leave the program as it was."""

import re

import pytest
from schedule_programs import SOFTMAX, assert_same, matmul
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule.schedule import Schedule, Trace, replay
from sysai.compiler.tir.text import parse

STENCIL = """
def stencil(x: float32[10, 10], y: float32[10, 10]):
    with allocate(float32[10, 10], "global") as t:
        for i in range(10):
            for j in range(10):
                with block("before"):
                    vi = spatial(10, i)
                    vj = spatial(10, j)
                    t[vi, vj] = x[vi, vj] * float32(2.0)
        for i in range(10):
            for j in range(10):
                with block("after"):
                    vi = spatial(10, i)
                    vj = spatial(10, j)
                    y[vi, vj] = select((0 < vi) and (vj < 9), t[vi - 1, vj + 1], float32(0.0))
"""

WAVE = """
def wave(x: float32[8, 8], y: float32[8, 8], z: float32[8, 8]):
    for i in range(8):
        for j in range(8):
            with block("make"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                y[vi, vj] = x[vi, vj] + float32(1.0)
            with block("use"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                z[vi, vj] = select((0 < vi) and (vj < 7), y[vi - 1, vj + 1], float32(0.0))
"""

PREVIOUS = """
def previous(x: float32[5, 4], y: float32[5, 4]):
    with allocate(float32[5, 4], "global") as h:
        for t in range(5):
            for i in range(4):
                with block("use"):
                    vt = spatial(5, t)
                    vi = spatial(4, i)
                    y[vt, vi] = select(0 < vt, h[vt - 1, vi], float32(0.0))
            for j in range(4):
                with block("make"):
                    vt = spatial(5, t)
                    vj = spatial(4, j)
                    h[vt, vj] = x[vt, vj] * float32(2.0)
"""

STEPS = """
def steps(x: float32[5, 4], y: float32[9]):
    for t in range(5):
        for j in range(4):
            with block("steps"):
                vt = reduce(5, t)
                vj = spatial(9, t + j)
                y[vj] += x[vt, vj - vt]
"""

UPDATE = """
def update(x: float32[8], y: float32[8], z: float32[8]):
    with allocate(float32[8], "global") as t:
        for i in range(8):
            with block("double"):
                vi = spatial(8, i)
                t[vi] = x[vi] * float32(2.0)
        for j in range(8):
            with block("overwrite"):
                vj = spatial(8, j)
                x[vj] = float32(0.0)
        for k in range(8):
            with block("use"):
                vk = spatial(8, k)
                z[vk] = t[vk] + x[vk]
"""

MIXED = """
def mixed(x: float32[8, 8], y: float32[8, 8], s: float32[8]):
    for i in range(8):
        with block("zero"):
            vi = spatial(8, i)
            s[vi] = float32(0.0)
        for j in range(8):
            with block("copy"):
                vi = spatial(8, i)
                vj = spatial(8, j)
                y[vi, vj] = x[vi, vj]
"""


def refused(schedule: Schedule, words: str, primitive: str, *arguments, **named) -> None:
    before = schedule.function, str(schedule.trace)
    with pytest.raises(IllegalSchedule, match=re.escape(words)):
        getattr(schedule, primitive)(*arguments, **named)
    assert (schedule.function, str(schedule.trace)) == before


@pytest.mark.parametrize(
    ("primitive", "arguments", "words"),
    [
        ("split", ("i", 0), "a loop has at least one iteration"),
        ("split", ("i", -2), "a loop has at least one iteration"),
        ("split", ("i", [2, 2]), "would execute 4 of its 12 iterations"),
        ("split", ("i", [None, None]), "at most one of them None"),
        ("split", ("q", 2), "there is no loop 'q': the loops are i, j, k"),
        ("fuse", ("i",), "fuse takes two loops or more"),
        ("fuse", ("i", "k"), "not perfectly nested, directly inside i there is loop j"),
        ("fuse", ("j", "i"), "i is not inside j"),
        ("reorder", ("i", "i"), "reorder names a loop twice"),
        ("tile", (["i", "j"], [4]), "one factor for each loop"),
        ("vectorize", ("k",), "it is a reduction axis of block matmul"),
        ("vectorize", ("j",), "only an innermost loop can be vectorized, and k is inside j"),
        ("parallel", ("k",), "rfactor the block over k first"),
        ("compute_at", ("matmul", "i"), "c is an output of the function"),
        ("compute_inline", ("matmul",), "block matmul is a reduction"),
        ("reverse_compute_at", ("matmul", "i"), "is inside loop i already"),
        ("cache_read", ("matmul", "c"), "block matmul does not read c"),
        ("cache_read", ("matmul", "a", "register"), "no scope 'register'"),
        ("cache_read", ("matmul", "a", "local", "d0"), "must hold each of d0 to d1 once"),
        ("cache_read", ("matmul", "a", "local", "d0 // 4, d0 % 2, d1"), "must hold each of d0 to d1 once"),
        ("cache_read", ("matmul", "a", "local", "d0 // 0, d0 % 0, d1"), "must hold each of d0 to d1 once"),
        ("cache_read", ("matmul", "a", "local", "rows, columns"), "neither d0, nor d0 // 16"),
        ("rfactor", ("matmul", "i"), "loop i is not a reduction loop of block matmul"),
        ("decompose_reduction", ("nothing", "k"), "there is no block 'nothing': the blocks are matmul"),
    ],
)
def test_refused_on_matmul(primitive, arguments, words):
    refused(Schedule(matmul(12, 16, 8)), words, primitive, *arguments)


def test_an_extent_known_at_run_time_only_is_not_unrolled_vectorized_or_cut_into_so_many():
    schedule = Schedule(matmul())
    refused(schedule, "its extent M is known only at run time; split it and unroll i_1", "unroll", "i")
    schedule.reorder("k", "j", "i")
    refused(schedule, "its extent M is known only at run time; split it and vectorize i_1", "vectorize", "i")
    refused(schedule, "make one factor None", "split", "i", [4, 4])


def test_a_loop_that_is_marked_is_not_transformed_further():
    schedule = Schedule(matmul(12, 16, 8))
    schedule.parallel("i")
    refused(schedule, "loop i is parallel already and cannot be split", "split", "i", 2)
    refused(schedule, "i is parallel already, and nested with j: fuse the two instead", "parallel", "j")
    refused(schedule, "loop i is parallel already and cannot be fused", "fuse", "i", "j")


def test_a_vectorized_loop_stays_innermost_and_a_parallel_one_independent():
    schedule = Schedule(matmul(12, 16, 8))
    schedule.reorder("i", "k", "j")
    schedule.vectorize("j")
    refused(schedule, "only an innermost loop can be vectorized, and k is inside j", "reorder", "i", "j", "k")
    schedule = Schedule(parse(STENCIL))
    column = schedule.loops_of("after")[1]
    schedule.vectorize(column)
    refused(schedule, f"loop {column} is vectorized already, and can take in no loops", "compute_at", "before", column)
    schedule = Schedule(parse(STEPS))
    schedule.parallel("j")
    refused(schedule, "loop j cannot run in parallel: an iteration may touch elements of y", "reorder", "j", "t")


def test_reordering_across_a_dependence():
    schedule = Schedule(parse(WAVE))
    refused(
        schedule, "may change which comes first of two iterations that touch the same element of y", "reorder", "j", "i"
    )
    refused(schedule, "an iteration may touch elements of y that another one writes", "parallel", "i")
    refused(schedule, "block make writes y[i, j], block use uses y[i - 1, j + 1]", "vectorize", "j")


def test_fusing_and_reordering_loops_that_are_not_perfectly_nested():
    schedule = Schedule(parse(MIXED))
    refused(schedule, "directly inside i there is block zero and loop j", "fuse", "i", "j")
    refused(schedule, "directly inside i there is block zero and loop j", "reorder", "j", "i")


def test_compute_at_where_a_consumer_is_elsewhere():
    schedule = Schedule(parse(SOFTMAX))
    row, _ = schedule.loops_of("quotient")
    refused(schedule, f"block row_sum needs e too, and is outside {row}", "compute_at", "exps", row)


def test_compute_at_where_a_consumer_has_run_before():
    schedule = Schedule(parse(PREVIOUS))
    refused(schedule, "block use reads h and runs before make", "compute_at", "make", "i")
    refused(schedule, "block use reads h and runs before make", "compute_inline", "make")


def test_what_is_overwritten_in_between_is_not_computed_later():
    schedule = Schedule(parse(UPDATE))
    refused(schedule, "block double reads x, which block overwrite writes after it", "compute_at", "double", "k")
    refused(schedule, "block double reads x, which block overwrite writes after it", "compute_inline", "double")
    refused(
        schedule, "block use needs x too, which block overwrite writes outside loop i", "reverse_compute_at", "use", "i"
    )


def test_what_a_later_iteration_overwrites_counts_too():
    text = """
def f(x: float32[4], y: float32[5, 4], z: float32[4]):
    with allocate(float32[4], "global") as h:
        for i in range(4):
            with block("double"):
                vi = spatial(4, i)
                h[vi] = x[vi] * float32(2.0)
        for t in range(5):
            for j in range(4):
                with block("use"):
                    vt = spatial(5, t)
                    vj = spatial(4, j)
                    y[vt, vj] = h[vj]
            for k in range(4):
                with block("step"):
                    vt = spatial(5, t)
                    vk = spatial(4, k)
                    x[vk] = y[vt, vk] + float32(1.0)
        for l in range(4):
            with block("last"):
                vl = spatial(4, l)
                z[vl] = x[vl]
"""
    schedule = Schedule(parse(text))
    refused(schedule, "block double reads x, which block step writes after it", "compute_at", "double", "j")
    refused(schedule, "block double reads x, which block step writes after it", "compute_inline", "double")
    refused(schedule, "iterations of t may write the same element of x", "reverse_compute_at", "last", "k")


def test_a_buffer_that_carries_values_between_iterations_does_not_shrink():
    text = """
def f(x: float32[8], y: float32[8], z: float32[8]):
    with allocate(float32[8], "global") as h:
        for i in range(8):
            with block("make"):
                vi = spatial(8, i)
                h[vi] = x[vi] + float32(1.0)
            with block("previous"):
                vi = spatial(8, i)
                y[vi] = select(0 < vi, h[vi - 1], float32(0.0))
        for j in range(8):
            with block("use"):
                vj = spatial(8, j)
                z[vj] = h[vj] * float32(2.0)
"""
    function = parse(text)
    schedule = Schedule(function)
    schedule.reverse_compute_at("use", "i")
    assert_same(schedule, function)
    refused(schedule, "block previous uses h[i - 1]", "parallel", "i")


def test_what_was_fitted_to_a_tile_is_neither_inlined_nor_moved_again():
    schedule = Schedule(matmul(12, 16, 8))
    schedule.cache_read("matmul", "b")
    outer, inner = schedule.split("j", 4)
    schedule.compute_at("copy_b_local", outer)
    refused(schedule, "what an element is, is not known", "compute_inline", "copy_b_local")
    refused(schedule, "does not store at its axes themselves", "compute_at", "copy_b_local", inner)


def test_a_block_stays_under_its_condition():
    text = """
def f(M: size, x: float32[8], y: float32[8]):
    with allocate(float32[8], "global") as h:
        for i in range(8):
            with block("make"):
                vi = spatial(8, i)
                h[vi] = x[vi] + float32(1.0)
        if 3 < M:
            for j in range(8):
                with block("use"):
                    vj = spatial(8, j)
                    y[vj] = h[vj] * float32(2.0)
"""
    schedule = Schedule(parse(text))
    refused(schedule, "it would enter or leave the condition 3 < M", "reverse_compute_at", "use", "i")
    refused(schedule, "it would enter or leave the condition 3 < M", "compute_at", "make", "j")


def test_a_consumer_of_neighbours_is_not_computed_with_each_element():
    schedule = Schedule(parse(STENCIL))
    refused(schedule, "of which an iteration of i has made only a part", "reverse_compute_at", "after", "i")


def test_a_reduction_is_consumed_when_it_is_complete():
    text = """
def f(x: float32[8, 8], y: float32[8]):
    with allocate(float32[8], "global") as s:
        for k in range(8):
            for i in range(8):
                with block("sum"):
                    vi = spatial(8, i)
                    vk = reduce(8, k)
                    s[vi] = init(float32(0.0))
                    s[vi] += x[vi, vk]
        for j in range(8):
            with block("use"):
                vj = spatial(8, j)
                y[vj] = s[vj] * float32(2.0)
"""
    schedule = Schedule(parse(text))
    refused(schedule, "s is not complete there, k is a reduction loop of sum", "reverse_compute_at", "use", "i")
    refused(schedule, "every iteration of k would begin at", "decompose_reduction", "sum", "i")
    schedule.decompose_reduction("sum", "k")
    refused(schedule, "it has been decomposed already", "rfactor", "sum", "k")
    refused(schedule, "block sum_init writes s too", "cache_write", "sum")


def test_a_lane_of_a_vector_has_no_buffer_of_its_own():
    schedule = Schedule(parse(STENCIL))
    column = schedule.loops_of("after")[1]
    schedule.compute_at("before", column)
    refused(schedule, "so each lane would need its own", "vectorize", column)


def test_a_wrong_trace_is_refused_with_its_step():
    schedule = Schedule(matmul(12, 16, 8))
    schedule.split("i", 4)
    with pytest.raises(IllegalSchedule, match=r"step 0, schedule\.split\('i', 4\).*there is no loop 'i'"):
        replay(schedule.trace, parse(UPDATE.replace("for i", "for q").replace("(8, i)", "(8, q)")))
    with pytest.raises(IllegalSchedule, match="there is no primitive '__init__'"):
        replay(Trace.from_json('[["__init__", {"function": 1}, []]]'), matmul(1, 1, 1))
    with pytest.raises(IllegalSchedule, match="step 0"):
        replay(Trace.from_json('[["split", {"loop": "i", "by": 1}, []]]'), matmul(1, 1, 1))
    for text in ("", "{}", "[1]", '[["split", 3, []]]'):
        with pytest.raises(ValueError, match="not a trace"):
            Trace.from_json(text)
