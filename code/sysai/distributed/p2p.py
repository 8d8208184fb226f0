"""Point-to-point messages, the one thing that every collective is made of, and a count of them.

A transport moves a tensor's bytes from one rank of an axis to another. Sends and receives are started together
and waited for later, so that a rank can receive, compute and send at the same time:

    work = transport.start(sends=[(x, 1)], receives=[(y, 3)])     # x to rank 1, y from rank 3
    work.wait()                                                     # until then leave x and y alone

Sockets (gloo; on GPUs NCCL) reach every machine. Between processes of one machine `SharedMemoryTransport`
needs no kernel buffers. Production chooses the same way: NCCL takes NVLink or shared memory within a node.
"""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from sysai.distributed.mesh import MeshAxis

AGREEMENT_BYTES = 256

Message = tuple[Tensor, int]
"""A contiguous tensor, and the rank of the axis that it goes to or comes from."""


@dataclass
class TrafficCounter:
    """Messages and bytes of one rank, by the rank of the axis at the other end.

    `agreements` counts the small messages by which ring collectives compare shapes; they carry no tensor.
    """

    messages_sent: Counter[int] = field(default_factory=Counter)
    bytes_sent: Counter[int] = field(default_factory=Counter)
    messages_received: Counter[int] = field(default_factory=Counter)
    bytes_received: Counter[int] = field(default_factory=Counter)
    agreements: int = 0

    def count(self, sends: Sequence[tuple[int, int]], receives: Sequence[tuple[int, int]]) -> None:
        """Add messages given as (bytes, rank)."""
        for nbytes, to in sends:
            self.messages_sent[to] += 1
            self.bytes_sent[to] += nbytes
        for nbytes, source in receives:
            self.messages_received[source] += 1
            self.bytes_received[source] += nbytes

    def __str__(self) -> str:
        sent = f"sent {self.messages_sent.total():,} messages, {self.bytes_sent.total():,} bytes"
        return f"{sent}; received {self.messages_received.total():,}, {self.bytes_received.total():,} bytes"


class Work(Protocol):
    """Communication under way, as torch.distributed's `Work`."""

    def wait(self) -> None:
        """Return when it is done: what is received can be read, what is sent may be overwritten."""


class Transport(ABC):
    """Moves messages between the ranks of `axis` and counts this rank's in `traffic`."""

    def __init__(self, axis: MeshAxis) -> None:
        self.axis = axis
        self.traffic = TrafficCounter()

    def start(self, sends: Sequence[Message] = (), receives: Sequence[Message] = ()) -> Work:
        """Start all these messages. Between two ranks, messages arrive in the order in which they were started.

        Raises:
            ValueError: a tensor is not contiguous, a rank is not another one of the axis.
        """
        for tensor, rank in (*sends, *receives):
            if not tensor.is_contiguous():
                raise ValueError(
                    f"a message needs a contiguous tensor, got strides {tensor.stride()}: use .contiguous()"
                )
            if not 0 <= rank < self.axis.size or rank == self.axis.rank:
                raise ValueError(f"rank {rank} is not another rank of axis {self.axis.name!r} (size {self.axis.size})")
        self.traffic.count([(t.nbytes, to) for t, to in sends], [(t.nbytes, source) for t, source in receives])
        return self._start(sends, receives)

    def send(self, tensor: Tensor, to: int) -> None:
        """Send and wait until `tensor` may be overwritten."""
        self.start(sends=[(tensor, to)]).wait()

    def recv(self, buffer: Tensor, source: int) -> Tensor:
        """Receive into `buffer`, whose size must be that of the message, and return it."""
        self.start(receives=[(buffer, source)]).wait()
        return buffer

    def agree(self, text: str) -> None:
        """Compare what the two neighbours on the ring are about to do; raise where it differs.

        Every rank sends its text to the next one. If any two ranks differ, then so do some two neighbours.

        Raises:
            ValueError: the previous rank's text is another, with both texts and both ranks.
        """
        rank, size = self.axis.rank, self.axis.size
        own, theirs = (torch.zeros(AGREEMENT_BYTES, dtype=torch.uint8, device=self.axis.device) for _ in range(2))
        data = fitted(text, AGREEMENT_BYTES)
        own[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
        self._start([(own, (rank + 1) % size)], [(theirs, (rank - 1) % size)]).wait()
        self.traffic.agreements += 1
        if not torch.equal(own, theirs):
            previous = bytes(theirs.tolist()).rstrip(b"\0").decode()
            raise ValueError(
                f"ranks of axis {self.axis.name!r} disagree: rank {rank} does {text}, "
                f"rank {(rank - 1) % size} does {previous}"
            )

    @abstractmethod
    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Work: ...


def fitted(text: str, limit: int) -> bytes:
    """The text in at most `limit` bytes: of a longer one its beginning, and a digest of the whole."""
    data = text.encode()
    if len(data) > limit:
        data = data[: limit - 32] + hashlib.blake2s(data, digest_size=16).hexdigest().encode()
    return data


class SocketTransport(Transport):
    """Messages by torch.distributed: gloo's sockets between CPUs, NCCL between GPUs."""

    def _start(self, sends: Sequence[Message], receives: Sequence[Message]) -> Work:
        ranks, group = self.axis.ranks, self.axis.group
        # receives first: gloo sends only what the other side has said that it waits for
        operations = [(dist.irecv, tensor, ranks[source]) for tensor, source in receives]
        operations += [(dist.isend, tensor, ranks[to]) for tensor, to in sends]
        if self.axis.device.type == "cuda":  # NCCL would run a send and a receive in turn, and wait for ever
            return _SeveralWorks(dist.batch_isend_irecv([dist.P2POp(*operation, group) for operation in operations]))
        return _SeveralWorks([start(tensor, rank, group) for start, tensor, rank in operations])


@dataclass
class _SeveralWorks:
    works: list[dist.Work]

    def wait(self) -> None:
        for work in self.works:
            work.wait()
