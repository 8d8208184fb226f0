"""Vectors and registers: in which vectors a loop is executed, and which variables a local buffer becomes.

    float32 c[6, 16], rows unrolled, columns vectorized, AVX2    12 variables of 8 lanes
    float32 s[1]                                                 one scalar

A buffer becomes variables if constants address all its elements and its vectors do not overlap in part; a part of a
vector can be read, as a half of it is where lanes are added up, but only all of it be written. LLVM does the same in
general (SROA); C's compilers do it for scalars, but not for an array that is read in vectors.
"""

from collections.abc import Iterator

from sysai.compiler.codegen.c_expressions import Expressions
from sysai.compiler.tir.expr import (
    INDEX,
    ITEM_BYTES,
    Buffer,
    Const,
    Expr,
    Load,
    children,
    row_major,
    substitute,
    walk,
)
from sysai.compiler.tir.statement import VECTORIZED, Allocate, Block, For, If, Seq, Stmt, blocks

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
    segments: set[tuple[int, int, bool]] = set()
    for place, lanes, writes in _accesses(buffer, body, vector_bytes, text):
        if place is None:
            return None
        segments.add((place, lanes, writes))
        if len(segments) > 16 * REGISTERS:
            return None
    kept: list[tuple[int, int]] = []
    for first, lanes, writes in sorted(segments, key=lambda segment: (-segment[1], segment[0])):
        around = [(f, n) for f, n in kept if f < first + lanes and first < f + n]
        if not around:
            kept.append((first, lanes))
            continue
        (start, count), *others = around
        part = count > lanes > 1
        if others or first < start or first + lanes > start + count or (part and writes):
            return None
    return tuple(sorted(kept)) if len(kept) <= REGISTERS else None


def _accesses(
    buffer: Buffer, stmt: Stmt, vector_bytes: int, text: Expressions, loop: For | None = None
) -> Iterator[tuple[int | None, int, bool]]:
    """(constant offset, lanes, whether it writes) of each access to the buffer; None for an offset that varies."""
    match stmt:
        case For():
            vector = stmt if stmt.kind == VECTORIZED else loop
            yield from _accesses(buffer, stmt.body, vector_bytes, text, vector)
        case If(condition, body):
            if any(isinstance(node, Load) and node.buffer == buffer for node in walk(condition)):
                yield None, 1, False
            yield from _accesses(buffer, body, vector_bytes, text, loop)
        case Allocate(_, body):
            yield from _accesses(buffer, body, vector_bytes, text, loop)
        case Seq(parts):
            for part in parts:
                yield from _accesses(buffer, part, vector_bytes, text, loop)
        case Block():
            loads = [node for expr in (stmt.value, *stmt.indices) for node in walk(expr) if isinstance(node, Load)]
            for number, load in enumerate((stmt.target, *loads)):
                if load.buffer == buffer:
                    place = row_major(load.indices, buffer.shape)
                    for first, lanes in _of_access(place, loop, vector_bytes, text):
                        yield first, lanes, number == 0


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
