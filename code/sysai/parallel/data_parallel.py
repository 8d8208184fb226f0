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
from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import Work
from sysai.parallel.bucket_policy import MIB, assign_buckets
from sysai.parallel.buckets import FlatLayout, Reducer, by_dtype
from sysai.parallel.communication_stream import CommunicationStream


class DistributedDataParallel(nn.Module):
    """`module`, whose gradients are the mean over `axis` when `backward` returns.

        model = DistributedDataParallel(Transformer(config), world["world"])
        next_token_loss(model, tokens, targets).backward()      # gradients are equal on all ranks now
        optimizer.step()

    Parameters and buffers start as those of rank 0. A parameter that this rank's backward pass did not reach
    counts as a gradient of zero; no rank may skip the backward pass itself. Tied weights are one parameter. What is
    frozen stays frozen: after a change of `requires_grad` wrap the module again.
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
        self, module: nn.Module, axis: MeshAxis, bucket_bytes: int = 25 * MIB, broadcast_buffers: bool = True
    ) -> None:
        super().__init__()
        self.module, self.axis, self._broadcast_buffers = module, axis, broadcast_buffers
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
        if not trained:
            raise ValueError("no parameter requires a gradient: there is nothing to average")
        self.communicator = Communicator(axis)
        broadcast_coalesced([*module.parameters(), *module.buffers()], self.communicator)
        self._buckets = [
            [same_dtype[i] for i in bucket]
            for same_dtype in by_dtype(trained)
            for bucket in assign_buckets([parameter.nbytes for parameter in same_dtype], bucket_bytes)
        ]
        self._grad_views: dict[nn.Parameter, Tensor] = {}
        self._flats = [self._make_flat(bucket) for bucket in self._buckets]
        self._stream = CommunicationStream(axis.device)
        self._pending: list[Work] = []
        self._reducer = Reducer(self._buckets, self._store, self._send, self._finish, frozen)

    def forward(self, *args, **kwargs) -> object:
        """The result of `module`."""
        if self.training and self._broadcast_buffers:
            broadcast_coalesced(saved_buffers(self.module), self.communicator)
        result = self.module(*args, **kwargs)
        for output in tree_leaves(result):
            # the backward pass begins here, even where it then reaches no parameter
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(self._reducer.begin)
        return result

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes inside add up this rank's own gradients; the first one outside averages the sum.

        Where the forward pass stands does not matter. The last backward pass before a step must be outside: an
        optimizer would take this rank's own gradient, and the ranks would part without a word.
        """
        self._reducer.enabled = False
        try:
            yield
        finally:
            self._reducer.enabled = True

    def _make_flat(self, bucket: list[nn.Parameter]) -> Tensor:
        """A buffer for the gradients of a bucket, with a view of it for each."""
        layout = FlatLayout(bucket, self.axis.size)
        flat = torch.zeros(layout.padded_numel, dtype=bucket[0].dtype, device=bucket[0].device)
        self._grad_views.update(zip(bucket, layout.views(flat), strict=True))
        return flat

    def _store(self, parameter: nn.Parameter) -> None:
        """Move a gradient, divided by N, into the bucket."""
        view = self._grad_views[parameter]
        if parameter.grad is None:
            view.zero_()
        else:
            # Divided before the sum, as torch's DDP does: the copy is needed anyway. ZeRO and FSDP divide after it,
            # when a rank has 1/N of the elements; in ZeRO's stage 1 the buffer also stays this rank's own gradient.
            torch.div(parameter.grad, self.axis.size, out=view)
        parameter.grad = view

    def _send(self, number: int) -> None:
        """Add up a complete bucket over the ranks, while the backward pass goes on."""
        self._pending.append(self._stream.submit(self.communicator.all_reduce, self._flats[number]))

    def _finish(self) -> None:
        pending, self._pending = self._pending, []
        for work in pending:
            work.wait()


def saved_buffers(module: nn.Module) -> list[Tensor]:
    """The buffers that are part of the module's state, in order."""
    return [value for value in module.state_dict(keep_vars=True).values() if type(value) is Tensor]


@torch.no_grad()
def broadcast_coalesced(tensors: list[Tensor], communicator: Communicator) -> None:
    """Overwrite the tensors by rank 0's, in one message for all of one dtype."""
    for same_dtype in by_dtype(tensors):
        layout = FlatLayout(same_dtype)
        flat = layout.flatten(same_dtype, same_dtype[0].dtype)
        communicator.broadcast(flat)
        for tensor, value in zip(same_dtype, layout.views(flat), strict=True):
            tensor.copy_(value)
