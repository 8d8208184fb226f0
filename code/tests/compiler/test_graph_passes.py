"""Each pass preserves what the interpreter computes, makes graphs no larger, and catches what is planted."""

import pytest
import torch
from examples import examples
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from random_graphs import ALONG_AXES, graphs, inputs_for
from sysai.compiler.errors import InvalidGraph, InvalidRule
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.interpret import TORCH_DTYPES, run_graph
from sysai.compiler.graph.operators import CORE, Builder
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.graph.text import parse_graph, print_graph
from sysai.compiler.graph.verify import verify
from sysai.compiler.passes import PASSES, Report, optimize, run_pass
from sysai.compiler.passes.constant_folding import fold_constants
from sysai.compiler.passes.counterexample import close, same_bits, search
from sysai.compiler.passes.decompose import DECOMPOSITIONS, decompose, legalize
from sysai.compiler.passes.elimination import eliminate_common_subexpressions, eliminate_dead_code
from sysai.compiler.passes.rewrite import Rule, rewrite
from sysai.compiler.passes.simplify import SIMPLIFICATIONS, TRANSPOSES
from sysai.compiler.tir.expr import DTYPES

EXACT = tuple(rule for rule in SIMPLIFICATIONS if rule.exact)
MANY = examples(150, suppress_health_check=list(HealthCheck))


def run(graph: Graph, inputs) -> tuple[torch.Tensor, ...] | None:
    """The outputs, or None where torch has none (the greatest of no elements, a slice that does not exist)."""
    try:
        return run_graph(graph, *inputs)
    except (RuntimeError, ValueError, IndexError):
        return None


def preserves(change, graph: Graph, inputs, equal=same_bits) -> bool:
    before = run(graph, inputs)
    if before is None:
        return True
    changed = change(graph)
    verify(changed)
    return all(map(equal, before, run_graph(changed, *inputs)))


def with_rules(*rules: Rule):
    return lambda graph: rewrite(graph, rules).graph


@MANY
@given(st.data())
@pytest.mark.parametrize(
    "change",
    [
        fold_constants,
        eliminate_common_subexpressions,
        eliminate_dead_code,
        with_rules(*EXACT),
        lambda graph: optimize_exactly(graph),
    ],
    ids=["constant_folding", "cse", "dce", "simplify", "together"],
)
def test_a_pass_preserves_every_bit(change, data):
    graph = data.draw(graphs())
    verify(graph)
    assert preserves(change, graph, inputs_for(data.draw, graph))


