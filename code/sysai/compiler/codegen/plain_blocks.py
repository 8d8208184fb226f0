"""Blocks without axes, and simple indices: what the partition of loops starts from."""

from dataclasses import replace

from sysai.compiler.tir.arith import simplify
from sysai.compiler.tir.conditions import conjunction
from sysai.compiler.tir.expr import FALSE, TRUE, Expr, Operand, Var, binary, substitute
from sysai.compiler.tir.statement import REDUCE, Allocate, Block, For, If, Seq, Stmt

Ranges = dict[Var, tuple[Operand, Operand]]
NOTHING = Seq(())


def without_axes(stmt: Stmt) -> Stmt | None:
    """A block as one that stores, with what the loops bind its axes to; its conditions around it."""
    if not isinstance(stmt, Block):
        return None
    values = {axis.var: axis.binding for axis in stmt.axes}
    indices = tuple(substitute(index, values) for index in stmt.indices)
    plain = replace(stmt, axes=(), indices=indices, init=None, combine=None, predicate=TRUE)
    body: Stmt = replace(plain, value=substitute(stmt.update, values))
    if stmt.init is not None:
        starts = tuple(binary("eq", axis.binding, 0) for axis in stmt.axes if axis.kind == REDUCE)
        body = Seq((when(conjunction(*starts), replace(plain, value=stmt.init)), body))
    return when(stmt.predicate, body)


def simplified(stmt: Stmt, ranges: Ranges) -> Stmt:
    """With simple indices and conditions; before unrolling, as then there are many more of them."""
    match stmt:
        case For():
            extent = simplify(stmt.extent, ranges)
            return replace(stmt, extent=extent, body=simplified(stmt.body, {**ranges, stmt.var: (0, extent)}))
        case If(condition, body):
            return when(simplify(condition, ranges), simplified(body, ranges))
        case Allocate():
            return replace(stmt, body=simplified(stmt.body, ranges))
        case Seq(parts):
            return Seq(tuple(simplified(part, ranges) for part in parts))
        case Block():
            indices = tuple(simplify(index, ranges) for index in stmt.indices)
            return replace(stmt, indices=indices, value=simplify(stmt.value, ranges))
    raise TypeError(f"not a statement: {stmt!r}")


def when(condition: Expr, body: Stmt) -> Stmt:
    """The statement under a condition, if there is one."""
    return body if condition == TRUE else NOTHING if condition == FALSE else If(condition, body)
