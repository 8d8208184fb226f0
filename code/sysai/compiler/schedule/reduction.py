"""Primitives on reductions: rfactor and decompose_reduction.

    rfactor                 s = sum over k_0, k_1 of x[k]  ->  p[k_1] = sum over k_0 of x[k], s = sum over k_1 of p[k_1]
    decompose_reduction     if k == 0: s = 0; s += x[k]    ->  s = 0 before the loop, s += x[k] in it

One sum depends on the one before, so that its loop can be neither vectorized nor parallel. With a partial sum for each
lane or core it can; their order of addition differs, and so does the rounding (Suriana et al., Parallel Associative
Reductions in Halide, CGO 2017). Here the operation must be one of COMBINERS; Halide proves associativity of others.
"""

from dataclasses import replace

from sysai.compiler import tir
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import tree
from sysai.compiler.schedule.regions import shrink


def rfactor(function: tir.PrimFunc, block: str, loop: str) -> tuple[tir.PrimFunc, str]:
    """Reduce into one partial result for each iteration of a reduction loop, and let `block` combine these.

    The partial results are in a new buffer, whose last dimension is the loop; it shrinks to what one iteration of the
    loops outside needs. All loops keep their names; they now belong to the block that makes partial results.

    Returns:
        The function, and the name of the block that makes the partial results.
    """
    old, lanes = _reduction(function, block), tree.find_loop(function, loop)
    enclosing = tree.loops_around(function.body, block)
    _require_enclosing(lanes, enclosing, block)
    reducing = _reducing(old, enclosing)
    if lanes not in reducing:
        raise IllegalSchedule(f"loop {loop} is not a reduction loop of block {block}: nothing is added up over it")
    outermost = reducing[0]
    inside = enclosing[enclosing.index(outermost) :]
    _require_alone(old, outermost)
    others = [inner for inner in reducing if inner != lanes]
    # Conditions on reduction loops: a partial result for which none holds gets no term.
    unsure = [c for c in tir.conjuncts(old.predicate) if tir.variables(c) & {inner.var for inner in reducing}]

    # In the partial block the loop `lanes` is a spatial axis; each other reduction loop is a reduction axis.
    to_axes: dict[tir.Var, tir.Var] = {}
    for inner in (lanes, *others):
        taken = (*(axis.var for axis in old.axes), *to_axes.values())
        to_axes[inner.var] = tree.fresh_axis(function, f"v{inner.var.name}", taken)
    spatial = [axis for axis in old.axes if axis.kind == tir.SPATIAL]
    lane = tir.Axis(to_axes[lanes.var], lanes.extent, tir.SPATIAL, lanes.var)
    reduced = [tir.Axis(to_axes[inner.var], inner.extent, tir.REDUCE, inner.var) for inner in others]
    values = {axis.var: tir.substitute(axis.binding, to_axes) for axis in old.axes if axis.kind == tir.REDUCE}
    name = tree.fresh(function, f"{block}_rf")
    shape = (*old.buffer.shape, lanes.extent)
    buffer = tir.Buffer(tree.fresh(function, f"{old.buffer.name}_rf", name), shape, old.buffer.dtype)
    partial = replace(
        old,
        name=name,
        axes=(*spatial, lane, *reduced),
        buffer=buffer,
        indices=(*old.indices, lane.var),
        value=tir.substitute(old.value, values),
        init=tir.identity(old.combine, old.buffer.dtype) if others else None,
        combine=old.combine if others else None,
    )

    # The block itself now adds up the lanes, under the conditions that do not depend on the reduction loops.
    total = replace(
        old,
        axes=(*_indexing_axes(old), replace(lane, kind=tir.REDUCE)),
        value=partial.target,
        predicate=tir.conjunction(*(c for c in tir.conjuncts(old.predicate) if c not in unsure or not others)),
    )
    # Its nest follows the partial one: copies of the spatial loops inside, and of `lanes`.
    copied = [inner for inner in inside if inner not in others and inner != lanes]
    nest = _copies(function, total, [*copied, replace(lanes, kind=tir.SERIAL)], "rf")
    partial_nest = tree.change_blocks(outermost, lambda inner: partial if inner.name == block else inner)
    outer = enclosing[enclosing.index(outermost) - 1].var.name if outermost != enclosing[0] else None
    function = tree.replace_loop(function, outermost.var.name, tir.sequence(partial_nest, nest))
    function = replace(function, body=tir.Allocate(buffer, function.body))
    if outer:
        function = shrink(function, buffer.name, outer)
    if unsure and others:  # a lane without a single element must hold the identity element all the same
        function, _ = decompose_reduction(function, name, others[0].var.name)
    return function, name


