"""Gates on a schedule of softmax, which computes it if it can be replayed: bytes, sweeps, vectors, scalar steps."""

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule.schedule import Trace, replay
from sysai.compiler.tir.accesses import Access, accesses, instances, nests
from sysai.compiler.tir.expr import Call, Expr, Var, walk
from sysai.compiler.tir.statement import VECTORIZED, Allocate, Block, For, If, PrimFunc, Seq, Stmt
from sysai.compiler.tir.text import parse
from sysai.compiler.tir.traffic import moved
from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

BYTES = Text("bytes", "字节")
MOVED = Text("bytes moved", "搬运的字节数")
SWEEPS = Text("loops over a row", "走过一行的循环数")
EXPONENTIALS = Text("exponentials of a matrix", "对一个矩阵所算的指数个数")
STEPS = Text("block executions outside vectorized loops, in a row", "每行在向量化循环之外执行块的次数")
MOST_STEPS, MOST_LOOPS = 80, 10  # around a block: counting takes twice as long for each
SOFTMAX = """
def softmax(R: size, N: size, x: float32[R, N], y: float32[R, N]):
    with allocate(float32[R], "global") as m:
        with allocate(float32[R, N], "global") as e:
            with allocate(float32[R], "global") as s:
                for i in range(R):
                    for j in range(N):
                        with block("row_max"):
                            vi = spatial(R, i)
                            vj = reduce(N, j)
                            m[vi] = init(float32('-inf'))
                            m[vi] = combine(max, x[vi, vj])
                for i in range(R):
                    for j in range(N):
                        with block("exps"):
                            vi = spatial(R, i)
                            vj = spatial(N, j)
                            e[vi, vj] = exp(x[vi, vj] - m[vi])
                for i in range(R):
                    for j in range(N):
                        with block("row_sum"):
                            vi = spatial(R, i)
                            vj = reduce(N, j)
                            s[vi] = init(float32(0.0))
                            s[vi] += e[vi, vj]
                for i in range(R):
                    for j in range(N):
                        with block("quotient"):
                            vi = spatial(R, i)
                            vj = spatial(N, j)
                            y[vi, vj] = e[vi, vj] / s[vi]
"""


def check(trial: Trial) -> None:
    for lanes in (8, 4, 16):
        got = trial.call("schedule", lanes)
        trial.expect_type(got, str)
        function = _replay(trial, got)
        trial.picture("\n".join(_outline(function.body)))
        _check_memory(trial, function, lanes)
        _check_sweeps(trial, function, lanes)
        _check_vectors(trial, function, lanes)
        _check_steps(trial, function, lanes)


def _replay(trial: Trial, text: str) -> PrimFunc:
    function, fault = parse(SOFTMAX), ""
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
            "Return the trace.to_json() of a Schedule of parse(SOFTMAX), unchanged.",
            "Schedule应当建在`parse(SOFTMAX)`上，并原样返回它的`trace.to_json()`。",
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


def _check_memory(trial: Trial, function: PrimFunc, lanes: int) -> None:
    rows, columns = 64, 64 * lanes
    sizes, capacity = {"R": rows, "N": columns}, 8 * columns * 4
    counted = moved(function, sizes, capacity)
    total, matrix = sum(each.total for each in counted.values()), rows * columns * 4
    untouched = sum(each.total for each in moved(parse(SOFTMAX), sizes, capacity).values())
    carried = max(counted, key=lambda name: counted[name].total * (name not in ("x", "y")))
    hints = [
        Hint(
            untouched,
            Text(
                "The nests come one after the other: when the next one wants a row, the cache has lost it. Bring them "
                "into one loop over rows, with compute_at.",
                "几个嵌套一个接一个：后一个要用某一行时，缓存里早已没有了。应当用compute_at把它们放进同一个行循环。",
            ),
        ),
        Hint(
            lambda _: counted["x"].loaded > 1.1 * matrix,
            Text(
                "x is loaded more than once: two nests that read it are in different loops over rows.",
                "`x`载入了不止一次：读它的两个嵌套在不同的行循环里。",
            ),
        ),
        Hint(
            lambda _: True,
            Text(
                f"{carried} travels through memory. If its producer is computed in the loop over rows of its "
                f"consumers, "
                "its buffer shrinks to a row.",
                f"`{carried}`经过了内存。如果在消费者的行循环里计算它，它的缓冲区就缩小到一行。",
            ),
        ),
    ]
    trial.expect_at_most(total, int(1.1 * 3 * matrix), what=MOVED, unit=BYTES, hints=hints)


