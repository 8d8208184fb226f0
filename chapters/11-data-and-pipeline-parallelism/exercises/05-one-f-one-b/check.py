"""Gates on passes, dependencies, micro-batches in flight, and time; any numbers of stages and micro-batches."""

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

DURATION = {"F": 1, "B": 2}
IN_FLIGHT = Text("micro-batches in flight", "在途的微批次数")
TIME = Text("units of time until all stages are done", "所有阶段做完所用的时间单位")

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
        _check_passes(trial, got, microbatches)
        _check_in_flight(trial, got, stage, stages, microbatches)
        orders.append(got)
    starts = _run(orders)
    trial.picture(_gantt(orders, starts))
    waiting = [stage for stage, order in enumerate(orders) if len(starts[stage]) < len(order)]
    trial.expect(not waiting, _deadlock(orders, starts, waiting), hint=ORDER if waiting else None)
    end = max(start + DURATION[order[-1][0]] for order, (*_, start) in zip(orders, starts, strict=True))
    trial.expect_at_most(
        end,
        3 * (microbatches + stages - 1),
        what=TIME,
        hints=[
            Hint(lambda _: any(_newest_first(order) for order in orders), ORDER),
            Hint(lambda _: _warmup(orders[0]) < min(stages, microbatches), WARMUP),
        ],
    )


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


def _check_passes(trial: Trial, got: object, microbatches: int) -> None:
    pairs = type(got) is list and all(type(x) is tuple and len(x) == 2 for x in got)
    trial.expect(
        pairs and all(kind in ("F", "B") and type(j) is int for kind, j in got),
        Text('Return a list of pairs ("F", j) and ("B", j).', '应返回由("F", j)和("B", j)组成的列表。'),
    )
    surplus = next((x for x in got if not 0 <= x[1] < microbatches), None)
    trial.expect(
        surplus is None,
        Text(
            f"There is no micro-batch for {surplus}: they go from 0 to {microbatches - 1}.",
            f"{surplus}没有对应的微批次：编号从0到{microbatches - 1}。",
        ),
    )
    for x in [(kind, j) for j in range(microbatches) for kind in "FB"]:
        trial.expect(
            got.count(x) == 1,
            Text(
                f"{x} stands {got.count(x)} times in the order; every pass must stand there once.",
                f"{x}在顺序里出现了{got.count(x)}次，每一项都必须恰好出现一次。",
            ),
        )
    early = next((j for j in range(microbatches) if got.index(("B", j)) < got.index(("F", j))), None)
    trial.expect(
        early is None,
        Text(
            f"Micro-batch {early} goes backward before it has been forward.", f"微批次{early}还没有做前向，就做了反向。"
        ),
    )


def _check_in_flight(trial: Trial, order: Order, stage: int, stages: int, microbatches: int) -> None:
    peak = now = 0
    for kind, _ in order:
        now += 1 if kind == "F" else -1
        peak = max(peak, now)
    trial.expect_at_most(peak, min(stages - stage, microbatches), what=IN_FLIGHT)


def _warmup(order: Order) -> int:
    return [kind for kind, _ in order].index("B")


def _newest_first(order: Order) -> bool:
    backward = [j for kind, j in order if kind == "B"]
    return backward != sorted(backward)


def _needs(stage: int, stages: int, kind: str, j: int) -> tuple[int, str, int] | None:
    """The pass of another stage that must be over before this one."""
    other = stage - 1 if kind == "F" else stage + 1
    return (other, kind, j) if 0 <= other < stages else None


def _run(orders: list[Order]) -> list[list[int]]:
    """When each pass starts; the lists end where a stage waits for ever."""
    starts, ends, free = [[] for _ in orders], {}, [0] * len(orders)
    moved = True
    while moved:
        moved = False
        for stage, order in enumerate(orders):
            while len(starts[stage]) < len(order):
                kind, j = order[len(starts[stage])]
                needed = _needs(stage, len(orders), kind, j)
                if needed is not None and needed not in ends:
                    break
                start = max(free[stage], ends.get(needed, 0))
                starts[stage].append(start)
                ends[stage, kind, j] = free[stage] = start + DURATION[kind]
                moved = True
    return starts


def _deadlock(orders: list[Order], starts: list[list[int]], waiting: list[int]) -> Text:
    en, zh = [], []
    for stage in waiting:
        x = orders[stage][len(starts[stage])]
        other, *needed = _needs(stage, len(orders), *x)
        en.append(f"stage {stage} waits in {x} for {tuple(needed)} of stage {other}")
        zh.append(f"第{stage}个阶段在{x}处等第{other}个阶段的{tuple(needed)}")
    return Text(f"Deadlock: {'; '.join(en)}.", f"死锁：{'；'.join(zh)}。")


def _gantt(orders: list[Order], starts: list[list[int]]) -> Text:
    """A row a stage, a character a unit of time."""
    rows = []
    for stage, (order, times) in enumerate(zip(orders, starts, strict=True)):
        row = ""
        for (kind, j), start in zip(order, times, strict=False):
            row = row.ljust(start, "·") + (f"{j % 10}" if kind == "F" else f"b{j % 10}")
        rows.append(f"{stage:>4}  {row}")
    table = "\n".join(rows)
    return Text(
        f"stages over time: 3 forward of micro-batch 3  b3 its backward  · idle\n{table}",
        f"各阶段随时间：3 微批次3的前向  b3 它的反向  · 空闲\n{table}",
    )
