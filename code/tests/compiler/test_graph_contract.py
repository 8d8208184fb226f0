"""Sizes, operators, the verifier and the text of graphs: what is refused, and in which words."""

import subprocess
import sys
from dataclasses import replace
from inspect import signature

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.interpret import run_graph
from sysai.compiler.graph.operators import CORE, INJECTIVE, OPERATORS, infer
from sysai.compiler.graph.sizes import as_shape, canonical, evaluate, same
from sysai.compiler.graph.text import parse_graph, print_graph
from sysai.compiler.graph.verify import verify
from sysai.compiler.tir.expr import Const, Expr, Var, binary

B, T = Var("B"), Var("T")
X = Value("x", as_shape((B, T, 8)), "float32")
W = Value("w", as_shape((4, 8)), "float32")
I = Value("i", as_shape((B, T)), "int64")
C = Value("c", as_shape((B, T, 1)), "bool")


@st.composite
def sizes(draw, depth: int = 4) -> Expr:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from([B, T, *(Const(value, "int64") for value in (-2, 0, 1, 3, 8))]))
    op = draw(st.sampled_from(["add", "sub", "mul", "floordiv", "mod", "min", "max"]))
    a, b = draw(sizes(depth - 1)), draw(sizes(depth - 1))
    return binary(op, a, Const(draw(st.integers(1, 5)), "int64") if op in ("floordiv", "mod") else b)


@examples(150)
@given(sizes(), st.integers(0, 7), st.integers(0, 7))
def test_canonical_sizes_have_the_same_value(size, batch, length):
    numbers = {"B": batch, "T": length}
    assert evaluate(canonical(size), numbers) == evaluate(size, numbers)
    assert canonical(canonical(size)) == canonical(size)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (4 * (T + 2) - 8, T * 4),
        (B * T * 8 // (T * 8), B),
        ((T - 2) // 2 + 1, T // 2),
        (T * B, B * T),
        ((4 * T) % 4, 0),
        (binary("min", T, T + 1), T),
        ((B + T) * (B + T), B * B + 2 * B * T + T * T),
    ],
)
def test_two_ways_to_write_a_size(a, b):
    assert same(a, b)
    assert not same(a, b + Const(1, "int64"))


def test_conditions_on_sizes():
    condition = binary("or", binary("and", binary("lt", B, T), binary("ne", B, 3)), binary("eq", B, 7))
    assert [evaluate(condition, {"B": batch, "T": 5}) for batch in (2, 3, 5, 7)] == [True, False, False, True]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("fma", [X], {}, "no operator 'fma'"),
        ("exp", [X, X], {}, "takes 1 operands, not 2"),
        ("exp", [X], {"axis": 0}, r"attributes \[\], not \['axis'\]"),
        ("add", [X, W], {}, "sizes T, 4 of axis -2 do not fit together"),
        ("add", [X, I], {}, "cast them to one dtype"),
        ("add", [C, C], {}, "does not take bool"),
        ("exp", [I], {}, "takes floats"),
        ("and", [I, I], {}, "takes bool"),
        ("select", [X, X, X], {}, "condition is float32"),
        ("cast", [X], {"dtype": "float8"}, "no dtype 'float8'"),
        ("full", [], {"value": 0.5, "shape": (), "dtype": "int64"}, "no number of int64"),
        ("full", [], {"value": 1, "shape": (), "dtype": "bool"}, "no number of bool"),
        ("reduce", [X], {"combine": "add", "axes": (3,), "keepdim": True}, r"axes \[3\] must lie in 0..2"),
        ("reduce", [X], {"combine": "add", "axes": (1, 1), "keepdim": True}, "name one twice"),
        ("reduce", [X], {"combine": "mean", "axes": (1,), "keepdim": True}, "no way 'mean'"),
        ("matmul", [X, W], {"transpose_b": False}, "inner sizes 8 and 4 differ"),
        ("reshape", [X], {"shape": as_shape((B, T, 9))}, r"B \* T \* 8 elements do not fill"),
        ("permute", [X], {"order": (0, 0, 1)}, "must name each of the axes"),
        ("expand", [X], {"shape": as_shape((B, T, 16))}, "do not fit together"),
        ("slice", [W], {"axis": 0, "start": 2, "stop": 5, "step": 1}, "must be in order within 0..4"),
        ("slice", [W], {"axis": 0, "start": 0, "stop": 4, "step": -1}, "positive"),
        ("concat", [X, W], {"axis": 0}, "must be equal but for axis 0"),
        ("gather", [W, X], {"axis": 0}, "must be int64"),
        ("layer_norm", [X], {"axes": (0,), "eps": 1e-5}, "must be the last ones"),
        ("linear", [X, X], {}, "must be a matrix"),
        ("conv2d", [X, W], dict.fromkeys(("stride", "padding", "dilation", "groups"), 1), r"\[B, C, H, W\]"),
    ],
)
def test_operators_refuse_what_they_do_not_take(op, inputs, attributes, message):
    with pytest.raises(InvalidGraph, match=message):
        infer(op, inputs, attributes)


