"""Moving a block: new loops for it where it goes, and the checks that primitives of placement share.

In its new loops a block's axes run over given regions, with conditions where a region may leave the domain. A producer
runs before its consumers, and after the blocks that make its inputs; what it reads must not be overwritten on the way.
Only blocks between the old place and the new one can be in conflict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import dependence, tree
from sysai.compiler.schedule.regions import Interval, whole
from sysai.compiler.tir.arith import Ranges, proves, size_ranges
from sysai.compiler.tir.expr import ONE, TRUE, Expr, Operand, Var, as_expr, both, conjuncts, substitute, variables
from sysai.compiler.tir.statement import REDUCE, VECTORIZED, Block, For, If, PrimFunc, Seq, Stmt, blocks


def loops_down_to(function: PrimFunc, loop: str) -> list[For]:
    """The loops from the outermost down to the one of a name."""
    return [inner for inner in tree.path_to_loop(function.body, loop) if isinstance(inner, For)]


def in_new_loops(function: PrimFunc, block: Block, regions: Mapping[Var, Interval], enclosing: Sequence[For]) -> Stmt:
    """The block in new loops of its own: its axes run over `regions` where these name them, else over their extents."""
    sizes = size_ranges(function.sizes)
    bindings: dict[Var, Expr] = {}
    new: list[For] = []
    predicate = TRUE
    axes = sorted(block.axes, key=lambda axis: axis.kind == REDUCE)
    for axis in axes:
        region = regions.get(axis.var, whole(axis.extent))
        name = tree.fresh(function, f"{block.name}_{axis.var.name}", *(loop.var.name for loop in new))
        if region.size == ONE:
            bindings[axis.var] = region.start
        else:
            new.append(For(Var(name), region.size, Seq(())))
            bindings[axis.var] = region.start + Var(name)
        for condition in _guards(
            bindings[axis.var], axis.extent, region, {**sizes, **tree.ranges_of((*enclosing, *new))}
        ):
            predicate = both(predicate, condition)
    stmt: Stmt = rebind(block, bindings, predicate)
    for loop in reversed(new):
        stmt = replace(loop, body=stmt)
    return stmt


def require_independent_axes(function: PrimFunc, block: Block) -> None:
    """No axis may follow from the others, as those do that index a buffer which has shrunk (`regions.py`)."""
    enclosing = tree.loops_around(function.body, block.name)
    for axis in block.axes:
        others = tuple(other.binding for other in block.axes if other is not axis)
        own = {loop.var for loop in enclosing if not proves(loop.extent <= 1, {})} & variables(axis.binding)
        if own and own <= dependence.determined([others], enclosing):
            raise IllegalSchedule(
                f"block {block.name} uses a buffer that has shrunk to a part for the loops around it: move the block "
                "before the buffers that it uses"
            )


def _guards(value: Expr, extent: Expr, region: Interval, ranges: Ranges) -> list[Expr]:
    """The conditions for `value` to lie in 0 to `extent` that are not proved."""
    needed = [] if region == whole(extent) else [as_expr(0) <= value, value < extent]
    return [condition for condition in needed if not proves(condition, ranges)]


def rebind(block: Block, bindings: Mapping[Var, Expr], predicate: Expr) -> Block:
    """The block with other bindings; of its predicate only the conditions remain that its domain does not imply.

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


def require_movable(function: PrimFunc, producer: Block, action: str) -> list[Block]:
    """The consumers of a block's buffer, in order, if no other block and no caller can see that buffer."""
    buffer = producer.buffer.name
    if buffer in {parameter.name for parameter in function.buffers}:
        raise IllegalSchedule(f"cannot {action}: {buffer} is an output of the function, and must be complete")
    others = [block.name for block in tree.writers(function.body, buffer) if block.name != producer.name]
    if others:
        raise IllegalSchedule(f"cannot {action}: block {others[0]} writes {buffer} too")
    consumers = tree.readers(function.body, buffer)
    if producer.name in {consumer.name for consumer in consumers}:
        raise IllegalSchedule(f"cannot {action}: the block reads its own buffer {buffer}")
    if not consumers:
        raise IllegalSchedule(f"cannot {action}: no block reads {buffer}")
    if producer.reduces and producer.init is None:
        raise IllegalSchedule(f"cannot {action}: the block does not initialize {buffer}")
    return consumers


def _order(stmt: Stmt) -> list[str]:
    return [block.name for block in blocks(stmt)]


def apart(function: PrimFunc, name: str, block: str) -> Stmt:
    """The outermost statement around the loop or block `name` that does not contain `block`."""
    path = tree.path_to_loop(function.body, name) or tree.path_to_block(function.body, name)
    return next(stmt for stmt in path if not tree.path_to_block(stmt, block))


def require_no_condition(function: PrimFunc, block: str, loop: str, action: str) -> None:
    """No `if` is around one of the two only: the block would run where it should not, or not where it should."""
    paths = tree.path_to_block(function.body, block), tree.path_to_loop(function.body, loop)
    for path, other in (paths, reversed(paths)):
        for stmt in path:
            if isinstance(stmt, If) and stmt not in other:
                raise IllegalSchedule(f"cannot {action}: it would enter or leave the condition {stmt.condition}")


def require_loop_for_blocks(function: PrimFunc, target: For) -> None:
    """The loop can take in other loops."""
    for outer in tree.path_to_loop(function.body, target.var.name):
        if isinstance(outer, For) and outer.kind == VECTORIZED:
            raise IllegalSchedule(f"loop {outer.var.name} is vectorized already, and can take in no loops: move first")


def require_order(function: PrimFunc, producer: Block, consumers: Sequence[Block]) -> None:
    """No consumer runs before the producer."""
    order = _order(function.body)
    for consumer in consumers:
        if order.index(consumer.name) < order.index(producer.name):
            raise IllegalSchedule(
                f"block {consumer.name} reads {producer.buffer.name} and has run before {producer.name}"
            )


def require_unchanged(function: PrimFunc, producer: Block, destination: str) -> None:
    """The inputs of `producer` are not written after it, up to the end of the loops around `destination`."""
    order = _order(function.body)
    until = _order(apart(function, destination, producer.name))[-1]
    between = set(order[order.index(producer.name) + 1 : order.index(until) + 1])
    inputs = {load.buffer.name for load in tree.reads(producer)}
    for block in blocks(function.body):
        if block.name in between and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {producer.name} reads {block.buffer.name}, which block {block.name} writes after it: "
                "computed later, it would read other values"
            )


def require_after(function: PrimFunc, consumer: Block, target: For) -> None:
    """Between the loops around `target` and the consumer, no block touches its output or writes its inputs."""
    order = _order(function.body)
    outside = apart(function, target.var.name, consumer.name)
    if order.index(consumer.name) < order.index(_order(outside)[0]):
        raise IllegalSchedule(f"block {consumer.name} runs before loop {target.var.name}")
    up_to = set(order[order.index(_order(outside)[0]) : order.index(consumer.name)])
    inside = set(_order(target.body))
    inputs = {load.buffer.name for load in tree.reads(consumer)}
    for block in blocks(function.body):
        if block.name in up_to and tree.touches(block, consumer.buffer.name):
            raise IllegalSchedule(
                f"block {block.name} uses {consumer.buffer.name}, which {consumer.name} writes, and runs before it"
            )
        if block.name in up_to - inside and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {consumer.name} needs {block.buffer.name} too, which block {block.name} writes outside loop "
                f"{target.var.name}: move that block there first"
            )
