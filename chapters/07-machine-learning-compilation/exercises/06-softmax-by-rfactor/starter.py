"""A schedule of softmax whose reductions run over the lanes of vectors."""

from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.text import parse, print_function

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


def schedule(lanes: int) -> str:
    """Return the trace of a schedule of SOFTMAX, as `trace.to_json()` gives it.

    Args:
        lanes: numbers in a vector: 4, 8 or 16. R and N may be anything, also
            fewer than that.

    How to look around: s = Schedule(parse(SOFTMAX)); s.loops_of("exps") names
    the loops around a block, print(print_function(s.function)) shows what the
    primitives have made so far. Loops that are moved or split get new names.
    """
    raise NotImplementedError
