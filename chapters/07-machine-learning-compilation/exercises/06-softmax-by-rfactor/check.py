"""Gates on a schedule of softmax, which computes it if it can be replayed: bytes, sweeps, vectors, scalar steps."""

from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

from sysai.compiler.tir.accesses import Access, accesses, instances, nests
from sysai.compiler.tir.expr import Call, Expr, Var, variables, walk
from sysai.compiler.tir.statement import VECTORIZED, Allocate, Block, For, If, PrimFunc, Seq, Stmt
from sysai.compiler.tir.text import parse
from sysai.compiler.tir.traffic import moved
from sysai.core.language import Text
from sysai.exercises.schedules import replayed
from sysai.exercises.trial import Hint, Trial

SOFTMAX = parse(run_path(str(Path(__file__).with_name("starter.py")))["SOFTMAX"])
BYTES = Text("bytes", "字节")
MOVED = Text("bytes moved", "搬运的字节数")
SWEEPS = Text("loops over a row", "遍历一行的循环数")
EXPONENTIALS = Text("exponentials of a matrix", "对一个矩阵所算的指数个数")
STEPS = Text("block executions outside vectorized loops, in a row", "每行在向量化循环之外执行块的次数")
LOADED_AGAIN = Text(
    "x is loaded more than once: two nests that read it are in different loops over rows, and when the second one "
    "wants a row, the cache has lost it. compute_at brings a nest into the loop over rows of its consumer.",
    "`x`载入了不止一次：读它的两个嵌套在不同的行循环里，后一个要用某一行时，CPU缓存里早已没有了。"
    "compute_at能把一个嵌套放进其消费者的行循环。",
)
FOURTH_SWEEP = Text(
    "The sum can take the exponentials as soon as a few of them are there: reverse_compute_at moves a consumer into "
    "a loop of its producer.",
    "指数算出几个之后，就可以马上求和：reverse_compute_at把消费者移进生产者的循环。",
)
TWICE = Text(
    "Inlined into two consumers, each exponential is computed twice; it is the dearest operation of a softmax.",
    "内联到两个消费者里，每个指数就算了两次，而它是softmax中代价最高的运算。",
)
NO_VECTOR = Text(
    "Split the loop over columns by the number of lanes and vectorize the inner one. If it reduces, rfactor has to "
    "come first: one partial result for each lane.",
    "按通道数切分列循环，再把内层向量化。如果它做归约，要先用rfactor：每个通道一个部分结果。",
)
COMBINED_INSIDE = Text(
    "Lanes are combined in every chunk. Keep one partial result for each lane through the whole row, and combine them "
    "once after it: the loop over chunks has to stay with the partial results.",
    "每一组都合并了一次通道。应当让每个通道的部分结果贯穿整行，到行尾再合并一次："
    "对各组的循环要留在求部分结果的那一边。",
)


def check(trial: Trial) -> None:
    for lanes in (8, 4, 16):
        function = replayed(trial, trial.call("schedule", lanes), SOFTMAX)
        trial.picture("\n".join(_outline(function.body)))
        _check_memory(trial, function, rows=64, columns=64 * lanes)
        sweeps = {along[0].var.name for *_, along in _rows(function) if along}
        trial.expect_at_most(len(sweeps), 3, what=SWEEPS, hints=[Hint(lambda _: True, FOURTH_SWEEP)])
        rows, columns = 2, 12 * lanes
        executed = list(instances(function.body, {"R": rows, "N": columns}))
        computed = sum(any(_is_exp(part) for part in walk(each.block.value)) for each in executed)
        trial.expect_at_most(computed, rows * columns, what=EXPONENTIALS, hints=[Hint(lambda _: True, TWICE)])
        _check_vectors(trial, function, lanes)
        scalar = sum(not any(_is_vector(stmt) for stmt in each.enclosing) for each in executed)
        inside = [Hint(lambda _: True, COMBINED_INSIDE)]
        trial.expect_at_most(scalar // rows, 4 * lanes + 4, what=STEPS, hints=inside)


def _check_memory(trial: Trial, function: PrimFunc, rows: int, columns: int) -> None:
    counted = moved(function, {"R": rows, "N": columns}, capacity=8 * columns * 4)
    total, matrix = sum(each.total for each in counted.values()), rows * columns * 4
    carried = max(counted, key=lambda name: counted[name].total * (name not in ("x", "y")))
    through_memory = Text(
        f"{carried} travels through memory. If its producer is computed in the loop over rows of its consumers, its "
        "buffer shrinks to a row.",
        f"`{carried}`经过了内存。如果在消费者的行循环里计算它，它的缓冲区就缩小到一行。",
    )
    hint = Hint(lambda _: True, LOADED_AGAIN if counted["x"].loaded > 1.1 * matrix else through_memory)
    trial.expect_at_most(total, int(1.1 * 3 * matrix), what=MOVED, unit=BYTES, hints=[hint])


def _check_vectors(trial: Trial, function: PrimFunc, lanes: int) -> None:
    for block, access, loops, along in _rows(function):
        inner = loops[-1]
        side_by_side = inner in along and inner.var not in variables(*access.indices[:-1])
        trial.expect(
            _is_vector(inner) and str(inner.extent) == str(lanes) and side_by_side,
            Text(
                f"Block {block.name} uses {access.buffer.name} in the loop {inner.var.name}, which is "
                f"{inner.kind} of {inner.extent}, not vectorized of {lanes} along a row.",
                f"块{block.name}在循环{inner.var.name}里用到{access.buffer.name}，这个循环是"
                f"{inner.kind}，共{inner.extent}次，而不是沿着行、向量化的{lanes}次。",
            ),
            NO_VECTOR,
        )


def _rows(function: PrimFunc) -> Iterator[tuple[Block, Access, list[For], list[For]]]:
    """Each access to a buffer that holds rows of N, the loops around it, and those of them that go along the row."""
    for block, around in nests(function.body):
        loops = [stmt for stmt in around if isinstance(stmt, For)]
        for access in accesses(block):
            if Var("N") in variables(access.buffer.shape[-1]):
                yield block, access, loops, [loop for loop in loops if loop.var in variables(access.indices[-1])]


def _is_exp(part: Expr) -> bool:
    return isinstance(part, Call) and part.function == "exp"


def _is_vector(stmt: Stmt) -> bool:
    return isinstance(stmt, For) and stmt.kind == VECTORIZED


def _outline(stmt: Stmt, indent: str = "") -> list[str]:
    """Loops and blocks, without what the blocks compute."""
    match stmt:
        case For(var, extent, body, kind):
            return [f"{indent}{kind} {var} of {extent}", *_outline(body, indent + "  ")]
        case Seq(parts):
            return [line for part in parts for line in _outline(part, indent)]
        case If(_, body) | Allocate(_, body):
            return _outline(body, indent)
    names = dict.fromkeys(access.buffer.name for access in accesses(stmt) if not access.writes)
    return [f"{indent}{stmt.name}: {stmt.buffer.name}" + (f" from {', '.join(names)}" if names else "")]
