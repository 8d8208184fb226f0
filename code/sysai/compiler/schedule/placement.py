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

from sysai.compiler.schedule import dependence
from sysai.compiler.schedule.affine import Interval, interval, whole
from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.nest import around, nest, require_independent_axes
from sysai.compiler.schedule.order import (
    require_after,
    require_loop_for_blocks,
    require_movable,
    require_no_condition,
    require_order,
    require_unchanged,
)
from sysai.compiler.schedule.storage import clipped, require_scopes, shrink, touched
from sysai.compiler.schedule.tree import (
    change_blocks,
    find_block,
    find_buffer,
    find_loop,
    loops,
    loops_around,
    path_to_block,
    path_to_loop,
    readers,
    reads,
    replace_loop,
    touches,
    without_blocks,
    writers,
)
from sysai.compiler.tir.arith import simplify
from sysai.compiler.tir.expr import ZERO, Cast, Const, Expr, Load, Var, substitute, transform, variables
from sysai.compiler.tir.polynomial import polynomial
from sysai.compiler.tir.statement import (
    REDUCE,
    SERIAL,
    SPATIAL,
    Allocate,
    Block,
    For,
    If,
    PrimFunc,
    Seq,
    Stmt,
    blocks,
    sequence,
    statements,
)


def compute_at(function: PrimFunc, block: str, loop: str) -> PrimFunc:
    """Compute a producer inside a loop that contains all its consumers, just what each iteration needs."""
    producer, target = find_block(function, block), find_loop(function, loop)
    buffer = producer.buffer
    consumers = require_movable(function, producer, f"compute {block} at {loop}")
    inside = {inner.name for inner in blocks(target.body)}
    if block in inside:
        raise IllegalSchedule(f"block {block} is inside loop {loop} already")
    require_loop_for_blocks(function, target)
    outside = [consumer.name for consumer in consumers if consumer.name not in inside]
    if outside:
        raise IllegalSchedule(
            f"block {outside[0]} needs {buffer.name} too, and is outside {loop}: move it there first, "
            f"or compute {block} at a loop around both"
        )
    require_order(function, producer, consumers)
    require_unchanged(function, producer, loop)
    require_no_condition(function, block, loop, f"compute {block} at {loop}")
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
    require_independent_axes(function, producer)
    function = replace(function, body=without_blocks(function.body, {block}))
    moved = nest(function, producer, ranges, around(function, loop))
    target = find_loop(function, loop)
    body = _insert_before(target.body, {consumer.name for consumer in consumers}, moved)
    function = replace_loop(function, loop, replace(target, body=body))
    return require_scopes(shrink(function, buffer.name, loop), f"compute {block} at {loop}")


def reverse_compute_at(function: PrimFunc, block: str, loop: str) -> PrimFunc:
    """Compute a consumer inside a loop of its producers, just for the elements that are complete in each iteration."""
    consumer, target = find_block(function, block), find_loop(function, loop)
    if any(inner.name == block for inner in blocks(target.body)):
        raise IllegalSchedule(f"block {block} is inside loop {loop} already")
    require_loop_for_blocks(function, target)
    made = list(dict.fromkeys(r.buffer.name for r in reads(consumer) if writers(target.body, r.buffer.name)))
    if not made:
        raise IllegalSchedule(f"block {block} reads nothing that is written inside {loop}")
    require_after(function, consumer, target)
    require_no_condition(function, block, loop, f"compute {block} at {loop}")
    ranges: dict[Var, Interval] = {}
    for name in made:
        for var, part in _complete_part(function, consumer, name, target).items():
            if var in ranges and ranges[var] != part:
                raise IllegalSchedule(f"the buffers that {block} reads are made in different parts at {loop}")
            ranges[var] = part
    ranges = _with_shared_loops(function, consumer, ranges, target)
    require_independent_axes(function, consumer)
    function = replace(function, body=without_blocks(function.body, {block}))
    moved = nest(function, consumer, ranges, around(function, loop))
    target = find_loop(function, loop)
    body = _append(target.body, moved)
    function = replace_loop(function, loop, replace(target, body=body))
    for name in made:
        if _lives_in_one_iteration(function, name, loop):
            function = shrink(function, name, loop)
    return require_scopes(function, f"compute {block} at {loop}")


