"""The default schedule of products: tiles of registers, panels of columns, the epilogue on the tile.

    outer products    acc[i, 0:P] += a[i, k] * b[k, 0:P]      for all rows i of a tile: vectors lie along columns
    dot products      acc[i, j] += a[i, 0:W] * b[j, 0:W]      for all rows and columns of a tile: vectors lie along the
                                                              sum, and their lanes are added up at the end

The second form is for operands that are read as they are stored (`lowering/matmul.py`). Cost of a tile of r rows and c
columns (or vectors of columns): r + c loads for r c multiplications of vectors.
"""

from sysai.compiler.cpu import lanes
from sysai.compiler.schedule import steps
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.schedule.tree import find_block
from sysai.compiler.tir.accesses import goes_along
from sysai.compiler.tir.expr import ONE, Const, Expr, children
from sysai.compiler.tir.statement import REDUCE

ENOUGH_TILES = 24  # of columns, to share out evenly
ENOUGH = 4  # iterations of a loop that is distributed alone
UNKNOWN_ROWS = 6  # of the tile where only the run time knows how many there are
BLOCK_ROWS = 240  # of the left operand, that stay in the second cache while panels pass by


def most_rows() -> int:
    """Rows of the register tile, two vectors wide, that leave some of the 16 or 32 registers for operands."""
    return 14 if lanes() == 16 else 6


def schedule_product(schedule: Schedule) -> None:
    """Blocks of rows, panels of columns, tiles of both; the product moves to the tile, where its result is stored."""
    loops = schedule.loops_of("store")
    outer, tile, blocked = [loop for loop in loops if loop not in ("row", "column")], [], []
    rows = steps.extent_of(schedule, "row") if "row" in loops else ONE
    dots = _is_of_dots(schedule)
    if "row" in loops:
        *blocked, inner = schedule.split("row", [None, _dot_tile(rows)[0]] if dots else _row_factors(rows))
        tile.append(inner)
    if "column" in loops:
        tiles = 1 if any(is_at_least(steps.extent_of(schedule, loop), ENOUGH) for loop in outer) else ENOUGH_TILES
        width = _dot_tile(rows)[1] if dots else _panel_columns(rows, steps.extent_of(schedule, "column"), tiles)
        panel, inner = schedule.split("column", width)
        tile.append(inner)
        blocked.insert(len(blocked) - 1, panel) if blocked else blocked.append(panel)
    enclosing = [*outer, *blocked]
    if not enclosing:
        return
    small = steps.is_small(schedule, schedule.loops_of("product"))
    schedule.reorder(*enclosing, *tile)
    schedule.compute_at("product", enclosing[-1])
    if "pack" in steps.block_names(schedule) and "column" in loops:
        schedule.compute_at("pack", panel)
        steps.vectors(schedule, schedule.loops_of("pack")[-1])
    if dots:
        _dot_products(schedule)
    else:
        _outer_products(schedule)
    if "column" in loops and not dots:
        vector_loop = steps.vectors(schedule, tile.pop())
        tile += [vector_loop] if vector_loop else []
    for loop in tile:  # or the accumulators could not stay in registers
        schedule.unroll(loop)
    if small:
        return
    steps.parallelize(schedule, _shared(schedule, outer, blocked, tiled="row" in loops))


def _shared(schedule: Schedule, outer: list[str], blocked: list[str], tiled: bool) -> list[str]:
    """The loops that cores share out; where rows are `tiled`, the last one of `blocked` goes over tiles of them."""
    enough = [loop for loop in outer if is_at_least(steps.extent_of(schedule, loop), ENOUGH)]
    if enough:  # alone: to fuse would put divisions into every index
        schedule.reorder(enough[0], *(loop for loop in outer if loop != enough[0]))
        return enough[:1]
    if outer:  # three matrices are badly shared out by two cores
        return [*outer, *blocked[:1]]
    return (blocked[:-1] if tiled else blocked) or blocked


