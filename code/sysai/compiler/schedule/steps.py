"""Steps that default schedules share: vectors along a loop, iterations over cores, and questions about loops."""

import math
from collections.abc import Sequence

from sysai.compiler.cpu import lanes
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.schedule.tree import find_loop
from sysai.compiler.tir.expr import Const, Expr, variables
from sysai.compiler.tir.statement import REDUCE, Block, blocks

LAST_LANES = 4  # lanes that are combined one by one: halves of so few are no faster
SMALL = 1 << 14  # operations that one core does alone


def is_small(schedule: Schedule, loops: Sequence[str]) -> bool:
    """Whether so little is done in a nest that waking the other cores costs more than they bring."""
    extents = [extent_of(schedule, loop) for loop in loops]
    return all(isinstance(size, Const) for size in extents) and math.prod(size.value for size in extents) < SMALL


def extent_of(schedule: Schedule, loop: str) -> Expr:
    """The extent of the loop of a name."""
    return find_loop(schedule.function, loop).extent


def vectors(schedule: Schedule, loop: str, width: int | None = None) -> str | None:
    """Vectorize a loop by `width`, by default one vector; return the loop over vectors. A shorter loop stays."""
    width, extent = width or lanes(), extent_of(schedule, loop)
    if isinstance(extent, Const) and extent.value < width:
        return None
    outer, inner = schedule.split(loop, width)
    schedule.vectorize(inner)
    return outer


def parallelize(schedule: Schedule, loops: Sequence[str]) -> None:
    """Distribute the iterations of nested loops over the cores."""
    if loops:
        schedule.parallel(schedule.fuse(*loops) if len(loops) > 1 else loops[0])


def passes(schedule: Schedule, outer: Sequence[str]) -> list[tuple[str, list[Block]]]:
    """The passes over a row inside the loops `outer`: each innermost loop and its blocks, one that reduces last."""
    inner_loops: dict[str, list[Block]] = {}
    for block in blocks(schedule.function.body):
        for loop in schedule.loops_of(block.name)[len(outer) :][-1:]:
            inner_loops.setdefault(loop, []).append(block)
    return list(inner_loops.items())


def add_up(schedule: Schedule, block: str, width: int) -> None:
    """Combine the lanes that a block's innermost loop goes over in a tree: vectors, halves of one, of these, ..."""
    while width > LAST_LANES:
        width = lanes() if width > lanes() else width // 2
        vector, lane = schedule.split(schedule.loops_of(block)[-1], width)
        schedule.rfactor(block, lane)
        schedule.vectorize(lane)
        schedule.unroll(vector)
    schedule.unroll(schedule.loops_of(block)[-1])


def reduces_over(block: Block, loop: str) -> bool:
    """Whether a block sums over a loop."""
    return any(axis.kind == REDUCE and loop in {var.name for var in variables(axis.binding)} for axis in block.axes)


def block_names(schedule: Schedule) -> set[str]:
    """The names of all blocks."""
    return {block.name for block in blocks(schedule.function.body)}
