"""An event simulator: how long any schedule takes, for any times of its passes and messages.

    start = max(end of the device's previous pass, arrival of every value needed)
    arrival = end of the pass that gives the value + time of the message, where it crosses devices

Devices take their passes in the schedule's order, senders do not block, messages do not share a link's bandwidth.
There is no other rule and no constant. Cost: one step for each pass of each device.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sysai.parallel.pipeline.schedules import BW, B, F, Operation, PassOutput, PipelineSchedule, W
from sysai.parallel.pipeline.timeline import OperationInterval, Timeline
from sysai.parallel.pipeline.validate import validate


@dataclass(frozen=True)
class PassTimes:
    """Seconds of a micro-batch's passes through each stage, and of a message between two devices.

    `message` is one time for all, or a time for each pair (sender, receiver) of devices.
    """

    forward: tuple[float, ...]
    backward_input: tuple[float, ...]
    backward_weight: tuple[float, ...]
    message: float | Mapping[tuple[int, int], float] = 0.0

    def __post_init__(self) -> None:
        lengths = {len(self.forward), len(self.backward_input), len(self.backward_weight)}
        times = (*self.forward, *self.backward_input, *self.backward_weight)
        messages = self.message.values() if isinstance(self.message, Mapping) else (self.message,)
        if len(lengths) > 1 or min((*times, *messages), default=0.0) < 0:
            raise ValueError(f"each stage needs a forward, an input and a weight time, none negative: {self}")

    @classmethod
    def equal(cls, stages: int, f: float, b: float, w: float, message: float = 0.0) -> "PassTimes":
        """The same times for all stages."""
        return cls((f,) * stages, (b,) * stages, (w,) * stages, message)

    def of(self, operation: Operation) -> float:
        """Seconds of one operation."""
        kind, s, _ = operation
        if kind == BW:
            return self.backward_input[s] + self.backward_weight[s]
        return {F: self.forward, B: self.backward_input, W: self.backward_weight}[kind][s]

    def of_message(self, sender: int, receiver: int) -> float:
        """Seconds of a message; a missing pair is an error."""
        if not isinstance(self.message, Mapping):
            return self.message
        if (sender, receiver) not in self.message:
            raise ValueError(f"no time for messages from device {sender} to {receiver}: add it to PassTimes.message")
        return self.message[sender, receiver]


def simulate(schedule: PipelineSchedule, times: PassTimes) -> Timeline:
    """When every pass of `schedule` runs.

    Raises:
        ValueError: a wrong schedule, or times for another number of stages.
    """
    if len(times.forward) != schedule.stages:
        raise ValueError(
            f"{schedule.name} has {schedule.stages} stages, the times are for {len(times.forward)}: give one a stage"
        )
    intervals: list[list[OperationInterval]] = [[] for _ in range(schedule.devices)]
    computed_at: dict[PassOutput, float] = {}
    for operation in validate(schedule):
        device = schedule.device_of[operation.stage]
        ready = [computed_at[value] + _travel(schedule, times, value, device) for value in schedule.needs(operation)]
        free = intervals[device][-1].end if intervals[device] else 0.0
        start = max([free, *ready])
        end = start + times.of(operation)
        intervals[device].append(OperationInterval(device, operation, start, end))
        computed_at[schedule.gives(operation)] = end
    return Timeline(schedule.name, tuple(map(tuple, intervals)))


def _travel(schedule: PipelineSchedule, times: PassTimes, value: PassOutput, device: int) -> float:
    maker = schedule.device_of[value.stage]
    return times.of_message(maker, device) if maker != device else 0.0
