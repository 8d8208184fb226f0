"""The interval of values that an index takes while some loops run and the others stand still.

8 i + j, where j runs through 4 and i stands still, takes 4 values from 8 i on. The intervals of a sum's
terms add up; a quotient by a number needs to know how far its first value is from a multiple of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sysai.compiler.tir.arith import Range, bounds, simplify
from sysai.compiler.tir.expr import (
    INDEX,
    ONE,
    ZERO,
    Binary,
    Const,
    Expr,
    Var,
    as_expr,
    depends_on_data,
    variables,
)
from sysai.compiler.tir.polynomial import polynomial
from sysai.compiler.tir.statement import For


@dataclass(frozen=True)
class Interval:
    """`size` consecutive integers from `start`."""

    start: Expr
    size: Expr


def whole(length: Expr) -> Interval:
    """All of a dimension."""
    return Interval(ZERO, length)


def ranges_of(loops: Iterable[For]) -> dict[Var, Range]:
    """The ranges of loop variables."""
    return {loop.var: (0, loop.extent) for loop in loops}


def difference(a: Expr, b: Expr) -> int | None:
    """`a - b` where that is a number, else None."""
    gap = simplify(a - b)
    return gap.value if isinstance(gap, Const) else None


def interval(expr: Expr, moving: Mapping[Var, Expr]) -> Interval | None:
    """The smallest known interval around the values of `expr` while variables run through the extents of `moving`.

    Returns:
        The interval, in terms of the other variables, its size in terms of sizes; None where nothing is known.
    """
    ranges = {var: (0, extent) for var, extent in moving.items()}
    start, size = ZERO, ONE
    for monomial, coefficient in polynomial(simplify(expr, ranges)).terms.items():
        changing = [atom for atom in monomial if variables(atom) & set(moving) or depends_on_data(atom)]
        factor = ONE
        for atom in monomial:
            factor = factor if atom in changing else factor * atom
        if not changing:
            start = start + factor * coefficient
            continue
        part = _of_atom(changing[0], moving)
        if len(changing) > 1 or part is None or not all(isinstance(atom, Var) for atom in variables(factor)):
            return None
        more = (part.size - 1) * factor * abs(coefficient)  # variables are never negative, and so the factor is not
        size = size + more
        start = start + part.start * factor * coefficient - (more if coefficient < 0 else ZERO)
    known = {var for extent in moving.values() for var in variables(extent)}
    start, size = simplify(start), simplify(size)
    return Interval(start, size) if variables(size) <= known else None


def hull(a: Interval, b: Interval) -> Interval | None:
    """The smallest interval around both, where it is known how they lie to each other."""
    gap = difference(b.start, a.start)
    if gap is None:
        return None
    if gap < 0:
        return hull(b, a)
    longer = difference(b.size + gap, a.size)
    if longer is None:
        return None
    return Interval(a.start, simplify(b.size + gap) if longer > 0 else a.size)


def _of_atom(atom: Expr, moving: Mapping[Var, Expr]) -> Interval | None:
    if atom in moving:
        return whole(moving[atom])
    if depends_on_data(atom):
        return None
    match atom:
        case Binary("floordiv" | "mod", number, Const(divisor)) if divisor > 0:
            inner = interval(number, moving)
            if inner is None:
                return None
            offset = simplify(inner.start % as_expr(divisor))
            known = isinstance(offset, Const)
            if atom.op == "floordiv":
                longest = (inner.size + (offset.value if known else divisor - 1) - 1) // as_expr(divisor) + 1
                return Interval(simplify(inner.start // as_expr(divisor)), longest)
            if known and isinstance(inner.size, Const) and offset.value + inner.size.value <= divisor:
                return Interval(offset, inner.size)
            return whole(Const(divisor, INDEX))
    low, high = bounds(atom, {var: (0, extent) for var, extent in moving.items()})
    return None if low is None or high is None else Interval(low, simplify(high - low))
