"""Data parallelism: every rank has the whole model and its own part of the batch; gradients are averaged.

    gradient = (1/N) sum over ranks of (the gradient of the rank's own mean loss)

The mean over equal parts is the mean over the whole batch, so the ranks take the same step as one process
would. Cost of a step: an all-reduce of the gradients, 2 Ψ (N-1)/N elements sent by each rank, hidden behind
the backward pass bucket by bucket (`buckets`). Memory: everything N times (`memory`, stage 0).

Li et al. 2020, PyTorch Distributed, arXiv 2006.15704. Production (torch's DistributedDataParallel) adds compressed
communication, static graphs, uneven numbers of batches, and leaves alone what no rank used.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sysai.distributed.collectives import Communicator
from sysai.distributed.mesh import Axis
from sysai.parallel.background import Background, Pending
from sysai.parallel.bucket_policy import MIB, assign_buckets
from sysai.parallel.buckets import BucketWatch, FlatLayout


class DataParallel(nn.Module):
    """`module`, whose gradients are the mean over `axis` when `backward` returns.

        model = DataParallel(Transformer(config), world["world"])
        next_token_loss(model, tokens, targets).backward()      # gradients are equal on all ranks now
        optimizer.step()

    Parameters and buffers start as those of rank 0. A parameter that this rank's backward pass did not reach
    counts as a gradient of zero; no rank may skip the backward pass itself. Tied weights are one parameter.
    Save `model.module`, whose names are the plain model's. `communicator.traffic` counts what this rank sends and
    receives.

    Args:
        module: at least one of its parameters requires a gradient.
        axis: the ranks to average over.
        bucket_bytes: largest bucket; see `assign_buckets`.
        broadcast_buffers: before each forward pass in training mode, take rank 0's buffers (those that are saved
            with the model, such as a batch norm's running mean).

    Raises:
        ValueError: no parameter requires a gradient.
    """

    def __init__(
        self, module: nn.Module, axis: Axis, bucket_bytes: int = 25 * MIB, broadcast_buffers: bool = True
    ) -> None:
        super().__init__()
        self.module, self.axis, self._broadcast_buffers = module, axis, broadcast_buffers
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not trained:
            raise ValueError("no parameter requires a gradient: there is nothing to average")
        self.communicator = Communicator(axis)
        copy_from_first([*module.parameters(), *module.buffers()], self.communicator)
        self._buckets = [
            [kind[i] for i in bucket]
            for kind in by_dtype(trained)
            for bucket in assign_buckets([parameter.nbytes for parameter in kind], bucket_bytes)
        ]
        self._place: dict[nn.Parameter, Tensor] = {}
        self._flats = [self._make_flat(bucket) for bucket in self._buckets]
        self._background = Background(axis.device)
        self._pending: list[Pending] = []
        self._watch = BucketWatch(self._buckets, self._store, self._send, self._finish)

    def forward(self, *args, **kwargs) -> object:
        """What `module` returns."""
        if self.training and self._broadcast_buffers:
            copy_from_first(saved_buffers(self.module), self.communicator)
        result = self.module(*args, **kwargs)
        for output in tree_leaves(result):
            # the backward pass begins here, even where it then reaches no parameter
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(self._watch.begin)
        return result

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes inside add up this rank's own gradients; the first one outside averages the sum."""
        self._watch.enabled = False
        try:
            yield
        finally:
            self._watch.enabled = True

    def _make_flat(self, bucket: list[nn.Parameter]) -> Tensor:
        """A buffer for the gradients of a bucket, where each has its place."""
        layout = FlatLayout(bucket, self.axis.size)
        flat = torch.zeros(layout.padded, dtype=bucket[0].dtype, device=bucket[0].device)
        self._place.update(zip(bucket, layout.views(flat), strict=True))
        return flat

    def _store(self, parameter: nn.Parameter) -> None:
        """Move a gradient, divided by N, to its place in the bucket."""
        place = self._place[parameter]
        if parameter.grad is None:
            place.zero_()
        else:
            torch.div(parameter.grad, self.axis.size, out=place)
        parameter.grad = place

    def _send(self, number: int) -> None:
        """Add up a complete bucket over the ranks, behind the rest of the backward pass."""
        self._pending.append(self._background.submit(self.communicator.all_reduce, self._flats[number]))

    def _finish(self) -> None:
        pending, self._pending = self._pending, []
        for bucket in pending:
            bucket.wait()


def by_dtype(tensors: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """The tensors in one list for each dtype, because a flat buffer has one."""
    return [[t for t in tensors if t.dtype == dtype] for dtype in dict.fromkeys(t.dtype for t in tensors)]


def saved_buffers(module: nn.Module) -> list[Tensor]:
    """The buffers that are part of the module's state, in order."""
    return [value for value in module.state_dict(keep_vars=True).values() if type(value) is Tensor]


@torch.no_grad()
def copy_from_first(tensors: list[Tensor], communicator: Communicator) -> None:
    """Overwrite the tensors by rank 0's."""
    for kind in by_dtype(tensors):
        layout = FlatLayout(kind)
        flat = layout.flatten(kind, kind[0].dtype)
        communicator.broadcast(flat)
        for tensor, value in zip(kind, layout.views(flat), strict=True):
            tensor.copy_(value)
