"""Generated C computes what the interpreter says: random programs under random schedules, every dtype, odd shapes."""

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from random_programs import arrays_for, programs, sizes_of
from schedule_programs import decomposed
from sysai.compiler.codegen.c import generate_c
from sysai.compiler.codegen.kernel import build
from sysai.compiler.codegen.loop_partition import partition_loops
from sysai.compiler.errors import EmptyReduction, IllegalSchedule
from sysai.compiler.schedule.schedule import PRIMITIVES, Schedule
from sysai.compiler.tir.expr import Const
from sysai.compiler.tir.interpret import interpret
from sysai.compiler.tir.statement import (
    UNROLLED,
    VECTORIZED,
    Block,
    For,
    PrimFunc,
    statements,
)
from sysai.compiler.tir.text import print_function
from test_schedule_random import draw_call

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory", "module_cache")

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
QUICK = ("-O1",)  # what is compared are values; -O3 takes three times as long to compile


def scheduled(data: st.DataObject, function: PrimFunc) -> Schedule:
    """Some random primitives, as far as they are legal; many of them vectorize, unroll and parallelize."""
    schedule = Schedule(function)
    kinds = [*sorted(PRIMITIVES), "split", "split", "vectorize", "vectorize", "unroll", "unroll", "parallel", "fuse"]
    for _ in range(data.draw(st.integers(0, 10))):
        primitive = data.draw(st.sampled_from(kinds))
        arguments, named = draw_call(data.draw, schedule, primitive)
        try:
            getattr(schedule, primitive)(*arguments, **named)
        except IllegalSchedule:
            continue
    return schedule


def run(function: PrimFunc, arrays: dict[str, np.ndarray], sizes: dict[str, int], flags=QUICK) -> None:
    """Call the kernel on tensors that share the arrays' memory (bfloat16 apart)."""
    tensors = [torch.from_numpy(arrays[buffer.name]) for buffer in function.buffers]
    build(function, flags)(*tensors, sizes=sizes)


@examples(50, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(programs(), st.data())
def test_prepared_programs_compute_the_same(function, data):
    schedule = scheduled(data, function)
    prepared = partition_loops(schedule.function)
    sizes = data.draw(sizes_of(function, least=0))
    expected, got = arrays_for(function, sizes), arrays_for(function, sizes)
    try:
        interpret(schedule.function, expected, sizes)
    except EmptyReduction:
        return
    interpret(prepared, got, sizes)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=print_function(schedule.function))
    for stmt in statements(prepared.body):
        assert not isinstance(stmt, For) or stmt.kind != UNROLLED
        assert not isinstance(stmt, For) or stmt.kind != VECTORIZED or isinstance(stmt.extent, Const)
        assert not isinstance(stmt, Block) or stmt.axes == ()


@examples(30, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(programs(), st.data())
def test_compiled_programs_compute_the_same(function, data):
    schedule = scheduled(data, function)
    sizes = data.draw(sizes_of(function, least=0))
    expected, got = arrays_for(function, sizes), arrays_for(function, sizes)
    interpret(decomposed(function), expected, sizes)
    try:
        run(schedule.function, got, sizes)
    except EmptyReduction:
        assert 0 in sizes.values()
        return
    exact = "int" in function.buffers[0].dtype
    text = f"{print_function(function)}\n{schedule.trace}\n{generate_c(schedule.function)}"
    for name in expected:
        tolerance = 0 if exact else 1e-4
        np.testing.assert_allclose(got[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=text)
