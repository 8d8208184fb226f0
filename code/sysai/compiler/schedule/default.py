"""Default schedules: for each class of groups, the primitives that make its program fast without any tuning.

    elementwise   outer loops over cores, the innermost one in vectors
    reduction     rows over cores; along a row, vectors, and in reductions one partial result a lane (rfactor), which a
                  tree of vectors, half vectors, ... then combines
                  rows whose elements lie apart: vectors across rows, cores over blocks of them
    matmul        tiles of registers; a panel of columns for each core at a time; the epilogue on the tile
    pooling       outer loops over cores

Products have two forms, the second for operands that are read as they are stored (`lowering/matmul.py`). A tile of r
rows and c columns (or vectors of columns) costs r + c loads for r c multiplications of vectors:

    outer products    acc[i, 0:P] += a[i, k] * b[k, 0:P]      for all rows i of a tile: vectors lie along columns
    dot products      acc[i, j] += a[i, 0:W] * b[j, 0:W]      for all rows and columns of a tile: vectors lie along the
                                                              sum, and their lanes are added up at the end

A schedule keeps its trace, so that one may print what was done, and a tuner may begin where this ends.
"""

import math
from collections.abc import Sequence

from sysai.compiler import tir
from sysai.compiler.cpu import lanes
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.schedule.tree import find_block, find_loop, reduction_loops
from sysai.compiler.tir.accesses import goes_along

WIDE_VECTORS = 8  # whose sums registers hold: memory gives long pieces of rows faster
PARTIAL_VECTORS = 4  # of a reduction: so that an addition need not wait for the one before
LAST_LANES = 4  # lanes that are combined one by one: halves of so few are no faster
SMALL = 1 << 14  # operations that one core does alone
ENOUGH_TILES = 24  # of columns, to share out evenly
ENOUGH = 4  # iterations of a loop that is distributed alone
UNKNOWN_ROWS = 6  # of the tile where only the run time knows how many there are
BLOCK_ROWS = 240  # of the left operand, that stay in the second cache while panels pass by


def default_schedule(function: tir.PrimFunc, kind: str) -> Schedule:
    """The schedule of a lowered group of a class, see `groups.Group.kind`."""
    schedule = Schedule(function)
    schedulers = {"elementwise": _elementwise, "reduction": _reduction, "matmul": schedule_product, "pooling": _pooling}
    schedulers[kind](schedule)
    return schedule


def _elementwise(schedule: Schedule) -> None:
    for block in _nests(schedule):
        loops = schedule.loops_of(block)
        small = is_small(schedule, loops)
        vectors(schedule, loops[-1])
        parallelize(schedule, () if small else schedule.loops_of(block)[:-1])


def _pooling(schedule: Schedule) -> None:
    loops = schedule.loops_of("pool")
    small = is_small(schedule, loops)
    schedule.decompose_reduction("pool", loops[-2])
    parallelize(schedule, () if small else loops[:-2])


def _nests(schedule: Schedule) -> list[str]:
    """The first block in each outermost loop."""
    first_blocks: dict[str, str] = {}
    for block in tir.blocks(schedule.function.body):
        for outermost in schedule.loops_of(block.name)[:1]:
            first_blocks.setdefault(outermost, block.name)
    return list(first_blocks.values())


def _reduction(schedule: Schedule) -> None:
    first = next(block for block in tir.blocks(schedule.function.body) if block.reduces)
    enclosing = schedule.loops_of(first.name)
    if not reduces_over(first, enclosing[-1]):
        return _columns(schedule)
    small = is_small(schedule, enclosing)
    outer = [loop for loop in enclosing if not reduces_over(first, loop)]
    for loop, inside in row_passes(schedule, outer):
        if inside[-1].reduces:
            _reduce_row(schedule, inside[-1].name, schedule.loops_of(inside[-1].name)[len(outer) :], len(inside))
        else:
            vectors(schedule, loop)
    parallelize(schedule, () if small else outer)


def _columns(schedule: Schedule) -> None:
    """Each pass is a nest of its own, whose last loop is over neighbouring rows."""
    for block in list(tir.blocks(schedule.function.body)):
        loops = schedule.loops_of(block.name)
        small = is_small(schedule, loops)
        *outer, lane = [loop for loop in loops if not reduces_over(block, loop)]
        if not is_shorter(extent_of(schedule, lane), WIDE_VECTORS * lanes()):
            across, lane = schedule.split(lane, WIDE_VECTORS * lanes())
            outer.append(across)
        if block.reduces:
            along = [loop for loop in loops if reduces_over(block, loop)]
            schedule.reorder(*outer, *along, lane)
            init = schedule.decompose_reduction(block.name, along[0])
            schedule.vectorize(schedule.loops_of(init)[-1])
        schedule.vectorize(lane)
        parallelize(schedule, () if small else outer)


