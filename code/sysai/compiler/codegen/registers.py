"""Vectors and registers: in which vectors a loop is executed, and which variables a local buffer becomes.

    float32 c[6, 16], rows unrolled, columns vectorized, AVX2    12 variables of 8 lanes
    float32 s[1]                                                 one scalar

A buffer becomes variables if constants address all its elements and its vectors do not overlap in part; a part of a
vector can be read, as a half of it is where lanes are added up, but only all of it be written. LLVM does the same in
general (SROA); C's compilers do it for scalars, but not for an array that is read in vectors.
"""

from collections.abc import Iterator

from sysai.compiler import tir
from sysai.compiler.codegen.c_expressions import Expressions

REGISTERS = 128  # variables of one buffer at most; a compiler keeps in memory what is too much


def chunks(loop: tir.For, vector_bytes: int) -> Iterator[tuple[int, int]]:
    """(first iteration, number of lanes) of the vectors that a vectorized loop is executed in."""
    doubles = any(node.dtype == "float64" for block in tir.blocks(loop.body) for node in _values(block))
    most = max(2, vector_bytes // (8 if doubles else 4))
    base, extent = 0, loop.extent.value
    while base < extent:
        count = most
        while count > extent - base:
            count //= 2
        yield base, count
        base += count


def register_segments(
    buffer: tir.Buffer, body: tir.Stmt, vector_bytes: int, text: Expressions
) -> tuple[tuple[int, int], ...] | None:
    """The variables that a local buffer becomes, as (first offset, lanes); None where it has to be an array."""
    segments: set[tuple[int, int, bool]] = set()
    for offset, lanes, writes in _accesses(buffer, body, vector_bytes, text):
        if offset is None:
            return None
        segments.add((offset, lanes, writes))
        if len(segments) > 16 * REGISTERS:
            return None
    variables: list[tuple[int, int]] = []
    for first, lanes, writes in sorted(segments, key=lambda segment: (-segment[1], segment[0])):
        overlapping = [(f, n) for f, n in variables if f < first + lanes and first < f + n]
        if not overlapping:
            variables.append((first, lanes))
            continue
        (start, count), *others = overlapping
        is_part = count > lanes > 1
        if others or first < start or first + lanes > start + count or (is_part and writes):
            return None
    return tuple(sorted(variables)) if len(variables) <= REGISTERS else None


def _accesses(
    buffer: tir.Buffer, stmt: tir.Stmt, vector_bytes: int, text: Expressions, loop: tir.For | None = None
) -> Iterator[tuple[int | None, int, bool]]:
    """(constant offset, lanes, whether it writes) of each access to the buffer; None for an offset that varies."""
    match stmt:
        case tir.For():
            vector = stmt if stmt.kind == tir.VECTORIZED else loop
            yield from _accesses(buffer, stmt.body, vector_bytes, text, vector)
        case tir.If(condition, body):
            if any(isinstance(node, tir.Load) and node.buffer == buffer for node in tir.walk(condition)):
                yield None, 1, False
            yield from _accesses(buffer, body, vector_bytes, text, loop)
        case tir.Allocate() | tir.Seq():
            for child in tir.substatements(stmt):
                yield from _accesses(buffer, child, vector_bytes, text, loop)
        case tir.Block():
            nodes = [node for expr in (stmt.value, *stmt.indices) for node in tir.walk(expr)]
            for number, node in enumerate((stmt.target, *nodes)):
                if isinstance(node, tir.Load) and node.buffer == buffer:
                    offset = tir.row_major(node.indices, buffer.shape)
                    for first, lanes in _of_access(offset, loop, vector_bytes, text):
                        yield first, lanes, number == 0


def _of_access(
    offset: tir.Expr, loop: tir.For | None, vector_bytes: int, text: Expressions
) -> Iterator[tuple[int | None, int]]:
    if loop is None or loop.var not in tir.walk(offset):
        yield constant_offset(offset), 1
        return
    if text.step(offset, loop.var) != 1:
        yield None, 1
        return
    for base, count in chunks(loop, vector_bytes):
        yield constant_offset(tir.substitute(offset, {loop.var: tir.Const(base, tir.INDEX)})), count


def constant_offset(offset: tir.Expr) -> int | None:
    """The value of an offset that is a constant, else None."""
    return offset.value if isinstance(offset, tir.Const) else None


def _values(block: tir.Block) -> Iterator[tir.Expr]:
    """The nodes of a block's value, those of indices aside."""
    waiting = [block.value]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, tir.Load):
            waiting += tir.children(node)
