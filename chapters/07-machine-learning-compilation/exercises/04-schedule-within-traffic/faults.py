"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "as_it_was",
        "Leaves the program as it stands.",
        told="This is what the program moves as it stands. Split the",
        text='''\
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
''',
    ),
    Fault(
        "cubes",
        "Tiles all three loops, three tiles to the cache, so that C travels with each cube.",
        told="C is moved most. Its numbers are used again at each k: let",
        text='''\
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
    side = int((capacity / 12) ** 0.5)
    s = Schedule(matmul(rows, columns, inner))
    s.tile(["i", "j", "k"], [side, side, side])
    return s.trace.to_json()
''',
    ),
    Fault(
        "small_tile",
        "Keeps a tile of C, a quarter of what would fit.",
        told="The order is good, the tile is not. A is loaded once for",
        text='''\
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
    side = int((capacity / 4) ** 0.5 / 2) // 16 * 16 or 8
    s = Schedule(matmul(rows, columns, inner))
    i_0, j_0, i_1, j_1 = s.tile(["i", "j"], [side, side])
    s.reorder(i_0, j_0, "k", i_1, j_1)
    return s.trace.to_json()
''',
    ),
    Fault(
        "sum_inside",
        "Keeps a tile of C, but runs k inside it, so that all of A's and B's strips must fit.",
        told="B is moved most, far more than needed: some loop that",
        text='''\
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
    side = int((capacity / 4) ** 0.5 * 0.8)
    s = Schedule(matmul(rows, columns, inner))
    s.tile(["i", "j"], [side, side])
    return s.trace.to_json()
''',
    ),
    Fault(
        "tile_fills_the_cache",
        "Makes the tile of C as large as the whole cache, so that nothing fits beside it.",
        told="C is moved most. Its numbers are used again at each k: let",
        text='''\
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
''',
    ),
]
