"""Buffers: which part of one is touched inside a loop, and shrinking it to that part.

An access b[i], where i is 6 i_0 + i_1 and the part starts at 6 i_0, becomes b[i_1]: the block gets a further axis for
each loop variable that remains, which reduces if an axis that reduces is bound to this loop.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from sysai.compiler.schedule.affine import Interval, difference, hull, interval, ranges_of, whole
from sysai.compiler.schedule.dependence import touching
from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.tree import (
    change_accesses,
    find_buffer,
    find_loop,
    fresh_axis,
    loops,
    parts,
    path_to_loop,
    reads,
    replace_loop,
    touches,
)
from sysai.compiler.tir.arith import Ranges, simplify
from sysai.compiler.tir.expr import ITEM_BYTES, ONE, ZERO, Buffer, Const, Expr, Load, Var, substitute, variables
from sysai.compiler.tir.statement import (
    REDUCE,
    SPATIAL,
    Allocate,
    Axis,
    Block,
    For,
    PrimFunc,
    Stmt,
    transform_statement,
)

LOCAL_BYTES = 1 << 15
"""A buffer of constant size up to this becomes local: it fits the stack and the first cache."""


def touched(body: Stmt, buffer: Buffer, written: bool = False) -> list[Interval | None]:
    """What blocks inside `body` touch of a buffer in each dimension, in terms of variables outside; None if unknown.

    Args:
        written: count what is written only.
    """
    moving = {loop.var: loop.extent for loop in loops(body)}
    found: list[Interval | None] = []
    uses = [access for _, access in touching(body, buffer.name) if access.writes or not written]
    for dimension in range(len(buffer.shape)):
        intervals = [interval(access.indices[dimension], moving) for access in uses]
        part = intervals[0] if intervals else None
        for other in intervals[1:]:
            part = None if part is None or other is None else hull(part, other)
        found.append(part)
    return found


def clipped(part: Interval | None, length: Expr) -> Interval:
    """The part, or all of the dimension where the part is not known to be less, or moves on and so is a tile."""
    if part is None:
        return whole(length)
    shorter = difference(length, part.size)
    if isinstance(part.size, Const) and (shorter is None or not isinstance(part.start, Const)):
        return part
    return part if shorter is not None and shorter > 0 else whole(length)


def settled_scope(shape: Sequence[Expr], dtype: str, wanted: str) -> str:
    """`wanted`, but "global" instead of "local" where the buffer is too large for that, or its size is not known."""
    constant = all(isinstance(size, Const) for size in shape)
    fits = constant and math.prod(size.value for size in shape) * ITEM_BYTES[dtype] <= LOCAL_BYTES
    return "global" if wanted == "local" and not fits else wanted


def shrink(function: PrimFunc, buffer: str, loop: str) -> PrimFunc:
    """Let a buffer that is used inside one iteration of a loop only live there, as small as its uses allow."""
    target, old = find_loop(function, loop), find_buffer(function, buffer)
    needed = [clipped(part, length) for part, length in zip(touched(target.body, old), old.shape, strict=True)]
    shape = tuple(part.size for part in needed)
    wanted = "local" if old.scope == "global" else old.scope
    new = replace(old, shape=shape, scope=settled_scope(shape, old.dtype, wanted))
    around = [stmt for stmt in path_to_loop(function.body, loop) if isinstance(stmt, For)]
    ranges = ranges_of((*around, *loops(target.body)))

    def change(stmt: Stmt) -> Stmt | None:
        if isinstance(stmt, Block) and touches(stmt, buffer):
            return _rebased(function, stmt, new, needed, ranges)
        return None

    function = replace(function, body=_without_allocation(function.body, buffer))
    target = find_loop(function, loop)
    body = Allocate(new, transform_statement(target.body, change))
    return replace_loop(function, loop, replace(target, body=body))


def require_scopes(function: PrimFunc, what: str) -> PrimFunc:
    """The function, if every buffer is used inside its allocation only.

    Raises:
        IllegalSchedule: a block uses a buffer that does not live where the block is now.
    """

    def visit(stmt: Stmt, alive: frozenset[str]) -> None:
        if isinstance(stmt, Allocate):
            alive |= {stmt.buffer.name}
        if isinstance(stmt, Block):
            for name in (stmt.buffer.name, *(load.buffer.name for load in reads(stmt))):
                if name not in alive:
                    raise IllegalSchedule(f"cannot {what}: block {stmt.name} uses {name}, which does not live there")
        for part in parts(stmt):
            visit(part, alive)

    visit(function.body, frozenset(buffer.name for buffer in function.buffers))
    return function


def _rebased(function: PrimFunc, block: Block, new: Buffer, needed: Sequence[Interval], ranges: Ranges) -> Block:
    axes = list(block.axes)
    bindings = {axis.var: axis.binding for axis in axes}
    indexing = {var for index in block.indices for var in variables(index)}
    spatial = {var for axis in axes if axis.var in indexing for var in variables(axis.binding)}
    reducing = {var for axis in axes if axis.kind == REDUCE for var in variables(axis.binding)}

    def axis_of(loop: Var) -> Var:
        for axis in axes:
            if axis.binding == loop:
                return axis.var
        if loop in reducing & spatial and block.init is not None:
            raise IllegalSchedule(
                f"{new.name} cannot shrink: loop {loop.name} is both a spatial and a reduction loop of block "
                f"{block.name}, as after fusing two such loops; do this before fusing them"
            )
        var = fresh_axis(function, f"v{loop.name}", (axis.var for axis in axes))
        axes.append(Axis(var, ranges[loop][1], REDUCE if loop in reducing else SPATIAL, loop))
        return var

    def offset(index: Expr, part: Interval) -> Expr:
        if part.size == ONE:
            return ZERO
        if part.start == ZERO:
            return index
        from_start = simplify(substitute(index, bindings) - part.start, ranges)
        return substitute(from_start, {var: axis_of(var) for var in variables(from_start) if var in ranges})

    def change(load: Load) -> Load:
        return Load(new, tuple(offset(index, part) for index, part in zip(load.indices, needed, strict=True)))

    return replace(change_accesses(block, new.name, change), axes=tuple(axes))


def _without_allocation(stmt: Stmt, buffer: str) -> Stmt:
    def change(inner: Stmt) -> Stmt | None:
        return inner.body if isinstance(inner, Allocate) and inner.buffer.name == buffer else None

    return transform_statement(stmt, change)


def allocate_at(function: PrimFunc, buffer: Buffer) -> PrimFunc:
    """Allocate a new buffer around the whole body."""
    return replace(function, body=Allocate(buffer, function.body))
