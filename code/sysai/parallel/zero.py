"""ZeRO, stages 1 and 2: each rank keeps and updates one part of the optimizer's state, not all of it.

An elementwise optimizer (SGD, Adam, AdamW ...) treats every parameter by itself, so N ranks can each update 1/N
of them, whatever tensors these belong to. A step is

    reduce-scatter    rank r gets the mean gradient of its part        Ψ (N-1)/N elements sent
    update            of that part, with that part's state             Ψ/N elements
    all-gather        the new weights                                  Ψ (N-1)/N

which sends what an all-reduce sends, for an optimizer N times smaller. Stage 1 keeps whole gradients, as a plain
model does, and beside them the mean of its part. Stage 2 keeps that alone: a bucket's gradients exist from the
first of them until they have been reduced.

Rajbhandari et al. 2020, ZeRO, arXiv 1910.02054, section 5. Production (DeepSpeed, torch's ZeroRedundancyOptimizer)
adds fp32 copies of 16-bit weights, offloading, and gathers overlapped with the next forward pass.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sysai.distributed.collectives import Communicator
from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import Work
from sysai.parallel.bucket_policy import MIB, assign_buckets
from sysai.parallel.buckets import FlatLayout, Reducer, by_dtype, clip_shards
from sysai.parallel.communication_stream import CommunicationStream


class _Bucket:
    """Parameters that live in one flat buffer, of which this rank updates `shard`."""

    def __init__(self, parameters: list[nn.Parameter], communicator: Communicator, axis: MeshAxis) -> None:
        self.parameters = parameters
        self.layout = FlatLayout(parameters, axis.size)
        self.flat = self.layout.flatten(parameters, parameters[0].dtype)
        communicator.broadcast(self.flat)
        for parameter, view in zip(parameters, self.layout.views(self.flat), strict=True):
            parameter.data = view
            parameter.is_sharded = True
        self.shard = nn.Parameter(self.layout.shard(self.flat, axis.rank))
        self.gradients: Tensor | None = None  # the whole bucket's, of this rank alone
        self.grad_views: dict[nn.Parameter, Tensor] = {}

    def open(self) -> None:
        """Make room for the gradients of the whole bucket."""
        self.gradients = torch.zeros_like(self.flat)
        self.grad_views = dict(zip(self.parameters, self.layout.views(self.gradients), strict=True))

    def close(self) -> None:
        """Free that room."""
        self.gradients, self.grad_views = None, {}


class ZeroOptimizer(torch.optim.Optimizer):
    """`optimizer_class` over `params`, its state divided among the ranks of `axis`.

        optimizer = ZeroOptimizer(model.parameters(), torch.optim.AdamW, world["world"], stage=2, lr=1e-3)
        next_token_loss(model, tokens, targets).backward()      # this rank's part of the batch
        optimizer.clip_grad_norm(1.0)
        optimizer.step()
        optimizer.zero_grad()

    It replaces `DistributedDataParallel`: gradients are averaged over the axis during the backward pass. Parameters
    start as rank 0's; buffers are left alone. After the backward pass `p.grad` is, in stage 1, this rank's own
    gradient, and None in stage 2. Every backward pass must reach at least one parameter on every rank; one that it
    does not reach counts as a gradient of zero. `communicator.traffic` counts what this rank sends and receives.
    Whatever looks at `p.grad` does not see the mean: use this class's `zero_grad` and `clip_grad_norm`, not the
    model's and torch's, and no GradScaler.

    Args:
        params: parameters, or groups of them with hyperparameters of their own, as for any torch optimizer.
        optimizer_class: an optimizer that treats elements by themselves (not, e.g., Muon, LBFGS, Adafactor).
        axis: the ranks to average over and to divide the state among.
        stage: 1 or 2.
        bucket_bytes: largest bucket; see `assign_buckets`. Buckets are sent from the last group to the first, so
            groups that are spread over the whole model delay each other.
        defaults: hyperparameters of `optimizer_class`.

    Raises:
        ValueError: another stage, or a parameter that requires no gradient.
    """

    def __init__(
        self,
        params: Iterable,
        optimizer_class: Callable[..., torch.optim.Optimizer],
        axis: MeshAxis,
        stage: int = 1,
        bucket_bytes: int = 25 * MIB,
        **defaults,
    ) -> None:
        if stage not in (1, 2):
            raise ValueError(f"stage {stage} is not 1 or 2: 0 is DistributedDataParallel, 3 FullyShardedDataParallel")
        super().__init__(params, defaults)
        self.axis, self.stage = axis, stage
        self.communicator, self._stream = Communicator(axis), CommunicationStream(axis.device)
        self._by_group = [self._make_buckets(group["params"], bucket_bytes) for group in self.param_groups]
        self._buckets = [bucket for group in reversed(self._by_group) for bucket in group]
        self._bucket_of = {parameter: bucket for bucket in self._buckets for parameter in bucket.parameters}
        self._inner = optimizer_class(
            [
                {**group, "params": [bucket.shard for bucket in buckets]}
                for group, buckets in zip(self.param_groups, self._by_group, strict=True)
            ],
            **defaults,
        )
        self._share_hyperparameters(self._inner.param_groups, self.param_groups)
        self._pending: list[tuple[_Bucket, Tensor, Work]] = []
        self._reducer = Reducer([b.parameters for b in self._buckets], self._store, self._send, self._finish)

    def add_param_group(self, param_group: dict) -> None:
        """Called by torch for each group while the optimizer is made.

        Raises:
            ValueError: afterwards, when the buckets are fixed.
        """
        if hasattr(self, "_inner"):
            raise ValueError("the groups are fixed when ZeroOptimizer is made: pass them all to it")
        super().add_param_group(param_group)

    def _make_buckets(self, parameters: list[nn.Parameter], bucket_bytes: int) -> list[_Bucket]:
        if not all(parameter.requires_grad for parameter in parameters):
            raise ValueError("a parameter requires no gradient: pass [p for p in params if p.requires_grad]")
        return [
            _Bucket([same_dtype[i] for i in indices], self.communicator, self.axis)
            for same_dtype in by_dtype(parameters)
            for indices in assign_buckets([parameter.nbytes for parameter in same_dtype], bucket_bytes)
        ]

    # During the backward pass -----------------------------------------------------------------------------------

    def _store(self, parameter: nn.Parameter) -> None:
        """Move a gradient into its bucket."""
        bucket = self._bucket_of[parameter]
        if bucket.gradients is None:
            bucket.open()
        view = bucket.grad_views[parameter]
        if parameter.grad is None:
            view.zero_()
        elif parameter.grad is not view:
            view.copy_(parameter.grad)
        parameter.grad = view if self.stage == 1 else None

    def _send(self, number: int) -> None:
        """Reduce a complete bucket, of which this rank keeps the sum of its part."""
        if self.stage == 2:
            self._finish()  # one at a time, so that few buckets hold gradients at once
        bucket = self._buckets[number]
        total = torch.empty_like(bucket.shard, requires_grad=False)
        work = self._stream.submit(self.communicator.reduce_scatter, bucket.gradients, out=total)
        self._pending.append((bucket, total, work))

    def _finish(self) -> None:
        """Wait for what is being reduced, and keep the mean."""
        pending, self._pending = self._pending, []
        for bucket, total, work in pending:
            work.wait()
            total.div_(self.axis.size)
            if self.stage == 1 or bucket.shard.grad is None:  # stage 1 has added up whole gradients before
                bucket.shard.grad = total
            else:
                bucket.shard.grad += total
            if self.stage == 2:
                bucket.close()

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes inside add up this rank's own gradients; the first one outside averages the sum.

        Raises:
            ValueError: stage 2, which has no room for whole gradients: every backward pass reduces them.
        """
        if self.stage == 2:
            raise ValueError(
                "stage 2 keeps no whole gradients: leave no_sync out, each backward pass adds to the shards"
            )
        self._reducer.enabled = False
        try:
            yield
        finally:
            self._reducer.enabled = True

    # The step ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update this rank's part of the parameters and gather the others'.

        Raises:
            RuntimeError: the last backward pass ran under `no_sync`, so that its gradients are not in the mean.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._reducer.unsent:
            raise RuntimeError(
                "the last backward pass ran under no_sync: let the last one before a step run outside it"
            )
        self._share_hyperparameters(self.param_groups, self._inner.param_groups)
        self._inner.step()
        for bucket in self._buckets:
            self.communicator.all_gather(bucket.shard, out=bucket.flat)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, whole and in shards."""
        super().zero_grad(set_to_none)
        self._reducer.unsent = False
        self._inner.zero_grad(set_to_none)

    @torch.no_grad()
    def clip_grad_norm(self, max_norm: float) -> Tensor:
        """Scale the mean gradient so that its norm over all parameters is at most `max_norm`; return the norm."""
        gradients = [bucket.shard.grad for bucket in self._buckets if bucket.shard.grad is not None]
        return clip_shards(gradients, max_norm, self.communicator, self.axis)

    # Saving and loading -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """The whole state, as the plain `optimizer_class` would give it. All ranks call it together; all get it."""
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        numbers = {parameter: number for number, parameter in enumerate(parameters)}
        state: dict[int, dict] = {}
        for bucket in self._buckets:
            for key, value in self._inner.state.get(bucket.shard, {}).items():
                for parameter, own_value in zip(bucket.parameters, self._gather(bucket, value), strict=True):
                    state.setdefault(numbers[parameter], {})[key] = own_value
        groups = [{**group, "params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take this rank's part of a whole state, from `state_dict` or the plain optimizer, on any world size.

        Raises:
            ValueError: the groups do not have as many parameters as here.
        """
        saved = state_dict["param_groups"]
        if [len(group["params"]) for group in saved] != [len(group["params"]) for group in self.param_groups]:
            raise ValueError("the saved groups have other numbers of parameters: make the groups as when saving")
        state = {
            parameter: state_dict["state"].get(number, {})
            for group, saved_group in zip(self.param_groups, saved, strict=True)
            for parameter, number in zip(group["params"], saved_group["params"], strict=True)
        }
        self._share_hyperparameters(saved, self.param_groups)
        self._inner.state.clear()
        for bucket in self._buckets:
            for key in state[bucket.parameters[0]]:
                values = [state[parameter][key] for parameter in bucket.parameters]
                self._inner.state[bucket.shard][key] = self._scatter(bucket, values)

    def _gather(self, bucket: _Bucket, value: object) -> list:
        """One value of a shard's state for each parameter of the bucket."""
        if not is_per_element(value):
            return [value.clone() if isinstance(value, Tensor) else value for _ in bucket.parameters]
        flat = torch.empty(bucket.layout.padded_numel, dtype=value.dtype, device=value.device)
        self.communicator.all_gather(value, out=flat)
        return [view.clone() for view in bucket.layout.views(flat)]

    def _scatter(self, bucket: _Bucket, values: list) -> object:
        """The inverse of `_gather`: this rank's shard of the values of all parameters."""
        if not is_per_element(values[0]):
            return values[0].clone() if isinstance(values[0], Tensor) else values[0]
        return bucket.layout.shard(bucket.layout.flatten(values, values[0].dtype), self.axis.rank).clone()

    @staticmethod
    def _share_hyperparameters(source: list[dict], target: list[dict]) -> None:
        for from_group, to_group in zip(source, target, strict=True):
            to_group.update({key: value for key, value in from_group.items() if key != "params"})


def is_per_element(value: object) -> bool:
    """Whether an optimizer's state has a value for each element (a moment) or one for all (the step)."""
    return isinstance(value, Tensor) and value.dim() > 0
