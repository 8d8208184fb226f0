"""When each pass ran: the result of a simulation, and of a measured run.

    bubble rate = 1 - work / (devices * cost),   cost = the longest time from a device's first pass to its last

With equal stages this is (cost - m(F + B + W)) / cost, as in arXiv 2401.10241, section 5.3.
"""

from dataclasses import dataclass
from functools import cached_property

from sysai.parallel.pipeline.memory import Held, held_after_each
from sysai.parallel.pipeline.schedules import F, Operation


@dataclass(frozen=True)
class OperationInterval:
    """One operation on one device, from `start` to `end`, in seconds."""

    device: int
    operation: Operation
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """The operations of each device in the order in which they ran."""

    name: str
    devices: tuple[tuple[OperationInterval, ...], ...]

    def span(self, device: int) -> float:
        """Seconds from the start of the device's first operation to the end of its last."""
        intervals = self.devices[device]
        return intervals[-1].end - intervals[0].start

    def work(self, device: int) -> float:
        """Seconds in which the device computes."""
        return sum(interval.end - interval.start for interval in self.devices[device])

    @cached_property
    def cost(self) -> float:
        """The longest span of a device, seconds: what a step costs, if the next one begins without a barrier."""
        return max(map(self.span, range(len(self.devices))))

    @cached_property
    def makespan(self) -> float:
        """Seconds from the first start to the last end on any device: what a step costs between two barriers."""
        return max(d[-1].end for d in self.devices) - min(d[0].start for d in self.devices)

    @property
    def bubble_rate(self) -> float:
        """Share of the devices' time, over the cost, in which they do not compute."""
        work = sum(map(self.work, range(len(self.devices))))
        return 1 - work / (len(self.devices) * self.cost)

    def held(self, device: int) -> list[tuple[float, Held]]:
        """The pairs held from each moment on: a forward allocates as it starts, the others free as they end."""
        intervals = self.devices[device]
        after = held_after_each(interval.operation for interval in intervals)
        return [(i.start if i.operation.kind == F else i.end, held) for i, held in zip(intervals, after, strict=True)]
