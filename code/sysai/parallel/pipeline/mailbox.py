"""Tensors on their way between stages during one step: kept on the device, or as messages to and from others.

Sends never block. Receives are awaited in the order in which the sender sends, which every device knows, because the
schedule is data: so messages need no tags, and no order of operations can mix them up. One receive from each
neighbour is always under way before it is needed, so that bytes travel while the device computes.

With activations of A bytes, each boundary between stages on different devices costs m messages of A bytes in
each direction: 2 m A (p - 1) for 1F1B, 2 m A (p v - 1) interleaved, 4 m A (p - 1) for ZB-V.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sysai.distributed.p2p import Transport, Work
from sysai.parallel.pipeline.schedules import PassOutput, PipelineSchedule


class Spec(NamedTuple):
    """Shape and element type of a stage's output."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class Mailbox:
    """The tensors of one step, on the device `transport.axis.rank`; `outputs[s]` is the spec of stage s's output."""

    def __init__(self, schedule: PipelineSchedule, transport: Transport, outputs: Sequence[Spec]) -> None:
        self._schedule, self._transport, self._outputs = schedule, transport, outputs
        self._here: dict[PassOutput, Tensor] = {}
        self._sent: list[tuple[Work, Tensor]] = []
        self._under_way: dict[int, tuple[PassOutput, Tensor, Work]] = {}
        me = transport.axis.rank
        self._expected = {
            device: deque(value for value in messages(schedule, device) if schedule.receiver(value) == me)
            for device in range(schedule.devices)
            if device != me
        }
        for device in self._expected:
            self._receive_next(device)

    def send(self, value: PassOutput, tensor: Tensor) -> None:
        """Hand `tensor` to the stage that needs it, here or elsewhere; until `finish` it must not be changed."""
        receiver = self._schedule.receiver(value)
        if receiver is None:
            self._here[value] = tensor
        else:
            tensor = tensor.contiguous()
            self._sent.append((self._transport.start(sends=[(tensor, receiver)]), tensor))

    def recv(self, value: PassOutput) -> Tensor:
        """The tensor of `value`, as soon as it is here."""
        while value not in self._here:
            device = self._schedule.device_of[value.stage]
            arriving, tensor, work = self._under_way.pop(device)
            work.wait()
            self._here[arriving] = tensor
            self._receive_next(device)
        return self._here.pop(value)

    def finish(self) -> None:
        """Wait until all that was sent has left."""
        for work, _ in self._sent:
            work.wait()
        self._sent.clear()

    def _receive_next(self, device: int) -> None:
        if self._expected[device]:
            value = self._expected[device].popleft()
            # the gradient of a stage's input looks like the output of the stage before
            spec = self._outputs[value.stage if value.name == "activation" else value.stage - 1]
            tensor = torch.empty(spec.shape, dtype=spec.dtype, device=self._transport.axis.device)
            self._under_way[device] = (value, tensor, self._transport.start(receives=[(tensor, device)]))


def messages(schedule: PipelineSchedule, device: int) -> list[PassOutput]:
    """The values that `device` sends to others in a step, in order."""
    values = map(schedule.gives, schedule.orders[device])
    return [value for value in values if schedule.receiver(value) is not None]
