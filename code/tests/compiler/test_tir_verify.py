"""Verification: valid programs pass; a breach of each rule is refused, and the message names it."""

from dataclasses import replace

import pytest
from examples import examples
from hypothesis import given
from random_programs import programs
from sysai.compiler.errors import InvalidProgram
from sysai.compiler.tir.expr import Cast, Const, Load, Var
from sysai.compiler.tir.statement import Block, transform_statement
from sysai.compiler.tir.text import parse
from sysai.compiler.tir.verify import verify_function


@examples(50)
@given(programs())
def test_random_programs_are_valid(function):
    verify_function(function)


def program(body, head="N: size, A: float32[N], B: float32[N], C: float32[8, 8]"):
    lines = body.strip("\n").split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    return parse(f"def f({head}):\n" + "\n".join("    " + line[indent:] for line in lines) + "\n")


VALID = {
    "split with a predicate, parallel": """
        for i_0 in parallel((N + 7) // 8):
            for i_1 in vectorized(8):
                with block("B"):
                    v = spatial(N, i_0 * 8 + i_1)
                    where(i_0 * 8 + i_1 < N)
                    B[v] = A[v]
        """,
    "fused": """
        for f in parallel(64):
            with block("C"):
                v = spatial(8, f // 8)
                w = spatial(8, f % 8)
                C[v, w] = float32(1.0)
        """,
    "a partial sum of each parallel iteration": """
        for i in parallel(8):
            with allocate(float32[1], "local") as T:
                for k in range(8):
                    with block("T"):
                        u = spatial(8, i)
                        r = reduce(8, k)
                        T[0] = init(float32(0.0))
                        T[0] += C[u, r]
                with block("C"):
                    u = spatial(8, i)
                    C[u, 0] = T[0]
        """,
    "padding under a select": """
        for i in range(N):
            with block("B"):
                v = spatial(N, i)
                B[v] = select(0 < v, A[v - 1], float32(0.0))
        """,
    "the branch for else": """
        for i in range(N):
            with block("B"):
                v = spatial(N, i)
                B[v] = select(v < 1, float32(0.0), A[v - 1])
        """,
    "a condition on data says nothing of indices": """
        for i in range(N):
            with block("B"):
                v = spatial(N, i)
                B[v] = select(A[v] < float32(0.0), A[v - 1], float32(0.0))
        """,
    "no iterations": """
        for i in range(0):
            with block("B"):
                v = spatial(N, i + N)
                B[v] = A[v]
        """,
}


@pytest.mark.parametrize("name", VALID)
def test_valid(name):
    verify_function(program(VALID[name]))


