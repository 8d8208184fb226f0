"""A schedule of the matrix product that moves few bytes."""

from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tir.text import parse
from sysai.compiler.tir.traffic import moved


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


def bytes_moved(function: PrimFunc, capacity: int) -> int:
    """Bytes between memory and a cache of `capacity` bytes, both ways."""
    return sum(buffer.total for buffer in moved(function, {}, capacity).values())


def schedule(rows: int, columns: int, inner: int, capacity: int) -> str:
    """Return the trace of a schedule, as `trace.to_json()` gives it.

    Args:
        rows, columns, inner: sizes of the product, multiples of 16.
        capacity: of the cache, in bytes.

    For example, these lines tile by 32 x 32 x 32:
        s = Schedule(matmul(rows, columns, inner))
        s.tile(["i", "j", "k"], [32, 32, 32])
        return s.trace.to_json()
    """
    raise NotImplementedError
