"""Leaves the program as it stands."""

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
    return Schedule(matmul(rows, columns, inner)).trace.to_json()
