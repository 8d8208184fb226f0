"""Vectors and registers: in which vectors a loop is executed, and which variables a local buffer becomes.

    float32 c[6, 16], rows unrolled, columns vectorized, AVX2    12 variables of 8 lanes
    float32 s[1]                                                 one scalar

A buffer becomes variables if constants address all its elements and its vectors do not overlap in part. LLVM does the
same in general (SROA); C's compilers do it for scalars, but not for an array that is read in vectors.
"""

from collections.abc import Iterator

from sysai.compiler.codegen.c_expressions import Expressions, offset
from sysai.compiler.program.expr import INDEX, ITEM_BYTES, Buffer, Const, Expr, Load, children, substitute, walk
from sysai.compiler.program.statement import VECTORIZED, Allocate, Block, For, If, Seq, Stmt, blocks

REGISTERS = 128  # variables of one buffer at most; a compiler keeps in memory what is too much


def chunks(loop: For, vector_bytes: int) -> Iterator[tuple[int, int]]:
    """(first iteration, number of lanes) of the vectors that a vectorized loop is executed in."""
    widest = max((ITEM_BYTES[_wide(node)] for block in blocks(loop.body) for node in _values(block)), default=4)
    most = max(2, vector_bytes // max(4, widest))
    base, extent = 0, loop.extent.value
    while base < extent:
        count = most
        while count > extent - base:
            count //= 2
        yield base, count
        base += count


def register_segments(
    buffer: Buffer, body: Stmt, vector_bytes: int, text: Expressions
) -> tuple[tuple[int, int], ...] | None:
    """The variables that a local buffer becomes, as (first offset, lanes); None where it has to be an array."""
    segments: set[tuple[int, int]] = set()
    for place, lanes in _accesses(buffer, body, vector_bytes, text):
        if place is None:
            return None
        segments.add((place, lanes))
        if len(segments) > 16 * REGISTERS:
            return None
    kept: list[tuple[int, int]] = []
    for first, lanes in sorted(segments, key=lambda segment: (-segment[1], segment[0])):
        inside = [(f, n) for f, n in kept if f < first + lanes and first < f + n]
        if inside and lanes > 1:
            return None
        if not inside:
            kept.append((first, lanes))
    return tuple(sorted(kept)) if len(kept) <= REGISTERS else None


def _accesses(
    buffer: Buffer, stmt: Stmt, vector_bytes: int, text: Expressions, loop: For | None = None
) -> Iterator[tuple[int | None, int]]:
    """(constant offset, lanes) of each access to the buffer; None for an offset that is not constant."""
    match stmt:
        case For():
            vector = stmt if stmt.kind == VECTORIZED else loop
            yield from _accesses(buffer, stmt.body, vector_bytes, text, vector)
        case If(condition, body):
            if any(isinstance(node, Load) and node.buffer == buffer for node in walk(condition)):
                yield None, 1
            yield from _accesses(buffer, body, vector_bytes, text, loop)
        case Allocate(_, body):
            yield from _accesses(buffer, body, vector_bytes, text, loop)
        case Seq(parts):
            for part in parts:
                yield from _accesses(buffer, part, vector_bytes, text, loop)
        case Block():
            loads = [node for expr in (stmt.value, *stmt.indices) for node in walk(expr) if isinstance(node, Load)]
            for load in (stmt.target, *loads):
                if load.buffer == buffer:
                    place = offset(buffer, load.indices)
                    yield from _of_access(place, loop, vector_bytes, text)


def _of_access(place: Expr, loop: For | None, vector_bytes: int, text: Expressions) -> Iterator[tuple[int | None, int]]:
    if loop is None or loop.var not in walk(place):
        yield place_value(place), 1
        return
    if text.step(place, loop.var) != 1:
        yield None, 1
        return
    for base, count in chunks(loop, vector_bytes):
        yield place_value(substitute(place, {loop.var: Const(base, INDEX)})), count


def place_value(place: Expr) -> int | None:
    """The number that an offset is, or None."""
    return place.value if isinstance(place, Const) else None


def _values(block: Block) -> Iterator[Expr]:
    """What a block computes with, indices aside."""
    waiting = [block.value]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Load):
            waiting += children(node)


def _wide(node: Expr) -> str:
    return node.dtype if node.dtype == "float64" else "float32"