def _is_of_dots(schedule: Schedule) -> bool:
    """Whether the sum goes along both operands in memory, so that vectors lie along it and not along columns."""
    product = find_block(schedule.function, "product")
    summed = [axis for axis in product.axes if axis.kind == REDUCE]
    along = len(summed) == 1 and all(goes_along(operand, summed[0].var) for operand in children(product.value))
    return along and (not isinstance(summed[0].extent, Const) or summed[0].extent.value >= lanes())


def is_at_least(extent: Expr, number: int) -> bool:
    """Whether an extent is known, and no less."""
    return isinstance(extent, Const) and extent.value >= number


def _row_factors(rows: Expr) -> list[int | None]:
    """Tiles of as many rows as registers allow and as waste none; of many, blocks that stay in the second cache."""
    if not isinstance(rows, Const):
        return [None, UNKNOWN_ROWS]
    tile = min(range(1, most_rows() + 1), key=lambda size: (-(-rows.value // size) * (size + 2), -size))
    if rows.value <= BLOCK_ROWS:
        return [None, tile]
    tiles, blocks_of_rows = -(-rows.value // tile), -(-rows.value // BLOCK_ROWS)
    return [None, -(-tiles // blocks_of_rows), tile]


def _panel_columns(rows: Expr, columns: Expr, tiles: int) -> int:
    """Of the tile. Where rows are few, more: memory gives more bytes a second to several panels than to one.

    Args:
        tiles: how many there have to be, for the cores to share out.
    """
    width, height = 2 * lanes(), rows.value if isinstance(rows, Const) else UNKNOWN_ROWS
    while height * width <= lanes() * most_rows() and is_at_least(columns, 2 * width * tiles):
        width *= 2
    return min(width, 8 * lanes())


def _dot_tile(rows: Expr) -> tuple[int, int]:
    """Rows and columns of a tile that has a vector in a register for each element; of one row, more columns."""
    most = 4 if lanes() == 16 else 2
    height = min(max(rows.value, 1), most) if isinstance(rows, Const) else most
    return height, 8 if height == 1 else 4


def _outer_products(schedule: Schedule) -> None:
    """All sums of a tile at once: the summed index outermost, the tile's elements in registers."""
    enclosing, summed, elements = _nest(schedule)
    if not summed:
        return
    schedule.reorder(*summed, *elements)
    init = schedule.decompose_reduction("product", summed[0])
    for block in (init, "product"):
        own = [loop for loop in schedule.loops_of(block) if loop not in enclosing and loop not in summed]
        if own:
            outer = steps.vectors(schedule, own[-1])
            for loop in [*own[:-1], *([outer] if outer else [])]:
                schedule.unroll(loop)


def _dot_products(schedule: Schedule) -> None:
    """A vector of partial sums for each element of a tile, which are added up at the end, in a tree."""
    enclosing, (summed,), elements = _nest(schedule)
    vector, lane = schedule.split(summed, lanes())
    schedule.reorder(vector, *elements, lane)
    partial = schedule.rfactor("product", lane)
    init = f"{partial}_init"
    if init not in steps.block_names(schedule):
        schedule.decompose_reduction(partial, vector)
    for block in (init, partial):
        *own, lane = [loop for loop in schedule.loops_of(block) if loop not in (*enclosing, vector)]
        schedule.vectorize(lane)
        for loop in own:
            schedule.unroll(loop)
    *own, lane = [loop for loop in schedule.loops_of("product") if loop not in enclosing]
    for loop in own:
        schedule.unroll(loop)
    steps.add_up(schedule, "product", lanes())


def _nest(schedule: Schedule) -> tuple[list[str], list[str], list[str]]:
    """The loops around the product: those that the store is in too, those that it sums over, those over the tile."""
    enclosing = [loop for loop in schedule.loops_of("store") if loop in schedule.loops_of("product")]
    inside = [loop for loop in schedule.loops_of("product") if loop not in enclosing]
    product = find_block(schedule.function, "product")
    summed = [loop for loop in inside if steps.reduces_over(product, loop)]
    return enclosing, summed, [loop for loop in inside if loop not in summed]
