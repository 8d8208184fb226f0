"""Programs as a lowering makes them, one nest for each operator, and the comparison of a schedule with its function."""

from dataclasses import replace

import numpy as np
from sysai.compiler.schedule.schedule import Schedule, Trace, replay
from sysai.compiler.tir.interpret import infer_sizes, interpret
from sysai.compiler.tir.statement import (
    PARALLEL,
    VECTORIZED,
    For,
    PrimFunc,
    Seq,
    Stmt,
    blocks,
    substitute_loops,
    transform_statement,
)
from sysai.compiler.tir.text import parse, print_function
from sysai.compiler.tir.verify import verify_function


def matmul(m: int | None = None, n: int | None = None, k: int | None = None) -> PrimFunc:
    """C = A B; a size that is not given is symbolic."""
    sizes = dict(zip("MNK", (m, n, k), strict=True))
    parameters = "".join(f"{name}: size, " for name, value in sizes.items() if value is None)
    M, N, K = (name if value is None else value for name, value in sizes.items())
    return parse(f"""
def matmul({parameters}a: float32[{M}, {K}], b: float32[{K}, {N}], c: float32[{M}, {N}]):
    for i in range({M}):
        for j in range({N}):
            for k in range({K}):
                with block("matmul"):
                    vi = spatial({M}, i)
                    vj = spatial({N}, j)
                    vk = reduce({K}, k)
                    c[vi, vj] = init(float32(0.0))
                    c[vi, vj] += a[vi, vk] * b[vk, vj]
""")


SOFTMAX = """
def softmax(R: size, N: size, x: float32[R, N], y: float32[R, N]):
    with allocate(float32[R], "global") as m:
        with allocate(float32[R, N], "global") as e:
            with allocate(float32[R], "global") as s:
                for i in range(R):
                    for j in range(N):
                        with block("row_max"):
                            vi = spatial(R, i)
                            vj = reduce(N, j)
                            m[vi] = init(float32('-inf'))
                            m[vi] = combine(max, x[vi, vj])
                for i in range(R):
                    for j in range(N):
                        with block("exps"):
                            vi = spatial(R, i)
                            vj = spatial(N, j)
                            e[vi, vj] = exp(x[vi, vj] - m[vi])
                for i in range(R):
                    for j in range(N):
                        with block("row_sum"):
                            vi = spatial(R, i)
                            vj = reduce(N, j)
                            s[vi] = init(float32(0.0))
                            s[vi] += e[vi, vj]
                for i in range(R):
                    for j in range(N):
                        with block("quotient"):
                            vi = spatial(R, i)
                            vj = spatial(N, j)
                            y[vi, vj] = e[vi, vj] / s[vi]
"""

CHAIN = """
def chain(
    R: size, N: size, x: float32[R, N], bias: float32[N], skip: float32[R, N], w: float32[N], b: float32[N],
    y: float32[R, N],
):
    with allocate(float32[R, N], "global") as t:
        with allocate(float32[R, N], "global") as g:
            with allocate(float32[R, N], "global") as h:
                with allocate(float32[R], "global") as mean:
                    with allocate(float32[R], "global") as var:
                        for i in range(R):
                            for j in range(N):
                                with block("biased"):
                                    vi = spatial(R, i)
                                    vj = spatial(N, j)
                                    t[vi, vj] = x[vi, vj] + bias[vj]
                        for i in range(R):
                            for j in range(N):
                                with block("gelu"):
                                    vi = spatial(R, i)
                                    vj = spatial(N, j)
                                    g[vi, vj] = t[vi, vj] * (float32(1.0) + erf(t[vi, vj] * float32(0.7)))
                        for i in range(R):
                            for j in range(N):
                                with block("residual"):
                                    vi = spatial(R, i)
                                    vj = spatial(N, j)
                                    h[vi, vj] = g[vi, vj] + skip[vi, vj]
                        for i in range(R):
                            for j in range(N):
                                with block("sum"):
                                    vi = spatial(R, i)
                                    vj = reduce(N, j)
                                    mean[vi] = init(float32(0.0))
                                    mean[vi] += h[vi, vj] / cast(float32, N)
                        for i in range(R):
                            for j in range(N):
                                with block("squares"):
                                    vi = spatial(R, i)
                                    vj = reduce(N, j)
                                    var[vi] = init(float32(0.0))
                                    var[vi] += (h[vi, vj] - mean[vi]) * (h[vi, vj] - mean[vi]) / cast(float32, N)
                        for i in range(R):
                            for j in range(N):
                                with block("normal"):
                                    vi = spatial(R, i)
                                    vj = spatial(N, j)
                                    y[vi, vj] = (h[vi, vj] - mean[vi]) * rsqrt(var[vi] + float32(1e-05)) * w[vj] + b[vj]
"""


def run(function: PrimFunc, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """The outputs on integers from -3 to 3, whose sums are equal in any order."""
    random = np.random.default_rng(seed)
    arrays = {}
    for buffer in function.buffers:
        shape = tuple(sizes.get(str(length)) if str(length) in sizes else length.value for length in buffer.shape)
        arrays[buffer.name] = random.integers(-3, 4, shape).astype(buffer.dtype)
    infer_sizes(function, {name: array.shape for name, array in arrays.items()}, sizes)
    interpret(function, arrays, sizes)
    return {buffer.name: arrays[buffer.name] for buffer in function.outputs}


def in_another_order(function: PrimFunc) -> PrimFunc:
    """The function with parallel loops run backwards, and vectorized ones statement by statement, each backwards."""

    def spread(loop: For, stmt: Stmt) -> Stmt:
        match stmt:
            case Seq(parts):
                return Seq(tuple(spread(loop, part) for part in parts))
            case For():
                return replace(stmt, body=spread(loop, stmt.body))
        return replace(loop, body=stmt)

    def change(stmt: Stmt) -> Stmt | None:
        if isinstance(stmt, For) and stmt.kind in (PARALLEL, VECTORIZED):
            backwards = substitute_loops(stmt.body, {stmt.var: stmt.extent - 1 - stmt.var})
            return spread(stmt, backwards) if stmt.kind == VECTORIZED else replace(stmt, body=backwards)
        return None

    return replace(function, body=transform_statement(function.body, change))


def decomposed(function: PrimFunc) -> PrimFunc:
    """The function whose reductions begin before their nests, so that those over empty axes have a value too."""
    schedule = Schedule(function)
    for block in [block for block in blocks(function.body) if block.init is not None]:
        schedule.decompose_reduction(block.name, schedule.loops_of(block.name)[0])
    return schedule.function


def assert_same(schedule: Schedule, function: PrimFunc, *sizes: dict[str, int], exact: bool = True) -> None:
    """The schedule's function is sound, computes what `function` does at these sizes, and its trace makes it again."""
    verify_function(schedule.function)
    for values in sizes or ({},):
        expected = run(function, values)
        for variant in (schedule.function, in_another_order(schedule.function)):
            got = run(variant, values)
            for name in expected:
                tolerance = 0.0 if exact else 1e-5
                np.testing.assert_allclose(got[name], expected[name], rtol=tolerance, atol=tolerance)
    assert replay(schedule.trace, function).function == schedule.function
    assert replay(Trace.from_json(schedule.trace.to_json()), function).function == schedule.function
    assert parse(print_function(schedule.function)) == schedule.function
