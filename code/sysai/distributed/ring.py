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

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from sysai.distributed.chunks import as_vector, check_out, chunk_sizes, copy_back, describe, gathered_sizes
from sysai.distributed.p2p import Handle, Transport

SEGMENT_BYTES = 1 << 21
IN_FLIGHT = 4  # segments, so that what they are received into is small and stays in the cache


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
    _reduce_scatter(chunks, chunks, chunks[transport.axis.rank], transport)
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
    partial_sum = torch.empty_like(max(chunks, key=len)) if axis.size > 2 else out  # two ranks have none to pass on
    _reduce_scatter(chunks, [partial_sum] * axis.size, out, transport)
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


def _reduce_scatter(chunks: Sequence[Tensor], sums: Sequence[Tensor], out: Tensor, transport: Transport) -> None:
    """Put the total of chunk `rank` into `out`; partial sums of the other chunks pass through `sums`. n - 1 steps."""
    n, rank = transport.axis.size, transport.axis.rank
    longest = max(_segments(max(chunks, key=len)), key=len, default=chunks[0])
    buffers = itertools.cycle([torch.empty_like(longest) for _ in range(IN_FLIGHT)])

    def exchanges():
        for step in range(n - 1):
            sent, received = (rank - 1 - step) % n, (rank - 2 - step) % n
            outgoing = sums[sent][: len(chunks[sent])] if step else chunks[sent]
            total = sums[received][: len(chunks[received])] if step < n - 2 else out
            segments = zip_longest(*map(_segments, (outgoing, chunks[received], total)))
            for k, (segment, addend, result) in enumerate(segments):
                buffer = None if addend is None else next(buffers)[: len(addend)]
                yield _Exchange((step, k), segment, buffer, addend, result)

    _run(exchanges(), transport)


def _all_gather(chunks: Sequence[Tensor], transport: Transport) -> None:
    """Fill all chunks, of which this rank has the one with its number; n - 1 steps."""
    n, rank = transport.axis.size, transport.axis.rank

    def exchanges():
        for step in range(n - 1):
            pair = chunks[(rank - step) % n], chunks[(rank - 1 - step) % n]
            for k, (outgoing, incoming) in enumerate(zip_longest(*map(_segments, pair))):
                yield _Exchange((step, k), outgoing, incoming)

    _run(exchanges(), transport)


@dataclass
class _Exchange:
    """Segment k of a step: one goes to the next rank while another comes, to which `addend` may have to be added."""

    place: tuple[int, int]
    outgoing: Tensor | None
    incoming: Tensor | None
    addend: Tensor | None = None
    total: Tensor | None = None
    handle: Handle | None = None

    def start(self, transport: Transport) -> None:
        rank, size = transport.axis.rank, transport.axis.size
        self.handle = transport.start(
            sends=[] if self.outgoing is None else [(self.outgoing, (rank + 1) % size)],
            receives=[] if self.incoming is None else [(self.incoming, (rank - 1) % size)],
        )

    def finish(self) -> None:
        self.handle.wait()
        if self.addend is not None:
            torch.add(self.incoming, self.addend, out=self.total)


def _run(exchanges: Iterable[_Exchange], transport: Transport) -> None:
    """Keep up to IN_FLIGHT exchanges under way; what a step sends is what the step before has finished."""
    under_way: deque[_Exchange] = deque()
    for exchange in exchanges:
        step, k = exchange.place
        while under_way and (len(under_way) == IN_FLIGHT or under_way[0].place <= (step - 1, k)):
            under_way.popleft().finish()
        exchange.start(transport)
        under_way.append(exchange)
    for exchange in under_way:
        exchange.finish()


def _segments(chunk: Tensor) -> Sequence[Tensor]:
    return chunk.split(max(1, SEGMENT_BYTES // chunk.element_size())) if len(chunk) else ()
