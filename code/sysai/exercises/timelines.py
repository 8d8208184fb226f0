"""Reports of checks of pipeline schedules: the stages that wait for ever, and a timeline in characters."""

from collections import deque
from collections.abc import Callable

from sysai.core.language import Text
from sysai.parallel.pipeline.schedules import Operation, PassOutput, PipelineSchedule
from sysai.parallel.pipeline.timeline import Timeline

_CHINESE = {"activation": "激活值", "gradient": "梯度", "weight gradient": "权重梯度"}


def deadlock(schedule: PipelineSchedule) -> Text | None:
    """The tensor that each stuck stage waits for, where a schedule does not run to its end."""
    left, computed = [deque(order) for order in schedule.orders], set()
    while order := next((o for o in left if o and computed.issuperset(schedule.needs(o[0]))), None):
        computed.add(schedule.gives(order.popleft()))
    waits: list[tuple[int, PassOutput]] = [
        (order[0].stage, next(value for value in schedule.needs(order[0]) if value not in computed))
        for order in left
        if order
    ]
    en = "; ".join(f"stage {stage} waits for the {value}" for stage, value in waits)
    zh = "；".join(
        f"第{stage}个阶段在等第{value.stage}个阶段微批次{value.microbatch}的{_CHINESE[value.name]}"
        for stage, value in waits
    )
    return Text(f"Deadlock: {en}.", f"死锁：{zh}。") if waits else None


def gantt(timeline: Timeline, mark: Callable[[Operation], str], step: float) -> str:
    """A row a device, a character for each `step` of its time: the mark of what ran, `·` for nothing."""
    rows = []
    for device, intervals in enumerate(timeline.devices):
        row = ""
        for interval in intervals:
            row = row.ljust(round(interval.start / step), "·")
            row = row.ljust(round(interval.end / step), mark(interval.operation))
        rows.append(f"{device:>4}  {row}")
    return "\n".join(rows)
