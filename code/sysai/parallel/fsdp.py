"""Fully sharded data parallelism, ZeRO's stage 3: each rank keeps one part of the weights, too.

The model is cut into units, in practice its blocks. A rank holds 1/N of each unit, and all of it only while the
unit computes:

    forward     all-gather unit i+1 while unit i computes; free unit i
    backward    all-gather unit i-1 while unit i computes; reduce-scatter unit i's gradients; free unit i

Cost: 3 Ψ (N-1)/N elements sent by each rank in a step, half as much again as data parallelism, for memory N times
smaller. The last unit needs only one all-gather, because the backward pass begins where the forward pass ends;
so does what belongs to no unit (embedding, last norm, head), which is needed at both ends and stays.

Zhao et al. 2023, PyTorch FSDP, arXiv 2304.11277; Rajbhandari et al. 2020, ZeRO, arXiv 1910.02054, section 5.3.
Production (torch's fully_shard) shards each parameter by itself, so that frozen and trained ones mix, initializes
without ever making the whole model, and overlaps gathers with reductions on streams of their own. Neither
has second derivatives.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from sysai.distributed.collectives import Communicator
from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import Work
from sysai.parallel.buckets import Reducer, clip_shards
from sysai.parallel.communication_stream import CommunicationStream
from sysai.parallel.unit import MixedPrecisionPolicy, Unit

NO_PASS = -1  # outside the forward pass, where a call of a unit is an error


class FullyShardedDataParallel(nn.Module):
    """`module`, whose state is divided over `axis`, unit by unit.

        model = FullyShardedDataParallel(Transformer(config), world["world"], units=model.blocks)
        optimizer = torch.optim.AdamW(model.parameters())       # of the shards; any elementwise optimizer
        next_token_loss(model, tokens, targets).backward()      # this rank's part of the batch
        model.clip_grad_norm(1.0)
        optimizer.step()

    `parameters()` are the shards, flat and padded, one for each unit. Weights start as those of rank 0. A parameter
    that occurs in several units belongs to none, so tied weights may cross units. Gradients are averaged over the
    axis; further backward passes add to them. `communicator.traffic` counts what this rank sends and receives.

    A wrapper, as torch's class of this name (FSDP1) is; its later `fully_shard` changes the module in place.

    Args:
        module: keeps its parameters' names and methods, but outside the forward and backward pass its
            parameters are empty. All must require gradients.
        axis: the ranks to average over and to divide the state among.
        units: submodules, in the order in which the forward pass calls them, each once.
        mp_policy: None to gather, compute and reduce in the parameters' own dtype.

    Raises:
        ValueError: a unit is not part of the module, or holds another unit; a parameter requires no gradient;
            a unit's parameters differ in dtype.
    """

    def __init__(
        self,
        module: nn.Module,
        axis: MeshAxis,
        units: Sequence[nn.Module],
        mp_policy: MixedPrecisionPolicy | None = None,
    ) -> None:
        super().__init__()
        self.module, self.axis, self._mp_policy = module, axis, mp_policy
        self.communicator, self._stream = Communicator(axis), CommunicationStream(axis.device)
        self._names: dict[nn.Parameter, list[str]] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            self._names.setdefault(parameter, []).append(name)
        self.units: list[Unit] = []
        for name, submodule in _named_units(module, units).items():
            # what also has a name outside the unit, such as a tied weight, belongs to the root
            own = [p for p in submodule.parameters() if all(n.startswith(f"{name}.") for n in self._names[p])]
            if own:
                submodule.register_forward_pre_hook(partial(self._pre_forward, len(self.units)), with_kwargs=True)
                submodule.register_forward_hook(partial(self._post_forward, len(self.units)))
                self.units.append(self._make_unit(name, own))
        owned = {parameter for unit in self.units for parameter in unit.parameters}
        rest = [parameter for parameter in self._names if parameter not in owned]
        self.root = self._make_unit("root", rest) if rest else None
        for name, submodule in module.named_modules():
            if not owned.issuperset(submodule.parameters(recurse=False)):
                submodule.register_forward_pre_hook(partial(self._check_root, name or type(module).__name__))
        self._backward_order = self.units[::-1] + [self.root] * (self.root is not None)
        self._unit_of = {parameter: unit for unit in self._backward_order for parameter in unit.parameters}
        self._reducer = Reducer(
            [unit.parameters for unit in self._backward_order],
            store=lambda parameter: self._unit_of[parameter].store(parameter),
            send=self._send,
            finish=self._finish,
        )
        self._called = NO_PASS  # units, in this forward pass
        self._reducing: tuple[Unit, Tensor, Work] | None = None

    def _make_unit(self, name: str, parameters: list[nn.Parameter]) -> Unit:
        return Unit(name, parameters, self.axis, self.communicator, self._stream, self._mp_policy)

    # The forward pass -------------------------------------------------------------------------------------------

    def forward(self, *args, **kwargs) -> object:
        """The result of `module`.

        Raises:
            RuntimeError: the units were not called once each, in their order.
        """
        for unit in self._backward_order:
            unit.reshard()  # a pass without a backward pass has left weights that may be old by now
        self._called = 0
        if self.root:
            self.root.unshard()
        if self.units:
            self.units[0].unshard()
        if self.root:
            self.root.wait_for_unshard()
        args, kwargs = self._cast((args, kwargs))
        result = self.module(*args, **kwargs)
        if self._called < len(self.units):
            raise RuntimeError(f"the forward pass did not call unit {self.units[self._called].name!r}")
        self._called = NO_PASS
        self._watch_outputs(result, self._pre_backward_of_root)
        if self.root and not torch.is_grad_enabled():
            self.root.reshard()
        return result

    def _check_root(self, name: str, *_) -> None:
        """A module of the root is about to compute, which needs weights that only a pass of the whole model gathers."""
        if not self.root.is_unsharded:
            raise RuntimeError(f"the weights of {name!r} are sharded: the model is called through the sharded module")

    def _pre_forward(self, number: int, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """A unit is about to compute: have its weights, and begin to gather the next unit's."""
        if number != self._called:
            raise RuntimeError(
                f"unit {self.units[number].name!r} was called out of turn: the model is called through the sharded "
                "module, and each unit once a forward pass, in the order of `units` (checkpoint inside units)"
            )
        self._called += 1
        self.units[number].unshard()
        if number + 1 < len(self.units):
            self.units[number + 1].unshard()
        self.units[number].wait_for_unshard()
        return self._cast((args, kwargs))

    def _post_forward(self, number: int, _: nn.Module, args: tuple, result: object) -> None:
        """A unit has computed: free its weights, unless the backward pass begins with them."""
        self._watch_outputs(result, partial(self._pre_backward, number))
        if not torch.is_grad_enabled() or number + 1 < len(self.units):
            self.units[number].reshard()

    def _cast(self, inputs: object) -> object:
        """The inputs, with floating-point tensors in the dtype of the work."""
        if self._mp_policy is None:
            return inputs
        dtype = self._mp_policy.param_dtype
        return tree_map(lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x, inputs)

    @staticmethod
    def _watch_outputs(result: object, pre_backward: Callable[[Tensor], None]) -> None:
        for output in tree_leaves(result):
            if isinstance(output, Tensor) and output.requires_grad:
                output.register_hook(pre_backward)

    # The backward pass ------------------------------------------------------------------------------------------

    def _pre_backward_of_root(self, _: Tensor) -> None:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph=True: the weights that a second derivative needs are freed in the backward pass; "
                "use DistributedDataParallel or ZeroOptimizer for losses with derivatives in them"
            )
        self._reducer.begin()
        if self.root:
            self.root.unshard()
            self.root.wait_for_unshard()

    def _pre_backward(self, number: int, _: Tensor) -> None:
        """The gradient of a unit's output is there: have its weights, and begin to gather those needed next."""
        self.units[number].unshard()
        if number:
            self.units[number - 1].unshard()
        self.units[number].wait_for_unshard()

    def _send(self, number: int) -> None:
        """All gradients of a unit are there: add them up over the ranks, free its weights."""
        unit = self._backward_order[number]
        unit.reshard()
        self._finish_reduction()  # one at a time, so that the gradients of two units are held at most
        self._reducing = (unit, *unit.reduce_scatter())

    def _finish_reduction(self) -> None:
        if self._reducing is None:
            return
        (unit, total, work), self._reducing = self._reducing, None
        work.wait()
        mean = total.div_(self.axis.size).to(unit.shard.dtype)
        unit.shard.grad = mean if unit.shard.grad is None else unit.shard.grad + mean

    def _finish(self) -> None:
        self._finish_reduction()
        for unit in self._backward_order:
            unit.reshard()  # what was gathered in advance and not needed

    # Between steps ----------------------------------------------------------------------------------------------

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator:
        """(unit's name, shard), which is what optimizers need."""
        return ((f"{prefix}{unit.name}", unit.shard) for unit in reversed(self._backward_order))

    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Scale the mean gradient so that its norm over all parameters is at most `max_norm`; return the norm.

        Torch's `clip_grad_norm_` would see this rank's shards only, and scale them differently on each rank.
        """
        gradients = [shard.grad for shard in self.parameters() if shard.grad is not None]
        return clip_shards(gradients, max_norm, self.communicator, self.axis)

    def state_dict(self) -> dict[str, Tensor]:
        """The whole state under the plain module's names. All ranks call it together; all get it."""
        state = self.module.state_dict()
        for unit in self._backward_order:
            for parameter, value in zip(unit.parameters, unit.full_tensors(), strict=True):
                state.update(dict.fromkeys(self._names[parameter], value))
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take this rank's shards of a whole state, the plain module's or that of `state_dict`, on any world size.

        Raises:
            ValueError: names or shapes differ from the module's.
        """
        own = self.module.state_dict(keep_vars=True)
        if odd := own.keys() ^ state.keys():
            raise ValueError(f"the state does not fit the module: {sorted(odd)} missing or unknown")
        for unit in self._backward_order:
            unit.load([state[self._names[parameter][0]] for parameter in unit.parameters])
        for name, value in own.items():
            if not isinstance(value, nn.Parameter):
                value.copy_(state[name])


def _named_units(module: nn.Module, units: Sequence[nn.Module]) -> dict[str, nn.Module]:
    """The units by their names in the module; raises what `FullyShardedDataParallel` does."""
    names = {submodule: name for name, submodule in module.named_modules()}
    for unit in units:
        if unit not in names:
            raise ValueError(f"a unit of type {type(unit).__name__} is not a submodule of the module to shard")
        if nested := [names[other] for other in unit.modules() if other is not unit and other in units]:
            raise ValueError(f"unit {names[unit]!r} holds the unit {nested[0]!r}: choose one of them")
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            raise ValueError(f"{name} requires no gradient: sharding frozen parameters is not supported")
    return {names[unit]: unit for unit in units}
