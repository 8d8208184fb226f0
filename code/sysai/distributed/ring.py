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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import torch
from torch import Tensor

from sysai.distributed.chunks import as_vector, check_out, chunk_sizes, copy_back, describe, gathered_sizes
from sysai.distributed.p2p import Transport, Work

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
    n, rank = transport.axis.size, transport.axis.rank
    halves = _reduce_scatter(chunks, chunks, chunks[rank], transport), _all_gather(chunks, transport, first_step=n - 1)
    _run(itertools.chain(*halves), transport)
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
    _run(_reduce_scatter(chunks, [partial_sum] * axis.size, out, transport), transport)
    return out


def ring_all_gather(
    tensor: Tensor, transport: Transport, sizes: Sequence[int] | None = None, out: Tensor | None = None
) -> Tensor:
    """The tensors of all ranks, concatenated in their order, on every rank.

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
        _run(_all_gather(chunks, transport), transport)
    return out


def ring_broadcast(tensor: Tensor, transport: Transport, source: int = 0) -> Tensor:
    """Replace `tensor` on every rank by that of rank `source`: along the ring, segment after segment.

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
    sent: list[Work] = []
    segments = _segments(flat)
    arriving = [transport.start(receives=[(segment, previous)]) for segment in segments] if position else []
    for segment, arrival in zip_longest(segments, arriving):
        if arrival:
            arrival.wait()
        if position < axis.size - 1:
            sent.append(transport.start(sends=[(segment, following)]))
    for work in sent:
        work.wait()
    copy_back(flat, tensor)
    return tensor


def _reduce_scatter(
    chunks: Sequence[Tensor], sums: Sequence[Tensor], out: Tensor, transport: Transport
) -> Iterator["_Exchange"]:
    """Put the total of chunk `rank` into `out`; partial sums of the other chunks pass through `sums`. n - 1 steps."""
    n, rank = transport.axis.size, transport.axis.rank
    longest = max(_segments(max(chunks, key=len)), key=len, default=chunks[0])
    buffers = itertools.cycle([torch.empty_like(longest) for _ in range(IN_FLIGHT)])
    for step in range(n - 1):
        sent, received = (rank - 1 - step) % n, (rank - 2 - step) % n
        outgoing = sums[sent][: len(chunks[sent])] if step else chunks[sent]
        total = sums[received][: len(chunks[received])] if step < n - 2 else out
        segments = zip_longest(*map(_segments, (outgoing, chunks[received], total)))
        for k, (segment, addend, result) in enumerate(segments):
            buffer = None if addend is None else next(buffers)[: len(addend)]
            yield _Exchange((step, k), segment, buffer, addend, result)


def _all_gather(chunks: Sequence[Tensor], transport: Transport, first_step: int = 0) -> Iterator["_Exchange"]:
    """Fill all chunks, of which this rank has the one with its number; n - 1 steps."""
    n, rank = transport.axis.size, transport.axis.rank
    for step in range(n - 1):
        pair = chunks[(rank - step) % n], chunks[(rank - 1 - step) % n]
        for k, (outgoing, incoming) in enumerate(zip_longest(*map(_segments, pair))):
            yield _Exchange((first_step + step, k), outgoing, incoming)


@dataclass
class _Exchange:
    """Segment k of a step: one goes to the next rank while another comes, to which `addend` may have to be added."""

    order: tuple[int, int]  # (step, k)
    outgoing: Tensor | None
    incoming: Tensor | None
    addend: Tensor | None = None
    total: Tensor | None = None
    works: list[Work] = field(default_factory=list)

    def start(self, transport: Transport, *, send: bool = False, receive: bool = False) -> None:
        rank, size = transport.axis.rank, transport.axis.size
        sends = [(self.outgoing, (rank + 1) % size)] if send and self.outgoing is not None else []
        receives = [(self.incoming, (rank - 1) % size)] if receive and self.incoming is not None else []
        self.works.append(transport.start(sends, receives))

    def finish(self) -> None:
        for work in self.works:
            work.wait()
        if self.addend is not None:
            torch.add(self.incoming, self.addend, out=self.total)


def _run(exchanges: Iterable[_Exchange], transport: Transport) -> None:
    """Keep up to IN_FLIGHT exchanges under way; what a step sends is what the step before has finished.

    Receives start ahead of their exchange's send, because gloo sends only what the other side has said that it
    waits for: so the word is there before the data is. Totals may arrive where parts were sent from: a total comes
    only when all its parts have left.
    """
    early = transport.axis.device.type == "cpu"  # NCCL would wait in the receive and never come to the send
    exchanges = list(exchanges)
    done = received = 0
    for i, exchange in enumerate(exchanges):
        step, k = exchange.order
        while done < i and (i - done == IN_FLIGHT or exchanges[done].order <= (step - 1, k)):
            exchanges[done].finish()
            done += 1
        if early:
            for later in exchanges[received : done + IN_FLIGHT]:
                later.start(transport, receive=True)
            received = done + IN_FLIGHT
        exchange.start(transport, send=True, receive=not early)
    for exchange in exchanges[done:]:
        exchange.finish()


def _segments(chunk: Tensor) -> Sequence[Tensor]:
    return chunk.split(max(1, SEGMENT_BYTES // chunk.element_size())) if len(chunk) else ()
