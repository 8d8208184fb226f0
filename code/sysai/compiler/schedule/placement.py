"""Primitives that move a block to another loop: compute_at, reverse_compute_at, compute_inline.

    compute_at(P, loop of C)            each iteration first computes the part of P's buffer that it needs
    reverse_compute_at(C, loop of P)    each iteration at last consumes the part of the buffer that it has made
    compute_inline(P)                   every element is computed where it is used; the buffer is gone

Which part that is, region inference says: indices are sums, so that the loops inside move an index through an
interval (`regions.interval`), and a buffer needs the intervals' hull. Then the buffer shrinks to that part and lives in
the loop. Moving trades locality for work done again where parts overlap (Ragan-Kelley et al., PLDI 2013, section 3).
TVM infers regions by integer sets in several forms, and also places blocks of several buffers.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from sysai.compiler import tir
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import dependence, tree
from sysai.compiler.schedule.regions import Interval, interval, needed, require_scopes, shrink, touched, whole
from sysai.compiler.tir.arith import proves, simplify, size_ranges
from sysai.compiler.tir.polynomial import polynomial

Regions = dict[tir.Var, Interval]
"""What axes of a block run over; those that are not in it run over their extents."""


def compute_at(function: tir.PrimFunc, block: str, loop: str) -> tir.PrimFunc:
    """Compute a producer inside a loop that contains all its consumers, just what each iteration needs."""
    producer, target = tree.find_block(function, block), tree.find_loop(function, loop)
    buffer = producer.buffer
    consumers = dependence.require_movable(function, producer, f"compute {block} at {loop}")
    inside = {inner.name for inner in tir.blocks(target.body)}
    if block in inside:
        raise IllegalSchedule(f"block {block} is inside loop {loop} already")
    dependence.require_loop_for_blocks(function, target)
    outside = [consumer.name for consumer in consumers if consumer.name not in inside]
    if outside:
        raise IllegalSchedule(
            f"block {outside[0]} needs {buffer.name} too, and is outside {loop}: move it there first, "
            f"or compute {block} at a loop around both"
        )
    dependence.require_order(function, producer, consumers)
    dependence.require_unchanged(function, producer, loop)
    dependence.require_no_condition(function, block, loop, f"compute {block} at {loop}")
    shared = tree.path_to_block(function.body, block)
    for outer in tree.loops_down_to(function, loop):
        if outer in shared and not _allocated_in(outer, buffer.name):
            raise IllegalSchedule(
                f"blocks {block} and {consumers[0].name} share loop {outer.var.name}, and {buffer.name} lives on "
                f"outside it: {block} cannot be computed again at {loop}"
            )
    if list(producer.indices) != [axis.var for axis in producer.axes if axis.kind == tir.SPATIAL]:
        raise IllegalSchedule(f"block {block} does not store at its axes themselves, so what {loop} needs is not known")
    regions = dict(zip(producer.indices, needed(target.body, buffer), strict=True))
    function = _moved(function, producer, loop, regions, {consumer.name for consumer in consumers})
    return require_scopes(shrink(function, buffer.name, loop), f"compute {block} at {loop}")


def reverse_compute_at(function: tir.PrimFunc, block: str, loop: str) -> tir.PrimFunc:
    """Compute a consumer inside a loop of its producers, just for the elements that are complete in each iteration."""
    consumer, target = tree.find_block(function, block), tree.find_loop(function, loop)
    if any(inner.name == block for inner in tir.blocks(target.body)):
        raise IllegalSchedule(f"block {block} is inside loop {loop} already")
    dependence.require_loop_for_blocks(function, target)
    read = dict.fromkeys(load.buffer.name for load in tree.reads(consumer))
    produced = [name for name in read if tree.writers(target.body, name)]
    if not produced:
        raise IllegalSchedule(f"block {block} reads nothing that is written inside {loop}")
    dependence.require_after(function, consumer, target)
    dependence.require_no_condition(function, block, loop, f"compute {block} at {loop}")
    regions: Regions = {}
    for name in produced:
        for var, region in _complete_regions(function, consumer, name, target).items():
            if var in regions and regions[var] != region:
                raise IllegalSchedule(f"the buffers that {block} reads are made in different parts at {loop}")
            regions[var] = region
    regions = _with_shared_loops(function, consumer, regions, target)
    function = _moved(function, consumer, loop, regions)
    for name in produced:
        if _lives_in_one_iteration(function, name, loop):
            function = shrink(function, name, loop)
    return require_scopes(function, f"compute {block} at {loop}")


def compute_inline(function: tir.PrimFunc, block: str) -> tir.PrimFunc:
    """Compute a block's elements where they are read, as often as they are."""
    producer = tree.find_block(function, block)
    if producer.reduces:
        raise IllegalSchedule(f"block {block} is a reduction: its value takes a loop, and can stand in no expression")
    consumers = dependence.require_movable(function, producer, f"inline {block}")
    dependence.require_order(function, producer, consumers)
    for consumer in consumers:
        dependence.require_unchanged(function, producer, consumer.name)
        for outer in tree.path_to_block(function.body, block):
            if isinstance(outer, tir.If) and not tree.path_to_block(outer, consumer.name):
                raise IllegalSchedule(f"cannot inline {block}: it would leave the condition {outer.condition}")
    # Indices that are distinct axes: then an element's own indices say what its value is made from.
    indices = set(producer.indices)
    distinct = len(indices) == len(producer.indices) and all(isinstance(index, tir.Var) for index in indices)
    if not distinct or {axis.var for axis in producer.axes} & tir.variables(producer.value) - indices:
        raise IllegalSchedule(f"block {block} does not store at its axes themselves: what an element is, is not known")
    # A buffer that outlives an iteration keeps values of inputs that the next iteration overwrites.
    inputs = {load.buffer.name for load in tree.reads(producer)}
    for outer in tree.path_to_block(function.body, block):
        rewrites = isinstance(outer, tir.For) and any(inner.buffer.name in inputs for inner in tir.blocks(outer))
        if rewrites and not _allocated_in(outer, producer.buffer.name):
            raise IllegalSchedule(
                f"what block {block} reads is written anew in each iteration of {outer.var.name}, and its own buffer "
                f"{producer.buffer.name} outlives the iteration"
            )

    def inlined(expr: tir.Expr) -> tir.Expr | None:
        if isinstance(expr, tir.Load) and expr.buffer.name == producer.buffer.name:
            value = tir.substitute(producer.value, dict(zip(producer.indices, expr.indices, strict=True)))
            return value if value.dtype == producer.buffer.dtype else tir.Cast(producer.buffer.dtype, value)
        return None

    def change(inner: tir.Block) -> tir.Block:
        indices = tuple(tir.transform(index, inlined) for index in inner.indices)
        return replace(inner, value=tir.transform(inner.value, inlined), indices=indices)

    body = tree.without_blocks(tree.change_blocks(function.body, change), {block})
    return require_scopes(replace(function, body=body), f"inline {block}")


