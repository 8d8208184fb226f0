"""Messages between ranks of one machine that touch no socket: two copies, through slots in shared memory.

The sender copies a part of the message into a free slot of its region and rings the receiver's bell with a note
that says which; the receiver copies it out and rings back that the slot is free. A socket copies twice too, but
in small packets and through the kernel, and its receiver first has to tell the sender that it waits.
"""

import contextlib
import struct
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import Message, SocketTransport, Transport
from sysai.distributed.shared_memory import SharedMemory, is_shared_by

SLOT_BYTES = 1 << 19
SLOTS = 4


def transport_for(axis: MeshAxis) -> Transport:
    """Shared memory where all ranks of `axis` are CPU processes of one machine, sockets elsewhere. Collective."""
    return SharedMemoryTransport(axis) if is_shared_by(axis) else SocketTransport(axis)


class SharedMemoryTransport(Transport):
    """Messages through slots in the sender's region, `SLOTS` for each receiver.

    What fits the receiver's free slots is out of the sender's hands at once. The rest goes on whenever the sender
    waits or starts another message; a rank that only computes moves no bytes (as in MPI without a progress thread).
    """

    def __init__(self, axis: MeshAxis) -> None:
        super().__init__(axis)
        self._memory = SharedMemory(axis, SLOTS * SLOT_BYTES * axis.size)
        self._free = {peer: deque(range(SLOTS)) for peer in range(axis.size)}
        self._outgoing: dict[int, deque[_Part]] = defaultdict(deque)
        self._expected: dict[int, deque[_Part]] = defaultdict(deque)
        self._arrived: dict[int, deque[_Note]] = defaultdict(deque)

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> "_InFlight":
        while self._memory.has_rung():  # else what waits for a slot would wait until this rank waits for something
            self.progress()
        work = _InFlight(self)
        for queues, messages in ((self._expected, receives), (self._outgoing, sends)):
            for tensor, peer in messages:
                data = tensor.detach().view(-1).view(torch.uint8)
                for part in data.split(SLOT_BYTES):
                    queues[peer].append(_Part(part, data.numel(), work))
                    work.left += 1
        for _, peer in sends:
            self._push(peer)
        for _, source in receives:
            self._pull(source)
        return work

    def _push(self, peer: int) -> None:
        """Put waiting parts into free slots and tell the receiver."""
        while self._outgoing[peer] and self._free[peer]:
            part, slot = self._outgoing[peer].popleft(), self._free[peer].popleft()
            self._slot(self.axis.rank, peer, slot, part.data.numel()).copy_(part.data)
            self._memory.ring(peer, NOTE.pack(self.axis.rank, slot, part.data.numel(), part.total))
            part.work.left -= 1

    def _pull(self, source: int) -> None:
        """Take what has arrived for the receives that wait for it, and give the slots back."""
        while self._expected[source] and self._arrived[source]:
            part, note = self._expected[source].popleft(), self._arrived[source].popleft()
            if (note.nbytes, note.total) != (part.data.numel(), part.total):
                raise ValueError(
                    f"rank {source} of axis {self.axis.name!r} sent a message of {note.total:,} bytes "
                    f"where rank {self.axis.rank} expects {part.total:,}"
                )
            part.data.copy_(self._slot(source, self.axis.rank, note.slot, note.nbytes))
            with contextlib.suppress(ConnectionError):  # a sender that has finished needs no slot any more
                self._memory.ring(source, NOTE.pack(self.axis.rank, note.slot, 0, GIVEN_BACK))
            part.work.left -= 1

    def _slot(self, owner: int, receiver: int, slot: int, nbytes: int) -> Tensor:
        begin = (receiver * SLOTS + slot) * SLOT_BYTES
        return self._memory.regions[owner][begin : begin + nbytes]

    def progress(self) -> None:
        """Sleep until something has come, and act on it."""
        for fields in NOTE.iter_unpack(self._memory.listen(64 * NOTE.size)):
            note = _Note(*fields)
            if note.total == GIVEN_BACK:
                self._free[note.rank].append(note.slot)
                self._push(note.rank)
            else:
                self._arrived[note.rank].append(note)
                self._pull(note.rank)


NOTE = struct.Struct("<iiqq")
GIVEN_BACK = -1


class _Note(NamedTuple):
    """A bell's message: `rank` has put `nbytes` of a message of `total` into `slot`, or gives it back."""

    rank: int
    slot: int
    nbytes: int
    total: int


@dataclass
class _Part:
    """A piece of a message that fits a slot."""

    data: Tensor
    total: int
    work: "_InFlight"


class _InFlight:
    """The messages of one `start`; `left` counts the parts that have not yet been copied."""

    def __init__(self, transport: SharedMemoryTransport) -> None:
        self._transport = transport
        self.left = 0

    def wait(self) -> None:
        while self.left:
            self._transport.progress()
