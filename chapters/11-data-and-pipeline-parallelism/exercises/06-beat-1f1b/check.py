"""Gates on passes, dependencies, micro-batches held, and simulated time, on pipelines whose stages are unequal."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from sysai.core.language import Text
from sysai.exercises.timelines import deadlock, gantt
from sysai.exercises.trial import Hint, Trial
from sysai.parallel.pipeline.memory import peak_held
from sysai.parallel.pipeline.schedules import Operation, PipelineSchedule, one_f_one_b, zb_h1
from sysai.parallel.pipeline.simulate import PassTimes, simulate
from sysai.parallel.pipeline.timeline import Timeline

STAGES = Text("Lists, one for each stage", "列表个数，每个阶段一个")
TIME = Text("units of time from the first start to the last end", "从最早的开始到最晚的结束所用的时间单位")
GAPS = Text(
    "Look for the gaps in the picture, on the stage that ends last or has the most work. What could have run there, "
    "and what did it wait for?",
    "请看图中结束最晚或活最多的那个阶段，找出空隙。那里本可以做什么？它在等什么？",
)

Orders = list[list[tuple[str, int]]]


@dataclass(frozen=True)
class Case:
    """A pipeline, its times and its memory: the arguments of a call."""

    forward: list[int]
    backward: list[int]
    weight: list[int]
    message: int
    microbatches: int
    held: int

    @property
    def stages(self) -> range:
        return range(len(self.forward))

    def schedule(self, orders: Orders) -> PipelineSchedule:
        """Lists of pairs as a schedule."""
        operations = (tuple(Operation(kind, s, j) for kind, j in order) for s, order in enumerate(orders))
        return PipelineSchedule("answer", self.microbatches, tuple(operations), tuple(self.stages))

    def run(self, schedule: PipelineSchedule) -> Timeline:
        """When each pass runs."""
        times = map(tuple, (self.forward, self.backward, self.weight))
        return simulate(schedule, PassTimes(*times, self.message))

    def time(self, schedule: PipelineSchedule) -> int:
        """From the first start to the last end; exact, as all times are whole numbers."""
        return int(self.run(schedule).makespan)

    def bound(self) -> int:
        """No schedule takes less."""
        work = [self.microbatches * sum(times) for times in zip(self.forward, self.backward, self.weight, strict=True)]
        return max(sum(self.forward[:s]) + s * self.message + work[s] for s in self.stages)

    def target(self) -> int:
        """A quarter of what 1F1B loses against the bound may be lost."""
        least = self.bound()
        return least + (self.time(one_f_one_b(len(self.stages), self.microbatches)) - least) // 4

    def is_instructive(self) -> bool:
        """ZB-H1 is not enough, and a schedule made for the times has room to spare."""
        least, target = self.bound(), self.target()
        return (
            target >= 1.025 * least  # so that 1F1B loses a tenth
            and self.time(zb_h1(len(self.stages), self.microbatches)) > target
            and self.time(self.schedule(_by_readiness(self))) <= (least + target) / 2
        )


def check(trial: Trial) -> None:
    _check(trial, Case([16, 24, 10, 17], [16, 36, 11, 18], [11, 12, 8, 13], message=8, microbatches=9, held=6))
    for _ in range(6):
        while not (case := _random_case(trial)).is_instructive():
            pass
        _check(trial, case)


def _random_case(trial: Trial) -> Case:
    random = trial.random
    p = random.randint(3, 5)
    forward = [random.randint(8, 20) for _ in range(p)]
    slow = random.randrange(1, p)
    forward[slow] += forward[slow] // 2
    return Case(
        forward,
        [f * random.randint(9, 15) // 10 for f in forward],
        [f * random.randint(5, 10) // 10 for f in forward],
        message=random.randint(2, 8),
        microbatches=random.randint(2 * p, 3 * p),
        held=random.randint(p + 1, 2 * p - 2),
    )


def _by_readiness(case: Case) -> Orders:
    """Whatever can start first; of several, B before F before W."""
    times = {"B": case.backward, "F": case.forward, "W": case.weight}
    orders, free, ends = [[] for _ in case.stages], [0 for _ in case.stages], {}

    def starts() -> Iterator[tuple[int, int, int, str, int]]:
        for s, order in enumerate(orders):
            done = Counter(kind for kind, _ in order)
            most = {"B": done["F"], "F": min(case.microbatches, done["W"] + case.held), "W": done["B"]}
            for rank, (kind, source) in enumerate({"B": s + 1, "F": s - 1, "W": -1}.items()):
                if (j := done[kind]) < most[kind]:
                    arrival = ends.get((kind, source, j), inf) + case.message if source in case.stages else 0
                    yield max(free[s], arrival), rank, s, kind, j

    for _ in range(3 * case.microbatches * len(orders)):
        start, _, s, kind, j = min(starts())
        orders[s].append((kind, j))
        ends[kind, s, j] = free[s] = start + times[kind][s]
    return orders


def _check(trial: Trial, case: Case) -> None:
    got = trial.call("schedule", **vars(case))
    trial.expect_equal(len(got), len(case.stages), what=STAGES)
    for stage, order in enumerate(got):
        for j in sorted({*range(case.microbatches), *(j for _, j in order)}):
            passes = " ".join(kind for kind, other in order if other == j)
            wanted = "F BW" if "BW" in passes else "F B W"
            what = Text(f"The passes of micro-batch {j} on stage {stage}", f"第{stage}个阶段上微批次{j}的各次计算")
            trial.expect_equal(passes, wanted if 0 <= j < case.microbatches else "", what=what)
    schedule = case.schedule(got)
    waits = deadlock(schedule)
    trial.expect(not waits, waits)
    timeline = case.run(schedule)
    heads = Text("stages over time: F, B, W, X for BW, · idle", "各阶段随时间：F、B、W，X表示BW，· 空闲")
    drawn = gantt(timeline, lambda operation: operation.kind.replace("BW", "X"), step=timeline.makespan / 64)
    trial.picture(Text(*(f"{head}\n{drawn}" for head in heads.values())))
    for stage, most in enumerate(peak_held(schedule)):
        what = Text(f"micro-batches held on stage {stage}", f"第{stage}个阶段保存的微批次数")
        trial.expect_at_most(int(most), case.held, what=what)
    trial.expect_at_most(int(timeline.makespan), case.target(), what=TIME, hints=[Hint(lambda _: True, GAPS)])
