"""Primitives on loops: split, fuse, reorder, tile, vectorize, parallel, unroll.

    split      for i in N            ->  for i_0 in ceil(N / f): for i_1 in f, where i = f i_0 + i_1 < N
    fuse       for i in N: for j in M  ->  for i_j in N M, where i = i_j // M and j = i_j % M
    reorder    exchanges loops of a perfect nest
    vectorize, parallel, unroll        say how the iterations of a loop are executed

Splitting, fusing and unrolling keep the order of all iterations and are always right. Reordering must keep the order
of any two iterations that touch the same element, one of them writing; vectorizing and parallelizing ask that there
are no such two (Allen and Kennedy, Optimizing Compilers, chapters 2 and 5; `dependence.py` looks). A reduction may be
reordered nevertheless, as sums may be added in any order, if rounding is forgiven. Polyhedral compilers (Pluto, isl)
decide the same questions exactly, for every program with affine indices.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from sysai.compiler import tir
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import dependence, tree
from sysai.compiler.schedule.tree import find_loop, fresh, replace_loop


def split(
    function: tir.PrimFunc, loop: str, factor: int | Sequence[int | None]
) -> tuple[tir.PrimFunc, tuple[str, ...]]:
    """Cut a loop into nested ones.

    Where the extent is not a multiple, or is not known before run time, the blocks inside get a predicate.

    Args:
        factor: the extents of the new loops, of which one may be None: as many as needed. A number f means [None, f].

    Returns:
        The function, and the new loops' names, from the outermost: `i_0`, `i_1`, ...
    """
    old = find_loop(function, loop)
    _require_serial(old, "split")
    factors = [None, factor] if isinstance(factor, int) else list(factor)
    numbers = [number for number in factors if number is not None]
    if len(factors) < 2 or len(factors) - len(numbers) > 1:
        raise IllegalSchedule(f"splitting {loop} by {factors}: give two factors or more, at most one of them None")
    if any(not isinstance(number, int) or number < 1 for number in numbers):
        raise IllegalSchedule(f"splitting {loop} by {factors}: a loop has at least one iteration, so use factors >= 1")
    product = math.prod(numbers)
    extents = [tir.ceildiv(old.extent, product) if number is None else tir.as_expr(number) for number in factors]
    if None not in factors and not (isinstance(old.extent, tir.Const) and product >= old.extent.value):
        raise IllegalSchedule(
            f"splitting {loop} by {factors} would execute {product} of its {old.extent} iterations: "
            "make one factor None"
        )
    new: list[tir.For] = []
    for position, extent in enumerate(extents):
        name = fresh(function, f"{loop}_{position}", *(other.var.name for other in new))
        new.append(tir.For(tir.Var(name), extent, old.body))
    # The old index is the new ones as digits, the innermost the last; beyond the extent, blocks are not executed.
    value = tir.row_major((inner.var for inner in new), extents)
    body = tir.substitute_loops(old.body, {old.var: value})
    if math.prod(extents, start=tir.ONE) != old.extent:
        body = tree.change_blocks(
            body, lambda block: replace(block, predicate=tir.conjunction(block.predicate, value < old.extent))
        )
    return replace_loop(function, loop, tir.in_loops(new, body)), tuple(inner.var.name for inner in new)


def fuse(function: tir.PrimFunc, *loops: str) -> tuple[tir.PrimFunc, str]:
    """Make one loop of perfectly nested ones, given from the outermost; return its name too."""
    chain = [find_loop(function, name) for name in loops]
    if len(chain) < 2:
        raise IllegalSchedule("fuse takes two loops or more")
    for outer, inner in itertools.pairwise(chain):
        _require_serial(outer, "fused")
        _require_serial(inner, "fused")
        if outer.body != inner:
            raise IllegalSchedule(_not_nested(function, outer.var.name, inner.var.name, "fuse"))
        if outer.var in tir.variables(inner.extent):
            raise IllegalSchedule(f"{inner.var.name} runs to {inner.extent}, which depends on {outer.var.name}")
    fused = tir.Var(fresh(function, "_".join(loops)))
    values: dict[tir.Var, tir.Operand] = {}
    rest: tir.Expr = fused
    for inner in reversed(chain[1:]):  # the innermost changes fastest
        values[inner.var] = rest % inner.extent
        rest = rest // inner.extent
    values[chain[0].var] = rest
    extent = math.prod((inner.extent for inner in chain[1:]), start=chain[0].extent)
    body = tir.substitute_loops(chain[-1].body, values)
    return replace_loop(function, loops[0], tir.For(fused, extent, body)), fused.name


def reorder(function: tir.PrimFunc, *loops: str) -> tir.PrimFunc:
    """Put loops of one perfect nest into this order; loops between them that are not named stay."""
    if not loops:
        raise IllegalSchedule("reorder takes the names of loops, in the order that they should have")
    if len(set(loops)) != len(loops):
        raise IllegalSchedule(f"reorder names a loop twice: {', '.join(loops)}")
    order = iter([find_loop(function, name) for name in loops])
    by_depth = sorted(loops, key=lambda name: len(tree.loops_down_to(function, name)))
    chain = _perfect_nest(function, by_depth[0], by_depth[-1])
    nest_names = {loop.var.name for loop in chain}
    for name in by_depth:
        if name not in nest_names:
            raise IllegalSchedule(_not_nested(function, by_depth[0], name, "reorder"))
    new = [next(order) if loop.var.name in loops else loop for loop in chain]
    for position, loop in enumerate(new):
        inside = {inner.var for inner in new[position:]}
        if inside & tir.variables(loop.extent):
            raise IllegalSchedule(f"{loop.var.name} runs to {loop.extent}: it must stay inside the loops named there")
    refusal = dependence.against_order(chain, new)
    if refusal:
        raise IllegalSchedule(refusal)
    function = replace_loop(function, by_depth[0], tir.in_loops(new, chain[-1].body))
    for loop in new:  # what is marked already has other loops inside now
        _require_kind(find_loop(function, loop.var.name), loop.kind)
    return function


def tile(function: tir.PrimFunc, loops: Sequence[str], factors: Sequence[int]) -> tuple[tir.PrimFunc, tuple[str, ...]]:
    """Split each loop of a perfect nest by its factor, and bring the loops over tiles outside those within one.

    Returns:
        The function, and the new loops' names: those over tiles, then those within.
    """
    if len(loops) != len(factors) or not loops:
        raise IllegalSchedule(f"tile takes one factor for each loop, not {len(factors)} for {len(loops)}")
    outer, inner = [], []
    for name, factor in zip(loops, factors, strict=True):
        function, (over, within) = split(function, name, (None, factor))
        outer.append(over)
        inner.append(within)
    return reorder(function, *outer, *inner), (*outer, *inner)


def vectorize(function: tir.PrimFunc, loop: str) -> tir.PrimFunc:
    """Execute all iterations of an innermost loop of constant extent at once, one in each lane of a vector."""
    old = find_loop(function, loop)
    _require_serial(old, "vectorized")
    _require_constant(old, "vectorize")
    return _with_kind(function, old, tir.VECTORIZED)


def parallel(function: tir.PrimFunc, loop: str) -> tir.PrimFunc:
    """Distribute the iterations of a loop over the cores."""
    old = find_loop(function, loop)
    _require_serial(old, "made parallel")
    for other in (*tree.loops_down_to(function, loop), *tree.loops(old.body)):
        if other.kind == tir.PARALLEL:
            raise IllegalSchedule(f"{other.var.name} is parallel already, and nested with {loop}: fuse the two instead")
    return _with_kind(function, old, tir.PARALLEL)


def unroll(function: tir.PrimFunc, loop: str) -> tir.PrimFunc:
    """Write the iterations of a loop of constant extent one after another."""
    old = find_loop(function, loop)
    _require_serial(old, "unrolled")
    _require_constant(old, "unroll")
    return _with_kind(function, old, tir.UNROLLED)


def _with_kind(function: tir.PrimFunc, loop: tir.For, kind: str) -> tir.PrimFunc:
    _require_kind(loop, kind)
    return replace_loop(function, loop.var.name, replace(loop, kind=kind))


def _require_serial(loop: tir.For, action: str) -> None:
    if loop.kind != tir.SERIAL:
        raise IllegalSchedule(f"loop {loop.var.name} is {loop.kind} already and cannot be {action}: do that first")


def _require_constant(loop: tir.For, verb: str) -> None:
    if not isinstance(loop.extent, tir.Const):
        raise IllegalSchedule(
            f"cannot {verb} {loop.var.name}: its extent {loop.extent} is known only at run time; "
            f"split it and {verb} {loop.var.name}_1"
        )


def _require_kind(loop: tir.For, kind: str) -> None:
    """The loop, where it stands, may be executed in this way."""
    name = loop.var.name
    for inner in tir.statements(loop.body) if kind == tir.VECTORIZED else ():
        if isinstance(inner, tir.For) and inner.kind != tir.UNROLLED:
            raise IllegalSchedule(
                f"only an innermost loop can be vectorized, and {inner.var.name} is inside {name}: "
                f"reorder {name} inside it, or unroll it"
            )
        if isinstance(inner, tir.Allocate):
            raise IllegalSchedule(f"buffer {inner.buffer.name} lives inside {name}, so each lane would need its own")
    refusal = dependence.between_iterations(loop) if kind in (tir.VECTORIZED, tir.PARALLEL) else None
    if refusal:
        how = "be vectorized" if kind == tir.VECTORIZED else "run in parallel"
        raise IllegalSchedule(f"loop {name} cannot {how}: {refusal}")


def _perfect_nest(function: tir.PrimFunc, outermost: str, innermost: str) -> list[tir.For]:
    """The loops from one down to the other, with nothing else between them."""
    chain = [find_loop(function, outermost)]
    while chain[-1].var.name != innermost:
        if not isinstance(chain[-1].body, tir.For):
            raise IllegalSchedule(_not_nested(function, chain[-1].var.name, innermost, "reorder"))
        chain.append(chain[-1].body)
    return chain


def _not_nested(function: tir.PrimFunc, outer: str, inner: str, verb: str) -> str:
    below = find_loop(function, outer).body
    if not any(loop.var.name == inner for loop in tree.loops(below)):
        return f"cannot {verb} {outer} and {inner}: {inner} is not inside {outer}"
    between = _describe(below)
    return f"cannot {verb} {outer} and {inner}: not perfectly nested, directly inside {outer} there is {between}"


def _describe(stmt: tir.Stmt) -> str:
    match stmt:
        case tir.For(var):
            return f"loop {var.name}"
        case tir.Block(name):
            return f"block {name}"
        case tir.Seq(stmts):
            return " and ".join(map(_describe, stmts))
        case tir.Allocate(buffer):
            return f"the allocation of {buffer.name}"
    return "a condition"
