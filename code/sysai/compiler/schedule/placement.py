"""Primitives that move a block to another loop: compute_at, reverse_compute_at, compute_inline.

    compute_at(P, loop of C)            each iteration first computes the part of P's buffer that it needs
    reverse_compute_at(C, loop of P)    each iteration at last consumes the part of the buffer that it has made
    compute_inline(P)                   every element is computed where it is used; the buffer is gone

Which part that is, region inference says: indices are sums, so that the loops inside move an index through an
interval (`affine.interval`), and a buffer needs the intervals' hull. Then the buffer shrinks to that part and lives in
the loop. Moving trades locality for work done again where parts overlap (Ragan-Kelley et al., PLDI 2013, section 3).
TVM infers regions by integer sets in several forms, and also places blocks of several buffers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sysai.compiler.program.arith import Ranges, proves
from sysai.compiler.program.expr import (
    TRUE,
    Binary,
    Cast,
    Const,
    Expr,
    Load,
    Operand,
    Var,
    as_expr,
    substitute,
    transform,
)
from sysai.compiler.program.polynomial import polynomial
from sysai.compiler.program.statement import (
    REDUCE,
    SERIAL,
    SPATIAL,
    VECTORIZED,
    Allocate,
    Block,
    For,
    Function,
    Seq,
    Stmt,
    blocks,
    statements,
)
from sysai.compiler.schedule import dependence
from sysai.compiler.schedule.affine import ONE, Interval, interval, ranges_of, whole
from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.loops import both
from sysai.compiler.schedule.storage import clipped, require_scopes, shrink, touched
from sysai.compiler.schedule.tree import (
    change_blocks,
    find_block,
    find_loop,
    fresh,
    loops,
    loops_around,
    path_to_block,
    path_to_loop,
    readers,
    reads,
    replace_loop,
    sequence,
    touches,
    variables,
    without_blocks,
    writers,
)


def compute_at(function: Function, block: str, loop: str) -> Function:
    """Compute a producer inside a loop that contains all its consumers, just what each iteration needs."""
    producer, target = find_block(function, block), find_loop(function, loop)
    buffer = producer.buffer
    consumers = _require_movable(function, producer, f"compute {block} at {loop}")
    inside = {inner.name for inner in blocks(target.body)}
    if block in inside:
        raise IllegalSchedule(f"block {block} is inside loop {loop} already")
    _require_loop_for_blocks(target)
    outside = [consumer.name for consumer in consumers if consumer.name not in inside]
    if outside:
        raise IllegalSchedule(
            f"block {outside[0]} needs {buffer.name} too, and is outside {loop}: move it there first, "
            f"or compute {block} at a loop around both"
        )
    _require_order(function, producer, consumers)
    _require_unchanged(function, producer, until=_last(function, target.body))
    shared = set(path_to_loop(function.body, loop)) & set(path_to_block(function.body, block))
    for outer in shared:
        if isinstance(outer, For) and not _allocated_in(outer, buffer.name):
            raise IllegalSchedule(
                f"blocks {block} and {consumers[0].name} share loop {outer.var.name}, and {buffer.name} lives on "
                f"outside it: {block} cannot be computed again at {loop}"
            )
    needed = [clipped(part, length) for part, length in zip(touched(target.body, buffer), buffer.shape, strict=True)]
    if list(producer.indices) != [axis.var for axis in producer.axes if axis.kind == SPATIAL]:
        raise IllegalSchedule(f"block {block} does not store at its axes themselves, so what {loop} needs is not known")
    ranges = dict(zip(producer.indices, needed, strict=True))
    _require_independent_axes(function, producer)
    function = replace(function, body=without_blocks(function.body, {block}))
    moved = _nest(function, producer, ranges, _around(function, loop))
    target = find_loop(function, loop)
    body = _insert_before(target.body, {consumer.name for consumer in consumers}, moved)
    function = replace_loop(function, loop, replace(target, body=body))
    return require_scopes(shrink(function, buffer.name, loop), f"compute {block} at {loop}")


def reverse_compute_at(function: Function, block: str, loop: str) -> Function:
    """Compute a consumer inside a loop of its producers, just for the elements that are complete in each iteration."""
    consumer, target = find_block(function, block), find_loop(function, loop)
    if any(inner.name == block for inner in blocks(target.body)):
        raise IllegalSchedule(f"block {block} is inside loop {loop} already")
    _require_loop_for_blocks(target)
    made = list(dict.fromkeys(r.buffer.name for r in reads(consumer) if writers(target.body, r.buffer.name)))
    if not made:
        raise IllegalSchedule(f"block {block} reads nothing that is written inside {loop}")
    _require_after(function, consumer, target)
    ranges: dict[Var, Interval] = {}
    for name in made:
        for var, part in _complete_part(function, consumer, name, target).items():
            if var in ranges and ranges[var] != part:
                raise IllegalSchedule(f"the buffers that {block} reads are made in different parts at {loop}")
            ranges[var] = part
    ranges = _with_shared_loops(function, consumer, ranges, target)
    _require_independent_axes(function, consumer)
    function = replace(function, body=without_blocks(function.body, {block}))
    moved = _nest(function, consumer, ranges, _around(function, loop))
    target = find_loop(function, loop)
    body = _append(target.body, moved)
    function = replace_loop(function, loop, replace(target, body=body))
    for name in made:
        everywhere = {inner.name for inner in blocks(function.body) if touches(inner, name)}
        here = {inner.name for inner in blocks(find_loop(function, loop).body) if touches(inner, name)}
        if everywhere == here and _allocated_in(function.body, name):
            function = shrink(function, name, loop)
    return require_scopes(function, f"compute {block} at {loop}")


def compute_inline(function: Function, block: str) -> Function:
    """Compute a block's elements where they are read, as often as they are."""
    producer = find_block(function, block)
    if producer.reduces:
        raise IllegalSchedule(
            f"block {block} is a reduction: its value takes a loop, and cannot stand in an expression"
        )
    consumers = _require_movable(function, producer, f"inline {block}")
    _require_order(function, producer, consumers)
    _require_unchanged(function, producer, until=consumers[-1].name)
    if len(set(producer.indices)) != len(producer.indices) or not all(isinstance(i, Var) for i in producer.indices):
        raise IllegalSchedule(f"block {block} does not store at its axes themselves: what an element is, is not known")
    inputs = {load.buffer.name for load in reads(producer)}
    for outer in path_to_block(function.body, block):
        rewrites = isinstance(outer, For) and any(inner.buffer.name in inputs for inner in blocks(outer))
        if rewrites and not _allocated_in(outer, producer.buffer.name):
            raise IllegalSchedule(
                f"what block {block} reads is written anew in each iteration of {outer.var.name}, and its own buffer "
                f"{producer.buffer.name} outlives the iteration"
            )

    def inlined(expr: Expr) -> Expr | None:
        if isinstance(expr, Load) and expr.buffer.name == producer.buffer.name:
            value = substitute(producer.value, dict(zip(producer.indices, expr.indices, strict=True)))
            return value if value.dtype == producer.buffer.dtype else Cast(producer.buffer.dtype, value)
        return None

    def change(inner: Block) -> Block:
        indices = tuple(transform(index, inlined) for index in inner.indices)
        return replace(inner, value=transform(inner.value, inlined), indices=indices)

    body = without_blocks(change_blocks(function.body, change), {block})
    return require_scopes(replace(function, body=body), f"inline {block}")