def _reduce_row(schedule: Schedule, block: str, loops: Sequence[str], share: int) -> None:
    """A reduction along a row, with partial results for the lanes of a vector, or of several in a long row.

    Args:
        loops: along the row.
        share: the blocks in these loops. Beside the work of others, an addition need not wait for the one before; and
            what they do pays in vectors in short rows too.
    """
    extent = extent_of(schedule, loops[-1])
    if is_shorter(extent, lanes() if share > 1 else 2 * lanes()):
        schedule.decompose_reduction(block, loops[0])
        return
    several = share == 1 and not is_shorter(extent, 2 * PARTIAL_VECTORS * lanes())
    partial_results(schedule, block, loops, PARTIAL_VECTORS * lanes() if several else lanes())


def partial_results(schedule: Schedule, block: str, loops: Sequence[str], width: int) -> None:
    """One partial result for each of `width` lanes of the last of `loops`, over which a block reduces; then a tree."""
    _, lane = schedule.split(loops[-1], width)
    partial = schedule.rfactor(block, lane)
    if f"{partial}_init" not in block_names(schedule):
        schedule.decompose_reduction(partial, loops[0] if len(loops) > 1 else schedule.loops_of(partial)[-2])
    for name in (partial, f"{partial}_init"):
        schedule.vectorize(schedule.loops_of(name)[-1])
    add_up(schedule, block, width)


def most_rows() -> int:
    """Rows of the register tile, two vectors wide, that leave some of the 16 or 32 registers for operands."""
    return 14 if lanes() == 16 else 6


def schedule_product(schedule: Schedule) -> None:
    """Blocks of rows, panels of columns, tiles of both; the product moves to the tile, where its result is stored."""
    loops = schedule.loops_of("store")
    outer, tile, blocked = [loop for loop in loops if loop not in ("row", "column")], [], []
    rows = extent_of(schedule, "row") if "row" in loops else tir.ONE
    dots = _is_of_dots(schedule)
    if "row" in loops:
        *blocked, inner = schedule.split("row", [None, _dot_tile(rows)[0]] if dots else _row_factors(rows))
        tile.append(inner)
    if "column" in loops:
        tiles = 1 if any(is_at_least(extent_of(schedule, loop), ENOUGH) for loop in outer) else ENOUGH_TILES
        width = _dot_tile(rows)[1] if dots else _panel_columns(rows, extent_of(schedule, "column"), tiles)
        panel, inner = schedule.split("column", width)
        tile.append(inner)
        blocked.insert(len(blocked) - 1, panel) if blocked else blocked.append(panel)
    enclosing = [*outer, *blocked]
    if not enclosing:
        return
    small = is_small(schedule, schedule.loops_of("product"))
    schedule.reorder(*enclosing, *tile)
    schedule.compute_at("product", enclosing[-1])
    if "pack" in block_names(schedule) and "column" in loops:
        if len(_summed(schedule)) == 1:
            schedule.compute_at("pack", panel)
        elif not small:  # the filters of a convolution serve all places of all images
            parallelize(schedule, schedule.loops_of("pack")[:1])
        vectors(schedule, schedule.loops_of("pack")[-1])
    if dots:
        _dot_products(schedule)
    else:
        outer_products(schedule)
    if "column" in loops and not dots:
        unroll_tile(schedule, tile)
    else:
        for loop in tile:
            schedule.unroll(loop)
    parallelize(schedule, () if small else _shared(schedule, outer, blocked, tiled="row" in loops))


def _shared(schedule: Schedule, outer: list[str], blocked: list[str], tiled: bool) -> list[str]:
    """The loops that cores share out; where rows are `tiled`, the last one of `blocked` goes over tiles of them."""
    enough = [loop for loop in outer if is_at_least(extent_of(schedule, loop), ENOUGH)]
    if enough:  # alone: to fuse would put divisions into every index
        schedule.reorder(enough[0], *(loop for loop in outer if loop != enough[0]))
        return enough[:1]
    if outer:  # three matrices are badly shared out by two cores
        return [*outer, *blocked[:1]]
    return (blocked[:-1] if tiled else blocked) or blocked


def _is_of_dots(schedule: Schedule) -> bool:
    """Whether the sum goes along both operands in memory, so that vectors lie along it and not along columns."""
    product, summed = find_block(schedule.function, "product"), _summed(schedule)
    along = len(summed) == 1 and all(goes_along(operand, summed[0].var) for operand in tir.children(product.value))
    return along and (not isinstance(summed[0].extent, tir.Const) or summed[0].extent.value >= lanes())


def _summed(schedule: Schedule) -> list[tir.Axis]:
    return [axis for axis in find_block(schedule.function, "product").axes if axis.kind == tir.REDUCE]