def _moved(
    function: tir.PrimFunc, block: tir.Block, loop: str, regions: Regions, consumers: Container[str] = ()
) -> tir.PrimFunc:
    """The block in new loops inside `loop`: ahead of the first of its `consumers` there, by default at the end."""
    dependence.require_independent_axes(function, block)
    function = replace(function, body=tree.without_blocks(function.body, {block.name}))
    target = tree.find_loop(function, loop)
    body = _insert(target.body, _in_new_loops(function, block, regions, loop), consumers)
    return tree.replace_loop(function, loop, replace(target, body=body))


def _in_new_loops(function: tir.PrimFunc, block: tir.Block, regions: Regions, loop: str) -> tir.Stmt:
    """The block in loops of its own, with conditions where a region may leave the axis' extent."""
    new: list[tir.For] = []
    bindings: dict[tir.Var, tir.Expr] = {}
    predicate: tir.Expr = tir.TRUE
    for axis in sorted(block.axes, key=lambda axis: axis.kind == tir.REDUCE):
        region = regions.get(axis.var, whole(axis.extent))
        index = region.start
        if region.size != tir.ONE:
            name = tree.fresh(function, f"{block.name}_{axis.var.name}", *(other.var.name for other in new))
            new.append(tir.For(tir.Var(name), region.size, block))
            index = region.start + tir.Var(name)
        bindings[axis.var] = index
        ranges = {**size_ranges(function.sizes), **tree.ranges_of((*tree.loops_down_to(function, loop), *new))}
        needed_guards = [] if region == whole(axis.extent) else [index >= 0, index < axis.extent]
        predicate = tir.conjunction(predicate, *(guard for guard in needed_guards if not proves(guard, ranges)))
    return tir.in_loops(new, _rebound(block, bindings, predicate))


