"""Ring collectives: every rank sends to the next one and receives from the one before, and all links are busy.

Reduce-scatter sends each chunk once around the ring; every rank adds its own part to the partial sum that comes
by and passes it on, so that rank r ends with the total of chunk r. All-gather sends the totals around once more.
Together they are the all-reduce that uses the least bandwidth (Patarasuk and Yuan, 2009):

    reduce-scatter, all-gather   n - 1 steps,      (n - 1) / n of the tensor's bytes sent by each rank
    all-reduce                   2 (n - 1) steps,  2 (n - 1) / n of the bytes

A chunk travels in segments: while one is being received, the one before is added and the one before that sent.
`costs.py` counts exactly. Production (NCCL) runs several rings at once over all links, and changes to trees for
small messages on many ranks, where the steps, not the bytes, take the time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from sysai.distributed.chunks import as_vector, check_out, chunk_sizes, copy_back, describe, gathered_sizes
from sysai.distributed.p2p import Handle, Transport

SEGMENT_BYTES = 1 << 20


def ring_all_reduce(tensor: Tensor, transport: Transport) -> Tensor:
    """Replace `tensor` on every rank by the sum over all ranks, and return it.

    Args:
        tensor: any shape, the same on all ranks; any dtype that has a sum.

    Raises:
        ValueError: shapes or dtypes differ between ranks.
    """
    if transport.axis.size == 1:
        return tensor
    transport.agree(f"all_reduce of {describe(tensor)}")
    flat = as_vector(tensor)
    chunks = flat.tensor_split(transport.axis.size)
    _reduce_scatter(chunks, chunks[transport.axis.rank], transport)
    _all_gather(chunks, transport)
    copy_back(flat, tensor)
    return tensor


def ring_reduce_scatter(
    tensor: Tensor, transport: Transport, sizes: Sequence[int] | None = None, out: Tensor | None = None
) -> Tensor:
    """Sum over all ranks, of which rank r gets chunk r.

    Args:
        tensor: any shape, the same on all ranks; its elements in order are cut into one chunk a rank.
        sizes: elements of each chunk; by default equal ones, the first longer by one where they don't divide.
        out: where to put the chunk, [sizes[rank]]; must not overlap `tensor`.

    Returns:
        This rank's chunk of the sum, [sizes[rank]].

    Raises:
        ValueError: ranks differ in shape, dtype or sizes; sizes or out do not fit the tensor.
    """
    axis = transport.axis
    sizes = chunk_sizes(tensor.numel(), axis.size, sizes)
    out = check_out(out, sizes[axis.rank], tensor)
    chunks = as_vector(tensor).split(sizes)
    if axis.size == 1:
        return out.copy_(chunks[0])
    transport.agree(f"reduce_scatter of {describe(tensor)} to {sizes}")
    _reduce_scatter(chunks, out, transport)
    return out


def ring_all_gather(
    tensor: Tensor, transport: Transport, sizes: Sequence[int] | None = None, out: Tensor | None = None
) -> Tensor:
    """The tensors of all ranks behind one another, on every rank.

    Args:
        tensor: this rank's part; its elements are taken in order.
        sizes: elements of each rank's part; by default all have as many as this one.
        out: where to put the result, [sum(sizes)].

    Returns:
        [sum(sizes)] elements.

    Raises:
        ValueError: ranks differ in dtype or sizes; sizes or out do not fit the tensor.
    """
    axis = transport.axis
    sizes = gathered_sizes(tensor, axis.size, axis.rank, sizes)
    out = check_out(out, sum(sizes), tensor)
    chunks = out.split(sizes)
    chunks[axis.rank].copy_(as_vector(tensor))
    if axis.size > 1:
        transport.agree(f"all_gather of {tensor.dtype} from {sizes}")
        _all_gather(chunks, transport)
    return out


def ring_broadcast(tensor: Tensor, transport: Transport, source: int = 0) -> Tensor:
    """Replace `tensor` on every rank by that of rank `source`: along the ring, segment behind segment.

    Raises:
        ValueError: shapes, dtypes or sources differ between ranks.
    """
    axis = transport.axis
    if not 0 <= source < axis.size:
        raise ValueError(f"source {source} is not a rank of axis {axis.name!r} (size {axis.size})")
    if axis.size == 1:
        return tensor
    transport.agree(f"broadcast of {describe(tensor)} from {source}")
    flat = as_vector(tensor)
    position = (axis.rank - source) % axis.size
    previous, following = (axis.rank - 1) % axis.size, (axis.rank + 1) % axis.size
    sent: list[Handle] = []
    segments = _segments(flat)
    arriving = [transport.start(receives=[(segment, previous)]) for segment in segments] if position else []
    for segment, arrival in zip_longest(segments, arriving):
        if arrival:
            arrival.wait()
        if position < axis.size - 1:
            sent.append(transport.start(sends=[(segment, following)]))
    for handle in sent:
        handle.wait()
    copy_back(flat, tensor)
    return tensor


def _reduce_scatter(chunks: Sequence[Tensor], out: Tensor, transport: Transport) -> None:
    """Put the sum over ranks of chunk `rank` into `out`, which may be that chunk itself; n - 1 steps."""
    n, rank = transport.axis.size, transport.axis.rank
    scratch = [torch.empty_like(max(chunks, key=len)) for _ in range(min(2, n - 1))]
    arrivals = [_Arrival(segment) for segment in _segments(chunks[(rank - 1) % n])]
    for step in range(n - 1):
        own = chunks[(rank - 2 - step) % n]
        partial_sum = scratch[step % 2][: len(own)]
        total = partial_sum if step < n - 2 else out
        arrivals = _pass_on(arrivals, map(_Arrival, *map(_segments, (partial_sum, own, total))), transport)
    for arrival in arrivals:
        arrival.complete()


def _all_gather(chunks: Sequence[Tensor], transport: Transport) -> None:
    """Fill all chunks, of which this rank has the one with its number; n - 1 steps."""
    n, rank = transport.axis.size, transport.axis.rank
    arrivals = [_Arrival(segment) for segment in _segments(chunks[rank])]
    for step in range(n - 1):
        arrivals = _pass_on(arrivals, map(_Arrival, _segments(chunks[(rank - 1 - step) % n])), transport)
    for arrival in arrivals:
        arrival.complete()


@dataclass
class _Arrival:
    """A segment that arrives in `buffer`; the sum of it and `addend`, if any, goes to `total` and is passed on."""

    buffer: Tensor | None
    addend: Tensor | None = None
    total: Tensor | None = None
    handle: Handle | None = None

    def complete(self) -> Tensor | None:
        """Wait, add, and return what the next rank is to get."""
        if self.handle:
            self.handle.wait()
        return self.buffer if self.addend is None else torch.add(self.buffer, self.addend, out=self.total)


def _pass_on(arrivals: Iterable[_Arrival], coming: Iterable[_Arrival], transport: Transport) -> list[_Arrival]:
    """One step: segment by segment, complete what was to arrive, send it on, and begin to receive the next."""
    axis, started = transport.axis, []
    for arrival, new in zip_longest(arrivals, coming):
        segment = arrival.complete() if arrival else None
        new = new or _Arrival(None)  # a chunk with fewer segments than the one before: only a send to wait for
        new.handle = transport.start(
            sends=[] if segment is None else [(segment, (axis.rank + 1) % axis.size)],
            receives=[] if new.buffer is None else [(new.buffer, (axis.rank - 1) % axis.size)],
        )
        started.append(new)
    return started


def _segments(chunk: Tensor) -> Sequence[Tensor]:
    return chunk.split(max(1, SEGMENT_BYTES // chunk.element_size())) if len(chunk) else ()
