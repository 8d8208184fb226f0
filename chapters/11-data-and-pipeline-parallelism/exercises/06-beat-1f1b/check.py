"""Gates on passes, dependencies, micro-batches held, and simulated time, on pipelines whose stages are unequal."""

from dataclasses import dataclass

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial
from sysai.parallel.pipeline.memory import peak_held
from sysai.parallel.pipeline.schedules import Operation, Schedule, one_f_one_b, zb_h1
from sysai.parallel.pipeline.simulate import PassTimes, simulate
from sysai.parallel.pipeline.timeline import Timeline

TIME = Text("units of time from the first start to the last end", "从最早的开始到最晚的结束所用的时间单位")
GAPS = Text(
    "Look for the gaps in the picture, on the stage that ends last or has the most work. What could have run there, "
    "and what did it wait for?",
    "请看图中结束最晚或活最多的那个阶段，找出空隙。那里本可以做什么？它在等什么？",
)
COLUMNS = 64

Orders = list[list[tuple[str, int]]]


@dataclass(frozen=True)
class Case:
    """A pipeline, its times and its memory."""

    forward: list[int]
    backward: list[int]
    weight: list[int]
    message: int
    microbatches: int
    held: int

    @property
    def stages(self) -> int:
        return len(self.forward)

    def run(self, schedule: Schedule) -> Timeline:
        """When each pass runs."""
        lists = (self.forward, self.backward, self.weight)
        return simulate(schedule, PassTimes(*(tuple(map(float, times)) for times in lists), float(self.message)))

    def time(self, schedule: Schedule) -> int:
        """From the first start to the last end; exact, as all times are whole numbers."""
        return int(self.run(schedule).makespan)

    def bound(self) -> int:
        """No schedule takes less."""
        before, least = 0, 0
        for f, b, w in zip(self.forward, self.backward, self.weight, strict=True):
            least = max(least, before + self.microbatches * (f + b + w))
            before += f + self.message
        return least

    def target(self) -> int:
        """A quarter of what 1F1B loses against the bound may be lost."""
        least = self.bound()
        return least + (self.time(one_f_one_b(self.stages, self.microbatches)) - least) // 4

    def schedule(self, orders: Orders) -> Schedule:
        """The answer's lists as a schedule."""
        operations = (tuple(Operation(kind, s, j) for kind, j in order) for s, order in enumerate(orders))
        return Schedule("answer", self.microbatches, tuple(operations), tuple(range(self.stages)))


def check(trial: Trial) -> None:
    _check(trial, Case([16, 24, 10, 17], [16, 36, 11, 18], [11, 12, 8, 13], message=8, microbatches=9, held=6))
    for _ in range(6):
        _check(trial, _instructive_case(trial))


def _instructive_case(trial: Trial) -> Case:
    """One on which ZB-H1 is not enough, and a schedule made for it has room to spare."""
    while True:
        case = _random_case(trial)
        least, target = case.bound(), case.target()
        p, m = case.stages, case.microbatches
        room = least + (target - least) / 2
        patterns_fall_short = case.time(one_f_one_b(p, m)) >= 1.1 * least and case.time(zb_h1(p, m)) > target
        if patterns_fall_short and case.time(case.schedule(_by_readiness(case))) <= room:
            return case


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
    last, waiting = case.stages - 1, float("inf")
    orders: Orders = [[] for _ in case.forward]
    counts = [{"F": 0, "B": 0, "W": 0} for _ in case.forward]
    free, ends = [0] * case.stages, {}

    def ready(kind: str, s: int) -> float:
        count, j = counts[s], counts[s][kind]
        if j == {"F": case.microbatches, "B": count["F"], "W": count["B"]}[kind]:
            return waiting
        if kind == "F" and count["F"] - count["W"] == case.held:
            return waiting
        source = {"F": s - 1, "B": s + 1, "W": s}[kind]
        if kind == "W" or not 0 <= source <= last:
            return free[s]
        return max(free[s], ends.get((kind, source, j), waiting) + case.message)

    times = {"B": case.backward, "F": case.forward, "W": case.weight}
    while any(count["W"] < case.microbatches for count in counts):
        start, _, s, kind = min((ready(kind, s), i, s, kind) for s in range(last + 1) for i, kind in enumerate(times))
        orders[s].append((kind, counts[s][kind]))
        ends[kind, s, counts[s][kind]] = free[s] = start + times[kind][s]
        counts[s][kind] += 1
    return orders