def _rebound(block: tir.Block, bindings: Mapping[tir.Var, tir.Expr], predicate: tir.Expr) -> tir.Block:
    """The block with other bindings; of its predicate only the conditions remain that its domain does not imply."""
    domain = {axis.binding < axis.extent for axis in block.axes}
    by_loop = {axis.binding: axis.var for axis in block.axes if isinstance(axis.binding, tir.Var)}
    sizes = tir.variables(*(axis.extent for axis in block.axes), *block.buffer.shape)
    for condition in tir.conjuncts(block.predicate):
        if condition in domain:
            continue
        if tir.variables(condition) - set(by_loop) - sizes:
            raise IllegalSchedule(f"block {block.name} has the condition {condition}, which is on its old loops")
        predicate = tir.conjunction(predicate, tir.substitute(tir.substitute(condition, by_loop), bindings))
    axes = tuple(replace(axis, binding=bindings[axis.var]) for axis in block.axes)
    return replace(block, axes=axes, predicate=predicate)


def _insert(body: tir.Stmt, new: tir.Stmt, consumers: Container[str]) -> tir.Stmt:
    """`new` in front of the first part of `body` that contains one of the consumers, or at the end."""
    if isinstance(body, tir.Allocate):
        return replace(body, body=_insert(body.body, new, consumers))
    parts = body.statements if isinstance(body, tir.Seq) else (body,)
    consuming = (position for position, part in enumerate(parts) if any(b.name in consumers for b in tir.blocks(part)))
    position = next(consuming, len(parts))
    return tir.sequence(*parts[:position], new, *parts[position:])


def _lives_in_one_iteration(function: tir.PrimFunc, buffer: str, loop: str) -> bool:
    """Whether an allocated buffer is used inside `loop` only, and each iteration reads only what it has written."""
    body = tree.find_loop(function, loop).body
    users, all_users = (
        [block for block in tir.blocks(stmt) if tree.touches(block, buffer)] for stmt in (body, function.body)
    )
    if not _allocated_in(function.body, buffer) or users != all_users or users[0] in tree.readers(body, buffer):
        return False
    whole_buffer = tree.find_buffer(function, buffer)
    return touched(body, whole_buffer) == touched(body, whole_buffer, written=True)


def _complete_regions(function: tir.PrimFunc, consumer: tir.Block, name: str, target: tir.For) -> Regions:
    """For the consumer's axes that index a buffer: the region that one iteration of a loop completes."""
    shared = tree.path_to_block(function.body, consumer.name)
    alone = [loop for loop in tree.loops_down_to(function, target.var.name) if loop not in shared]
    refusal = f"block {consumer.name} cannot be computed at {target.var.name}"
    # Complete: no loop that only the producers are in reduces, and nothing outside writes the buffer.
    for writer in tree.writers(target.body, name):
        over = [loop.var.name for loop in alone if loop.var in tree.reduction_loops(writer)]
        if over:
            loop = f"{min(over)} is a reduction loop of {writer.name}"
            raise IllegalSchedule(f"{refusal}: {name} is not complete there, {loop}")
    for writer in tree.writers(function.body, name):
        if writer not in tree.writers(target.body, name):
            raise IllegalSchedule(f"{refusal}: block {writer.name}, outside that loop, writes {name} too")
    # Once: different iterations write different elements.
    written = [access.indices for _, access in dependence.touching(target.body, name) if access.writes]
    fixed = dependence.determined(written, [*alone, *tree.loops(target.body)])
    for outer in alone:
        if outer.var not in fixed:
            raise IllegalSchedule(f"{refusal}: iterations of {outer.var.name} may write the same element of {name}")
    # Dense, and read at the consumer's own axes: then a region of the buffer is a range of these axes.
    inner_extents = {loop.var: loop.extent for loop in tree.loops(target.body)}
    buffer = next(load.buffer for load in tree.reads(consumer) if load.buffer.name == name)
    regions: Regions = {}
    for dimension, region in enumerate(touched(target.body, buffer, written=True)):
        if region == whole(buffer.shape[dimension]):
            continue
        if region is None or any(not _dense(indices[dimension], inner_extents) for indices in written):
            raise IllegalSchedule(f"{refusal}: an iteration does not make consecutive elements of {name}")
        for load in (load for load in tree.reads(consumer) if load.buffer.name == name):
            axes = {axis.var: axis for axis in consumer.axes}
            index = load.indices[dimension]
            if index not in axes or regions.get(index, region) != region:
                raise IllegalSchedule(
                    f"{refusal}: it reads {load}, of which an iteration of {target.var.name} has made only a part"
                )
            regions[index] = region
    _require_first_region_first(consumer, regions, alone, refusal)
    return regions