def _require_movable(function: Function, producer: Block, what: str) -> list[Block]:
    """The consumers of a block's buffer, in order, if nobody else can see that buffer."""
    buffer = producer.buffer.name
    if buffer in {parameter.name for parameter in function.buffers}:
        raise IllegalSchedule(f"cannot {what}: {buffer} is an output of the function, and must be complete")
    others = [block.name for block in writers(function.body, buffer) if block.name != producer.name]
    if others:
        raise IllegalSchedule(f"cannot {what}: block {others[0]} writes {buffer} too")
    consumers = readers(function.body, buffer)
    if producer.name in {consumer.name for consumer in consumers}:
        raise IllegalSchedule(f"cannot {what}: the block reads its own buffer {buffer}")
    if not consumers:
        raise IllegalSchedule(f"cannot {what}: no block reads {buffer}")
    if producer.reduces and producer.init is None:
        raise IllegalSchedule(f"cannot {what}: the block does not initialize {buffer}")
    return consumers


def _order(function: Function) -> list[str]:
    return [block.name for block in blocks(function.body)]


def _last(function: Function, body: Stmt) -> str:
    return list(blocks(body))[-1].name


def _require_loop_for_blocks(target: For) -> None:
    if target.kind == VECTORIZED:
        raise IllegalSchedule(
            f"loop {target.var.name} is vectorized already, and can take in no loops: move blocks first"
        )


