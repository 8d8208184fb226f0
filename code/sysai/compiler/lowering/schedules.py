"""Default schedules: for each class of groups, the primitives that make its program fast without any tuning.

    elementwise   outer loops over cores, the innermost one in vectors
    rows          rows over cores; along a row, vectors, and in reductions one partial result a lane (rfactor)
    columns       where reduced axes are not the last ones: vectors across columns, cores over blocks of them
    matmul        tiles of registers; a panel of columns for each core at a time; the epilogue on the tile
    window        outer loops over cores

A schedule keeps its trace, so that one may print what was done, and a tuner may begin where this ends.
"""

import math
from collections.abc import Sequence

from sysai.compiler.codegen.cpu import vector_bytes
from sysai.compiler.program.expr import Const, Expr
from sysai.compiler.program.statement import REDUCE, Block, For, Function, blocks, statements
from sysai.compiler.schedule.schedule import Schedule

PARTIAL_VECTORS = 4  # of a reduction: so that an addition need not wait for the one before
SMALL = 1 << 14  # operations that one core does alone
ENOUGH = 4  # iterations of a loop that is distributed alone
UNKNOWN_ROWS = 6  # of the tile where only the run time knows how many there are
BLOCK_ROWS = 240  # of the left operand, that stay in the second cache while panels pass by


def lanes() -> int:
    """Numbers of 32 bits in a vector of this machine."""
    return vector_bytes() // 4


def most_rows() -> int:
    """Of the register tile, two vectors wide: what leaves some of the 16 or 32 registers for operands."""
    return 14 if vector_bytes() == 64 else 6


def default_schedule(function: Function, kind: str) -> Schedule:
    """The schedule of a lowered group of a class, see `groups.Group.kind`."""
    schedule = Schedule(function)
    {"elementwise": _elementwise, "rows": _rows, "matmul": _product, "window": _window}[kind](schedule)
    return schedule


def _elementwise(schedule: Schedule) -> None:
    for block in _nests(schedule):
        loops = schedule.loops_of(block)
        small = _is_small(schedule, loops)
        _vectors(schedule, loops[-1])
        outer = schedule.loops_of(block)[:-1]
        if not small:
            _parallel(schedule, outer)


def _window(schedule: Schedule) -> None:
    loops = schedule.loops_of("pool")
    small = _is_small(schedule, loops)
    schedule.decompose_reduction("pool", loops[-2])
    if not small:
        _parallel(schedule, loops[:-2])


def _is_small(schedule: Schedule, loops: Sequence[str]) -> bool:
    """Whether so little is done in a nest that waking the other cores costs more than they bring."""
    extents = [_extent(schedule, loop) for loop in loops]
    return all(isinstance(size, Const) for size in extents) and math.prod(size.value for size in extents) < SMALL


def _nests(schedule: Schedule) -> list[str]:
    """The first block in each outermost loop."""
    found: dict[str, str] = {}
    for block in blocks(schedule.function.body):
        for outermost in schedule.loops_of(block.name)[:1]:
            found.setdefault(outermost, block.name)
    return list(found.values())


def _extent(schedule: Schedule, loop: str) -> Expr:
    return next(s.extent for s in statements(schedule.function.body) if isinstance(s, For) and s.var.name == loop)


def _vectors(schedule: Schedule, loop: str) -> str | None:
    """Let a loop run in vectors; return the loop over these. One that is shorter than a vector stays as it is."""
    extent = _extent(schedule, loop)
    if isinstance(extent, Const) and extent.value < lanes():
        return None
    outer, inner = schedule.split(loop, lanes())
    schedule.vectorize(inner)
    return outer


def _parallel(schedule: Schedule, loops: Sequence[str]) -> None:
    """Distribute the iterations of nested loops over the cores."""
    if loops:
        schedule.parallel(schedule.fuse(*loops) if len(loops) > 1 else loops[0])


def _rows(schedule: Schedule) -> None:
    function = schedule.function
    first = next(block for block in blocks(function.body) if block.reduces)
    around = schedule.loops_of(first.name)
    small = _is_small(schedule, around)
    outer = [loop for loop in around if not _reduces_over(first, loop)]
    for block in list(blocks(function.body)):
        own = schedule.loops_of(block.name)[len(outer) :]
        if own and block.reduces:
            _partial_sums(schedule, block.name, own)
        elif own:
            _vectors(schedule, own[-1])
    if not small:
        _parallel(schedule, tuple(outer))


def _reduces_over(block: Block, loop: str) -> bool:
    return any(axis.kind == REDUCE and str(axis.binding) == loop for axis in block.axes)


