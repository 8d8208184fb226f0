"""Fusion: what is one kernel and what is not, with its reason; every node runs in some group; traffic is counted."""

import fused_groups
import pytest
from examples import examples
from hypothesis import HealthCheck, given
from random_graphs import graphs
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.passes import optimize
from sysai.compiler.passes.fusion import explain, fuse_operators, traffic
from sysai.compiler.passes.groups import LARGEST_EXPRESSION

M, N = 32, 64
X = Value("x", as_shape((M, N)), "float32")
W = Value("w", as_shape((N, N)), "float32")


def grow(make, *inputs) -> tuple[Graph, Builder]:
    """A graph of what `make(builder)` emits; it returns the outputs."""
    inputs = inputs or (X, W)
    builder = Builder(value.name for value in inputs)
    outputs = make(builder)
    return Graph("g", (), inputs, {}, tuple(builder.nodes), outputs)


def kinds(graph: Graph) -> list[str]:
    return [group.kind for group in fuse_operators(graph)]


def reduce(
    builder: Builder, value: Value, combine: str = "add", axes=(1,), keepdim: bool = True, name: str = ""
) -> Value:
    return builder.emit("reduce", value, combine=combine, axes=axes, keepdim=keepdim, name=name)


def softmax(builder: Builder, x: Value) -> Value:
    e = builder.emit("exp", builder.emit("sub", x, reduce(builder, x, "max", name="top")), name="e")
    return builder.emit("div", e, reduce(builder, e, name="total"), name="soft")


def test_a_chain_of_elementwise_operators_is_one_kernel():
    graph = grow(lambda b: (b.emit("exp", b.emit("tanh", b.emit("add", X, X))),))
    (group,) = fuse_operators(graph)
    assert group.kind == "elementwise"
    assert [value.name for value in group.inputs] == ["x"]


def test_softmax_is_one_kernel_over_rows():
    (group,) = fuse_operators(grow(lambda b: (softmax(b, X),)))
    assert (group.kind, group.axes) == ("reduction", (1,))


def test_a_product_takes_what_is_done_with_its_elements():
    def make(b):
        product = b.emit("matmul", X, W, transpose_b=False)
        return (b.emit("add", b.emit("tanh", product), X),)

    assert kinds(grow(make)) == ["matmul"]


def test_traffic_of_a_chain_is_that_of_its_ends():
    graph = grow(lambda b: (b.emit("exp", b.emit("tanh", b.emit("add", X, X))),))
    (part,) = traffic(fuse_operators(graph))
    assert part.fused == 2 * 4 * M * N  # x read, the result written
    assert part.apart == 3 * 2 * 4 * M * N


@pytest.mark.parametrize(
    ("make", "producer", "consumer", "reason"),
    [
        (  # a row's result added along the columns: [N] broadcasts against the last axis, not the first
            lambda b: (b.emit("add", W, reduce(b, W, keepdim=False, name="sum"), name="bad"),),
            "sum", "bad", "other rows",
        ),
        (
            lambda b: (b.emit("permute", reduce(b, X, name="sum"), order=(1, 0), name="bad"),),
            "sum", "bad", "other rows",
        ),
        (lambda b: (b.emit("sub", X, reduce(b, X, axes=(0,), name="sum"), name="bad"),), "sum", "bad", "not the last"),
        (
            lambda b: (b.emit("matmul", b.emit("exp", X, name="e"), W, transpose_b=False, name="bad"),),
            "e", "bad", "read many times",
        ),
        (
            lambda b: (b.emit("matmul", b.emit("matmul", X, W, transpose_b=False, name="first"), W,
                              transpose_b=False, name="bad"),),
            "first", "bad", "stored in between",
        ),
        (
            lambda b: (softmax(b, b.emit("matmul", X, W, transpose_b=False, name="scores")),),
            "scores", "top", "both need many",
        ),
        (
            lambda b: (b.emit("expand", b.emit("exp", b.emit("reshape", X, shape=as_shape((M, N, 1))), name="e"),
                              shape=as_shape((M, N, 8)), name="bad"),),
            "e", "bad", "repeats each element",
        ),
        (
            lambda b: (reduce(b, reduce(b, X, name="first"), axes=(0,), name="bad"),),
            "first", "bad", "their rows are not the same",
        ),
        (
            lambda b: (b.emit("add", b.emit("reshape", b.emit("matmul", X, W, transpose_b=False, name="product"),
                                            shape=as_shape((N, M)), name="moved"),
                              b.emit("reshape", X, shape=as_shape((N, M))), name="bad"),),
            "product", "moved", "moves elements",
        ),
    ],
)  # fmt: skip
def test_planted_illegal_fusions_are_refused_with_their_reason(make, producer, consumer, reason):
    graph = grow(make)
    verdict = explain(graph, producer, consumer)
    assert not verdict
    assert reason in verdict.reason
    assert not any(
        {producer, consumer} <= {node.output.name for node in group.nodes} for group in fuse_operators(graph)
    )


