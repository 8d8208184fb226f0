"""The collectives of one axis, over the fastest path that its ranks have.

Processes of one machine go through shared memory, anything else round a ring of sockets. Both paths count what
they send, and give all ranks the same bits.
"""

from collections.abc import Sequence

from torch import Tensor

from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import SocketTransport, TrafficCounter
from sysai.distributed.ring import ring_all_gather, ring_all_reduce, ring_broadcast, ring_reduce_scatter
from sysai.distributed.shared_memory import is_shared_by
from sysai.distributed.shared_memory_collectives import (
    shared_memory_all_gather,
    shared_memory_all_reduce,
    shared_memory_broadcast,
    shared_memory_reduce_scatter,
)
from sysai.distributed.staging import Staging


class Communicator:
    """The collectives of the ranks of `axis`. Making one, and each method, is a collective operation.

    MPI and NCCL call it so; torch's counterpart is `ProcessGroup`. Methods are as the functions of `ring`: in place
    where these are, with the same arguments and errors.
    """

    def __init__(self, axis: MeshAxis) -> None:
        self.axis = axis
        self._staging = Staging(axis) if is_shared_by(axis) else None
        self._transport = None if self._staging else SocketTransport(axis)

    @property
    def traffic(self) -> TrafficCounter:
        """Messages and bytes that this rank has sent and received."""
        return (self._staging or self._transport).traffic

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Replace `tensor` on every rank by the sum over all ranks, and return it."""
        if self._staging:
            return shared_memory_all_reduce(tensor, self._staging)
        return ring_all_reduce(tensor, self._transport)

    def reduce_scatter(self, tensor: Tensor, sizes: Sequence[int] | None = None, out: Tensor | None = None) -> Tensor:
        """This rank's chunk, [sizes[rank]], of the sum over all ranks."""
        if self._staging:
            return shared_memory_reduce_scatter(tensor, self._staging, sizes, out)
        return ring_reduce_scatter(tensor, self._transport, sizes, out)

    def all_gather(self, tensor: Tensor, sizes: Sequence[int] | None = None, out: Tensor | None = None) -> Tensor:
        """The tensors of all ranks, concatenated in their order, [sum(sizes)]."""
        if self._staging:
            return shared_memory_all_gather(tensor, self._staging, sizes, out)
        return ring_all_gather(tensor, self._transport, sizes, out)

    def broadcast(self, tensor: Tensor, source: int = 0) -> Tensor:
        """Replace `tensor` on every rank by that of rank `source`, and return it."""
        if self._staging:
            return shared_memory_broadcast(tensor, self._staging, source)
        return ring_broadcast(tensor, self._transport, source)