def optimize_exactly(graph: Graph) -> Graph:
    """What `optimize` does, but for decomposition and the rules that may round otherwise."""
    for _ in range(3):
        graph = eliminate_dead_code(eliminate_common_subexpressions(with_rules(*EXACT)(fold_constants(graph))))
    return graph


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@examples(100, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.parametrize(
    "change",
    [lambda graph: decompose(graph).graph, legalize, lambda graph: legalize(optimize(graph))],
    ids=["decompose", "legalize", "all"],
)
def test_a_pass_preserves_values_up_to_rounding(change, data):
    bounded = ("neg", "relu", "silu")  # what grows makes rounding errors grow with it
    graph = data.draw(graphs(steps=6, composites=bounded, along_axes=ALONG_AXES))
    assert preserves(change, graph, inputs_for(data.draw, graph, finite=True), nearly)


def nearly(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-3, equal_nan=True)


@MANY
@given(st.data())
def test_optimized_graphs_are_core_and_stable(data):
    graph = data.draw(graphs(composites=("neg", "square", "relu", "silu", "reciprocal")))
    optimized = optimize(graph)
    assert all(node.op in CORE for node in optimized.nodes)
    assert optimize(optimized).nodes == optimized.nodes


@MANY
@given(st.data())
def test_cleaning_never_adds_nodes(data):
    graph = data.draw(graphs())
    assert len(eliminate_dead_code(graph).nodes) <= len(graph.nodes)
    assert len(eliminate_common_subexpressions(graph).nodes) <= len(graph.nodes)
    assert len(fold_constants(graph).nodes) <= len(graph.nodes)


@MANY
@given(graphs())
def test_text_round_trip(graph):
    verify(graph)
    assert parse_graph(print_graph(graph), graph.constants) == graph


@pytest.mark.parametrize("rule", SIMPLIFICATIONS + DECOMPOSITIONS, ids=str)
def test_no_counterexample_to_a_rule(rule):
    result = search(rule, trials=12, seed=1)
    assert result.counterexample is None
    assert result.matched > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_comparisons_tell_infinities_zeros_and_nans_apart(dtype):
    special = torch.tensor([float("inf"), -float("inf"), float("nan"), 0.0, -0.0, 1.0], dtype=dtype)
    assert same_bits(special, special.clone())
    assert close(special, special.clone())
    for i, a in enumerate(special):
        for j, b in enumerate(special):
            zeros = {i, j} == {3, 4}
            assert same_bits(a, b) == (i == j), (a, b)
            assert close(a, b) == (i == j or zeros), (a, b)
    assert not same_bits(special, special.double().half())
    assert not same_bits(special, special.reshape(2, 3))


EXTREMES = (0, 1, -128, 127, 2**11 + 1, 2**24 + 1, 2**31 - 1, -(2**31), 2**53 + 1, 2**63 - 1, 0.1, -1 / 3, 6e4, 1e30)


def held_by(dtype: str) -> torch.Tensor:
    """Numbers that use all of the dtype's digits."""
    of = TORCH_DTYPES[dtype]
    if of.is_floating_point or dtype == "bool":
        return torch.tensor(EXTREMES, dtype=torch.float64).to(of)
    within = torch.iinfo(of)
    return torch.tensor([n for n in EXTREMES if isinstance(n, int) and within.min <= n <= within.max], dtype=of)


@pytest.mark.parametrize("source", DTYPES)
def test_a_cast_is_left_out_only_where_it_changes_no_number(source):
    """Each pair of casts, such as int32 to float32 to int64, which must round 2^24 + 1."""
    x = held_by(source)
    for through in DTYPES:
        for to in DTYPES:
            builder, value = Builder(), Value("x", as_shape(x.shape), source)
            result = builder.emit("cast", builder.emit("cast", value, dtype=through), dtype=to)
            graph = Graph("casts", (), (value,), {}, tuple(builder.nodes), (result,))
            (expected,), (found,) = run_graph(graph, x), run_graph(with_rules(*EXACT)(graph), x)
            assert same_bits(found, expected), f"{source} to {through} to {to}: {found}, not {expected}"


WRONG = (
    Rule("add(x, 0.0)", "x"),  # -0 + 0 is 0
    Rule("mul(x, 0)", "full(value=0, shape=shape(result), dtype=dtype(x))"),  # NaN, infinities
    Rule("sub(x, x)", "full(value=0, shape=shape(x), dtype=dtype(x))"),
    Rule("div(x, x)", "full(value=1, shape=shape(x), dtype=dtype(x))"),
    Rule(
        "mul(mul(x, full(value=a)), full(value=b))",
        "mul(x, full(value=a * b, shape=(), dtype=dtype(x)))",
        "dtype(x) in FLOATS and shape(x) == shape(result)",
    ),
    Rule("div(x, full(value=c))", "mul(x, full(value=1 / c, shape=(), dtype=dtype(x)))", "dtype(x) in FLOATS and c"),
    Rule("sqrt(mul(x, x))", "abs(x)"),
    Rule("max(x, y)", "select(lt(x, y), y, x)", "dtype(x) in FLOATS"),  # a NaN in y
    Rule("permute(permute(x, order=p), order=q)", "permute(x, order=compose(q, p))", "len(set(shape(x))) == 1"),
    Rule("cast(cast(x), dtype=d)", "x", "dtype(x) == d"),
    Rule("exp(log(x))", "x", exact=False),  # negative numbers
    Rule("gelu(x, approximate='none')", "gelu(x, approximate='tanh')", exact=False),
)


@pytest.mark.parametrize("rule", WRONG, ids=str)
def test_planted_wrong_rule_is_caught(rule):
    found = search(rule, trials=600).counterexample
    assert found is not None
    equal = same_bits if rule.exact else close
    assert preserves(with_rules(), found.graph, found.inputs)
    assert not preserves(with_rules(rule), found.graph, found.inputs, equal)


def test_planted_wrong_rule_is_caught_on_random_graphs():
    def breaks(case) -> bool:
        return not preserves(with_rules(WRONG[0]), *case)

    @st.composite
    def cases(draw):
        graph = draw(graphs())
        return graph, inputs_for(draw, graph)

    graph, _ = find(cases(), breaks, settings=settings(max_examples=5000, phases=[Phase.generate]))
    assert any(node.op == "add" for node in graph.nodes)
    with pytest.raises(NoSuchExample):
        find(cases(), lambda case: not preserves(with_rules(EXACT[0]), *case), settings=settings(max_examples=50))


def test_counts_fall():
    text = """
    graph twice[B](x: float32[B, 4]):
        one: float32[] = full(value=1.0, shape=(), dtype='float32')
        a: float32[B, 4] = mul(x, one)
        s: float32[B, 4] = softmax(a, axis=1)
        t: float32[B, 4] = softmax(x, axis=1)
        unused: float32[B, 4] = exp(t)
        p: float32[4, B] = permute(s, order=(1, 0))
        q: float32[B, 4] = permute(p, order=(1, 0))
        r: float32[B, 4] = add(q, t)
        return r
    """
    graph, report = parse_graph(text), Report()
    optimized = optimize(graph, report)
    assert [node.op for node in optimized.nodes] == ["full", "reduce", "sub", "exp", "reduce", "div", "mul", "add"]
    assert report.rules["mul(x, 1) -> x"] == 1
    assert report.steps[0] == ("decompose", 8, 20)
    assert "softmax(x, axis=a)" in str(report)
    x = torch.randn(3, 4)
    torch.testing.assert_close(run_graph(optimized, x), run_graph(graph, x))


def test_constants_fold_where_they_do_not_grow():
    text = """
    graph fold(x: float32[4]):
        constant w: float32[4, 4]
        t: float32[4, 4] = permute(w, order=(1, 0))
        wide: float32[64, 4, 4] = expand(t, shape=(64, 4, 4))
        v: float32[64, 4, 4] = mul(wide, x)
        return v
    """
    folded = fold_constants(parse_graph(text, {"w": torch.randn(4, 4)}))
    assert [node.op for node in folded.nodes] == ["mul"]
    wide = parse_graph(text.replace("64", "65"), {"w": torch.randn(4, 4)})
    assert [node.op for node in fold_constants(wide).nodes] == ["expand", "mul"]


def test_tied_constants_are_merged():
    tensor = torch.randn(100)
    text = """
    graph tied(x: float32[100]):
        constant a: float32[100]
        constant b: float32[100]
        constant c: float32[100]
        y: float32[100] = add(x, a)
        z: float32[100] = add(x, b)
        u: float32[100] = add(x, c)
        return y, z, u
    """
    merged = eliminate_common_subexpressions(parse_graph(text, {"a": tensor, "b": tensor, "c": tensor.clone()}))
    assert sorted(merged.constants) == ["a", "c"]
    assert [value.name for value in merged.outputs] == ["y", "y", "u"]


def test_transposed_operands_need_no_copy():
    text = """
    graph product[B](x: float32[B, 8], w: float32[8, 4]):
        t: float32[4, 8] = permute(w, order=(1, 0))
        y: float32[B, 4] = matmul(x, t, transpose_b=True)
        return y
    """
    graph = eliminate_dead_code(with_rules(*TRANSPOSES)(parse_graph(text)))
    assert [(node.op, dict(node.attributes)) for node in graph.nodes] == [("matmul", {"transpose_b": False})]


def test_rules_that_go_on_for_ever_are_named():
    rules = (Rule("abs(x)", "neg(x)"), Rule("neg(x)", "abs(x)"))
    graph = parse_graph("graph g(x: float32[2]):\n    y: float32[2] = abs(x)\n    return y")
    with pytest.raises(InvalidRule, match="for ever"):
        rewrite(graph, rules)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("mull(x, 1)", "x", "no operator 'mull'"),
        ("mul(x, 1", "x", "never closed"),
        ("x", "x", "must be an operator"),
        ("permute(x, axis=a)", "x", "no attribute axis"),
        ("mul(x, 'one')", "x", "neither a node, a name nor a number"),
        ("mul(x, 1)", "x + 0", "neither a node, a name nor a number"),
    ],
)
def test_unreadable_rules_are_refused(pattern, replacement, message):
    with pytest.raises(InvalidRule, match=message):
        Rule(pattern, replacement)


