"""A unit of a fully sharded model: parameters of which each rank keeps one shard, and which are whole while they work.

    sharded      shard, ceil(numel / N) elements; the parameters are empty
    unsharded    flat, N * ceil(numel / N) elements; the parameters are views of it
    reducing     gradients, as long as flat, from the first gradient to the end of the reduce-scatter

The names are those of torch's fully_shard, whose counterpart of a unit is `FSDPParamGroup`.

Tensors that autograd saves for the backward pass refer to the memory of `flat`, not to the parameters. Therefore
the buffer is emptied and filled again, and never replaced (Zhao et al. 2023, arXiv 2304.11277, section 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sysai.distributed.collectives import Communicator
from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import Work
from sysai.parallel.buckets import FlatLayout
from sysai.parallel.communication_stream import CommunicationStream


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """The dtypes of the work; shards, and so the optimizer, keep the module's own.

    Weights are gathered and units compute in `param_dtype`, to which their inputs are cast; gradients are added up
    over the ranks in `reduce_dtype`.
    """

    param_dtype: torch.dtype
    reduce_dtype: torch.dtype


class Unit:
    """Parameters that are gathered, used and freed together; this rank's share of them is `shard`."""

    def __init__(
        self,
        name: str,
        parameters: list[nn.Parameter],
        axis: MeshAxis,
        communicator: Communicator,
        stream: CommunicationStream,
        mp_policy: MixedPrecisionPolicy | None,
    ) -> None:
        self.name, self.parameters, self._rank = name, parameters, axis.rank
        self._communicator, self._stream = communicator, stream
        dtype, device = parameters[0].dtype, parameters[0].device
        if any(parameter.dtype != dtype for parameter in parameters):
            raise ValueError(f"unit {name!r} holds parameters of several dtypes: convert them to one before sharding")
        self.layout = FlatLayout(parameters, axis.size)
        initial = communicator.broadcast(self.layout.flatten(parameters, dtype))
        self.shard = nn.Parameter(self.layout.shard(initial, axis.rank).clone())
        param_dtype = mp_policy.param_dtype if mp_policy else dtype
        self.flat = torch.empty(self.layout.padded_numel, dtype=param_dtype, device=device)
        self.reduce_dtype = mp_policy.reduce_dtype if mp_policy else dtype
        self.gradients: Tensor | None = None
        self.grad_views: dict[nn.Parameter, Tensor] = {}
        self._views = self.layout.views(self.flat)
        self._work: Work | None = None
        self.is_unsharded = False
        self.reshard()
        for parameter in parameters:
            parameter.is_sharded = True

    def unshard(self) -> None:
        """Begin to gather the weights of all ranks, unless they are here or on their way."""
        if self.is_unsharded:
            return
        self.flat.untyped_storage().resize_(self.flat.nbytes)
        shard = self.shard.detach().to(self.flat.dtype)
        self._work = self._stream.submit(self._communicator.all_gather, shard, out=self.flat)
        for parameter, view in zip(self.parameters, self._views, strict=True):
            parameter.data = view
        self.is_unsharded = True

    def wait_for_unshard(self) -> None:
        """Return when the weights are here."""
        if self._work:
            self._work.wait()
            self._work = None

    def reshard(self) -> None:
        """Give the memory of the whole weights back; tensors that autograd saved keep their (empty) storage."""
        self.wait_for_unshard()
        for parameter in self.parameters:
            parameter.data = self.flat.new_empty(0)  # so that using it is an error
        self.flat.untyped_storage().resize_(0)
        self.is_unsharded = False

    def store(self, parameter: nn.Parameter) -> None:
        """Move a gradient into the buffer of the unit's gradients."""
        if self.gradients is None:
            self.gradients = torch.zeros(self.layout.padded_numel, dtype=self.reduce_dtype, device=self.flat.device)
            self.grad_views = dict(zip(self.parameters, self.layout.views(self.gradients), strict=True))
        if parameter.grad is not None:
            self.grad_views[parameter].copy_(parameter.grad)
        parameter.grad = None

    def reduce_scatter(self) -> tuple[Tensor, Work]:
        """Begin to add up the gradients over the ranks: (this rank's shard of the sum, the work)."""
        gradients, self.gradients, self.grad_views = self.gradients, None, {}
        total = torch.empty(self.layout.shard_numel, dtype=gradients.dtype, device=gradients.device)
        return total, self._stream.submit(self._communicator.reduce_scatter, gradients, out=total)

    def load(self, values: Sequence[Tensor]) -> None:
        """Take this rank's shard of whole parameters."""
        for view, value in zip(self._views, values, strict=True):
            if view.shape != value.shape:
                shapes = f"shape {list(view.shape)}, the state has {list(value.shape)}"
                raise ValueError(f"unit {self.name!r} holds a parameter of {shapes}")
        self.shard.copy_(self.layout.shard(self.layout.flatten(values, self.shard.dtype), self._rank))

    def full_tensors(self) -> list[Tensor]:
        """The parameters, gathered in the shards' own precision."""
        flat = torch.empty(self.layout.padded_numel, dtype=self.shard.dtype, device=self.shard.device)
        return self.layout.views(self._communicator.all_gather(self.shard.detach(), out=flat))
