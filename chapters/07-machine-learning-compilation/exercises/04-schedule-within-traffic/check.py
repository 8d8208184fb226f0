"""Gates on the bytes that a replayed schedule moves, against a closed formula for the best tile, on random sizes."""

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule.schedule import Trace, replay
from sysai.compiler.tir.accesses import nests
from sysai.compiler.tir.statement import For, PrimFunc
from sysai.compiler.tir.text import parse
from sysai.compiler.tir.traffic import Moved, moved
from sysai.core.language import Text
from sysai.exercises.pictures import bars
from sysai.exercises.trial import Hint, Trial

BYTES = Text("bytes", "字节")
MOVED = Text("bytes moved", "搬运的字节数")
LINE = 64
MOST_STEPS, MOST_LOOPS = 40, 10  # around a block: counting takes twice as long for each
MATMUL = """
def matmul(A: float32[{m}, {k}], B: float32[{k}, {n}], C: float32[{m}, {n}]):
    for i in range({m}):
        for j in range({n}):
            for k in range({k}):
                with block("C"):
                    vi = spatial({m}, i)
                    vj = spatial({n}, j)
                    vk = reduce({k}, k)
                    C[vi, vj] = init(float32(0.0))
                    C[vi, vj] += A[vi, vk] * B[vk, vj]
"""


TILE = Text(
    "The order is good, the tile is not. A is loaded once for each tile to the right, B for each tile below: make the "
    "tile of C as large as the cache allows, beside two columns of A and two rows of B, and choose its shape.",
    "次序是好的，块的大小还不合适。横向有几块，`A`就载入几次；纵向有几块，`B`就载入几次。"
    "应让`C`的块尽可能大，只要旁边还放得下`A`的两列和`B`的两行，并选好它的形状。",
)


def _unfit(most: str) -> Text:
    return Text(
        f"{most} is moved most, far more than needed: some loop that reuses it doesn't fit into the cache. Look for "
        "the innermost loop two iterations of which touch more than the capacity, counting a whole line for each "
        "row of A.",
        f"搬运最多的是`{most}`，远超必要：某个重复使用它的循环放不进缓存。请找出最内层的、"
        "两次迭代所访问的内容超过容量的那个循环，其中`A`的每一行要按整个缓存行计。",
    )


def check(trial: Trial) -> None:
    _check(trial, 192, 256, 320, 16384)
    for _ in range(6):
        rows, columns, inner = (16 * trial.random.randint(9, 24) for _ in range(3))
        _check(trial, rows, columns, inner, 1024 * trial.random.choice([6, 8, 12, 16, 20]))


def _check(trial: Trial, rows: int, columns: int, inner: int, capacity: int) -> None:
    function = parse(MATMUL.format(m=rows, n=columns, k=inner))
    got = trial.call("schedule", rows, columns, inner, capacity=capacity)
    trial.expect_type(got, str)
    transformed = _replay(trial, got, function)
    counted = moved(transformed, {}, capacity, LINE)
    trial.picture(_picture(counted))
    total = sum(each.total for each in counted.values())
    best = _best(rows, columns, inner, capacity)
    most = max(counted, key=lambda buffer: counted[buffer].total)
    hints = [Hint(lambda total: total > 5 * best, _unfit(most)), Hint(lambda _: True, TILE)]
    trial.expect_at_most(total, int(1.15 * best), what=MOVED, unit=BYTES, hints=hints)


def _replay(trial: Trial, text: str, function: PrimFunc) -> PrimFunc:
    fault = ""
    try:
        trace = Trace.from_json(text)
        if len(trace) <= MOST_STEPS:
            function = replay(trace, function).function
    except (IllegalSchedule, ValueError) as error:
        fault = str(error)
    trial.expect(
        not fault,
        Text(f"The trace can't be replayed: {fault}", f"这份记录无法重放：{fault}"),
        Text(
            "Return the trace.to_json() of a Schedule of matmul(rows, columns, inner), unchanged.",
            "Schedule应当建在`matmul(rows, columns, inner)`上，并原样返回它的`trace.to_json()`。",
        ),
    )
    deepest = max(sum(isinstance(stmt, For) for stmt in around) for _, around in nests(function.body))
    trial.expect(
        len(trace) <= MOST_STEPS and deepest <= MOST_LOOPS,
        Text(
            f"The check counts schedules of at most {MOST_STEPS} steps and {MOST_LOOPS} loops around a block.",
            f"检查程序只统计至多{MOST_STEPS}步、一个块外至多{MOST_LOOPS}层循环的调度。",
        ),
    )
    return function


def _best(rows: int, columns: int, inner: int, capacity: int) -> int:
    """Bytes moved if a tile of C stays in the cache while k runs, for the best tile."""
    best = None
    for height in range(1, rows + 1):
        for width in range(16, columns + 1, 16):
            tile, column_of_a, rows_of_b = height * width * 4, height * LINE, 2 * width * 4
            if tile + column_of_a + rows_of_b > capacity:
                break
            a = 4 * rows * inner * (-(-columns // width))
            b = 4 * inner * columns * (-(-rows // height))
            total = a + b + 2 * 4 * rows * columns
            best = total if best is None else min(best, total)
    return best


def _picture(counted: dict[str, Moved]) -> Text:
    moved_of = {buffer: each.total / 1e6 for buffer, each in counted.items()}
    return Text(*(bars({f"{buffer}{unit}": size for buffer, size in moved_of.items()}) for unit in (", MB", "，MB")))
