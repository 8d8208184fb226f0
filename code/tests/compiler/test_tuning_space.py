"""Spaces of schedules: every member computes the same, and decisions are followed."""

import random

import numpy as np
import pytest
from examples import examples
from fused_groups import T, bias_gelu, column_sums, linear_gelu, rms_norm_residual, softmax
from hypothesis import given
from hypothesis import strategies as st
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.graph import Graph
from sysai.compiler.graph.sizes import evaluate
from sysai.compiler.lowering import lower
from sysai.compiler.passes.groups import Context, classify
from sysai.compiler.schedule.schedule import replay
from sysai.compiler.tir.interpret import interpret
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tir.text import parse
from sysai.compiler.tuning.cost_model import FEATURES, features
from sysai.compiler.tuning.space import Space, product, rows, rule_for, tile_sizes, tiled

TWO_NESTS = """
def two(a: float32[{m}, {k}], b: float32[{k}, {n}], t: float32[{m}, {n}], c: float32[{m}, {n}]):
    for i in range({m}):
        for j in range({n}):
            for k in range({k}):
                with block("product"):
                    vi = spatial({m}, i)
                    vj = spatial({n}, j)
                    vk = reduce({k}, k)
                    t[vi, vj] = init(float32(0.0))
                    t[vi, vj] += a[vi, vk] * b[vk, vj]
    for x in range({m}):
        for y in range({n}):
            with block("scaled"):
                vx = spatial({m}, x)
                vy = spatial({n}, y)
                c[vx, vy] = t[vx, vy] * float32(2.0)
"""


def two_nests(m: int = 5, n: int = 6, k: int = 4) -> PrimFunc:
    return parse(TWO_NESTS.format(m=m, n=n, k=k))


def lowered(graph: Graph) -> PrimFunc:
    group = classify(Context(graph), [node.output.name for node in graph.nodes])
    return lower(group, graph.name)


def outputs(function: PrimFunc, sizes: dict[str, int]) -> list[np.ndarray]:
    """On small integers, whose sums are exact in any order."""
    numbers = np.random.default_rng(0)
    arrays = {}
    for buffer in function.buffers:
        shape = [evaluate(size, sizes) for size in buffer.shape]
        arrays[buffer.name] = numbers.integers(-3, 4, shape).astype(buffer.dtype)
    interpret(function, arrays, sizes)
    return [arrays[buffer.name] for buffer in function.outputs]


