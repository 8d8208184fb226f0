"""Collectives of one machine: each rank reads straight from the memory into which the others have put their data.

An all-reduce of n ranks cuts the tensor into n chunks and takes three stages:

    put     rank r copies its part of every other rank's chunk into shared memory
    reduce  rank r adds up all parts of chunk r, and puts the total there too
    take    rank r copies the totals of the other chunks

Each rank gives and takes 2 (n - 1) / n of the tensor's bytes, as in a ring, but in two steps instead of
2 (n - 1), and no byte passes through a socket. Reduce-scatter is put and reduce, all-gather put and take.
Production does the same over NVLink (two-shot all-reduce in symmetric memory, NCCL's NVLS).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sysai.distributed.chunks import as_vector, check_out, chunk_sizes, copy_back, describe, gathered_sizes
from sysai.distributed.staging import Staging


def shared_memory_all_reduce(tensor: Tensor, staging: Staging) -> Tensor:
    """Replace `tensor` on every rank by the sum over all ranks, and return it. As `ring_all_reduce`."""
    axis = staging.axis
    if axis.size == 1:
        return tensor
    flat = as_vector(tensor)
    chunks = flat.tensor_split(axis.size)
    parts = _Parts(staging, tensor.dtype)

    def put(k, buffers):
        for other in parts.others:
            parts.give(parts(chunks[other], k), buffers[axis.rank], other, [other])

    def reduce(k, buffers):
        total = parts(chunks[axis.rank], k)
        for other in parts.others:
            total += parts.taken(buffers[other], axis.rank, total, other)
        parts.give(total, buffers[axis.rank], axis.rank, parts.others)

    def take(k, buffers):
        for other in parts.others:
            destination = parts(chunks[other], k)
            destination.copy_(parts.taken(buffers[other], other, destination, other))

    staging.run(f"all_reduce of {describe(tensor)}", tensor.dtype, parts.pieces(chunks), [put, reduce, take])
    copy_back(flat, tensor)
    return tensor


def shared_memory_reduce_scatter(
    tensor: Tensor, staging: Staging, sizes: Sequence[int] | None = None, out: Tensor | None = None
) -> Tensor:
    """Sum over all ranks, of which rank r gets chunk r, [sizes[r]]. As `ring_reduce_scatter`."""
    axis = staging.axis
    sizes = chunk_sizes(tensor.numel(), axis.size, sizes)
    out = check_out(out, sizes[axis.rank], tensor)
    chunks = as_vector(tensor).split(sizes)
    if axis.size == 1:
        return out.copy_(chunks[0])
    parts = _Parts(staging, tensor.dtype)

    def put(k, buffers):
        for other in parts.others:
            parts.give(parts(chunks[other], k), buffers[axis.rank], other, [other])

    def reduce(k, buffers):
        addend, total = parts(chunks[axis.rank], k), parts(out, k)
        for other in parts.others:
            addend = torch.add(parts.taken(buffers[other], axis.rank, total, other), addend, out=total)

    text = f"reduce_scatter of {describe(tensor)} to {sizes}"
    staging.run(text, tensor.dtype, parts.pieces(chunks), [put, reduce])
    return out


def shared_memory_all_gather(
    tensor: Tensor, staging: Staging, sizes: Sequence[int] | None = None, out: Tensor | None = None
) -> Tensor:
    """The tensors of all ranks, concatenated in their order, [sum(sizes)], on every rank. As `ring_all_gather`."""
    axis = staging.axis
    sizes = gathered_sizes(tensor, axis.size, axis.rank, sizes)
    out = check_out(out, sum(sizes), tensor)
    chunks = out.split(sizes)
    chunks[axis.rank].copy_(as_vector(tensor))
    if axis.size == 1:
        return out
    parts = _Parts(staging, tensor.dtype)

    def put(k, buffers):
        parts.give(parts(chunks[axis.rank], k), buffers[axis.rank], axis.rank, parts.others)

    def take(k, buffers):
        for other in parts.others:
            destination = parts(chunks[other], k)
            destination.copy_(parts.taken(buffers[other], other, destination, other))

    staging.run(f"all_gather of {tensor.dtype} from {sizes}", tensor.dtype, parts.pieces(chunks), [put, take])
    return out


def shared_memory_broadcast(tensor: Tensor, staging: Staging, source: int = 0) -> Tensor:
    """Replace `tensor` on every rank by that of rank `source`. As `ring_broadcast`."""
    axis = staging.axis
    if not 0 <= source < axis.size:
        raise ValueError(f"source {source} is not a rank of axis {axis.name!r} (size {axis.size})")
    if axis.size == 1:
        return tensor
    flat = as_vector(tensor)
    parts = _Parts(staging, tensor.dtype)

    def put(k, buffers):
        if axis.rank == source:
            parts.give(parts(flat, k), buffers[source], 0, parts.others)

    def take(k, buffers):
        if axis.rank != source:
            destination = parts(flat, k)
            destination.copy_(parts.taken(buffers[source], 0, destination, source))

    text = f"broadcast of {describe(tensor)} from {source}"
    staging.run(text, tensor.dtype, parts.pieces([flat]), [put, take])
    copy_back(flat, tensor)
    return tensor


class _Parts:
    """Cuts chunks into the parts that the stages handle, and moves and counts these.

    A buffer has one place for each rank's chunk, so all ranks handle part k of all chunks at the same time.
    """

    def __init__(self, staging: Staging, dtype: torch.dtype) -> None:
        rank, size = staging.axis.rank, staging.axis.size
        self.others = [(rank + shift) % size for shift in range(1, size)]  # each begins with another neighbour
        self._elements = staging.part_elements(dtype)
        self._traffic = staging.traffic

    def __call__(self, chunk: Tensor, k: int) -> Tensor:
        """Part k of a chunk; empty beyond its end."""
        return chunk[k * self._elements : (k + 1) * self._elements]

    def pieces(self, chunks: Sequence[Tensor]) -> int:
        """Number of parts of the longest chunk, at least one."""
        return max(1, *(-(-len(chunk) // self._elements) for chunk in chunks))

    def give(self, part: Tensor, buffer: Tensor, index: int, to: Sequence[int]) -> None:
        """Copy a part to place `index` of this rank's buffer, for the ranks `to` to read."""
        begin = index * self._elements
        buffer[begin : begin + part.numel()].copy_(part)
        self._traffic.count([(part.nbytes, rank) for rank in to if part.nbytes], [])

    def taken(self, buffer: Tensor, index: int, like: Tensor, source: int) -> Tensor:
        """The part, as long as `like`, at place `index` of another rank's buffer."""
        begin = index * self._elements
        self._traffic.count([], [(like.nbytes, source)] if like.nbytes else [])
        return buffer[begin : begin + like.numel()]
