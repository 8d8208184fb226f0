"""Fusion and lowering keep what a graph computes: on random graphs, interpreted, and with the default schedules."""

from dataclasses import replace

import pytest
import torch
from examples import examples
from fused_groups import group
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st
from lowered_graphs import interpreted, unscheduled
from random_graphs import graphs, inputs_for
from sysai.compiler.errors import InvalidProgram
from sysai.compiler.graph.interpret import run_graph
from sysai.compiler.pipeline import make_plan
from sysai.compiler.schedule.default import default_schedule
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import PrimFunc

FEW = examples(120, suppress_health_check=list(HealthCheck))


def expected(graph, inputs):
    """What the graph's interpreter gives; examples for which torch gives nothing are not tried."""
    try:
        return run_graph(graph, *inputs)
    except (RuntimeError, ValueError, IndexError):
        assume(False)


def assert_close(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4, equal_nan=True)


@FEW
@given(st.data())
def test_groups_of_random_graphs_compute_the_same(data):
    graph = data.draw(graphs())
    inputs = inputs_for(data.draw, graph, finite=True)
    wanted = expected(graph, inputs)
    assert_close(interpreted(graph, unscheduled)(*inputs), wanted)


@FEW
@given(st.data())
def test_default_schedules_of_random_graphs_compute_the_same(data):
    graph = data.draw(graphs())
    inputs = inputs_for(data.draw, graph, finite=True)
    wanted = expected(graph, inputs)
    assert_close(interpreted(graph, default_schedule)(*inputs), wanted)


def test_the_pipeline_verifies_what_a_schedule_made():
    def wrong(function: PrimFunc, _: str) -> Schedule:
        schedule = Schedule(function)
        loop = schedule.function.body
        schedule.function = replace(schedule.function, body=replace(loop, extent=loop.extent + 1))
        return schedule

    with pytest.raises(InvalidProgram, match="outside"):
        make_plan(group("exp", {"x": ((2, 3), "float32")}, lambda g, x: g.emit("exp", x)), wrong)
