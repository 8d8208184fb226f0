"""The arena: no overlap of what lives at once, a peak between its bounds, memory of views and outputs."""

from dataclasses import replace

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sysai.compiler.graph.from_export import from_module
from sysai.compiler.passes import optimize
from sysai.compiler.passes.fusion import fuse_operators
from sysai.compiler.passes.memory_plan import Lifetime, lifetimes, plan_memory, storage
from torch import nn


@st.composite
def lives_and_sizes(draw):
    number = draw(st.integers(0, 12))
    lives = []
    for place in range(number):
        first = draw(st.integers(0, 10))
        lives.append(Lifetime(f"v{place}", first, first + draw(st.integers(0, 5))))
    return lives, {life.name: draw(st.integers(0, 1000)) for life in lives}


@examples(100)
@given(lives_and_sizes())
def test_plans_keep_what_lives_apart(example):
    plan = plan_memory(*example)
    plan.check_invariants()
    assert plan.lower_bound <= plan.peak <= plan.total


def test_a_chain_needs_two_places():
    lives = [Lifetime(f"v{step}", step, step + 1) for step in range(10)]
    plan = plan_memory(lives, {life.name: 640 for life in lives})
    assert plan.peak == plan.lower_bound == 2 * 640
    assert plan.total == 10 * 640


def test_an_overlap_is_caught():
    lives = [Lifetime("a", 0, 2), Lifetime("b", 1, 3)]
    plan = plan_memory(lives, {"a": 64, "b": 64})
    with pytest.raises(AssertionError, match="a and b live at once"):
        replace(plan, offsets={"a": 0, "b": 0}).check_invariants()
    with pytest.raises(AssertionError, match="outside"):
        replace(plan, offsets={"a": 0, "b": 128}).check_invariants()


class Reshaped(nn.Module):
    """A value that a product reads under another shape, long after it was made."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 3))

    def forward(self, x):
        first = (x @ x).reshape(4, 16)
        second = (x @ x.T) @ x
        return (second @ x).sum(0), first @ self.weight


def test_the_reader_of_a_view_keeps_its_memory_alive():
    graph = optimize(from_module(Reshaped(), (torch.randn(8, 8),)))
    groups = fuse_operators(graph)
    owners = storage(groups)
    views = [group for group in groups if group.kind == "view"]
    assert views
    last = {life.name: life.last for life in lifetimes(groups, graph.outputs)}
    for view in views:
        renamed = view.outputs[0].name
        readers = [step for step, group in enumerate(groups) if any(value.name == renamed for value in group.inputs)]
        assert last[owners[renamed]] >= max(readers)


def test_outputs_are_not_in_the_arena():
    graph = optimize(from_module(Reshaped(), (torch.randn(8, 8),)))
    assert not {value.name for value in graph.outputs} & {
        life.name for life in lifetimes(fuse_operators(graph), graph.outputs)
    }
