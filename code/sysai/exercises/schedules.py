"""For checks of schedules: the trace that an answer returns, replayed."""

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule.schedule import Trace, replay
from sysai.compiler.tir.accesses import nests
from sysai.compiler.tir.statement import For, PrimFunc
from sysai.core.language import Text
from sysai.exercises.trial import Trial

MOST_STEPS, MOST_LOOPS = 80, 10  # around a block: counting takes twice as long for each


def replayed(trial: Trial, text: str, function: PrimFunc) -> PrimFunc:
    """`function` after the trace that `to_json` wrote as `text`; one that does not fit, or is too long, fails."""
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
            f"Return the trace.to_json() of a Schedule of the starter's program {function.name}, unchanged.",
            f"Schedule应当建在起始代码的程序`{function.name}`上，并原样返回它的`trace.to_json()`。",
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
