"""How many micro-batches' activations a schedule keeps on each device.

A forward stores what its backward needs. B frees a part and leaves what the weights' gradients need (inputs of the
layers and gradients of their outputs) until W; BW frees all. In a transformer layer of hidden size h, with s tokens,
b samples and a heads, the first is s b (34 h + 5 a s) bytes and the second 32 s b h (arXiv 2401.10241, table 1).
The count is of pairs (stage, micro-batch): with v stages on a device, a pair is 1/v of a micro-batch.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sysai.parallel.pipeline.schedules import BW, B, F, Operation, PipelineSchedule, W


class Held(NamedTuple):
    """Pairs (stage, micro-batch) on one device that wait for their backward, and those that wait for W only."""

    for_backward: int
    for_weights: int

    def after(self, operation: Operation) -> "Held":
        """The pairs that are held once `operation` has run."""
        backward, weights = {F: (1, 0), B: (-1, 1), W: (0, -1), BW: (-1, 0)}[operation.kind]
        return Held(self.for_backward + backward, self.for_weights + weights)

    def amount(self, weights_share: float = 1.0) -> float:
        """The sum, where what W needs is `weights_share` of what the backward needs."""
        return self.for_backward + weights_share * self.for_weights


def held_after_each(operations: Iterable[Operation]) -> Iterator[Held]:
    """The pairs that one device holds, after each of its operations."""
    held = Held(0, 0)
    for operation in operations:
        held = held.after(operation)
        yield held


def peak_held(schedule: PipelineSchedule, weights_share: float = 1.0) -> list[float]:
    """The most that each device holds, in pairs (stage, micro-batch)."""
    return [
        max((held.amount(weights_share) for held in held_after_each(order)), default=0.0) for order in schedule.orders
    ]
