"""Gradients leave in buckets: many small messages become few large ones, sent while the backward pass goes on.

A message costs alpha + bytes * beta, so a bucket must be large enough for alpha not to matter, and small enough
for the first to be full early. The backward pass reaches the last layers first, so buckets are filled from the
last parameter to the first. All ranks must send them in one order, whatever order their gradients came in.

Li et al. 2020, PyTorch Distributed, arXiv 2006.15704, section 3.2. Production adds a small first bucket, and
re-orders the buckets after the first step by the order in which gradients really came.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn

from sysai.distributed.collectives import Communicator
from sysai.distributed.mesh import MeshAxis


class FlatLayout:
    """Tensors one after another in one flat buffer, padded so that `shards` ranks get equal shards of it.

    Attributes:
        numel: elements of the tensors together.
        padded_numel: elements of the buffer.
        shard_numel: elements of one rank's shard.
    """

    def __init__(self, tensors: Sequence[Tensor], shards: int = 1) -> None:
        self._shapes = [tensor.shape for tensor in tensors]
        self._sizes = [tensor.numel() for tensor in tensors]
        self.numel = sum(self._sizes)
        self.shard_numel = -(-self.numel // shards)
        self.padded_numel = self.shard_numel * shards

    def views(self, flat: Tensor) -> list[Tensor]:
        """Each tensor as a view of the buffer `flat`, in its own shape."""
        ends = accumulate(self._sizes)
        return [
            flat[end - size : end].view(shape) for end, size, shape in zip(ends, self._sizes, self._shapes, strict=True)
        ]

    @torch.no_grad()
    def flatten(self, tensors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Copies of the tensors in a new buffer; the padding is zero."""
        flat = torch.zeros(self.padded_numel, dtype=dtype, device=tensors[0].device)
        for view, tensor in zip(self.views(flat), tensors, strict=True):
            view.copy_(tensor)
        return flat

    def shard(self, flat: Tensor, rank: int) -> Tensor:
        """The elements of `flat` that `rank` owns."""
        return flat[rank * self.shard_numel : (rank + 1) * self.shard_numel]


def by_dtype(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors in one list for each dtype, because a flat buffer has one."""
    return [[t for t in tensors if t.dtype == dtype] for dtype in dict.fromkeys(t.dtype for t in tensors)]


def clip_shards(shards: Sequence[Tensor], max_norm: float, communicator: Communicator, axis: MeshAxis) -> Tensor:
    """Scale shards of a gradient by what makes their common norm at most `max_norm`; return the norm before.

    Squares are summed in float64: those of elements above 1.8e19 are infinite in float32, and would scale all to 0.
    """
    total = torch.zeros(1, dtype=torch.float64, device=axis.device)
    for shard in shards:
        wide = torch.complex128 if shard.is_complex() else torch.float64
        total += torch.linalg.vector_norm(shard, dtype=wide).square()
    norm = communicator.all_reduce(total).sqrt().squeeze()
    for shard in shards:
        shard.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


class Reducer:
    """Follows a backward pass: stores each gradient when it comes, and sends each bucket when it is complete.

    Torch's DDP has a class of this name and task. `store(parameter)` is called once for each parameter in a pass,
    `send(i)` once for each bucket, in the order 0, 1, 2 ... on every rank, and `finish()` at the end of the pass. A
    parameter that the pass did not reach is stored at the end: then its `grad` is None, or what earlier passes left.
    `frozen` are parameters of the model that stand in no bucket. While `enabled` is false nothing is stored or sent;
    `unsent` says whether gradients came in that time.

    Raises:
        RuntimeError: in the backward pass, if `requires_grad` of a parameter has changed since, or a graph of the
            gradients is to be made.
    """

    def __init__(
        self,
        buckets: Sequence[Sequence[nn.Parameter]],
        store: Callable[[nn.Parameter], None],
        send: Callable[[int], None],
        finish: Callable[[], None],
        frozen: Sequence[nn.Parameter] = (),
    ) -> None:
        self._buckets, self._store, self._send, self._finish = buckets, store, send, finish
        self._trained, self._frozen = [parameter for bucket in buckets for parameter in bucket], frozen
        self.enabled, self.unsent = True, False
        self._reset()
        for number, bucket in enumerate(buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(partial(self._arrived, number))

    def begin(self, *_) -> None:
        """Called within a backward pass: make sure that its end is noticed."""
        if self.enabled and not self._running:
            if not all(p.requires_grad for p in self._trained) or any(p.requires_grad for p in self._frozen):
                raise RuntimeError(
                    "requires_grad of a parameter has changed since the buckets of gradients were made: "
                    "wrap the model (or make ZeroOptimizer) again after freezing or unfreezing"
                )
            self._running = True
            torch.autograd.Variable._execution_engine.queue_callback(self._end)

    def _reset(self) -> None:
        self._running, self._next = False, 0
        self._missing = [set(bucket) for bucket in self._buckets]

    def _arrived(self, number: int, parameter: nn.Parameter) -> None:
        if not self.enabled:
            self.unsent = True
            return
        if torch.is_grad_enabled():
            raise RuntimeError(
                "backward(create_graph=True): the mean gradient has no graph. Take derivatives of this rank's own "
                "gradient with torch.autograd.grad, and call backward() for the loss that is made of them"
            )
        self.begin()
        self._store(parameter)
        self._missing[number].remove(parameter)
        while self._next < len(self._buckets) and not self._missing[self._next]:
            self._send(self._next)
            self._next += 1

    def _end(self) -> None:
        for number in range(self._next, len(self._buckets)):
            for parameter in self._buckets[number]:  # in this order on all ranks
                if parameter in self._missing[number]:
                    self._store(parameter)
            self._send(number)
        self._reset()
        self.unsent = False
        self._finish()
