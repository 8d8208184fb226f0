"""Gates on the bytes that a replayed schedule moves, against a closed formula for the best tile, on random sizes."""

from pathlib import Path
from runpy import run_path

from sysai.compiler.tir.traffic import moved
from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.schedules import replayed
from sysai.exercises.trial import Hint, Trial

BYTES = Text("bytes", "字节")
MOVED = Text("bytes moved", "搬运的字节数")
LINE = 64
MATMUL = run_path(str(Path(__file__).with_name("starter.py")))["matmul"]
TILE = Text(
    "The order is good, the tile is not. A is loaded once for each tile to the right, B for each tile below: make the "
    "tile of C as large as the cache allows, beside two columns of A and two rows of B, and choose its shape.",
    "次序是好的，块的大小还不合适。横向有几块，`A`就载入几次；纵向有几块，`B`就载入几次。"
    "应让`C`的块尽可能大，只要旁边还放得下`A`的两列和`B`的两行，并选好它的形状。",
)


def check(trial: Trial) -> None:
    _check(trial, 192, 256, 320, 16384)
    for _ in range(6):
        rows, columns, inner = (16 * trial.random.randint(9, 24) for _ in range(3))
        _check(trial, rows, columns, inner, 1024 * trial.random.choice([6, 8, 12, 16, 20]))


def _check(trial: Trial, rows: int, columns: int, inner: int, capacity: int) -> None:
    got = trial.call("schedule", rows, columns, inner, capacity=capacity)
    function = replayed(trial, got, MATMUL(rows, columns, inner))
    counted = {buffer: each.total for buffer, each in moved(function, {}, capacity, LINE).items()}
    trial.picture(bars({f"{buffer}, MB": total / 1e6 for buffer, total in counted.items()}))
    most = max(counted, key=counted.get)
    best = _best(rows, columns, inner, capacity)
    unfit = Hint(
        lambda total: total > 5 * best,
        Text(
            f"{most} is moved most, far more than needed: some loop that reuses it doesn't fit into the cache. Look "
            "for the innermost loop two iterations of which touch more than the capacity, counting a whole line for "
            "each row of A.",
            f"搬运最多的是`{most}`，远超必要：某个重复使用它的循环放不进CPU缓存。请找出最内层的、"
            "两次迭代所访问的内容超过容量的那个循环，其中`A`的每一行要按整个缓存行计。",
        ),
    )
    hints = [unfit, Hint(lambda _: True, TILE)]
    trial.expect_at_most(sum(counted.values()), int(1.15 * best), what=MOVED, unit=BYTES, hints=hints)


def _best(rows: int, columns: int, inner: int, capacity: int) -> int:
    """Bytes moved if a tile of C stays in the cache while k runs, beside a column of A and two rows of B."""
    tiles = [(height, width) for height in range(1, rows + 1) for width in range(16, columns + 1, 16)]
    fitting = [(h, w) for h, w in tiles if 4 * h * w + LINE * h + 2 * 4 * w <= capacity]
    loads = min(-(-columns // w) * rows + -(-rows // h) * columns for h, w in fitting)
    return 4 * inner * loads + 2 * 4 * rows * columns