def test_a_rule_that_changes_the_type_is_refused():
    graph = parse_graph("graph g[B](x: float32[B, 2]):\n    y: float32[B, 2] = abs(x)\n    return y")
    with pytest.raises(InvalidRule, match="gives"):
        rewrite(graph, [Rule("abs(x)", "cast(x, dtype='float64')")])
    with pytest.raises(InvalidRule, match="gives"):
        rewrite(graph, [Rule("abs(x)", "permute(x, order=(1, 0))")])


def test_a_pass_that_breaks_the_graph_is_caught(monkeypatch):
    graph = parse_graph("graph g(x: float32[2]):\n    y: float32[2] = abs(x)\n    z: float32[2] = exp(y)\n    return z")
    broken = Graph(graph.name, (), graph.inputs, {}, graph.nodes[1:], graph.outputs)
    monkeypatch.setitem(PASSES, "dce", lambda _: broken)
    with pytest.raises(InvalidGraph, match="y does not come before"):
        run_pass("dce", graph, Report())


def test_narrow_replacements_are_expanded():
    graph = parse_graph(
        "graph g(x: float32[4]):\n    one: float32[3, 4] = full(value=1.0, shape=(3, 4), dtype='float32')\n"
        "    y: float32[3, 4] = mul(x, one)\n    return y"
    )
    rewritten = eliminate_dead_code(with_rules(*EXACT)(graph))
    assert [node.op for node in rewritten.nodes] == ["expand"]


def test_half_precision_is_computed_in_float32():
    graph = parse_graph("graph g[B](x: bfloat16[B, 8]):\n    y: bfloat16[B, 8] = softmax(x, axis=1)\n    return y")
    decomposed = decompose(graph).graph
    assert {node.output.dtype for node in decomposed.nodes[:-1]} == {"float32"}
    x = torch.randn(5, 8, dtype=torch.bfloat16)
    assert same_bits(*run_graph(graph, x), *run_graph(optimize(graph), x))
