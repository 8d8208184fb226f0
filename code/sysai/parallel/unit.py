"""A unit of a fully sharded model: parameters of which each rank keeps one part, and which are whole while they work.

    sharded     shard, ceil(size / N) elements; the parameters are empty
    gathered    flat, N * ceil(size / N) elements; the parameters are views of it
    reducing    gradients, as long as flat, from the first gradient to the end of the reduce-scatter

Tensors that autograd saves for the backward pass refer to the memory of `flat`, not to the parameters. Therefore
the buffer is emptied and filled again, and never replaced (Zhao et al. 2023, arXiv 2304.11277, section 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sysai.distributed.collectives import Communicator
from sysai.distributed.mesh import Axis
from sysai.parallel.background import Background, Pending
from sysai.parallel.buckets import FlatLayout


@dataclass(frozen=True)
class MixedPrecision:
    """The dtypes of the work; shards, and so the optimizer, keep the module's own.

    `parameters`: weights are gathered and units compute in it, their inputs are cast to it. `gradients`: they are
    added up over the ranks in it.
    """

    parameters: torch.dtype = torch.bfloat16
    gradients: torch.dtype = torch.float32


class Unit:
    """Parameters that are gathered, used and freed together; this rank's part of them is `shard`."""

    def __init__(
        self,
        name: str,
        parameters: list[nn.Parameter],
        axis: Axis,
        communicator: Communicator,
        background: Background,
        precision: MixedPrecision | None,
    ) -> None:
        self.name, self.parameters, self._rank = name, parameters, axis.rank
        self._communicator, self._background = communicator, background
        dtype, device = parameters[0].dtype, parameters[0].device
        if any(parameter.dtype != dtype for parameter in parameters):
            raise ValueError(f"unit {name!r} holds parameters of several dtypes: convert them to one before sharding")
        self.layout = FlatLayout(parameters, axis.size)
        whole = communicator.broadcast(self.layout.flatten(parameters, dtype))
        self.shard = nn.Parameter(self.layout.part(whole, axis.rank).clone())
        self.flat = torch.empty(self.layout.padded, dtype=precision.parameters if precision else dtype, device=device)
        self.gradient_dtype = precision.gradients if precision else dtype
        self.gradients: Tensor | None = None
        self.places: dict[nn.Parameter, Tensor] = {}
        self._views = self.layout.views(self.flat)
        self._work: Pending | None = None
        self.is_gathered = False
        self.free()

    def gather(self) -> None:
        """Begin to collect all parts of the weights, unless they are here or on their way."""
        if self.is_gathered:
            return
        self.flat.untyped_storage().resize_(self.flat.nbytes)
        part = self.shard.detach().to(self.flat.dtype)
        self._work = self._background.submit(self._communicator.all_gather, part, out=self.flat)
        for parameter, view in zip(self.parameters, self._views, strict=True):
            parameter.data = view
        self.is_gathered = True

    def wait(self) -> None:
        """Return when the weights are here."""
        if self._work:
            self._work.wait()
            self._work = None

    def free(self) -> None:
        """Give the memory of the whole weights back; tensors that autograd saved keep their (empty) storage."""
        self.wait()
        for parameter in self.parameters:
            parameter.data = self.flat.new_empty(0)  # so that using it is an error
        self.flat.untyped_storage().resize_(0)
        self.is_gathered = False

    def store(self, parameter: nn.Parameter) -> None:
        """Move a gradient to its place among the unit's."""
        if self.gradients is None:
            self.gradients = torch.zeros(self.layout.padded, dtype=self.gradient_dtype, device=self.flat.device)
            self.places = dict(zip(self.parameters, self.layout.views(self.gradients), strict=True))
        if parameter.grad is not None:
            self.places[parameter].copy_(parameter.grad)
        parameter.grad = None

    def reduce(self) -> tuple[Tensor, Pending]:
        """Begin to add up the gradients over the ranks: (this rank's part of the sum, the work)."""
        gradients, self.gradients, self.places = self.gradients, None, {}
        total = torch.empty(self.layout.shard, dtype=gradients.dtype, device=gradients.device)
        return total, self._background.submit(self._communicator.reduce_scatter, gradients, out=total)

    def load(self, values: Sequence[Tensor]) -> None:
        """Take this rank's part of whole parameters."""
        for view, value in zip(self._views, values, strict=True):
            if view.shape != value.shape:
                shapes = f"shape {list(view.shape)}, the state has {list(value.shape)}"
                raise ValueError(f"unit {self.name!r} holds a parameter of {shapes}")
        self.shard.copy_(self.layout.part(self.layout.flatten(values, self.shard.dtype), self._rank))

    def whole(self) -> list[Tensor]:
        """The parameters, gathered in the shards' own precision."""
        flat = torch.empty(self.layout.padded, dtype=self.shard.dtype, device=self.shard.device)
        return self.layout.views(self._communicator.all_gather(self.shard.detach(), out=flat))