def _require_order(function: Function, producer: Block, consumers: Sequence[Block]) -> None:
    order = _order(function)
    for consumer in consumers:
        if order.index(consumer.name) < order.index(producer.name):
            raise IllegalSchedule(
                f"block {consumer.name} reads {producer.buffer.name} and has run before {producer.name}"
            )


def _require_unchanged(function: Function, producer: Block, until: str) -> None:
    """What `producer` reads must not be written between its place and block `until`."""
    order = _order(function)
    between = set(order[order.index(producer.name) + 1 : order.index(until) + 1])
    inputs = {load.buffer.name for load in reads(producer)}
    for block in blocks(function.body):
        if block.name in between and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {producer.name} reads {block.buffer.name}, which block {block.name} writes after it: "
                "computed later, it would read other values"
            )


def _require_after(function: Function, consumer: Block, target: For) -> None:
    """Nothing from the loop `target` up to the consumer may touch what it writes, or write what it reads."""
    order = _order(function)
    first, last = next(blocks(target.body)).name, _last(function, target.body)
    if order.index(consumer.name) < order.index(first):
        raise IllegalSchedule(f"block {consumer.name} runs before loop {target.var.name}")
    inside = {block.name for block in blocks(target.body)}
    up_to = set(order[order.index(first) : order.index(consumer.name)])
    behind = set(order[order.index(last) + 1 : order.index(consumer.name)])
    inputs = {load.buffer.name for load in reads(consumer)}
    for block in blocks(function.body):
        if block.name in up_to and touches(block, consumer.buffer.name):
            raise IllegalSchedule(
                f"block {block.name} uses {consumer.buffer.name}, which {consumer.name} writes, and runs before it"
            )
        if block.name in behind and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {consumer.name} needs {block.buffer.name} too, which block {block.name} writes after loop "
                f"{target.var.name}: move that block there first"
            )
    assert inside


def _complete_part(function: Function, consumer: Block, name: str, target: For) -> dict[Var, Interval]:
    """The range of each of the consumer's axes that indexes the part of a buffer made in one iteration of a loop."""
    around = [inner for inner in path_to_loop(function.body, target.var.name) if isinstance(inner, For)]
    alone = [inner for inner in around if inner not in path_to_block(function.body, consumer.name)]
    what = f"block {consumer.name} cannot be computed at {target.var.name}"
    for writer in writers(target.body, name):
        for axis in writer.axes:
            over = {loop.var.name for loop in alone} & {var.name for var in variables(axis.binding)}
            if axis.kind == REDUCE and over:
                raise IllegalSchedule(
                    f"{what}: {name} is not complete there, {min(over)} is a reduction loop of {writer.name}"
                )
    inside = {writer.name for writer in writers(target.body, name)}
    for writer in writers(function.body, name):
        if writer.name not in inside:
            raise IllegalSchedule(f"{what}: block {writer.name}, outside that loop, writes {name} too")
    written = [access for access in dependence.accesses(target.body, name) if access.writes]
    known = dependence.determined(written, [*alone, *loops(target.body)])
    for outer in alone:
        if outer.var not in known:
            raise IllegalSchedule(
                f"{what}: several iterations of {outer.var.name} may write the same element of {name}"
            )
    moving = {loop.var: loop.extent for loop in loops(target.body)}
    buffer = next(load.buffer for load in reads(consumer) if load.buffer.name == name)
    ranges: dict[Var, Interval] = {}
    for dimension, (length, part) in enumerate(zip(buffer.shape, touched(target.body, buffer), strict=True)):
        if part == whole(length):
            continue
        if part is None or any(not _dense(access.indices[dimension], moving) for access in written):
            raise IllegalSchedule(f"{what}: an iteration does not make consecutive elements of {name}")
        for load in (load for load in reads(consumer) if load.buffer.name == name):
            axes = {axis.var: axis for axis in consumer.axes}
            index = load.indices[dimension]
            if index not in axes or ranges.get(index, part) != part:
                raise IllegalSchedule(
                    f"{what}: it reads {load}, of which an iteration of {target.var.name} has made only a part"
                )
            if axes[index].kind == REDUCE and any(loop.kind != SERIAL for loop in alone):
                raise IllegalSchedule(f"{what}: it reduces over {index}, and its loops there are not all serial")
            ranges[index] = part
    return ranges


