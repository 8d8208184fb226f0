"""Makes the tile of C as large as the whole cache, so that nothing fits beside it."""

from sysai.compiler.program.parser import parse
from sysai.compiler.program.statement import Function
from sysai.compiler.schedule.schedule import Schedule


def matmul(rows: int, columns: int, inner: int) -> Function:
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


def schedule(rows, columns, inner, capacity):
    side = int((capacity / 4) ** 0.5)
    s = Schedule(matmul(rows, columns, inner))
    i_0, j_0, i_1, j_1 = s.tile(["i", "j"], [side, side])
    s.reorder(i_0, j_0, "k", i_1, j_1)
    return s.trace.to_json()