def compute_inline(function: PrimFunc, block: str) -> PrimFunc:
    """Compute a block's elements where they are read, as often as they are."""
    producer = find_block(function, block)
    if producer.reduces:
        raise IllegalSchedule(
            f"block {block} is a reduction: its value takes a loop, and cannot stand in an expression"
        )
    consumers = require_movable(function, producer, f"inline {block}")
    require_order(function, producer, consumers)
    for consumer in consumers:
        require_unchanged(function, producer, consumer.name)
        for outer in path_to_block(function.body, block):
            if isinstance(outer, If) and not path_to_block(outer, consumer.name):
                raise IllegalSchedule(f"cannot inline {block}: it would leave the condition {outer.condition}")
    used = {axis.var for axis in producer.axes if axis.var in variables(producer.value)}
    distinct = len(set(producer.indices)) == len(producer.indices)
    if not distinct or not all(isinstance(index, Var) for index in producer.indices) or not used <= {*producer.indices}:
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


def _lives_in_one_iteration(function: PrimFunc, buffer: str, loop: str) -> bool:
    """Whether an allocated buffer is used inside `loop` only, and each iteration reads only what it has written."""
    body = find_loop(function, loop).body
    users = [block for block in blocks(body) if touches(block, buffer)]
    if not _allocated_in(function.body, buffer) or users != [b for b in blocks(function.body) if touches(b, buffer)]:
        return False
    whole_buffer = find_buffer(function, buffer)
    begins = users[0].name not in {block.name for block in readers(body, buffer)}
    return begins and touched(body, whole_buffer) == touched(body, whole_buffer, written=True)


def _complete_part(function: PrimFunc, consumer: Block, name: str, target: For) -> dict[Var, Interval]:
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
    written = [access.indices for _, access in dependence.touching(target.body, name) if access.writes]
    known = dependence.determined(written, [*alone, *loops(target.body)])
    for outer in alone:
        if outer.var not in known:
            raise IllegalSchedule(
                f"{what}: several iterations of {outer.var.name} may write the same element of {name}"
            )
    moving = {loop.var: loop.extent for loop in loops(target.body)}
    buffer = next(load.buffer for load in reads(consumer) if load.buffer.name == name)
    ranges: dict[Var, Interval] = {}
    for dimension, (length, part) in enumerate(
        zip(buffer.shape, touched(target.body, buffer, written=True), strict=True)
    ):
        if part == whole(length):
            continue
        if part is None or any(not _dense(indices[dimension], moving) for indices in written):
            raise IllegalSchedule(f"{what}: an iteration does not make consecutive elements of {name}")
        for load in (load for load in reads(consumer) if load.buffer.name == name):
            axes = {axis.var: axis for axis in consumer.axes}
            index = load.indices[dimension]
            if index not in axes or ranges.get(index, part) != part:
                raise IllegalSchedule(
                    f"{what}: it reads {load}, of which an iteration of {target.var.name} has made only a part"
                )
            ranges[index] = part
    _require_first_part_first(consumer, ranges, alone, what)
    return ranges


def _require_first_part_first(consumer: Block, ranges: Mapping[Var, Interval], alone: Sequence[For], what: str) -> None:
    """A consumer that reduces over parts must begin with the first, where it initializes."""
    over = [ranges[axis.var].start for axis in consumer.axes if axis.kind == REDUCE and axis.var in ranges]
    others = [ranges[axis.var].start for axis in consumer.axes if axis.kind == SPATIAL and axis.var in ranges]
    if not over:
        return
    if any(loop.kind != SERIAL for loop in alone):
        raise IllegalSchedule(f"{what}: it reduces over parts, which come in order only if all loops there are serial")
    beginning = {loop.var: 0 for loop in alone}
    mixed = {var for a in over for b in others for var in variables(a) & variables(b)} & set(beginning)
    later = any(simplify(substitute(start, beginning)) != ZERO for start in over)
    if consumer.init is not None and (mixed or later):
        raise IllegalSchedule(f"{what}: it would initialize before a part that is not the first")


def _with_shared_loops(
    function: PrimFunc, consumer: Block, ranges: Mapping[Var, Interval], target: For
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
