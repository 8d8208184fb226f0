"""Primitives on reductions: rfactor and decompose_reduction.

    rfactor                 s = sum over k_0, k_1 of x[k]  ->  p[k_1] = sum over k_0 of x[k], s = sum over k_1 of p[k_1]
    decompose_reduction     if k == 0: s = 0; s += x[k]    ->  s = 0 before the loop, s += x[k] in it

One sum depends on the one before, so that its loop can be neither vectorized nor parallel. With a partial sum for each
lane or core it can; their order of addition differs, and so does the rounding (Suriana et al., Parallel Associative
Reductions in Halide, CGO 2017). Here the operation must be one of COMBINERS; Halide proves associativity of others.
"""

from dataclasses import replace

from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.storage import allocate_at, shrink
from sysai.compiler.schedule.tree import (
    change_blocks,
    find_block,
    find_loop,
    fresh,
    fresh_axis,
    loops_around,
    path_to_block,
    reads,
    replace_loop,
    touches,
)
from sysai.compiler.tir.conditions import both, conjuncts
from sysai.compiler.tir.expr import TRUE, Buffer, Const, Expr, Load, Var, substitute, variables
from sysai.compiler.tir.statement import (
    REDUCE,
    SERIAL,
    SPATIAL,
    Axis,
    Block,
    For,
    If,
    PrimFunc,
    Stmt,
    blocks,
    sequence,
    substitute_loops,
)


def rfactor(function: PrimFunc, block: str, loop: str) -> tuple[PrimFunc, str]:
    """Reduce into one partial result for each iteration of a reduction loop, and let `block` combine these.

    The partial results are in a new buffer, whose last dimension is the loop; it shrinks to what one iteration of the
    loops outside needs. All loops keep their names; they now belong to the block that makes partial results.

    Returns:
        The function, and the name of the block that makes the partial results.
    """
    old, lanes = _reduction(function, block), find_loop(function, loop)
    around = loops_around(function.body, block)
    _require_around(lanes, around, block)
    reducing = _reducing(old, around)
    if lanes not in reducing:
        raise IllegalSchedule(f"loop {loop} is not a reduction loop of block {block}: nothing is added up over it")
    outermost = reducing[0]
    inside = around[around.index(outermost) :]
    _require_alone(old, outermost)
    others = [inner for inner in reducing if inner != lanes]
    unsure = [c for c in conjuncts(old.predicate) if variables(c) & {inner.var for inner in reducing}]

    own = [axis.var for axis in old.axes]
    for inner in (lanes, *others):
        own.append(fresh_axis(function, f"v{inner.var.name}", own))
    lane, *rest = own[len(old.axes) :]
    spatial = tuple(axis for axis in old.axes if axis.kind == SPATIAL)
    to_axes = {inner.var: var for inner, var in zip((lanes, *others), (lane, *rest), strict=True)}
    values = {axis.var: substitute(axis.binding, to_axes) for axis in old.axes if axis.kind == REDUCE}
    name = fresh(function, f"{block}_rf")
    buffer_name = fresh(function, f"{old.buffer.name}_rf", name)
    buffer = Buffer(buffer_name, (*old.buffer.shape, lanes.extent), old.buffer.dtype)
    partial = replace(
        old,
        name=name,
        axes=(
            *spatial,
            Axis(lane, lanes.extent, SPATIAL, lanes.var),
            *(Axis(var, inner.extent, REDUCE, inner.var) for var, inner in zip(rest, others, strict=True)),
        ),
        buffer=buffer,
        indices=(*old.indices, lane),
        value=substitute(old.value, values),
        init=_neutral(old) if others else None,
        combine=old.combine if others else None,
    )

    used = {var for index in old.indices for var in variables(index)}
    predicate: Expr = TRUE
    for condition in conjuncts(old.predicate):
        if condition not in unsure or not others:
            predicate = both(predicate, condition)
    total = replace(
        old,
        axes=(*(axis for axis in spatial if axis.var in used), Axis(lane, lanes.extent, REDUCE, lanes.var)),
        value=Load(buffer, (*old.indices, lane)),
        predicate=predicate,
    )
    copied = [inner for inner in inside if inner not in others and inner != lanes]
    nest = _copies(function, total, [*copied, replace(lanes, kind=SERIAL)], "rf")
    parts = change_blocks(outermost, lambda inner: partial if inner.name == block else inner)
    outer = around[around.index(outermost) - 1].var.name if outermost != around[0] else None
    function = replace_loop(function, outermost.var.name, sequence(parts, nest))
    function = shrink(allocate_at(function, buffer), buffer_name, outer) if outer else allocate_at(function, buffer)
    if unsure and others:  # a lane without a single element must hold the neutral value all the same
        function, _ = decompose_reduction(function, name, others[0].var.name)
    return function, name


