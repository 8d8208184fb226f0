"""The interpreter against numpy and torch, and what it refuses."""

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from random_programs import arrays_for, programs, sizes_of
from schedule_programs import decomposed
from sysai.compiler.errors import EmptyReduction, UndefinedResult
from sysai.compiler.tir.interpret import infer_sizes, interpret, rounded
from sysai.compiler.tir.text import parse


@examples(60)
@given(programs(), st.data())
def test_random_programs_are_defined(function, data):
    sizes = data.draw(sizes_of(function))
    assert interpret(function, arrays_for(function, sizes)) == sizes


def elementwise(value, dtype="float32", out=None):
    text = f"def f(N: size, A: {dtype}[N], B: {dtype}[N], C: {out or dtype}[N]):\n"
    text += '    for i in range(N):\n        with block("C"):\n            v = spatial(N, i)\n'
    return parse(text + f"            C[v] = {value}\n")


def run(value, a, b, out=None):
    function = elementwise(value, str(a.dtype), out and str(np.dtype(out)))
    c = np.zeros(a.shape, out or a.dtype)
    interpret(function, {"A": a, "B": b, "C": c})
    return c


SPECIAL = np.array([0.0, -0.0, 1.5, -2.25, np.inf, -np.inf, np.nan, 1e-30, 88.0, -3.0], np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "function", ["exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sigmoid", "sin", "cos", "abs", "floor", "pow2"]
)
def test_functions_are_those_of_torch(function, dtype):
    x = SPECIAL.astype(dtype)
    name = {"pow2": "exp2"}.get(function, function)
    torch.testing.assert_close(
        torch.from_numpy(run(f"{function}(A[v])", x, x)),
        getattr(torch, name)(torch.from_numpy(x)),
        equal_nan=True,
    )


@pytest.mark.parametrize("function", ["min", "max"])
def test_extremes_propagate_nan(function):
    a, b = (part.ravel().copy() for part in np.meshgrid(SPECIAL, SPECIAL))
    expected = {"min": torch.minimum, "max": torch.maximum}[function](torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_array_equal(run(f"{function}(A[v], B[v])", a, b), expected.numpy())


def test_integers_round_down_and_wrap_around():
    a = np.array([7, -7, 7, -7, 2**31 - 1], np.int32)
    b = np.array([2, 2, -2, -2, 1], np.int32)
    assert run("A[v] // B[v]", a, b).tolist() == [3, -4, -4, 3, 2**31 - 1]
    assert run("A[v] % B[v]", a, b).tolist() == [1, 1, -1, -1, 0]
    assert run("A[v] + B[v]", a, b)[-1] == -(2**31)
    assert run("cast(int64, A[v]) + 1", a, b, np.int64)[-1] == 2**31


def test_casts_round_towards_zero():
    a = np.array([1.75, -1.75, 0.0, 2.5], np.float32)
    assert run("cast(int32, A[v])", a, a, np.int32).tolist() == [1, -1, 0, 2]
    assert run("cast(bool, A[v])", a, a, np.bool_).tolist() == [True, True, False, True]


@given(st.floats(width=32, allow_nan=False))
def test_bfloat16_is_that_of_torch(x):
    expected = torch.tensor(x, dtype=torch.float32).bfloat16().float().item()
    assert rounded(np.float32(x), "bfloat16") == expected


def test_float32_arithmetic_is_not_float64():
    a, b = np.array([1e8], np.float32), np.array([1.0], np.float32)
    assert run("A[v] + B[v] - A[v]", a, b)[0] == 0.0


SUM = """def f(M: size, K: size, A: float64[M, K], B: float64[M]):
    for i_0 in range((M + 3) // 4):
        for k in range(K):
            for i_1 in range(4):
                with block("B"):
                    v = spatial(M, i_0 * 4 + i_1)
                    r = reduce(K, k)
                    where(i_0 * 4 + i_1 < M)
                    B[v] = init(float64(1.0))
                    B[v] += A[v, r]
"""


def test_predicate_init_and_combine():
    A, B = np.random.default_rng(0).normal(size=(6, 5)), np.full(6, np.nan)
    assert interpret(parse(SUM), {"A": A, "B": B}) == {"M": 6, "K": 5}
    np.testing.assert_allclose(B, 1 + A.sum(axis=1))
    without_init = parse(SUM.replace("                    B[v] = init(float64(1.0))\n", ""))
    interpret(without_init, {"A": A, "B": B})
    np.testing.assert_allclose(B, 1 + 2 * A.sum(axis=1))


def test_a_reduction_over_nothing_needs_a_beginning_of_its_own():
    function, B = parse(SUM), np.full(6, np.nan)
    with pytest.raises(EmptyReduction, match="block B reduces over an empty axis"):
        interpret(function, {"A": np.zeros((6, 0)), "B": B})
    interpret(function, {"A": np.zeros((0, 0)), "B": np.zeros(0)})
    interpret(decomposed(function), {"A": np.zeros((6, 0)), "B": B})
    assert B.tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("value", "message"),
    [("A[v + 1]", r"A\[4\], outside \[4\]"), ("A[v - 1]", r"A\[-1\], outside")],
)
def test_refuses_indices_outside(value, message):
    x = np.zeros(4, np.float32)
    with pytest.raises(UndefinedResult, match=message):
        run(value, x, x)


def test_refuses_division_by_zero_and_undefined_elements():
    x = np.zeros(4, np.int32)
    with pytest.raises(UndefinedResult, match="division by zero"):
        run("A[v] // B[v]", x, x)
    text = 'def f(A: float32[2]):\n    with allocate(float32[2], "local") as T:\n'
    text += '        with block("T"):\n            T[0] = A[0]\n        with block("A"):\n            A[0] = T[1]\n'
    with pytest.raises(UndefinedResult, match=r"T\[1\] is read before it is stored"):
        interpret(parse(text), {"A": np.zeros(2, np.float32)})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"A": (2, 3)}, "no array for buffer B"),
        ({"A": (2, 3), "B": (2, 1)}, "B has 1 dimensions"),
        ({"A": (2, 3), "B": (3,)}, r"B should have shape \[2\]"),
    ],
)
def test_refuses_shapes(shapes, message):
    with pytest.raises(ValueError, match=message):
        infer_sizes(parse(SUM), shapes)


def test_refuses_dtypes_and_unknown_sizes():
    x = np.zeros(4, np.float64)
    with pytest.raises(ValueError, match="A is float32, the array is float64"):
        interpret(elementwise("A[v]"), {"A": x, "B": x, "C": x})
    text = "def f(N: size, A: float32[N * 2]):\n    pass\n"
    with pytest.raises(ValueError, match="the shapes don't tell N"):
        infer_sizes(parse(text), {"A": (4,)})
    assert infer_sizes(parse(text), {"A": (4,)}, {"N": 2}) == {"N": 2}
