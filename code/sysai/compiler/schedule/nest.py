"""A block in new loops of its own: its axes over given parts, with conditions where a part may leave the domain."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sysai.compiler.schedule import dependence
from sysai.compiler.schedule.affine import Interval, ranges_of, whole
from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.tree import fresh, loops_around, path_to_loop
from sysai.compiler.tir.arith import Ranges, proves, size_ranges
from sysai.compiler.tir.conditions import both, conjuncts
from sysai.compiler.tir.expr import ONE, TRUE, Expr, Operand, Var, as_expr, substitute, variables
from sysai.compiler.tir.statement import REDUCE, Block, For, PrimFunc, Seq, Stmt


def around(function: PrimFunc, loop: str) -> list[For]:
    """A loop and those around it."""
    return [inner for inner in path_to_loop(function.body, loop) if isinstance(inner, For)]


def nest(function: PrimFunc, block: Block, ranges: Mapping[Var, Interval], around: Sequence[For]) -> Stmt:
    """The block in new loops of its own: axes of `ranges` over these, all others over their extents."""
    sizes = size_ranges(function.sizes)
    bindings: dict[Var, Expr] = {}
    new: list[For] = []
    predicate = TRUE
    axes = sorted(block.axes, key=lambda axis: axis.kind == REDUCE)
    for axis in axes:
        part = ranges.get(axis.var, whole(axis.extent))
        name = fresh(function, f"{block.name}_{axis.var.name}", *(loop.var.name for loop in new))
        if part.size == ONE:
            bindings[axis.var] = part.start
        else:
            new.append(For(Var(name), part.size, Seq(())))
            bindings[axis.var] = part.start + Var(name)
        for condition in _guards(bindings[axis.var], axis.extent, part, {**sizes, **ranges_of((*around, *new))}):
            predicate = both(predicate, condition)
    stmt: Stmt = rebind(block, bindings, predicate)
    for loop in reversed(new):
        stmt = replace(loop, body=stmt)
    return stmt


def require_independent_axes(function: PrimFunc, block: Block) -> None:
    """No axis may follow from the others, as those do that index a buffer which has shrunk (`storage.py`)."""
    around = loops_around(function.body, block.name)
    for axis in block.axes:
        others = tuple(other.binding for other in block.axes if other is not axis)
        own = {loop.var for loop in around if not proves(loop.extent <= 1, {})} & variables(axis.binding)
        if own and own <= dependence.determined([others], around):
            raise IllegalSchedule(
                f"block {block.name} uses a buffer that has shrunk to a part for the loops around it: move the block "
                "before the buffers that it uses"
            )


def _guards(value: Expr, extent: Expr, part: Interval, ranges: Ranges) -> list[Expr]:
    """What must hold for `value` to lie in 0 to `extent`, apart from what is sure."""
    needed = [] if part == whole(extent) else [as_expr(0) <= value, value < extent]
    return [condition for condition in needed if not proves(condition, ranges)]


def rebind(block: Block, bindings: Mapping[Var, Expr], predicate: Expr) -> Block:
    """The block with other bindings; of its predicate remains what its domain does not say already.

    Raises:
        IllegalSchedule: a condition cannot be said in terms of the axes.
    """
    domain = {axis.binding < axis.extent for axis in block.axes}
    loops_by_axis: dict[Var, Operand] = {axis.binding: axis.var for axis in block.axes if isinstance(axis.binding, Var)}
    for condition in conjuncts(block.predicate):
        if condition in domain:
            continue
        of_axes = substitute(condition, loops_by_axis)
        strangers = variables(condition) - set(loops_by_axis) - _sizes(block)
        if strangers:
            raise IllegalSchedule(
                f"block {block.name} has the condition {condition}, which holds for its old loops only"
            )
        predicate = both(predicate, substitute(of_axes, bindings))
    axes = tuple(replace(axis, binding=bindings[axis.var]) for axis in block.axes)
    return replace(block, axes=axes, predicate=predicate)


def _sizes(block: Block) -> set[Var]:
    """Variables that occur in the block's extents and shapes, and so are sizes."""
    return {var for axis in block.axes for var in variables(axis.extent)} | {
        var for length in block.buffer.shape for var in variables(length)
    }
