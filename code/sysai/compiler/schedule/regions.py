"""Regions: the part of a buffer that is touched inside a loop, and shrinking the buffer to it.

While some loops run and the others stand still, an index runs through an interval: 8 i + j, where j runs through 4 and
i stands still, takes 4 values from 8 i on. The intervals of a sum's terms add up; a quotient by a number needs to know
how far its first value is from a multiple of it. A buffer needs the hull of the intervals of all its uses.

A buffer that shrinks has its accesses rebased: b[i], where i is 6 i_0 + i_1 and the region starts at 6 i_0, becomes
b[i_1]. The block gets a further axis for each loop variable that remains, which reduces if an axis that reduces is
bound to this loop.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from sysai.compiler import tir
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import tree
from sysai.compiler.schedule.dependence import touching
from sysai.compiler.tir.arith import Ranges, bounds, simplify
from sysai.compiler.tir.polynomial import polynomial


@dataclass(frozen=True)
class Interval:
    """`size` consecutive integers from `start`."""

    start: tir.Expr
    size: tir.Expr


def whole(length: tir.Expr) -> Interval:
    """All of a dimension."""
    return Interval(tir.ZERO, length)


def difference(a: tir.Expr, b: tir.Expr) -> int | None:
    """`a - b` where that is a number, else None."""
    gap = simplify(a - b)
    return gap.value if isinstance(gap, tir.Const) else None


def interval(expr: tir.Expr, moving: Mapping[tir.Var, tir.Expr]) -> Interval | None:
    """The smallest known interval around the values of `expr` while variables run through the extents of `moving`.

    Returns:
        The interval, in terms of the other variables, its size in terms of sizes; None where nothing is known.
    """
    ranges = {var: (0, extent) for var, extent in moving.items()}
    start, size = tir.ZERO, tir.ONE
    for monomial, coefficient in polynomial(simplify(expr, ranges)).terms.items():
        changing = [atom for atom in monomial if tir.variables(atom) & set(moving) or tir.depends_on_data(atom)]
        factor = tir.ONE
        for atom in monomial:
            factor = factor if atom in changing else factor * atom
        if not changing:
            start = start + factor * coefficient
            continue
        span = _of_atom(changing[0], moving)
        if len(changing) > 1 or span is None or not all(isinstance(atom, tir.Var) for atom in tir.variables(factor)):
            return None
        more = (span.size - 1) * factor * abs(coefficient)  # variables are never negative, and so the factor is not
        size = size + more
        start = start + span.start * factor * coefficient - (more if coefficient < 0 else tir.ZERO)
    extent_sizes = {var for extent in moving.values() for var in tir.variables(extent)}
    start, size = simplify(start), simplify(size)
    return Interval(start, size) if tir.variables(size) <= extent_sizes else None


def hull(a: Interval | None, b: Interval | None) -> Interval | None:
    """The smallest interval around both, where it is known how they lie to each other."""
    gap = None if a is None or b is None else difference(b.start, a.start)
    if gap is None:
        return None
    if gap < 0:
        return hull(b, a)
    longer = difference(b.size + gap, a.size)
    if longer is None:
        return None
    return Interval(a.start, simplify(b.size + gap) if longer > 0 else a.size)


def _of_atom(atom: tir.Expr, moving: Mapping[tir.Var, tir.Expr]) -> Interval | None:
    if atom in moving:
        return whole(moving[atom])
    if tir.depends_on_data(atom):
        return None
    match atom:
        case tir.Binary("floordiv" | "mod", number, tir.Const(divisor)) if divisor > 0:
            inner = interval(number, moving)
            if inner is None:
                return None
            offset = simplify(inner.start % divisor)
            exact = isinstance(offset, tir.Const)
            if atom.op == "floordiv":
                longest = (inner.size + (offset.value if exact else divisor - 1) - 1) // divisor + 1
                return Interval(simplify(inner.start // divisor), longest)
            if exact and isinstance(inner.size, tir.Const) and offset.value + inner.size.value <= divisor:
                return Interval(offset, inner.size)
            return whole(tir.Const(divisor, tir.INDEX))
    low, high = bounds(atom, {var: (0, extent) for var, extent in moving.items()})
    return None if low is None or high is None else Interval(low, simplify(high - low))


LOCAL_BYTES = 1 << 15
"""A buffer of constant size up to this becomes local: it fits the stack and the first cache."""


def touched(body: tir.Stmt, buffer: tir.Buffer, written: bool = False) -> list[Interval | None]:
    """The region of a buffer that blocks inside `body` touch, an interval for each dimension; None if unknown.

    Args:
        written: count writes only.
    """
    moving = {loop.var: loop.extent for loop in tree.loops(body)}
    uses = [access for _, access in touching(body, buffer.name) if access.writes or not written]
    if not uses:
        return [None] * len(buffer.shape)
    indices = zip(*(access.indices for access in uses), strict=True)  # of all uses, by dimension
    return [reduce(hull, [interval(index, moving) for index in alternatives]) for alternatives in indices]


def needed(body: tir.Stmt, buffer: tir.Buffer) -> list[Interval]:
    """The region of a buffer that blocks inside `body` touch; all of a dimension where that is not known to be less."""
    return [_clipped(region, length) for region, length in zip(touched(body, buffer), buffer.shape, strict=True)]


def _clipped(region: Interval | None, length: tir.Expr) -> Interval:
    """The part, or all of the dimension where the part is not known to be less, or moves on and so is a tile."""
    if region is None:
        return whole(length)
    shorter = difference(length, region.size)
    if isinstance(region.size, tir.Const) and (shorter is None or not isinstance(region.start, tir.Const)):
        return region
    return region if shorter is not None and shorter > 0 else whole(length)


def settled_scope(shape: Sequence[tir.Expr], dtype: str, wanted: str) -> str:
    """`wanted`, but "global" instead of "local" where the buffer is too large for that, or its size is not known."""
    if wanted not in tir.SCOPES:
        raise IllegalSchedule(f"no scope {wanted!r}: one of {', '.join(tir.SCOPES)}")
    constant = all(isinstance(size, tir.Const) for size in shape)
    fits = constant and math.prod(size.value for size in shape) * tir.ITEM_BYTES[dtype] <= LOCAL_BYTES
    return "global" if wanted == "local" and not fits else wanted


def shrink(function: tir.PrimFunc, buffer: str, loop: str) -> tir.PrimFunc:
    """Let a buffer that is used inside one iteration of a loop only live there, as small as its uses allow."""
    target, old = tree.find_loop(function, loop), tree.find_buffer(function, buffer)
    regions = needed(target.body, old)
    shape = tuple(region.size for region in regions)
    wanted = "local" if old.scope == "global" else old.scope
    new = replace(old, shape=shape, scope=settled_scope(shape, old.dtype, wanted))
    ranges = tree.ranges_of((*tree.loops_down_to(function, loop), *tree.loops(target.body)))

    def without_allocation(stmt: tir.Stmt) -> tir.Stmt | None:
        return stmt.body if isinstance(stmt, tir.Allocate) and stmt.buffer.name == buffer else None

    def rebased(block: tir.Block) -> tir.Block:
        return _rebased(function, block, new, regions, ranges) if tree.touches(block, buffer) else block

    function = replace(function, body=tir.transform_statement(function.body, without_allocation))
    target = tree.find_loop(function, loop)
    body = tir.Allocate(new, tree.change_blocks(target.body, rebased))
    return tree.replace_loop(function, loop, replace(target, body=body))


def require_scopes(function: tir.PrimFunc, action: str) -> tir.PrimFunc:
    """The function, if every buffer is used inside its allocation only.

    Raises:
        IllegalSchedule: a block uses a buffer that does not live where the block is now.
    """

    def visit(stmt: tir.Stmt, alive: frozenset[str]) -> None:
        if isinstance(stmt, tir.Allocate):
            alive |= {stmt.buffer.name}
        if isinstance(stmt, tir.Block):
            for name in (stmt.buffer.name, *(load.buffer.name for load in tree.reads(stmt))):
                if name not in alive:
                    raise IllegalSchedule(f"cannot {action}: block {stmt.name} uses {name}, which does not live there")
        for child in tir.substatements(stmt):
            visit(child, alive)

    visit(function.body, frozenset(buffer.name for buffer in function.buffers))
    return function


def _rebased(
    function: tir.PrimFunc, block: tir.Block, new: tir.Buffer, regions: Sequence[Interval], ranges: Ranges
) -> tir.Block:
    axes = list(block.axes)
    bindings = {axis.var: axis.binding for axis in axes}
    spatial, reducing = tree.spatial_loops(block), tree.reduction_loops(block)

    def axis_of(loop: tir.Var) -> tir.Var:
        for axis in axes:
            if axis.binding == loop:
                return axis.var
        if loop in reducing & spatial and block.init is not None:
            raise IllegalSchedule(
                f"{new.name} cannot shrink: loop {loop.name} is both a spatial and a reduction loop of block "
                f"{block.name}, as after fusing two such loops; do this before fusing them"
            )
        var = tree.fresh_axis(function, f"v{loop.name}", (axis.var for axis in axes))
        axes.append(tir.Axis(var, ranges[loop][1], tir.REDUCE if loop in reducing else tir.SPATIAL, loop))
        return var

    def offset(index: tir.Expr, region: Interval) -> tir.Expr:
        if region.size == tir.ONE:
            return tir.ZERO
        if region.start == tir.ZERO:
            return index
        from_start = simplify(tir.substitute(index, bindings) - region.start, ranges)
        return tir.substitute(from_start, {var: axis_of(var) for var in tir.variables(from_start) if var in ranges})

    def change(load: tir.Load) -> tir.Load:
        return tir.Load(new, tuple(offset(index, region) for index, region in zip(load.indices, regions, strict=True)))

    return replace(tree.change_accesses(block, new.name, change), axes=tuple(axes))
