"""Arithmetic on indices: never wrong on random expressions, and strong enough for what schedules make."""

import itertools

import pytest
from examples import examples
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sysai.compiler.tir.accesses import evaluate
from sysai.compiler.tir.arith import affine, bounds, proves, simplify, size_ranges
from sysai.compiler.tir.expr import TRUE, Binary, Const, Select, Var, as_expr, binary, substitute, walk
from sysai.compiler.tir.polynomial import expression, polynomial

i, j, k, f, N, M = (Var(name) for name in ("i", "j", "k", "f", "N", "M"))


@st.composite
def integers(draw, depth=3, atoms=(i, j, N, M)):
    """Expressions of integers whose divisors are positive."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(st.one_of(st.sampled_from(atoms), st.builds(as_expr, st.integers(-9, 9))))
    op = draw(
        st.sampled_from(("add", "sub", "mul", "floordiv", "mod", "min", "max", "select", "add", "floordiv", "mod"))
    )
    a = draw(integers(depth=depth - 1, atoms=atoms))
    if op in ("floordiv", "mod"):
        return binary(op, a, draw(st.one_of(st.integers(1, 8).map(as_expr), st.sampled_from((N, M)))))
    b = draw(integers(depth=depth - 1, atoms=atoms))
    if op == "select":
        return Select(draw(conditions(depth=depth - 1)), a, b)
    return binary(op, a, b)


@st.composite
def conditions(draw, depth=2):
    if depth and draw(st.integers(0, 3)) == 0:
        return binary(draw(st.sampled_from(("and", "or"))), draw(conditions(depth - 1)), draw(conditions(depth - 1)))
    op = draw(st.sampled_from(("lt", "le", "eq", "ne", "lt", "le")))
    return binary(op, draw(integers(depth=2)), draw(integers(depth=2)))


RANGES = st.sampled_from(
    (
        {i: (0, N), j: (0, M), **size_ranges((N, M), 1)},
        {i: (0, N), j: (0, 8), **size_ranges((N, M), 1)},
        {i: (0, (N + 3) // 4), j: (0, 4), **size_ranges((N, M), 1)},
        {i: (0, N), j: (i, N), **size_ranges((N, M), 1)},
        {i: (-3, 5), j: (2, 6), N: (1, 7), M: (1, None)},
    )
)


def points(ranges):
    """Values of the variables within the ranges."""
    for n, m in itertools.product((1, 2, 5), (1, 3, 4)):
        sizes = {"N": n, "M": m}
        for first in range(*(evaluate(as_expr(end), sizes) for end in ranges[i])):
            outer = {**sizes, "i": first}
            for second in range(*(evaluate(as_expr(end), outer) for end in ranges[j])):
                yield {**outer, "j": second}


@examples(200)
@given(integers(), RANGES)
def test_simplify_keeps_the_value(expr, ranges):
    simple = simplify(expr, ranges)
    for point in points(ranges):
        assert evaluate(simple, point) == evaluate(expr, point), (expr, simple, point)


@examples(150)
@given(conditions(), RANGES)
def test_simplify_keeps_conditions(condition, ranges):
    simple = simplify(condition, ranges)
    for point in points(ranges):
        assert evaluate(simple, point) == evaluate(condition, point), (condition, simple, point)


@examples(200)
@given(integers(), RANGES)
def test_bounds_hold(expr, ranges):
    low, high = bounds(expr, ranges)
    for point in points(ranges):
        value = evaluate(expr, point)
        assert low is None or evaluate(low, point) <= value, (expr, low, point)
        assert high is None or value < evaluate(high, point), (expr, high, point)


@examples(200)
@given(conditions(), conditions(), RANGES)
def test_proofs_hold(condition, assumption, ranges):
    proved, under = proves(condition, ranges), proves(condition, ranges, [assumption])
    if not proved and not under:
        return
    for point in points(ranges):
        assert not proved or evaluate(condition, point), (condition, point)
        assert not under or not evaluate(assumption, point) or evaluate(condition, point), (
            condition,
            assumption,
            point,
        )


@examples(150)
@given(integers(depth=3, atoms=(i, j, N)), st.integers(1, 6))
@example((0 - j) % N, 1)
def test_equal_sums_become_one_tree(expr, factor):
    other = simplify((expr + j) * factor - factor * j)
    if any(isinstance(node, Binary) and node.op == "mod" for node in walk(expr)):
        # x % c + y may have become x + y - x // c * c, which is not taken apart again
        for values in itertools.product(range(-3, 4), range(-3, 4), (1, 3), (1, 4)):
            point = dict(zip("ijNM", values, strict=True))
            assert evaluate(other, point) == evaluate(expr * factor, point)
    else:
        assert other == simplify(expr * factor)


@examples(150)
@given(integers(depth=3))
def test_simplify_again_changes_nothing(expr):
    simple = simplify(expr)
    assert simplify(simple) == simple


@examples(150)
@given(integers(depth=3), st.integers(-20, 20))
def test_affine(expr, by):
    """The coefficients tell how the value changes with the variable."""
    split = affine(expr, [i, j])
    assume(split is not None)
    coefficients, rest = split
    assert not {i, j} & set(walk(rest))
    total = rest
    for variable, coefficient in coefficients.items():
        total = total + coefficient * variable
    for point in ({"i": by, "j": 2, "N": 3, "M": 5}, {"i": 1, "j": by, "N": 2, "M": 1}):
        assert evaluate(total, point) == evaluate(expr, point)


LOOPS = {i: (0, N), j: (0, M), k: (0, 8), f: (0, N * M), **size_ranges((N, M))}
TILES = {i: (0, (N + 7) // 8), k: (0, 8), **size_ranges((N, M))}


@pytest.mark.parametrize(
    ("expr", "simple"),
    [
        ((i + 1) * 4 - 4 * i, "4"),
        ((i * M + j) // M, "i"),
        ((i * M + j) % M, "j"),
        ((i * 8 + k) // 8, "i"),
        ((i * 8 + k) % 8, "k"),
        (f // M * M + f % M, "f"),
        (f // 32 * 32 + f // 8 % 4 * 8 + f % 8, "f"),
        ((i + j) // 8 * 8 * M + (i + j) % 8 * M, "M * i + M * j"),
        ((N - 1) // 8 + 1, "(N + 7) // 8"),
        ((i * 2 + 1) // 8, "i // 4"),
        (binary("min", i, N), "i"),
        (binary("max", i - N, as_expr(0)), "0"),
        (Select(i < N, j, k), "j"),
        ((i % 32) // 8, "i // 8 % 4"),
        (i // 4 // 8, "i // 32"),
        (N - i - N, "0 - i"),
        (i * N * M // (N * M), "i"),
    ],
)
def test_simplify(expr, simple):
    assert str(simplify(expr, LOOPS)) == simple


@pytest.mark.parametrize(
    ("expr", "low", "high"),
    [
        (i * 4, "0", "N * 4 - 3"),
        (i * M + j, "0", "M * N"),
        (f // M, "0", "N"),
        (f % M, "0", "M"),
        (i + k - 7, "-7", "N"),
        (N - i, "1", "N + 1"),
        (k // 3, "0", "3"),
    ],
)
def test_bounds(expr, low, high):
    assert tuple(map(str, bounds(expr, LOOPS))) == (low, high)


@pytest.mark.parametrize(
    ("condition", "ranges", "assuming"),
    [
        (i * 8 + k < (N + 7) // 8 * 8, TILES, ()),
        (i * 8 + k < N + 7, TILES, ()),
        (i * 8 + k < N, TILES, [i * 8 + k < N]),
        (i * 8 < N, TILES, ()),
        (i * 8 < N, TILES, [i * 8 + k < N]),
        (f // M < N, LOOPS, ()),
        (as_expr(1) <= N, {i: (0, N)}, ()),
        (binary("min", N - i * 8, as_expr(8)) <= 8, TILES, ()),
        (i * 8 + j < N, {i: (0, (N + 7) // 8), j: (0, binary("min", as_expr(8), N - i * 8)), N: (0, None)}, ()),
        (i - 1 >= 0, LOOPS, [binary("and", as_expr(0) < i, i <= N)]),
        (i * M + j < N * M, LOOPS, ()),
        (binary("or", i < 0, i >= 0), LOOPS, ()),
        (binary("ne", i, N), LOOPS, ()),
    ],
)
def test_proves(condition, ranges, assuming):
    assert proves(condition, ranges, assuming)


@pytest.mark.parametrize("condition", [i * 8 + k < N, i < 5, N > 0, binary("eq", i, k), M * N >= M])
def test_does_not_prove_what_is_wrong(condition):
    assert not proves(condition, TILES)


def test_floats_stay():
    x = Const(0.5, "float32")
    assert simplify(Select(i < N, x + x, x), LOOPS) == x + x
    assert simplify(binary("and", i < N, x < x), LOOPS) != TRUE


def test_zeros_of_either_sign_are_told_apart():
    assert Const(0.0, "float32") != Const(-0.0, "float32") == Const(-0.0, "float32")
    for zero in (0.0, -0.0, 0.0):
        assert str(simplify(Select(i < N, Const(zero, "float32"), Const(1.0, "float32")), LOOPS)) == f"float32({zero})"


def test_expression_of_polynomial():
    value = polynomial((i + j) * (i - j))
    assert str(expression(value)) == "i * i - j * j"
    assert substitute(expression(value), {i: 5, j: 3}) == as_expr(16)