def decompose_reduction(function: PrimFunc, block: str, loop: str) -> tuple[PrimFunc, str]:
    """Initialize the elements of a reduction before `loop`, which may not lie inside one of its reduction loops.

    Returns:
        The function, and the initializing block's name.
    """
    old, target = _reduction(function, block), find_loop(function, loop)
    around = loops_around(function.body, block)
    _require_around(target, around, block)
    reducing = _reducing(old, around)
    inside = around[around.index(target) :]
    for outer in reducing:
        if outer not in inside:
            raise IllegalSchedule(
                f"{loop} is inside {outer.var.name}, over which block {block} reduces: every iteration of "
                f"{outer.var.name} would begin at {old.init} again; decompose at {outer.var.name}"
            )
    _require_alone(old, target)
    used = {var for index in old.indices for var in variables(index)}
    axes = tuple(axis for axis in old.axes if axis.kind == SPATIAL and axis.var in used)
    bound = {var for axis in axes for var in variables(axis.binding)}
    copied = [inner for inner in inside if inner.var in bound]
    dropped = {inner.var for inner in inside} - bound
    predicate: Expr = TRUE
    for condition in conjuncts(old.predicate):
        if not variables(condition) & dropped:
            predicate = both(predicate, condition)
    name = fresh(function, f"{block}_init")
    start = Block(name, axes, old.buffer, old.indices, old.init, predicate=predicate)
    nest = _copies(function, start, copied, "init")
    rest = change_blocks(target, lambda inner: replace(inner, init=None) if inner.name == block else inner)
    return replace_loop(function, loop, sequence(nest, rest)), name


def _reduction(function: PrimFunc, name: str) -> Block:
    block = find_block(function, name)
    if not block.reduces:
        raise IllegalSchedule(f"block {name} is not a reduction")
    if block.init is None:
        raise IllegalSchedule(f"block {name} does not initialize its elements itself: it has been decomposed already")
    if any(load.buffer.name == block.buffer.name for load in reads(block)):
        raise IllegalSchedule(
            f"block {name} also reads elements of {block.buffer.name}, so that sums depend on each other"
        )
    return block


def _require_around(loop: For, around: list[For], block: str) -> None:
    if loop not in around:
        names = ", ".join(inner.var.name for inner in around)
        raise IllegalSchedule(f"loop {loop.var.name} is not around block {block}: those are {names}")


def _require_alone(block: Block, loop: For) -> None:
    """Only the block uses its buffer in the loop, and under no condition."""
    for stmt in path_to_block(loop, block.name):
        if isinstance(stmt, If):
            raise IllegalSchedule(f"block {block.name} is under the condition {stmt.condition} inside {loop.var.name}")
    for other in blocks(loop.body):
        if other.name != block.name and touches(other, block.buffer.name):
            raise IllegalSchedule(
                f"block {other.name} inside {loop.var.name} uses {block.buffer.name} too, and would see other values"
            )


def _reducing(block: Block, around: list[For]) -> list[For]:
    """The loops over which a block reduces, from the outermost."""
    over = {var for axis in block.axes if axis.kind == REDUCE for var in variables(axis.binding)}
    used = {var for index in block.indices for var in variables(index)}
    spatial = {
        var for axis in block.axes if axis.kind == SPATIAL and axis.var in used for var in variables(axis.binding)
    }
    for loop in around:
        if loop.var in over & spatial:
            raise IllegalSchedule(
                f"loop {loop.var.name} is both a spatial and a reduction loop of block {block.name}, as after fusing "
                "two such loops: do this before fusing them"
            )
    return [loop for loop in around if loop.var in over]


def _copies(function: PrimFunc, block: Block, around: list[For], suffix: str) -> Stmt:
    """The block in copies of loops, under new names."""
    renamed: dict[Var, Var] = {}
    for loop in around:
        renamed[loop.var] = Var(fresh(function, f"{loop.var.name}_{suffix}", *(var.name for var in renamed.values())))
    stmt: Stmt = block
    for loop in reversed(around):
        stmt = replace(loop, body=stmt)
    return _with_vars(substitute_loops(stmt, renamed), renamed)


def _with_vars(stmt: Stmt, renamed: dict[Var, Var]) -> Stmt:
    return replace(stmt, var=renamed[stmt.var], body=_with_vars(stmt.body, renamed)) if isinstance(stmt, For) else stmt


def _neutral(block: Block) -> Expr:
    """What does not change a result when combined with it; the init of a maximum may be taken into account twice."""
    neutral = {"add": 0, "mul": 1}.get(block.combine)
    return block.init if neutral is None else Const(type(block.init.value)(neutral), block.init.dtype)