def _with_shared_loops(
    function: Function, consumer: Block, ranges: Mapping[Var, Interval], target: For
) -> dict[Var, Interval]:
    """`ranges`, and those of the axes that loops around both the consumer and `target` determine."""
    outside = path_to_loop(function.body, target.var.name)
    around = loops_around(function.body, consumer.name)
    shared = {loop.var for loop in around if loop in outside}
    private = {loop.var: loop.extent for loop in around if loop not in outside}
    complete = dict(ranges)
    for axis in consumer.axes:
        others = {var for other in consumer.axes if other is not axis for var in variables(other.binding)}
        part = ranges.get(axis.var)
        if not shared & (variables(axis.binding) | (variables(part.start) if part else set())):
            continue
        own = interval(axis.binding, private)
        alone = not others & variables(axis.binding) & set(private) and _dense(axis.binding, private)
        if own is None or not alone or (part is not None and part != own):
            raise IllegalSchedule(
                f"block {consumer.name} cannot be computed at {target.var.name}: which part of axis {axis.var} "
                "belongs to one iteration of the loops around both is not known"
            )
        complete[axis.var] = own
    return complete


def _dense(index: Expr, moving: Mapping[Var, Expr]) -> bool:
    """Whether the index takes every value of its interval."""
    terms = [(m, c) for m, c in polynomial(index).terms.items() if any(variables(atom) & set(moving) for atom in m)]
    reach = 1
    for monomial, coefficient in sorted(terms, key=lambda term: abs(term[1])):
        extent = moving.get(monomial[0]) if len(monomial) == 1 else None
        if extent is None or abs(coefficient) > reach:
            return False
        if not isinstance(extent, Const):
            return len(terms) == 1
        reach += abs(coefficient) * (extent.value - 1)
    return True


def _around(function: Function, loop: str) -> list[For]:
    """A loop and those around it."""
    return [inner for inner in path_to_loop(function.body, loop) if isinstance(inner, For)]


def _nest(function: Function, block: Block, ranges: Mapping[Var, Interval], around: Sequence[For]) -> Stmt:
    """The block in new loops of its own: axes of `ranges` over these, all others over their extents."""
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
        for condition in _guards(bindings[axis.var], axis.extent, part, ranges_of((*around, *new))):
            predicate = both(predicate, condition)
    stmt: Stmt = rebind(block, bindings, predicate)
    for loop in reversed(new):
        stmt = replace(loop, body=stmt)
    return stmt


def _require_independent_axes(function: Function, block: Block) -> None:
    """No axis may follow from the others, as those do that index a buffer which has shrunk (`storage.py`)."""
    around = loops_around(function.body, block.name)
    for axis in block.axes:
        others = tuple(other.binding for other in block.axes if other is not axis)
        own = {loop.var for loop in around} & variables(axis.binding)
        if own and own <= dependence.determined([dependence.Access(block, others, True)], around):
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
    for condition in conditions(block.predicate):
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


def conditions(predicate: Expr) -> list[Expr]:
    """The parts of a conjunction."""
    if predicate == TRUE:
        return []
    match predicate:
        case Binary("and", a, b):
            return conditions(a) + conditions(b)
    return [predicate]


def _sizes(block: Block) -> set[Var]:
    """Variables that occur in the block's extents and shapes, and so are sizes."""
    return {var for axis in block.axes for var in variables(axis.extent)} | {
        var for length in block.buffer.shape for var in variables(length)
    }


def _insert_before(body: Stmt, names: set[str], new: Stmt) -> Stmt:
    """`new` in front of the first part of `body` that contains one of the blocks."""
    match body:
        case Allocate():
            return replace(body, body=_insert_before(body.body, names, new))
        case Seq(parts):
            first = next(p for p, part in enumerate(parts) if any(inner.name in names for inner in blocks(part)))
            return sequence(*parts[:first], new, *parts[first:])
    return sequence(new, body)


def _append(body: Stmt, new: Stmt) -> Stmt:
    if isinstance(body, Allocate):
        return replace(body, body=_append(body.body, new))
    return sequence(body, new)


def _allocated_in(stmt: Stmt, buffer: str) -> bool:
    return any(isinstance(inner, Allocate) and inner.buffer.name == buffer for inner in statements(stmt))