def test_what_must_run_between_two_nodes_keeps_them_apart():
    def make(b):
        start = b.emit("exp", X, name="start")
        between = b.emit("matmul", start, W, transpose_b=False, name="between")
        return (b.emit("add", start, b.emit("permute", reduce(b, between, axes=(0,)), order=(0, 1)), name="end"),)

    graph = grow(make)
    verdict = explain(graph, "start", "end")
    assert not verdict
    assert "must run between" in verdict.reason


def test_what_goes_into_a_product_and_past_it_waits_for_the_product():
    def make(b):
        a = b.emit("max", b.emit("add", X, b.full(1.0, "float32")), b.full(0.0, "float32"), name="a")
        product = b.emit("matmul", a, W, transpose_b=True, name="product")
        return (b.emit("add", b.emit("mul", a, b.full(2.0, "float32"), name="past"), product, name="end"),)

    first, second = fuse_operators(grow(make))
    assert [value.name for value in first.outputs] == ["a", "past"]
    assert {node.output.name for node in second.nodes} == {"product", "end"}


def test_explain_names_what_does_not_exist():
    with pytest.raises(ValueError, match="no node makes nothing"):
        explain(grow(lambda b: (b.emit("exp", X, name="e"),)), "nothing", "e")


def test_an_expression_does_not_double_without_end():
    def make(b):
        value = X
        for _ in range(20):
            value = b.emit("add", value, value)
        return (value,)

    groups = fuse_operators(grow(make))
    assert len(groups) > 1
    assert all(len(group.nodes) <= LARGEST_EXPRESSION for group in groups)


def test_a_mask_made_of_indices_is_copied_into_its_readers():
    def make(b):
        rows, columns = (b.emit("iota", axis=axis, shape=as_shape((M, N))) for axis in (0, 1))
        mask = b.emit("lt", columns, rows, name="mask")
        first = reduce(b, b.emit("select", mask, X, b.full(0.0, "float32")))
        second = b.emit("matmul", X, W, transpose_b=False)
        return first, b.emit("select", mask, second, b.full(0.0, "float32"))

    groups = fuse_operators(grow(make))
    assert sorted(group.kind for group in groups) == ["matmul", "reduction"]
    assert all(any(node.output.name == "mask" for node in group.nodes) for group in groups)


@examples(60, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_groups_of_random_graphs_are_ordered_and_complete(graph):
    graph = optimize(graph)
    ready = {value.name for value in graph.inputs} | set(graph.constants)
    for group in fuse_operators(graph):
        assert {value.name for value in group.inputs} <= ready
        ready |= {value.name for value in group.outputs}
        inside = ready.copy()
        for node in group.nodes:
            assert all(value.name in inside or value in group.inputs for value in node.inputs)
            inside.add(node.output.name)
    assert {value.name for value in graph.outputs} <= ready
    for part in traffic(fuse_operators(graph), {"B": 3, "T": 5}):
        assert part.fused >= 0


def test_the_order_of_the_groups_is_that_of_the_outputs():
    """Not that of a set, which differs from process to process: a cached entry would be found by chance only."""

    def maxima(g, *inputs):
        return tuple(g.emit("reduce", x, combine="max", axes=(0,), keepdim=False) for x in inputs)

    graph = fused_groups.group("maxima", {f"x{size}": ((size,), "float32") for size in range(2, 14)}, maxima)
    assert [part.outputs for part in fuse_operators(graph)] == [(output,) for output in graph.outputs]