def _check(trial: Trial, case: Case) -> None:
    got = trial.call(
        "schedule",
        case.forward,
        case.backward,
        case.weight,
        message=case.message,
        microbatches=case.microbatches,
        held=case.held,
    )
    _check_form(trial, got, case)
    for stage, order in enumerate(got):
        _check_passes(trial, order, stage, case.microbatches)
    _check_progress(trial, got)
    schedule = case.schedule(got)
    timeline = case.run(schedule)
    trial.picture(_gantt(timeline))
    for stage, most in enumerate(peak_held(schedule)):
        what = Text(f"micro-batches held on stage {stage}", f"第{stage}个阶段保存的微批次数")
        trial.expect_at_most(int(most), case.held, what=what)
    trial.expect_at_most(int(timeline.makespan), case.target(), what=TIME, hints=[Hint(lambda _: True, GAPS)])


def _check_form(trial: Trial, got: object, case: Case) -> None:
    lists = type(got) is list and len(got) == case.stages and all(type(order) is list for order in got)
    pairs = lists and all(type(x) is tuple and len(x) == 2 for order in got for x in order)
    trial.expect(
        pairs and all(kind in ("F", "B", "W", "BW") and type(j) is int for order in got for kind, j in order),
        Text(
            f'Return {case.stages} lists, one for each stage, of pairs ("F", j), ("B", j), ("W", j), ("BW", j).',
            f'应返回{case.stages}个列表，每个阶段一个，由("F", j)、("B", j)、("W", j)、("BW", j)组成。',
        ),
    )


def _check_passes(trial: Trial, order: list[tuple[str, int]], stage: int, microbatches: int) -> None:
    expected = {
        (kind, j) for j in range(microbatches) for kind in (("F", "BW") if ("BW", j) in order else ("F", "B", "W"))
    }
    missing, surplus = sorted(expected - set(order)), sorted(set(order) - expected)
    twice = sorted({x for x in order if order.count(x) > 1})
    for found, en, zh in (
        (missing, "lacks {}", "缺少{}"),
        (surplus, "has {}, which does not belong there", "多了不该有的{}"),
        (twice, "has {} more than once", "不止一次地出现{}"),
    ):
        listed = ", ".join(map(str, found[:4]))
        message = Text(f"Stage {stage} {en.format(listed)}.", f"第{stage}个阶段{zh.format(listed)}。")
        trial.expect(not found, message)
    ranks = {"F": 0, "B": 1, "BW": 1, "W": 2}
    place = {j: [ranks[kind] for kind, k in order if k == j] for j in range(microbatches)}
    early = next((j for j, kinds in place.items() if kinds != sorted(kinds)), None)
    trial.expect(
        early is None,
        Text(
            f"On stage {stage} the passes of micro-batch {early} stand in the wrong order: F, then B, then W.",
            f"第{stage}个阶段上，微批次{early}的几次计算次序不对：应先F，再B，再W。",
        ),
    )


def _check_progress(trial: Trial, orders: Orders) -> None:
    """No circle of stages that wait for each other."""
    position, done, moved = [0] * len(orders), set(), True
    stuck: dict[int, tuple[tuple[str, int], int]] = {}
    while moved:
        moved, stuck = False, {}
        for s, order in enumerate(orders):
            while position[s] < len(order):
                kind, j = order[position[s]]
                other = {"F": s - 1, "B": s + 1, "BW": s + 1, "W": s}[kind]
                name = "F" if kind == "F" else "B"
                if kind != "W" and 0 <= other < len(orders) and (name, other, j) not in done:
                    stuck[s] = ((kind, j), other)
                    break
                done.add((name if kind != "W" else "W", s, j))
                position[s] += 1
                moved = True
    en = "; ".join(f"stage {s} waits in {x} for stage {other}" for s, (x, other) in stuck.items())
    zh = "；".join(f"第{s}个阶段在{x}处等第{other}个阶段" for s, (x, other) in stuck.items())
    trial.expect(not stuck, Text(f"Deadlock: {en}.", f"死锁：{zh}。"))


def _gantt(timeline: Timeline) -> Text:
    """A row a stage: what it does in the middle of each of equal parts of the time."""
    step, rows = timeline.makespan / COLUMNS, []
    for stage, intervals in enumerate(timeline.devices):
        row = ["·"] * COLUMNS
        for interval in intervals:
            for column in range(COLUMNS):
                if interval.start <= (column + 0.5) * step < interval.end:
                    row[column] = {"BW": "X"}.get(interval.operation.kind, interval.operation.kind)
        rows.append(f"{stage:>4}  {''.join(row)}")
    table = "\n".join(rows)
    return Text(
        f"stages over time: F, B, W, X for BW, · idle\n{table}", f"各阶段随时间：F、B、W，X表示BW，· 空闲\n{table}"
    )
