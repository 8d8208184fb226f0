"""Gates on passes, dependencies, micro-batches in flight, and time; any numbers of stages and micro-batches."""

from itertools import accumulate

from sysai.core.language import Text
from sysai.exercises.timelines import deadlock, gantt
from sysai.exercises.trial import Hint, Trial
from sysai.parallel.pipeline.schedules import Operation, PipelineSchedule
from sysai.parallel.pipeline.simulate import PassTimes, simulate

IN_FLIGHT = Text("micro-batches in flight", "在途的微批次数")
TIME = Text("units of time until all stages are done", "所有阶段做完所用的时间单位")
ORDER = Text(
    "All stages must take micro-batches in the same order, forward and backward. The oldest first keeps nobody "
    "waiting: its gradient comes back first.",
    "所有阶段处理微批次的先后必须一致，前向、反向都是如此。最早的先做，才不会让谁空等：它的梯度最先传回来。",
)
WARMUP = Text(
    "A stage turns to its first backward before it has done stages - stage forwards, and waits: its micro-batch has to "
    "travel to the last stage and back.",
    "有的阶段还没有做满stages - stage个前向，就去等第一个反向了：它的微批次要走到最后一个阶段再回来。",
)

Order = list[tuple[str, int]]


def check(trial: Trial) -> None:
    _check(trial, 4, 8)
    _check(trial, 3, 4)
    for _ in range(6):
        _check(trial, trial.random.randint(2, 6), trial.random.randint(2, 12))
    _check(trial, 5, 3)
    _check(trial, 1, 4)
    _check(trial, 3, 1)


def _check(trial: Trial, stages: int, microbatches: int) -> None:
    orders = []
    for stage in range(stages):
        got = trial.call("one_f_one_b", stage, stages=stages, microbatches=microbatches)
        for j in sorted({*range(microbatches), *(j for _, j in got)}):
            passes = " ".join(kind for kind, other in got if other == j)
            what = Text(f"The passes of micro-batch {j}", f"微批次{j}的各次计算")
            trial.expect_equal(passes, "F B" if 0 <= j < microbatches else "", what=what)
        in_flight = accumulate(1 if kind == "F" else -1 for kind, _ in got)
        trial.expect_at_most(max(in_flight), min(stages - stage, microbatches), what=IN_FLIGHT)
        orders.append(got)
    operations = (
        tuple(Operation({"F": "F", "B": "BW"}[kind], stage, j) for kind, j in order)
        for stage, order in enumerate(orders)
    )
    schedule = PipelineSchedule("answer", microbatches, tuple(operations), tuple(range(stages)))
    waits = deadlock(schedule)
    trial.expect(not waits, waits, hint=ORDER)
    timeline = simulate(schedule, PassTimes.equal(stages, 1, 1, 1))
    heads = Text(
        "stages over time: 3 forward of micro-batch 3  ₃ its backward  · idle",
        "各阶段随时间：3 微批次3的前向  ₃ 它的反向  · 空闲",
    )
    trial.picture(Text(*(f"{head}\n{gantt(timeline, _digit, step=1)}" for head in heads.values())))
    trial.expect_at_most(
        round(timeline.makespan),
        3 * (microbatches + stages - 1),
        what=TIME,
        hints=[
            Hint(lambda _: any(_backwards(order) != sorted(_backwards(order)) for order in orders), ORDER),
            Hint(lambda _: orders[0].index(("B", 0)) < min(stages, microbatches), WARMUP),
        ],
    )


def _backwards(order: Order) -> list[int]:
    return [j for kind, j in order if kind == "B"]


def _digit(operation: Operation) -> str:
    digits = "0123456789" if operation.kind == "F" else "₀₁₂₃₄₅₆₇₈₉"
    return digits[operation.microbatch % 10]
