"""Default schedules: for each class of groups, the primitives that make its program fast without any tuning.

    elementwise   outer loops over cores, the innermost one in vectors
    reduction     rows over cores; along a row, vectors, and in reductions one partial result a lane (rfactor), which a
                  tree of vectors, half vectors, ... then combines
                  rows whose elements lie apart: vectors across rows, cores over blocks of them
    matmul        tiles of registers; a panel of columns for each core at a time; the epilogue on the tile
    pooling       outer loops over cores

A schedule keeps its trace, so that one may print what was done, and a tuner may begin where this ends.
"""

from collections.abc import Sequence

from sysai.compiler.cpu import lanes
from sysai.compiler.schedule import steps
from sysai.compiler.schedule.default_matmul import schedule_product
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.expr import Const, Expr
from sysai.compiler.tir.statement import PrimFunc, blocks

WIDE_VECTORS = 8  # whose sums registers hold: memory gives long pieces of rows faster
PARTIAL_VECTORS = 4  # of a reduction: so that an addition need not wait for the one before


def default_schedule(function: PrimFunc, kind: str) -> Schedule:
    """The schedule of a lowered group of a class, see `groups.Group.kind`."""
    schedule = Schedule(function)
    schedulers = {"elementwise": _elementwise, "reduction": _reduction, "matmul": schedule_product, "pooling": _pooling}
    schedulers[kind](schedule)
    return schedule


def _elementwise(schedule: Schedule) -> None:
    for block in _nests(schedule):
        loops = schedule.loops_of(block)
        small = steps.is_small(schedule, loops)
        steps.vectors(schedule, loops[-1])
        outer = schedule.loops_of(block)[:-1]
        if not small:
            steps.parallelize(schedule, outer)


def _pooling(schedule: Schedule) -> None:
    loops = schedule.loops_of("pool")
    small = steps.is_small(schedule, loops)
    schedule.decompose_reduction("pool", loops[-2])
    if not small:
        steps.parallelize(schedule, loops[:-2])


def _nests(schedule: Schedule) -> list[str]:
    """The first block in each outermost loop."""
    first_blocks: dict[str, str] = {}
    for block in blocks(schedule.function.body):
        for outermost in schedule.loops_of(block.name)[:1]:
            first_blocks.setdefault(outermost, block.name)
    return list(first_blocks.values())


def _reduction(schedule: Schedule) -> None:
    function = schedule.function
    first = next(block for block in blocks(function.body) if block.reduces)
    enclosing = schedule.loops_of(first.name)
    if not steps.reduces_over(first, enclosing[-1]):
        return _columns(schedule)
    small = steps.is_small(schedule, enclosing)
    outer = [loop for loop in enclosing if not steps.reduces_over(first, loop)]
    for loop, inside in steps.passes(schedule, outer):
        if inside[-1].reduces:
            _partial_results(schedule, inside[-1].name, schedule.loops_of(inside[-1].name)[len(outer) :], len(inside))
        else:
            steps.vectors(schedule, loop)
    if not small:
        steps.parallelize(schedule, tuple(outer))


def _columns(schedule: Schedule) -> None:
    """Each pass is a nest of its own, whose last loop is over neighbouring rows."""
    for block in list(blocks(schedule.function.body)):
        loops = schedule.loops_of(block.name)
        small = steps.is_small(schedule, loops)
        *outer, lane = [loop for loop in loops if not steps.reduces_over(block, loop)]
        if not is_shorter(steps.extent_of(schedule, lane), WIDE_VECTORS * lanes()):
            across, lane = schedule.split(lane, WIDE_VECTORS * lanes())
            outer.append(across)
        if block.reduces:
            along = [loop for loop in loops if steps.reduces_over(block, loop)]
            schedule.reorder(*outer, *along, lane)
            init = schedule.decompose_reduction(block.name, along[0])
            schedule.vectorize(schedule.loops_of(init)[-1])
        schedule.vectorize(lane)
        if not small:
            steps.parallelize(schedule, outer)


def _partial_results(schedule: Schedule, block: str, loops: Sequence[str], share: int) -> None:
    """A reduction along a row: one partial result for each lane, of a few vectors; then these are combined in a tree.

    Args:
        loops: along the row.
        share: the blocks in these loops. Beside the work of others, an addition need not wait for the one before; and
            what they do pays in vectors in short rows too.
    """
    extent = steps.extent_of(schedule, loops[-1])
    if is_shorter(extent, lanes() if share > 1 else 2 * lanes()):
        schedule.decompose_reduction(block, loops[0])
        return
    several = share == 1 and not is_shorter(extent, 2 * PARTIAL_VECTORS * lanes())
    width = PARTIAL_VECTORS * lanes() if several else lanes()
    _, lane = schedule.split(loops[-1], width)
    partial = schedule.rfactor(block, lane)
    if f"{partial}_init" not in steps.block_names(schedule):
        schedule.decompose_reduction(partial, loops[0] if len(loops) > 1 else schedule.loops_of(partial)[-2])
    for name in (partial, f"{partial}_init"):
        schedule.vectorize(schedule.loops_of(name)[-1])
    steps.add_up(schedule, block, width)


def is_shorter(extent: Expr, number: int) -> bool:
    """Whether a loop is known to be shorter."""
    return isinstance(extent, Const) and extent.value < number
