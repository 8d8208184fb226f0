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


class FlatLayout:
    """Tensors behind one another in one flat buffer, padded so that `shards` ranks get equal parts of it.

    Attributes:
        size: elements of the tensors together.
        padded: elements of the buffer.
        shard: elements of one rank's part.
    """

    def __init__(self, tensors: Sequence[Tensor], shards: int = 1) -> None:
        self._shapes = [tensor.shape for tensor in tensors]
        self._sizes = [tensor.numel() for tensor in tensors]
        self.size = sum(self._sizes)
        self.shard = -(-self.size // shards)
        self.padded = self.shard * shards

    def views(self, flat: Tensor) -> list[Tensor]:
        """Each tensor's place in the buffer `flat`, in its own shape."""
        ends = accumulate(self._sizes)
        return [
            flat[end - size : end].view(shape) for end, size, shape in zip(ends, self._sizes, self._shapes, strict=True)
        ]

    @torch.no_grad()
    def flatten(self, tensors: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Copies of the tensors in a new buffer; the padding is zero."""
        flat = torch.zeros(self.padded, dtype=dtype, device=tensors[0].device)
        for view, tensor in zip(self.views(flat), tensors, strict=True):
            view.copy_(tensor)
        return flat

    def part(self, flat: Tensor, rank: int) -> Tensor:
        """The elements of `flat` that `rank` owns."""
        return flat[rank * self.shard : (rank + 1) * self.shard]


class BucketWatch:
    """Follows a backward pass: stores each gradient when it comes, and sends each bucket when it is complete.

    `store(parameter)` is called once for each parameter in a pass, `send(i)` once for each bucket, in the order
    0, 1, 2 ... on every rank, and `finish()` at the end of the pass. A parameter that the pass did not reach is
    stored at the end: then its `grad` is None, or what earlier passes left there.
    """

    def __init__(
        self,
        buckets: Sequence[Sequence[nn.Parameter]],
        store: Callable[[nn.Parameter], None],
        send: Callable[[int], None],
        finish: Callable[[], None],
    ) -> None:
        self._buckets, self._store, self._send, self._finish = buckets, store, send, finish
        self.enabled = True
        self._reset()
        for number, bucket in enumerate(buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(partial(self._arrived, number))

    def begin(self, *_) -> None:
        """Called within a backward pass: make sure that its end is noticed."""
        if self.enabled and not self._running:
            self._running = True
            torch.autograd.Variable._execution_engine.queue_callback(self._end)

    def _reset(self) -> None:
        self._running, self._next = False, 0
        self._missing = [set(bucket) for bucket in self._buckets]

    def _arrived(self, number: int, parameter: nn.Parameter) -> None:
        if not self.enabled:
            return
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
        self._finish()
