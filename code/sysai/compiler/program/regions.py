"""Which part of each buffer a statement reads and writes: an interval for every dimension, in the variables around.

What a producer must compute for an iteration of its consumer's loop, and what a cache must hold, is such a region. It
is the hull of all elements that are touched: with holes in it where an index has a stride, and beyond the buffer's end
where a predicate keeps the last iterations from running.
"""

from dataclasses import dataclass

from sysai.compiler.program.accesses import accesses, nests
from sysai.compiler.program.arith import Ranges, bounds, simplify
from sysai.compiler.program.expr import Buffer, Expr, Operand, as_expr, binary
from sysai.compiler.program.statement import For, Stmt

Interval = tuple[Expr, Expr]


@dataclass(frozen=True)
class Region:
    """`buffer[low:high, ...]`; `intervals` has (low, high) for each dimension, high not included."""

    buffer: Buffer
    intervals: tuple[Interval, ...]

    @property
    def extents(self) -> tuple[Expr, ...]:
        """high - low of each dimension."""
        return tuple(simplify(high - low) for low, high in self.intervals)

    def __str__(self) -> str:
        return f"{self.buffer.name}[{', '.join(f'{low}:{high}' for low, high in self.intervals)}]"


def regions(stmt: Stmt, ranges: Ranges) -> tuple[dict[str, Region], dict[str, Region]]:
    """What the statement reads, and what it writes, by the buffers' names.

    Args:
        stmt: a function's body, a loop's, or any other statement.
        ranges: of sizes and of the loop variables around `stmt`; these remain in the regions.

    Returns:
        The regions read (what a reduction updates is read too), and those written. A dimension whose index depends on
        data is taken whole.
    """
    around = {var: (low, None) for var, (low, _) in ranges.items()}
    read: dict[str, Region] = {}
    written: dict[str, Region] = {}
    for block, inside in nests(stmt):
        known = {**around, **{loop.var: (0, loop.extent) for loop in inside if isinstance(loop, For)}}
        for access in accesses(block):
            pairs = zip(access.indices, access.buffer.shape, strict=True)
            intervals = tuple(_interval(index, extent, known) for index, extent in pairs)
            found = written if access.writes else read
            before = found.get(access.buffer.name)
            if before:
                intervals = tuple(_hull(a, b, around) for a, b in zip(before.intervals, intervals, strict=True))
            found[access.buffer.name] = Region(access.buffer, intervals)
    return read, written


def _interval(index: Expr, extent: Expr, ranges: Ranges) -> Interval:
    low, high = bounds(index, ranges)
    return as_expr(0) if low is None else low, extent if high is None else high


def _hull(a: Interval, b: Interval, ranges: Ranges) -> Interval:
    def end(op: str, left: Operand, right: Operand) -> Expr:
        return simplify(binary(op, left, right), ranges)

    return end("min", a[0], b[0]), end("max", a[1], b[1])
