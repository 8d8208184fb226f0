"""Pipeline schedules by the names that addresses use, timed in forward passes of one micro-batch through one device.

Each of v chunks of a device takes 1/v of a pass through all of it. Of activations that only W still waits for as much
is counted as of the others (arXiv 2401.10241, table 1, says how much less they are in a transformer).
"""

from functools import partial

from sysai.parallel.pipeline.memory import peak_held
from sysai.parallel.pipeline.schedules import GENERATORS, PipelineSchedule, interleaved_1f1b
from sysai.parallel.pipeline.simulate import PassTimes, simulate
from sysai.parallel.pipeline.timeline import Timeline

SCHEDULES = {name: make for name, make in GENERATORS.items() if make is not interleaved_1f1b}
SCHEDULES |= {f"interleaved_{v}": partial(interleaved_1f1b, v=v) for v in (2, 4)}


def possible(schedule: str, stages: int, microbatches: int) -> int:
    """The least number of micro-batches from `microbatches` on that the schedule can take."""
    rounds = stages if schedule.startswith("interleaved") else 1
    return -(-microbatches // rounds) * rounds


def timed(
    *,
    schedule: str,
    stages: int,
    microbatches: int,
    backward_input: float,
    backward_weight: float,
    slow: float,
    message: float,
) -> tuple[PipelineSchedule, Timeline]:
    """The schedule with a possible number of micro-batches, and when each pass runs; the last device is `slow`."""
    generated = SCHEDULES[schedule](stages, possible(schedule, stages, microbatches))
    share = stages / generated.stages
    speeds = [share * (slow if device == stages - 1 else 1) for device in generated.device_of]
    times = (tuple(time * speed for speed in speeds) for time in (1, backward_input, backward_weight))
    return generated, simulate(generated, PassTimes(*times, message=message))


def most_held(schedule: PipelineSchedule) -> list[float]:
    """The most activations that each device holds, in micro-batches of its whole part of the model."""
    return [pairs * schedule.devices / schedule.stages for pairs in peak_held(schedule)]
