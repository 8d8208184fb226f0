"""The default schedule of products: tiles of registers, panels of columns, the epilogue on the tile."""

from sysai.compiler.codegen.cpu import vector_bytes
from sysai.compiler.lowering.schedule_steps import (
    block_names,
    extent_of,
    is_small,
    lanes,
    parallel,
    reduces_over,
    vectors,
)
from sysai.compiler.program.expr import Const, Expr
from sysai.compiler.program.statement import blocks
from sysai.compiler.schedule.schedule import Schedule

ENOUGH = 4  # iterations of a loop that is distributed alone
UNKNOWN_ROWS = 6  # of the tile where only the run time knows how many there are
BLOCK_ROWS = 240  # of the left operand, that stay in the second cache while panels pass by


def most_rows() -> int:
    """Of the register tile, two vectors wide: what leaves some of the 16 or 32 registers for operands."""
    return 14 if vector_bytes() == 64 else 6


def schedule_product(schedule: Schedule) -> None:
    """Blocks of rows, panels of columns, tiles of both; the product moves to the tile, where its result is stored."""
    loops = schedule.loops_of("store")
    outer, tile = [loop for loop in loops if loop not in ("row", "column")], []
    if "row" in loops:
        *blocked, inner = _split_rows(schedule, extent_of(schedule, "row"))
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
    small = is_small(schedule, schedule.loops_of("product"))
    schedule.reorder(*around, *tile)
    schedule.compute_at("product", around[-1])
    if "pack" in block_names(schedule) and "column" in loops:
        schedule.compute_at("pack", panel)
        vectors(schedule, schedule.loops_of("pack")[-1])
    _micro_kernel(schedule)
    if "column" in loops:
        found = vectors(schedule, tile.pop())
        tile += [found] if found else []
    for loop in tile:  # or the accumulators could not stay in registers
        schedule.unroll(loop)
    if small:
        return
    shared = outer or (around[: len(around) - 1] if "row" in loops else around) or around
    enough = [loop for loop in outer if is_at_least(extent_of(schedule, loop), ENOUGH)]
    if enough:  # alone: to fuse would put divisions into every index
        schedule.reorder(enough[0], *(loop for loop in outer if loop != enough[0]))
        shared = enough[:1]
    parallel(schedule, shared)


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
    summed = [loop for loop in inside if reduces_over(product, loop)]
    elements = [loop for loop in inside if loop not in summed]
    if not summed:
        return
    schedule.reorder(*summed, *elements)
    init = schedule.decompose_reduction("product", summed[0])
    for block in (init, "product"):
        own = [loop for loop in schedule.loops_of(block) if loop not in around and loop not in summed]
        if own:
            outer = vectors(schedule, own[-1])
            for loop in [*own[:-1], *([outer] if outer else [])]:
                schedule.unroll(loop)
