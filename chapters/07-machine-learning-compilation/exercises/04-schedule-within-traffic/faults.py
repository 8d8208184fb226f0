"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

BEST = "_, height, width = min(fitting)"
TILED = """\
    i_0, i_1 = s.split("i", height)
    j_0, j_1 = s.split("j", width)
    s.reorder(i_0, j_0, "k", i_1, j_1)
"""
TRACE = "return s.trace.to_json()"
KEEP_C = Text(
    "C is moved most. Its numbers are used again at each k: let a tile of C stay in the cache for all k, with k "
    "outside the loops within the tile and inside the loops over tiles. Two consecutive iterations of k must fit.",
    "搬运最多的是`C`。它的数每个`k`都要用到：应让`C`的一块在`k`走完之前一直留在CPU缓存里，"
    "把`k`放在块内循环之外、对各块的循环之内。`k`的相邻两次迭代必须放得下。",
)

FAULTS = [
    Fault(
        "as_it_was",
        "Leaves the program as it stands.",
        edits=[(TILED, "")],
        hint=Text(
            "This is what the program moves as it stands. Split the loops, and put the loops over tiles outside.",
            "这是程序未经改动时搬运的字节数。应当切分循环，并把对各块的循环放在外层。",
        ),
    ),
    Fault(
        "cubes",
        "Tiles all three loops, three tiles to the cache, so that C travels with each cube.",
        edits=[(TILED, '    side = int((capacity / 12) ** 0.5)\n    s.tile(["i", "j", "k"], [side, side, side])\n')],
        hint=KEEP_C,
    ),
    Fault(
        "tile_fills_the_cache",
        "Makes the tile of C as large as the whole cache, so that nothing fits beside it.",
        edits=[(BEST, "height = width = int((capacity / 4) ** 0.5)")],
        hint=KEEP_C,
    ),
    Fault(
        "small_tile",
        "Keeps a tile of C, a quarter of what would fit.",
        edits=[(BEST, "height = width = int((capacity / 4) ** 0.5 / 2) // 16 * 16 or 8")],
        told="The order is good, the tile is not. A is loaded once for",
    ),
    Fault(
        "sum_inside",
        "Keeps a tile of C, but runs k inside it, so that all of A's and B's strips must fit.",
        edits=[('s.reorder(i_0, j_0, "k", i_1, j_1)', 's.reorder(i_0, j_0, i_1, j_1, "k")')],
        told="B is moved most, far more than needed: some loop that",
    ),
    Fault(
        "number_of_steps",
        "Returns the number of steps and not the text of the trace.",
        edits=[(TRACE, "return len(s.trace)")],
    ),
    Fault(
        "other_program",
        "Returns a trace that names a loop which is not there.",
        edits=[(TRACE, f'{TRACE}.replace("i_0", "z")')],
        told="Return the trace.to_json() of a Schedule of the starter's",
    ),
    Fault(
        "too_many_loops",
        "Splits a loop again and again.",
        edits=[(TRACE, f"for _ in range(10):\n        i_1, _ = s.split(i_1, 1)\n    {TRACE}")],
    ),
]