@examples(25)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 10**6))
def test_tiled_nests_compute_the_same(shape, seed):
    function = two_nests(*shape)
    candidate = Space(function, tiled).sample(random.Random(seed))
    for got, expected in zip(outputs(candidate.function, {}), outputs(function, {}), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert replay(candidate.trace, function).function == candidate.function


LOWERED = {
    "matmul": (lowered(linear_gelu((T,), 5, 21)), {"T": 7}, product),
    "softmax": (lowered(softmax((T, 150))), {"T": 3}, rows),
    "rms_norm": (lowered(rms_norm_residual((T, 70))), {"T": 2}, rows),
    "columns": (lowered(column_sums((T, 40))), {"T": 3}, rows),
    "elementwise": (lowered(bias_gelu((T, 30))), {"T": 3}, tiled),
}


@pytest.mark.parametrize("name", LOWERED)
@pytest.mark.parametrize("seed", range(3))
def test_lowered_groups_compute_the_same(name, seed):
    function, sizes, rule = LOWERED[name]
    candidate = Space(function, rule).sample(random.Random(seed))
    for got, expected in zip(outputs(candidate.function, sizes), outputs(function, sizes), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_each_class_of_groups_has_a_rule():
    assert [rule_for(kind) for kind in ("matmul", "reduction", "elementwise", "pooling")] == [
        product,
        rows,
        tiled,
        tiled,
    ]


def test_given_decisions_make_the_same_candidate():
    space = Space(two_nests(30, 40, 20), tiled)
    candidate = space.sample(random.Random(3))
    again = space.make(random.Random(4), candidate.decisions)
    assert again.text == candidate.text
    assert again.decisions == candidate.decisions


def test_a_mutation_changes_a_decision_and_keeps_the_others_that_still_fit():
    space, rng = Space(two_nests(30, 40, 20), tiled), random.Random(0)
    parent = space.sample(rng)
    for _ in range(50):
        child = space.mutate(parent, rng)
        changed = [q for q, d in parent.decisions.items() if child.decisions.get(q, d) != d]
        assert changed
        kept = [q for q, d in parent.decisions.items() if d in child.options.get(q, ()) and q not in changed]
        assert all(child.decisions[question] == parent.decisions[question] for question in kept)


def test_a_child_of_two_has_the_decisions_of_either():
    space, rng = Space(two_nests(30, 40, 20), tiled), random.Random(1)
    a, b = space.sample(rng), space.sample(rng)
    child = space.cross(a, b, rng)
    inherited = [
        question
        for question, decision in child.decisions.items()
        if decision in (a.decisions.get(question), b.decisions.get(question))
    ]
    assert len(inherited) > len(child.decisions) // 2
    assert any(child.decisions[question] != a.decisions.get(question) for question in child.decisions)


def test_illegal_schedules_are_not_in_the_space():
    def sometimes(schedule, choose):
        if choose("legal", (True, False)):
            schedule.split("i", 2)
        else:
            schedule.parallel("k")

    space, rng = Space(two_nests(), sometimes), random.Random(0)
    assert {space.sample(rng).decisions["legal"] for _ in range(20)} == {True}
    assert space.refused > 0
    with pytest.raises(IllegalSchedule, match="illegal schedules of two"):
        Space(two_nests(), lambda schedule, choose: schedule.parallel("k")).sample(rng)


def test_rules_with_faults_are_told():
    def twice(schedule, choose):
        choose("a", (1, 2))
        choose("a", (1, 2))

    with pytest.raises(ValueError, match="twice"):
        Space(two_nests(), twice).sample(random.Random(0))
    with pytest.raises(ValueError, match="no options"):
        Space(two_nests(), lambda schedule, choose: choose("a", ())).sample(random.Random(0))


def test_tile_sizes_need_not_divide():
    (i, *_) = two_nests(20).body.statements
    sizes = tile_sizes(i.extent, 16)
    assert sizes == (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)


@examples(20)
@given(st.integers(0, 10**6))
def test_features_are_finite_and_iterations_are_counted_exactly(seed):
    function = two_nests(6, 10, 4)
    candidate = Space(function, tiled).sample(random.Random(seed))
    numbers = dict(zip(FEATURES, features(candidate.function), strict=True))
    assert all(np.isfinite(list(numbers.values())))
    assert 2 ** numbers["iterations"] - 1 >= 6 * 10 * 4 + 6 * 10 - 1e-6
    plain = dict(zip(FEATURES, features(function), strict=True))
    assert 2 ** plain["iterations"] - 1 == pytest.approx(6 * 10 * 4 + 6 * 10)
    assert 2 ** plain["operations"] - 1 == pytest.approx(2 * 6 * 10 * 4 + 6 * 10)


def test_traffic_falls_when_a_tile_fits_the_cache():
    space = Space(two_nests(512, 512, 512), tiled)
    given = {
        "product: register tile of j": 16, "product: cache tile of j": 2, "product: register tile of i": 4,
        "product: cache tile of i": 1, "product: tile of k": 1, "product: sum in registers": True,
    }  # fmt: skip
    tiled_numbers = features(space.make(random.Random(0), given).function)
    plain = features(space.function)
    at = FEATURES.index("bytes into first cache")
    assert tiled_numbers[at] < plain[at] - 3  # at least eight times less: these are logarithms


def test_features_need_all_sizes():
    with pytest.raises(ValueError, match="T"):
        features(LOWERED["softmax"][0])
