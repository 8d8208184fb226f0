"""A pipeline that stands still is described by what each stage waits for; one that runs is drawn over time."""

from dataclasses import replace

from sysai.core.language import Text
from sysai.exercises.timelines import deadlock, gantt
from sysai.parallel.pipeline.schedules import one_f_one_b
from sysai.parallel.pipeline.simulate import PassTimes, simulate


def test_each_stage_that_waits_for_ever_is_named():
    assert deadlock(one_f_one_b(3, 5)) is None
    schedule = one_f_one_b(2, 3)
    first, last = schedule.orders
    assert deadlock(replace(schedule, orders=(first, last[4:] + last[:4]))) == Text(
        "Deadlock: stage 0 waits for the gradient of stage 1, micro-batch 0; "
        "stage 1 waits for the activation of stage 0, micro-batch 2.",
        "死锁：第0个阶段在等第1个阶段微批次0的梯度；第1个阶段在等第0个阶段微批次2的激活值。",
    )


def test_a_timeline_is_drawn_to_scale():
    timeline = simulate(one_f_one_b(2, 2), PassTimes.equal(2, 2, 1, 1))
    assert gantt(timeline, lambda operation: operation.kind[0], step=1) == "   0  FFFF··BB··BB\n   1  ··FFBBFFBB"
    assert gantt(timeline, lambda operation: str(operation.microbatch), step=2) == "   0  01·0·1\n   1  ·0011"