BROKEN = {
    "split without a predicate": (
        """
        for i_0 in range((N + 7) // 8):
            for i_1 in range(8):
                with block("B"):
                    v = spatial(N, i_0 * 8 + i_1)
                    B[v] = A[v]
        """,
        r"axis v is 1, outside its extent N \(at N=1, i_0=0, i_1=1\)",
    ),
    "read outside": (
        """
        for i in range(N):
            with block("B"):
                v = spatial(N, i)
                B[v] = A[v + 1]
        """,
        r"A\[1\] is outside the shape \[1\]",
    ),
    "read outside of a long array, at its end": (
        """
        for i in range(100000):
            with block("B"):
                v = spatial(100000, i)
                B[v] = A[v + 1]
        """,
        r"A\[100000\] is outside",
        "A: float32[100000], B: float32[100000]",
    ),
    "one element for two axes": (
        """
        for i in range(8):
            for j in range(8):
                with block("C"):
                    v = spatial(8, i)
                    w = spatial(8, j)
                    C[v, v] = A[w]
        """,
        r"C\[0, 0\] is written for spatial axes \[0, 0\] and again for \[0, 1\]",
        "A: float32[8], C: float32[8, 8]",
    ),
    "parallel sum": (
        """
        for i in range(8):
            for k in parallel(8):
                with block("C"):
                    v = spatial(8, i)
                    r = reduce(8, k)
                    C[v, 0] = init(float32(0.0))
                    C[v, 0] += C[v, r]
        """,
        r"touched by several iterations of the parallel loop k",
    ),
    "vectorized recurrence": (
        """
        for i in vectorized(N - 1):
            with block("B"):
                v = spatial(N, i + 1)
                B[v] = B[v - 1]
        """,
        r"B\[1\] is touched by several iterations of the vectorized loop i",
    ),
    "parallel iterations half an array apart": (
        """
        for i in parallel(1000):
            with block("B"):
                v = spatial(1000, i)
                B[v % 500] = A[v]
        """,
        r"B\[0\] is touched by several iterations of the parallel loop i",
        "A: float32[1000], B: float32[500]",
    ),
    "shared scratch in a parallel loop": (
        """
        with allocate(float32[1], "local") as T:
            for i in parallel(N):
                with block("T"):
                    v = spatial(N, i)
                    T[0] = A[v]
                with block("B"):
                    v = spatial(N, i)
                    B[v] = T[0]
        """,
        r"T\[0\] is touched by several iterations of the parallel loop i",
    ),
    "a term twice": (
        """
        for again in range(2):
            for k in range(8):
                with block("B"):
                    r = reduce(8, k)
                    B[0] += C[0, r]
        """,
        r"B\[0\] gets the term for reduction axes \[0\] twice",
    ),
    "use before definition": (
        """
        with allocate(float32[N], "global") as T:
            for i in range(N):
                with block("B"):
                    v = spatial(N, i)
                    B[v] = T[v]
            for i in range(N):
                with block("T"):
                    v = spatial(N, i)
                    T[v] = A[v]
        """,
        "reads T, in which nothing is stored before it",
    ),
    "half is stored": (
        """
        with allocate(float32[8], "global") as T:
            for i in range(4):
                with block("T"):
                    v = spatial(4, i)
                    T[v] = C[0, v]
            for i in range(8):
                with block("C"):
                    v = spatial(8, i)
                    C[1, v] = T[v]
        """,
        r"T\[4\] is read before anything is stored there",
    ),
    "two blocks of one name": (
        """
        for i in range(N):
            with block("B"):
                v = spatial(N, i)
                B[v] = A[v]
        for i in range(N):
            with block("B"):
                v = spatial(N, i)
                B[v] = A[v]
        """,
        "two blocks are named B",
    ),
    "reduction without combining": (
        """
        for k in range(8):
            with block("B"):
                r = reduce(8, k)
                B[0] = C[0, r]
        """,
        "does not combine",
    ),
    "stores another dtype": (
        """
        for i in range(N):
            with block("B"):
                v = spatial(N, i)
                B[v] = v
        """,
        "stores int64 in B: cast it to float32",
    ),
    "init without a reduction": (
        """
        with block("B"):
            B[0] = init(float32(0.0))
            B[0] = A[0]
        """,
        "nothing to combine",
    ),
    "init of another dtype": (
        """
        with block("B"):
            B[0] = init(float64(0.0))
            B[0] += A[0]
        """,
        "the init is float64",
    ),
    "reserved name": (
        """
        for exp in range(N):
            with block("B"):
                v = spatial(N, exp)
                B[v] = A[v]
        """,
        "exp has a meaning",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name):
    text, message, *head = BROKEN[name]
    with pytest.raises(InvalidProgram, match=message):
        verify_function(program(text, *head))


def changed(change):
    """A copy B = A in which `change` replaces the block."""
    function = program(VALID["padding under a select"])
    body = transform_statement(function.body, lambda stmt: change(stmt) if isinstance(stmt, Block) else None)
    return replace(function, body=body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda block: replace(block, value=Load(block.buffer, (Var("i"),))), "uses i, which is not defined there"),
        (lambda block: replace(block, value=Load(replace(block.buffer, name="Z"), block.indices)), "uses buffer Z"),
        (lambda block: replace(block, indices=()), "has 0 indices for 1 dimensions"),
        (lambda block: replace(block, axes=()), "uses v, which is not defined there"),
        (lambda block: replace(block, predicate=Var("i")), "is no condition"),
        (lambda block: replace(block, combine="xor"), "combines by xor"),
        (lambda block: replace(block, value=Cast("float8", block.value)), "stores float8|no dtype float8"),
        (lambda block: replace(block, indices=(Const(0.0, "float32"),)), "is float32, an index is int64"),
        (lambda block: replace(block, axes=(replace(block.axes[0], kind="free"),)), "is free"),
    ],
)
def test_broken_trees(change, message):
    """Programs that the parser would not make."""
    with pytest.raises(InvalidProgram, match=message):
        verify_function(changed(change))
