"""Gates on order, prefetch, peak bytes of whole weights, gradients held, and gathers; any number of unequal units."""

from functools import partial
from itertools import pairwise

from sysai.core.language import Text
from sysai.exercises.trial import Hint, Trial

MB = Text("MB", "MB")
GATHERS = Text("gathers", "收集的次数")
PEAK = Text("megabytes of whole weights at once", "同时存在的完整权重（MB）")
GRADIENTS = Text("units with gradients at once", "同时留有梯度的单元数")
GRADIENTS_LEFT = Text("Units whose gradients are not reduced in the end", "结束时梯度还没有归约的单元")
WHOLE_LEFT = Text("Units that are not freed in the end", "结束时还没有释放的单元")
PASSES = Text("The passes, in order", "前向和反向的次序")
HEADS = Text(
    "units, from left to right: g is gathered  f forward  b backward  ░ whole but idle",
    "各单元，从左到右：g 收集  f 前向  b 反向  ░ 完整但不在计算",
)
ALL_WHOLE = Text(
    "At one moment all units were whole. Free a unit when its forward pass is over: its backward pass is far away.",
    "某一时刻所有单元的权重都是完整的。一个单元前向传播结束就应释放：它的反向传播还早着呢。",
)
THREE_WHOLE = Text(
    "Three neighbouring units were whole at once. Free the unit that has computed before you gather the one after the "
    "next.",
    "三个相邻单元同时是完整的。应先释放算完的单元，再收集下下个单元。",
)
LAST_TWICE = Text(
    "Every unit was gathered twice. The backward pass begins with the unit with which the forward pass ends: it need "
    "not go and come back.",
    "每个单元都收集了两次。反向传播开始的单元，正是前向传播结束的单元，不必放掉再收回来。",
)
NOT_BACK = Text(
    "A unit that was freed after its forward pass must be gathered again for its backward pass.",
    "前向传播之后释放的单元，反向传播之前要重新收集。",
)
NOT_AHEAD = Text(
    "Gathered only when it is needed, a unit keeps the device waiting for the network. Begin to gather it before the "
    "unit ahead of it computes.",
    "要用时才收集，设备就得等网络。应在前一个单元开始计算之前就着手收集。",
)
NOT_REDUCED = Text(
    "Reduce a unit's gradients as soon as they are there: in ZeRO, whole gradients are as unwelcome as whole weights.",
    "梯度一产生就应归约：在ZeRO里，完整的梯度和完整的权重一样占地方。",
)

Event = tuple[str, int]


def check(trial: Trial) -> None:
    _check(trial, [100, 100, 100, 100])
    for _ in range(8):
        _check(trial, [trial.random.randint(20, 200) for _ in range(trial.random.randint(3, 9))])
    _check(trial, [30, 50])
    _check(trial, [70])


def _check(trial: Trial, sizes: list[int]) -> None:
    events = _run(trial, len(sizes))
    plan = [("forward", i) for i in range(len(sizes))] + [("backward", i) for i in reversed(range(len(sizes)))]
    passes = [f"{name}({i})" for name, i in events if name in ("forward", "backward")]
    trial.expect_equal(passes, [f"{name}({i})" for name, i in plan], what=PASSES)
    megabytes, gradients = _replay(trial, sizes, events, dict(pairwise(plan)))
    trial.expect_at_most(gradients, 1, what=GRADIENTS, hints=[Hint(lambda _: True, NOT_REDUCED)])
    pair = max(map(sum, pairwise(sizes)), default=sizes[0])
    three = max(map(sum, zip(sizes, sizes[1:], sizes[2:], strict=False)), default=0)
    hints = [Hint(three, THREE_WHOLE), Hint(sum(sizes), ALL_WHOLE)]
    trial.expect_at_most(megabytes, pair, what=PEAK, unit=MB, hints=hints)
    gathers = [name for name, _ in events].count("gather")
    trial.expect_at_most(gathers, len(plan) - 1, what=GATHERS, hints=[Hint(len(plan), LAST_TWICE)])


def _run(trial: Trial, units: int) -> list[Event]:
    """What the answer called, in order."""
    events = []

    def record(name: str, i: int) -> None:
        trial.expect(
            type(i) is int and 0 <= i < units,
            Text(
                f"{name} takes the number of a unit, 0 to {units - 1}, not {i!r:.40}.",
                f"{name}的参数是单元号，从0到{units - 1}，而不是{i!r:.40}。",
            ),
        )
        events.append((name, i))

    names = ("gather", "free", "forward", "backward", "reduce")
    trial.call("run_step", units, **{name: trial.callback(partial(record, name), name) for name in names})
    return events


def _replay(trial: Trial, sizes: list[int], events: list[Event], following: dict[Event, Event]) -> tuple[int, int]:
    """The most megabytes of weights and units of gradients that were whole at once; in the end there are none."""
    whole, gradients, rows = set(), set(), [""] * len(sizes)
    megabytes, units = [0], [0]
    for name, i in events:
        if name not in ("free", "reduce"):
            rows = [row + (name[0] if unit == i else "░" if unit in whole else "·") for unit, row in enumerate(rows)]
            table = "\n".join(f"{unit:>4}  {row}" for unit, row in enumerate(rows))
            trial.picture(Text(*(f"{head}\n{table}" for head in HEADS.values())))
        if name == "gather":
            there = Text(f"gather({i}): unit {i} is there or on its way.", f"gather({i})：权重已在显存里或在路上。")
            trial.expect(i not in whole, there)
            whole.add(i)
        elif name == "reduce":
            none = Text(f"reduce({i}): unit {i} has no gradients.", f"reduce({i})：{i}号单元没有梯度。")
            trial.expect(i in gradients, none)
            gradients.remove(i)
        else:
            missing = Text(f"{name}({i}): its weights are not there.", f"{name}({i})：{i}号单元的权重不在显存里。")
            trial.expect(i in whole, missing, hint=NOT_BACK if name == "backward" else None)
        if name == "free":
            whole.remove(i)
        elif (name, i) in following:
            _, ahead = following[name, i]
            late = Text(
                f"{name}({i}) computes while the unit that comes next, {ahead}, is not on its way.",
                f"{name}({i})在计算，而下一个单元{ahead}还没有上路。",
            )
            trial.expect(ahead in whole, late, hint=NOT_AHEAD)
        if name == "backward":
            gradients.add(i)
        megabytes.append(sum(sizes[unit] for unit in whole))
        units.append(len(gradients))
    trial.expect_equal(sorted(gradients), [], what=GRADIENTS_LEFT)
    trial.expect_equal(sorted(whole), [], what=WHOLE_LEFT)
    return max(megabytes), max(units)