def _row_factors(rows: tir.Expr) -> list[int | None]:
    """Tiles of as many rows as registers allow and as waste none; of many, blocks that stay in the second cache."""
    if not isinstance(rows, tir.Const):
        return [None, UNKNOWN_ROWS]
    tile = min(range(1, most_rows() + 1), key=lambda size: (-(-rows.value // size) * (size + 2), -size))
    if rows.value <= BLOCK_ROWS:
        return [None, tile]
    tiles, blocks_of_rows = -(-rows.value // tile), -(-rows.value // BLOCK_ROWS)
    return [None, -(-tiles // blocks_of_rows), tile]


def _panel_columns(rows: tir.Expr, columns: tir.Expr, tiles: int) -> int:
    """Of the tile. Where rows are few, more: memory gives more bytes a second to several panels than to one.

    Args:
        tiles: how many there have to be, for the cores to share out.
    """
    width, height = 2 * lanes(), rows.value if isinstance(rows, tir.Const) else UNKNOWN_ROWS
    while height * width <= lanes() * most_rows() and is_at_least(columns, 2 * width * tiles):
        width *= 2
    return min(width, 8 * lanes())


def _dot_tile(rows: tir.Expr) -> tuple[int, int]:
    """Rows and columns of a tile that has a vector in a register for each element; of one row, more columns."""
    most = 4 if lanes() == 16 else 2
    height = min(max(rows.value, 1), most) if isinstance(rows, tir.Const) else most
    return height, 8 if height == 1 else 4


def outer_products(schedule: Schedule) -> None:
    """All sums of a tile at once: the summed index outermost, the tile's elements in registers."""
    enclosing, summed, elements = _nest(schedule)
    if not summed:
        return
    schedule.reorder(*summed, *elements)
    init = schedule.decompose_reduction("product", summed[0])
    for block in (init, "product"):
        own = [loop for loop in schedule.loops_of(block) if loop not in enclosing and loop not in summed]
        unroll_tile(schedule, own)


def _dot_products(schedule: Schedule) -> None:
    """A vector of partial sums for each element of a tile, which are added up at the end, in a tree."""
    enclosing, (summed,), elements = _nest(schedule)
    vector, lane = schedule.split(summed, lanes())
    schedule.reorder(vector, *elements, lane)
    partial = schedule.rfactor("product", lane)
    init = f"{partial}_init"
    if init not in block_names(schedule):
        schedule.decompose_reduction(partial, vector)
    for block in (init, partial):
        *own, lane = [loop for loop in schedule.loops_of(block) if loop not in (*enclosing, vector)]
        schedule.vectorize(lane)
        for loop in own:
            schedule.unroll(loop)
    *own, lane = [loop for loop in schedule.loops_of("product") if loop not in enclosing]
    for loop in own:
        schedule.unroll(loop)
    add_up(schedule, "product", lanes())


def _nest(schedule: Schedule) -> tuple[list[str], list[str], list[str]]:
    """The loops around the product: those that the store is in too, those that it sums over, those over the tile."""
    enclosing = [loop for loop in schedule.loops_of("store") if loop in schedule.loops_of("product")]
    inside = [loop for loop in schedule.loops_of("product") if loop not in enclosing]
    product = find_block(schedule.function, "product")
    summed = [loop for loop in inside if reduces_over(product, loop)]
    return enclosing, summed, [loop for loop in inside if loop not in summed]


def is_small(schedule: Schedule, loops: Sequence[str]) -> bool:
    """Whether so little is done in a nest that waking the other cores costs more than they bring."""
    extents = [extent_of(schedule, loop) for loop in loops]
    return all(isinstance(size, tir.Const) for size in extents) and math.prod(size.value for size in extents) < SMALL


def extent_of(schedule: Schedule, loop: str) -> tir.Expr:
    """The extent of the loop of a name."""
    return find_loop(schedule.function, loop).extent


def vectors(schedule: Schedule, loop: str, width: int | None = None) -> str | None:
    """Vectorize a loop by `width`, by default one vector; return the loop over vectors. A shorter loop stays."""
    width = width or lanes()
    if is_shorter(extent_of(schedule, loop), width):
        return None
    outer, inner = schedule.split(loop, width)
    schedule.vectorize(inner)
    return outer


def unroll_tile(schedule: Schedule, loops: Sequence[str]) -> None:
    """Run the last loop of a tile in vectors and unroll all others: only then can its elements stay in registers."""
    if loops:
        outer = vectors(schedule, loops[-1])
        for loop in (*loops[:-1], *([outer] if outer else [])):
            schedule.unroll(loop)


def parallelize(schedule: Schedule, loops: Sequence[str]) -> None:
    """Distribute the iterations of nested loops, if there are any, over the cores."""
    if loops:
        schedule.parallel(schedule.fuse(*loops) if len(loops) > 1 else loops[0])


def row_passes(schedule: Schedule, outer: Sequence[str]) -> list[tuple[str, list[tir.Block]]]:
    """The passes over a row inside the loops `outer`: each innermost loop and its blocks, one that reduces last."""
    inner_loops: dict[str, list[tir.Block]] = {}
    for block in tir.blocks(schedule.function.body):
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


def reduces_over(block: tir.Block, loop: str) -> bool:
    """Whether a block sums over a loop."""
    return loop in {var.name for var in reduction_loops(block)}


def block_names(schedule: Schedule) -> set[str]:
    """The names of all blocks."""
    return {block.name for block in tir.blocks(schedule.function.body)}


def is_shorter(extent: tir.Expr, number: int) -> bool:
    """Whether a loop is known to be shorter."""
    return isinstance(extent, tir.Const) and extent.value < number


def is_at_least(extent: tir.Expr, number: int) -> bool:
    """Whether an extent is known, and no less."""
    return isinstance(extent, tir.Const) and extent.value >= number