def _partial_sums(schedule: Schedule, block: str, loops: Sequence[str]) -> None:
    """A reduction along a row: one partial result for each lane of a few vectors, then these are combined."""
    extent = _extent(schedule, loops[-1])
    partials = PARTIAL_VECTORS * lanes()
    if isinstance(extent, Const) and extent.value < 2 * partials:
        partials = lanes()
    if isinstance(extent, Const) and extent.value < 2 * partials:
        schedule.decompose_reduction(block, loops[0])
        return
    _, lane = schedule.split(loops[-1], partials)
    partial = schedule.rfactor(block, lane)
    if f"{partial}_init" not in _block_names(schedule):
        schedule.decompose_reduction(partial, loops[0] if len(loops) > 1 else schedule.loops_of(partial)[-2])
    for name in (partial, f"{partial}_init"):
        schedule.vectorize(schedule.loops_of(name)[-1])
    if partials > lanes():  # vectors are added up before lanes are
        vector, lane = schedule.split(schedule.loops_of(block)[-1], lanes())
        schedule.rfactor(block, lane)
        schedule.vectorize(lane)
        schedule.unroll(vector)
    schedule.unroll(schedule.loops_of(block)[-1])


def _block_names(schedule: Schedule) -> set[str]:
    return {block.name for block in blocks(schedule.function.body)}


def _product(schedule: Schedule) -> None:
    """Blocks of rows, panels of columns, tiles of both; the product moves to the tile, where its result is stored."""
    loops = schedule.loops_of("store")
    outer, tile = [loop for loop in loops if loop not in ("row", "column")], []
    if "row" in loops:
        *blocked, inner = _split_rows(schedule, _extent(schedule, "row"))
        tile.append(inner)
    else:
        blocked = []
    if "column" in loops:
        panel, inner = schedule.split("column", 2 * lanes())
        tile.append(inner)
        blocked.insert(len(blocked) - 1, panel) if blocked else blocked.append(panel)
    around = [*outer, *blocked]
    if not around:
        return
    small = _is_small(schedule, schedule.loops_of("product"))
    schedule.reorder(*around, *tile)
    schedule.compute_at("product", around[-1])
    if "pack" in _block_names(schedule) and "column" in loops:
        schedule.compute_at("pack", panel)
        _vectors(schedule, schedule.loops_of("pack")[-1])
    _micro_kernel(schedule)
    if "column" in loops:
        vectors = _vectors(schedule, tile.pop())
        tile += [vectors] if vectors else []
    for loop in tile:  # or the accumulators could not stay in registers
        schedule.unroll(loop)
    if small:
        return
    shared = outer or (around[: len(around) - 1] if "row" in loops else around) or around
    enough = [loop for loop in outer if is_at_least(_extent(schedule, loop), ENOUGH)]
    if enough:  # alone: to fuse would put divisions into every index
        schedule.reorder(enough[0], *(loop for loop in outer if loop != enough[0]))
        shared = enough[:1]
    _parallel(schedule, shared)


def is_at_least(extent: Expr, number: int) -> bool:
    """Whether an extent is known, and no less."""
    return isinstance(extent, Const) and extent.value >= number


def _split_rows(schedule: Schedule, rows: Expr) -> tuple[str, ...]:
    """Tiles of as many rows as registers allow and as waste none; of many, blocks that stay in the second cache."""
    if not isinstance(rows, Const):
        return schedule.split("row", UNKNOWN_ROWS)
    tile = min(range(1, most_rows() + 1), key=lambda size: (-(-rows.value // size) * (size + 2), -size))
    if rows.value <= BLOCK_ROWS:
        return schedule.split("row", tile)
    tiles, blocks_of_rows = -(-rows.value // tile), -(-rows.value // BLOCK_ROWS)
    return schedule.split("row", [None, -(-tiles // blocks_of_rows), tile])


def _micro_kernel(schedule: Schedule) -> None:
    """All sums of a tile at once: the summed index outermost, the tile's elements in registers."""
    around = schedule.loops_of("store")
    inside = [loop for loop in schedule.loops_of("product") if loop not in around]
    product = next(block for block in blocks(schedule.function.body) if block.name == "product")
    summed = [loop for loop in inside if _reduces_over(product, loop)]
    elements = [loop for loop in inside if loop not in summed]
    if not summed:
        return
    schedule.reorder(*summed, *elements)
    init = schedule.decompose_reduction("product", summed[0])
    for block in (init, "product"):
        own = [loop for loop in schedule.loops_of(block) if loop not in around and loop not in summed]
        if own:
            outer = _vectors(schedule, own[-1])
            for loop in [*own[:-1], *([outer] if outer else [])]:
                schedule.unroll(loop)
