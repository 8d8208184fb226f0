"""A schedule of the matrix product that moves few bytes."""

from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tir.text import parse

LINE = 16  # numbers of 4 bytes


def matmul(rows: int, columns: int, inner: int) -> PrimFunc:
    """The program: C[rows, columns] = A[rows, inner] times B[inner, columns]."""
    return parse(f"""
def matmul(A: float32[{rows}, {inner}], B: float32[{inner}, {columns}], C: float32[{rows}, {columns}]):
    for i in range({rows}):
        for j in range({columns}):
            for k in range({inner}):
                with block("C"):
                    vi = spatial({rows}, i)
                    vj = spatial({columns}, j)
                    vk = reduce({inner}, k)
                    C[vi, vj] = init(float32(0.0))
                    C[vi, vj] += A[vi, vk] * B[vk, vj]
""")


def schedule(rows: int, columns: int, inner: int, capacity: int) -> str:
    """Return the trace of a schedule, as `trace.to_json()` gives it: a tile of C stays, A and B pass by."""
    lines = capacity // (4 * LINE)
    fitting = []
    for height in range(1, rows + 1):
        for width in range(LINE, columns + 1, LINE):
            # the tile of C, two columns of A, which are one line in each row, and two rows of B
            if height * width // LINE + height + 2 * width // LINE <= lines:
                loads_of_a, loads_of_b = -(-columns // width), -(-rows // height)
                fitting.append((loads_of_a * rows + loads_of_b * columns, height, width))
    _, height, width = min(fitting)
    s = Schedule(matmul(rows, columns, inner))
    i_0, i_1 = s.split("i", height)
    j_0, j_1 = s.split("j", width)
    s.reorder(i_0, j_0, "k", i_1, j_1)
    return s.trace.to_json()
