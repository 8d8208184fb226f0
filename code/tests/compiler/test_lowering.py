"""Fusion and lowering keep what a graph computes: on random graphs, interpreted, and with the default schedules."""

import torch
from examples import examples
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st
from lowered_graphs import interpreted, unscheduled
from random_graphs import graphs, inputs_for
from sysai.compiler.graph.interpret import interpret
from sysai.compiler.schedule.default import default_schedule

FEW = examples(120, suppress_health_check=list(HealthCheck))


def expected(graph, inputs):
    """What the graph's interpreter gives; examples for which torch gives nothing are not tried."""
    try:
        return interpret(graph, *inputs)
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
