"""Printing and parsing: a program survives the round trip; what is no program is refused, with its line."""

import pytest
from examples import examples
from hypothesis import given
from random_programs import programs
from sysai.compiler.errors import ParseError
from sysai.compiler.tir.expr import Binary, Const, Select, Var
from sysai.compiler.tir.text import parse, print_function

EXAMPLE = """def f(M: size, A: float32[M, 64], B: float32[64, 32], C: float32[M, 32], D: int64[()]):
    for i_0 in parallel((M + 7) // 8):
        with allocate(float32[8, 32], "local") as T:
            for i_1 in unrolled(8):
                for j in vectorized(32):
                    for k in range(64):
                        with block("T"):
                            vt = spatial((M + 7) // 8, i_0)
                            vi = spatial(8, i_1)
                            vj = spatial(32, j)
                            vk = reduce(64, k)
                            where(i_0 * 8 + i_1 < M)
                            T[vi, vj] = init(float32('-inf'))
                            T[vi, vj] = combine(max, A[vt * 8 + vi, vk] * B[vk, vj] - (A[0, 0] - B[0, 0]))
            if i_0 == 0 and M != 3:
                with block("D"):
                    D[()] += cast(int64, select(M < 4 or M == 9, exp(T[0, 0]), float32(1e-05))) // 3 % -2
    pass
"""


@examples(60)
@given(programs())
def test_round_trip(function):
    assert parse(print_function(function)) == function


def test_text_round_trip():
    text = EXAMPLE.removesuffix("    pass\n")
    assert print_function(parse(EXAMPLE)) == text
    assert parse(text) == parse(EXAMPLE)


def test_long_heads_and_empty_bodies():
    head = ", ".join(f"buffer_{i}: float32[16, 16]" for i in range(9))
    function = parse(f"def f({head}):\n    pass\n")
    assert max(map(len, print_function(function).splitlines())) < 80
    assert parse(print_function(function)) == function


def test_parentheses_keep_the_tree():
    a, b, c = (Var(name) for name in "abc")
    assert str(a - (b - c)) == "a - (b - c)"
    assert str((a - b) - c) == "a - b - c"
    assert str((a + b) * c // (b * c)) == "(a + b) * c // (b * c)"
    assert str(Binary("and", a < b, Binary("or", b < c, a < c))) == "a < b and (b < c or a < c)"
    assert str(Binary("eq", a < b, b < c)) == "(a < b) == (b < c)"
    assert str(Select(a < b, a, Const(1, "int64")) + 1) == "select(a < b, a, 1) + 1"


HEAD = "def f(N: size, A: float32[N], B: float32[N]):\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "line 1: a program is one function"),
        ("def f(N: size:\n    pass\n", "line 1: "),
        ("def f(A):\n    pass\n", "line 1: say what A is"),
        ("def f(A: float31[4]):\n    pass\n", "line 1: not the type of a buffer"),
        ("def f(A: float32[N]):\n    pass\n", "line 1: no variable N here"),
        ("def f(*A):\n    pass\n", "line 1: parameters are plain names"),
        (HEAD + "    return A\n", "line 2: not a statement of a program: return A"),
        (HEAD + "    while N:\n        pass\n", "line 2: not a statement"),
        (HEAD + "    for i in sideways(N):\n        pass\n", "line 2: no loop sideways"),
        (HEAD + "    for N in range(4):\n        pass\n", "line 2: N is already defined"),
        (HEAD + "    if N:\n        pass\n", "line 2: N is int64, but a condition is bool"),
        (HEAD + "    with allocate(float32[4], 'moon') as T:\n        pass\n", "line 2: no scope 'moon'"),
        (HEAD + "    with block('B'):\n        v = spatial(N, 0)\n", "line 2: block B stores nothing"),
        (
            HEAD + "    with block('B'):\n        B[0] = A[0]\n        B[1] = A[1]\n",
            "line 4: block B stores one element",
        ),
        (
            HEAD + "    with block('B'):\n        B[0] = init(float32(0.0))\n        B[1] += A[1]\n",
            "line 4: .*initializes",
        ),
        (HEAD + "    with block('B'):\n        B[0] = A[0] + 1\n", "line 3: .*is float32 and 1 is int64"),
        (HEAD + "    with block('B'):\n        B[0] = A[0, 0]\n", "line 3: A has 1 dimensions and 2 indices"),
        (HEAD + "    with block('B'):\n        B[0] = Z[0]\n", "line 3: no buffer Z here"),
        (HEAD + "    with block('B'):\n        B[0] = gamma(A[0])\n", "line 3: no function gamma of 1 arguments"),
        (HEAD + "    with block('B'):\n        B[0] = float32(N)\n", "line 3: .*is not a number"),
        (HEAD + "    with block('B'):\n        B[0] = combine(xor, A[0])\n", "line 3: no combiner xor"),
        (HEAD + "    with block('B'):\n        B[0] = (A[0] < A[1]) + (A[0] < A[1])\n", "line 3: add of truth values"),
        (HEAD + "    with block('B'):\n        B[0] = [A[0]]\n", "line 3: not an expression"),
        (
            HEAD + "    with block('B'):\n        v = spatial(N, 0)\n        where(v < 1)\n        B[v] = A[v]\n",
            "no variable v",
        ),
    ],
)
def test_refuses(text, message):
    with pytest.raises(ParseError, match=message):
        parse(text)