def test_what_is_composite_and_nothing_else_has_decompositions():
    assert [name for name, operator in OPERATORS.items() if operator.decompositions] == [
        name for name in OPERATORS if name not in CORE
    ]


@pytest.mark.parametrize("name", OPERATORS)
def test_functions_of_a_row_take_its_operands_and_attributes(name):
    operator = OPERATORS[name]
    attributes = dict.fromkeys(operator.attributes)
    least, most = operator.arity
    for count in {least, min(most, least + 2)}:
        signature(operator.infer).bind(*[X] * count, **attributes)
        signature(operator.reference).bind(torch, *[X] * count, **attributes)
    with pytest.raises(TypeError):
        signature(operator.reference).bind(torch, *[X] * least, **attributes, other=0)


def test_every_operator_is_documented_by_class():
    assert {"add", "select", "reduce", "matmul", "fallback"} <= set(CORE)
    assert "softmax" in OPERATORS
    assert "softmax" not in CORE
    assert all(OPERATORS[name].injective == (OPERATORS[name].kind in INJECTIVE) for name in OPERATORS)
    assert OPERATORS["gather"].injective
    assert not OPERATORS["reduce"].injective


TEXT = """graph small[B](x: float32[B, 2]):
    where B < 9
    constant w: float32[2]
    y: float32[B, 2] = add(x, w)
    z: float32[B, 2] = exp(y)
    return z, x"""
SMALL = parse_graph(TEXT, {"w": torch.ones(2)})


def test_text_is_stable():
    assert print_graph(SMALL) == TEXT
    assert (
        print_graph(
            replace(SMALL, nodes=(replace(SMALL.nodes[0], origin="m.py:3"), SMALL.nodes[1])), origins=True
        ).count("# m.py:3")
        == 1
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": SMALL.nodes[::-1]}, "y does not come before it"),
        ({"nodes": (*SMALL.nodes, SMALL.nodes[1])}, "name z is given twice"),
        ({"nodes": (SMALL.nodes[0], replace(SMALL.nodes[1], op="log2"))}, "no operator 'log2'"),
        ({"nodes": (SMALL.nodes[0], replace(SMALL.nodes[1], output=Value("z", (B,), "float32")))}, "is said to give"),
        ({"nodes": (replace(SMALL.nodes[0], output=replace(X, name="y")), SMALL.nodes[1])}, "is said to give"),
        ({"outputs": (X,)}, "is no value of the graph"),
        ({"sizes": ()}, "B is no size of the graph"),
        ({"sizes": (B, T)}, "must be sizes of inputs' axes"),
        ({"inputs": (replace(SMALL.inputs[0], name="w"),)}, "given twice"),
        ({"inputs": (replace(SMALL.inputs[0], name="for"),)}, "no identifier"),
        ({"constants": {"w": torch.ones(2, dtype=torch.complex64)}}, "which is made as w: complex64"),
        ({"constants": {"w": torch.ones(3)}}, "w: float32"),
        ({"conditions": (binary("lt", T, 3),)}, "T is no size"),
    ],
)
def test_the_verifier_refuses(change, message):
    verify(SMALL)
    with pytest.raises(InvalidGraph, match=message):
        verify(replace(SMALL, **change))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("add(x, w)", "add(x, v)", r"line 4.*'v'"),
        ("add(x, w)", "add(x, w", r"line 4.*never closed"),
        ("add(x, w)", "plus(x, w)", "no operator 'plus'"),
        ("y: float32[B, 2]", "y: float32[B, 3]", "is said to give"),
        ("    return z, x", "", "does not end with `return`"),
        ("constant w", "constant v", "tensor of constant v is not given"),
        ("where B < 9", "where B + 'a'", "not an expression"),
        ("y: float32[B, 2] = add(x, w)", "y = add(x, w)", "expected `name"),
    ],
)
def test_the_parser_says_which_line(old, new, message):
    with pytest.raises(InvalidGraph, match=message):
        parse_graph(TEXT.replace(old, new), {"w": torch.ones(2)})


def test_interpreter_binds_and_checks_sizes():
    outputs = run_graph(SMALL, torch.zeros(3, 2))
    assert torch.equal(outputs[0], torch.full((3, 2), 1.0).exp())
    with pytest.raises(ValueError, match="compiled for sizes with B < 9, not for B = 9"):
        run_graph(SMALL, torch.zeros(9, 2))


def test_sizes_are_values_too():
    text = """
    graph mean[B](x: float32[B]):
        n: float32[] = full(value=B * 2, shape=(), dtype='float32')
        y: float32[B] = div(x, n)
        return y
    """
    assert torch.equal(run_graph(parse_graph(text), torch.ones(4))[0], torch.full((4,), 0.125))


def test_slices_that_do_not_exist_are_refused():
    text = "graph g[B](x: float32[B]):\n y: float32[3] = slice(x, axis=0, start=1, stop=4, step=1)\n return y"
    graph: Graph = parse_graph(text)
    assert run_graph(graph, torch.arange(5.0))[0].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="do not exist along an axis of size 2"):
        run_graph(graph, torch.arange(2.0))


def test_operators_and_passes_need_no_torch():
    code = "import sys, sysai.compiler.graph.operators, sysai.compiler.passes; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