def decompose_reduction(function: tir.PrimFunc, block: str, loop: str) -> tuple[tir.PrimFunc, str]:
    """Initialize the elements of a reduction before `loop`, which may not lie inside one of its reduction loops.

    Returns:
        The function, and the initializing block's name.
    """
    old, target = _reduction(function, block), tree.find_loop(function, loop)
    enclosing = tree.loops_around(function.body, block)
    _require_enclosing(target, enclosing, block)
    reducing = _reducing(old, enclosing)
    inside = enclosing[enclosing.index(target) :]
    for outer in reducing:
        if outer not in inside:
            raise IllegalSchedule(
                f"{loop} is inside {outer.var.name}, over which block {block} reduces: every iteration of "
                f"{outer.var.name} would begin at {old.init} again; decompose at {outer.var.name}"
            )
    _require_alone(old, target)
    copied = [inner for inner in inside if inner.var in tree.spatial_loops(old)]
    dropped = {inner.var for inner in inside if inner not in copied}
    predicate = tir.conjunction(*(c for c in tir.conjuncts(old.predicate) if not tir.variables(c) & dropped))
    name = tree.fresh(function, f"{block}_init")
    start = tir.Block(name, _indexing_axes(old), old.buffer, old.indices, old.init, predicate=predicate)
    nest = _copies(function, start, copied, "init")
    rest = tree.change_blocks(target, lambda inner: replace(inner, init=None) if inner.name == block else inner)
    return tree.replace_loop(function, loop, tir.sequence(nest, rest)), name


def _reduction(function: tir.PrimFunc, name: str) -> tir.Block:
    block = tree.find_block(function, name)
    if not block.reduces:
        raise IllegalSchedule(f"block {name} is not a reduction")
    if block.init is None:
        raise IllegalSchedule(f"block {name} does not initialize its elements itself: it has been decomposed already")
    if any(load.buffer.name == block.buffer.name for load in tree.reads(block)):
        raise IllegalSchedule(f"block {name} also reads elements of {block.buffer.name}: sums depend on each other")
    return block


def _require_enclosing(loop: tir.For, enclosing: list[tir.For], block: str) -> None:
    if loop not in enclosing:
        names = ", ".join(inner.var.name for inner in enclosing)
        raise IllegalSchedule(f"loop {loop.var.name} is not around block {block}: those are {names}")


def _require_alone(block: tir.Block, loop: tir.For) -> None:
    """Only the block uses its buffer in the loop, and under no condition."""
    for stmt in tree.path_to_block(loop, block.name):
        if isinstance(stmt, tir.If):
            raise IllegalSchedule(f"block {block.name} is under the condition {stmt.condition} inside {loop.var.name}")
    for other in tir.blocks(loop.body):
        if other.name != block.name and tree.touches(other, block.buffer.name):
            raise IllegalSchedule(
                f"block {other.name} inside {loop.var.name} uses {block.buffer.name} too, and would see other values"
            )


def _reducing(block: tir.Block, enclosing: list[tir.For]) -> list[tir.For]:
    """The loops over which a block reduces, from the outermost."""
    over = tree.reduction_loops(block)
    for loop in enclosing:
        if loop.var in over & tree.spatial_loops(block):
            raise IllegalSchedule(
                f"loop {loop.var.name} is both a spatial and a reduction loop of block {block.name}, as after fusing "
                "two such loops: do this before fusing them"
            )
    return [loop for loop in enclosing if loop.var in over]


def _indexing_axes(block: tir.Block) -> tuple[tir.Axis, ...]:
    """The axes that say which element is stored."""
    return tuple(axis for axis in block.axes if axis.var in tir.variables(*block.indices))


def _copies(function: tir.PrimFunc, block: tir.Block, loops: list[tir.For], suffix: str) -> tir.Stmt:
    """The block in copies of loops, under new names."""
    renamed: dict[tir.Var, tir.Var] = {}
    for loop in loops:
        taken = (var.name for var in renamed.values())
        renamed[loop.var] = tir.Var(tree.fresh(function, f"{loop.var.name}_{suffix}", *taken))
    copies = [replace(loop, var=renamed[loop.var], extent=tir.substitute(loop.extent, renamed)) for loop in loops]
    return tir.in_loops(copies, tir.substitute_loops(block, renamed))