def _check_sweeps(trial: Trial, function: PrimFunc, lanes: int) -> None:
    sweeps = {
        next(loop.var.name for loop in around if isinstance(loop, For) and loop.var in _variables(access.indices[-1]))
        for block, around in nests(function.body)
        for access in _rows(block)
        if any(isinstance(loop, For) and loop.var in _variables(access.indices[-1]) for loop in around)
    }
    four = Hint(
        lambda sweeps: sweeps > 3,
        Text(
            "The sum can take the exponentials as soon as a few of them are there: reverse_compute_at moves a consumer "
            "into a loop of its producer.",
            "指数算出几个之后，就可以马上求和：reverse_compute_at把消费者移进生产者的循环。",
        ),
    )
    trial.expect_at_most(len(sweeps), 3, what=SWEEPS, hints=[four])
    rows, columns = 2, 2 * lanes
    computed = sum(
        any(isinstance(part, Call) and part.function == "exp" for part in walk(instance.block.value))
        for instance in instances(function.body, {"R": rows, "N": columns})
    )
    twice = Hint(
        lambda count: count > rows * columns,
        Text(
            "Inlined into two consumers, each exponential is computed twice; it is the dearest operation of a softmax.",
            "内联到两个消费者里，每个指数就算了两次，而它是softmax中代价最高的运算。",
        ),
    )
    trial.expect_at_most(computed, rows * columns, what=EXPONENTIALS, hints=[twice])


def _check_vectors(trial: Trial, function: PrimFunc, lanes: int) -> None:
    for block, around in nests(function.body):
        loops = [stmt for stmt in around if isinstance(stmt, For)]
        for access in _rows(block):
            inner = loops[-1]
            beside = inner.var in _variables(access.indices[-1])
            elsewhere = any(inner.var in _variables(index) for index in access.indices[:-1])
            trial.expect(
                inner.kind == VECTORIZED and str(inner.extent) == str(lanes) and beside and not elsewhere,
                Text(
                    f"Block {block.name} uses {access.buffer.name} in the loop {inner.var.name}, which is "
                    f"{inner.kind} of {inner.extent}, not vectorized of {lanes} along a row.",
                    f"块{block.name}在循环{inner.var.name}里用到{access.buffer.name}，这个循环是"
                    f"{inner.kind}，共{inner.extent}次，而不是沿着行、向量化的{lanes}次。",
                ),
                Text(
                    "Split the loop over columns by the number of lanes and vectorize the inner one. If it "
                    "reduces, rfactor has to come first: one partial result for each lane.",
                    "按通道数切分列循环，再把内层向量化。如果它做归约，要先用rfactor：每个通道一个部分结果。",
                ),
            )


def _check_steps(trial: Trial, function: PrimFunc, lanes: int) -> None:
    rows = 2
    scalar = sum(
        not any(isinstance(stmt, For) and stmt.kind == VECTORIZED for stmt in instance.around)
        for instance in instances(function.body, {"R": rows, "N": 12 * lanes})
    )
    inside = Hint(
        lambda steps: steps > 4 * lanes + 4,
        Text(
            "Lanes are combined in every chunk. Keep one partial result for each lane through the whole row, and "
            "combine them once after it: the loop over chunks has to stay with the partial results.",
            "每一组都合并了一次通道。应当让每个通道的部分结果贯穿整行，到行尾再合并一次："
            "对各组的循环要留在求部分结果的那一边。",
        ),
    )
    trial.expect_at_most(scalar // rows, 4 * lanes + 4, what=STEPS, hints=[inside])


def _rows(block: Block) -> list[Access]:
    """Accesses to buffers that hold rows: their last dimension is that of the matrix."""
    return [access for access in accesses(block) if Var("N") in _variables(access.buffer.shape[-1])]


def _variables(expr: Expr) -> set[Var]:
    return {part for part in walk(expr) if isinstance(part, Var)}


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
