"""A schedule of softmax whose reductions run over the lanes of vectors."""

from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.text import parse

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
    """Return the trace of a schedule of SOFTMAX, as `trace.to_json()` gives it."""
    s = Schedule(parse(SOFTMAX))
    row, column = s.loops_of("quotient")
    for block in ("row_sum", "exps", "row_max"):  # consumers first: a producer goes where its consumer is
        s.compute_at(block, row)
    s.parallel(row)

    chunk, lane = s.split(s.loops_of("exps")[-1], lanes)
    s.vectorize(lane)
    s.reverse_compute_at("row_sum", chunk)  # the sum takes the exponentials of a chunk as soon as they are there
    lane = s.loops_of("row_sum")[-1]
    s.rfactor("row_sum", lane)
    s.vectorize(lane)

    _, lane = s.split(s.loops_of("row_max")[-1], lanes)
    s.rfactor("row_max", lane)
    s.vectorize(lane)

    _, lane = s.split(column, lanes)
    s.vectorize(lane)
    return s.trace.to_json()