def _require_first_region_first(consumer: tir.Block, regions: Regions, alone: Sequence[tir.For], refusal: str) -> None:
    """A consumer that reduces over parts must begin with the first, where it initializes."""
    over = [regions[axis.var].start for axis in consumer.axes if axis.kind == tir.REDUCE and axis.var in regions]
    others = [regions[axis.var].start for axis in consumer.axes if axis.kind == tir.SPATIAL and axis.var in regions]
    if not over:
        return
    if any(loop.kind != tir.SERIAL for loop in alone):
        raise IllegalSchedule(f"{refusal}: it reduces over parts, in order only if all loops there are serial")
    beginning = {loop.var: 0 for loop in alone}
    mixed = {var for a in over for b in others for var in tir.variables(a) & tir.variables(b)} & set(beginning)
    later = any(simplify(tir.substitute(start, beginning)) != tir.ZERO for start in over)
    if consumer.init is not None and (mixed or later):
        raise IllegalSchedule(f"{refusal}: it would initialize before a part that is not the first")


def _with_shared_loops(function: tir.PrimFunc, consumer: tir.Block, regions: Regions, target: tir.For) -> Regions:
    """`regions`, and those of the axes that loops around both the consumer and `target` determine."""
    outside = tree.path_to_loop(function.body, target.var.name)
    enclosing = tree.loops_around(function.body, consumer.name)
    shared = {loop.var for loop in enclosing if loop in outside}
    private = {loop.var: loop.extent for loop in enclosing if loop not in outside}
    complete = dict(regions)
    for axis in consumer.axes:
        others = {var for other in consumer.axes if other is not axis for var in tir.variables(other.binding)}
        region = regions.get(axis.var)
        if not shared & (tir.variables(axis.binding) | (tir.variables(region.start) if region else set())):
            continue
        own = interval(axis.binding, private)
        alone = not others & tir.variables(axis.binding) & set(private) and _dense(axis.binding, private)
        if own is None or not alone or (region is not None and region != own):
            raise IllegalSchedule(
                f"block {consumer.name} cannot be computed at {target.var.name}: which part of axis {axis.var} "
                "belongs to one iteration of the loops around both is not known"
            )
        complete[axis.var] = own
    return complete


def _dense(index: tir.Expr, extents: Mapping[tir.Var, tir.Expr]) -> bool:
    """Whether the index takes every value of its interval."""
    terms = [(m, c) for m, c in polynomial(index).terms.items() if tir.variables(*m) & set(extents)]
    reach = 1
    for monomial, coefficient in sorted(terms, key=lambda term: abs(term[1])):
        extent = extents.get(monomial[0]) if len(monomial) == 1 else None
        if extent is None or abs(coefficient) > reach:
            return False
        if not isinstance(extent, tir.Const):
            return len(terms) == 1
        reach += abs(coefficient) * (extent.value - 1)
    return True


def _allocated_in(stmt: tir.Stmt, buffer: str) -> bool:
    return any(isinstance(inner, tir.Allocate) and inner.buffer.name == buffer for inner in tir.statements(stmt))
