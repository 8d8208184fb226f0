"""Training with a pipeline: executes any schedule on the ranks of an axis, one device each.

    pipeline = Pipeline(zb_h1(p, m), stages, world["pp"], loss=cross_entropy)
    step = pipeline.step(tokens, targets)        # gradients are in the parameters' .grad, as after loss.backward()

Each rank goes through its list of operations and blocks where a value is missing; there is no other coordination.
The loss of a micro-batch is divided by their number m, so that gradients are those of the whole batch's mean.
Its messages are counted in `transport.traffic`. A receive is started before a send that must not wait for it, which
gloo and shared memory allow; NCCL runs the messages of a group one after the other and would need a group for each
direction between two ranks. Production (torch.distributed.pipelining, Megatron-LM) adds stages of
several inputs and outputs, inference, and overlap with data-parallel and tensor-parallel communication.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sysai.core.device import synchronize
from sysai.distributed.mesh import MeshAxis
from sysai.distributed.p2p import Transport
from sysai.distributed.shared_memory_transport import transport_for
from sysai.parallel.pipeline.mailbox import Mailbox, Spec
from sysai.parallel.pipeline.schedules import BW, B, F, Operation, PassOutput, PipelineSchedule, W
from sysai.parallel.pipeline.split_backward import WeightGradientsLater
from sysai.parallel.pipeline.timeline import OperationInterval, Timeline
from sysai.parallel.pipeline.validate import validate

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StepResult:
    """The result of a step on one rank.

    Attributes:
        loss: the mean over the batch, on the rank of the last stage; elsewhere None.
        peak_held: the most pairs (stage, micro-batch) whose activations were stored at once.
        intervals: when each operation computed, if that was recorded: seconds since all ranks began.
    """

    loss: Tensor | None
    peak_held: int
    intervals: tuple[OperationInterval, ...]


class Pipeline:
    """The stages of this rank, and the schedule that all ranks follow.

    Args:
        schedule: on as many devices as `axis` has ranks.
        stages: this rank's stages by number; each takes one tensor and returns one.
        axis: the ranks of the pipeline.
        loss: mean loss of the last stage's output and the targets.
        transport: how messages travel; by default shared memory within a machine, sockets elsewhere.
        tied: parameters of which several stages hold a copy, by name, with those stages; their gradients are summed.

    Raises:
        ValueError: a wrong schedule, one for other devices or stages, or no transport for several GPUs.
    """

    def __init__(
        self,
        schedule: PipelineSchedule,
        stages: Mapping[int, nn.Module],
        axis: MeshAxis,
        loss: Loss,
        transport: Transport | None = None,
        tied: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        validate(schedule)
        if schedule.devices != axis.size:
            raise ValueError(
                f"{schedule.name} is for {schedule.devices} devices, axis {axis.name!r} has {axis.size} ranks: "
                f"make the schedule with p = {axis.size}"
            )
        if sorted(stages) != list(schedule.stages_on(axis.rank)):
            raise ValueError(
                f"rank {axis.rank} was given stages {sorted(stages)}: {schedule.name} puts "
                f"{list(schedule.stages_on(axis.rank))} on it"
            )
        self.schedule, self.stages, self.axis, self.loss = schedule, dict(stages), axis, loss
        self.transport = transport or _default_transport(axis)
        self._copies = self._held_elsewhere(tied or {})
        self._specs: dict[Spec, list[Spec]] = {}

    def step(self, inputs: Tensor, targets: Tensor, record: bool = False) -> StepResult:
        """Forward and backward of one batch, [B, ...] each, adding to the parameters' `.grad`. Collective.

        Every rank is given a batch of the same shape; only the first stage's rank reads `inputs`, only the last
        stage's reads `targets`. To record when operations ran, ranks start together and wait for their device.

        Raises:
            ValueError: the batch cannot be cut into equal micro-batches, or ZeRO or FSDP shards a tied parameter.
        """
        m = self.schedule.microbatches
        if len(inputs) % m or len(targets) != len(inputs):
            raise ValueError(
                f"a batch of {len(inputs)} inputs and {len(targets)} targets cannot be cut into {m} equal "
                f"micro-batches: use the same multiple of {m} for both"
            )
        if any(getattr(parameter, "is_sharded", False) for parameter in self._copies):
            raise ValueError(
                "ZeRO and FSDP divide the gradient of a tied parameter among ranks before its copies on other stages "
                "are added: use DistributedDataParallel for the stages, or a model whose weights are not tied"
            )
        specs = self._stage_outputs(inputs[: len(inputs) // m])
        earlier = [parameter.grad for parameter in self._copies]
        for parameter in self._copies:
            parameter.grad = None
        execution = _Execution(self, inputs.chunk(m), targets.chunk(m), specs, record)
        for operation in self.schedule.orders[self.axis.rank]:
            execution.run(operation)
        execution.mailbox.finish()
        for (parameter, ranks), before in zip(self._copies.items(), earlier, strict=True):
            total = self._sum_over(ranks, parameter.grad)
            parameter.grad = total if before is None else before + total
        return StepResult(execution.loss, execution.peak_held, tuple(execution.intervals))

    def timeline(self, step: StepResult) -> Timeline:
        """The recorded timeline of all ranks, on each of them. Collective.

        Raises:
            ValueError: the step was not recorded.
        """
        if not step.intervals:
            raise ValueError("nothing was recorded in this step: call step(inputs, targets, record=True)")
        devices: list = [None] * self.axis.size
        dist.all_gather_object(devices, step.intervals, group=self.axis.group)
        return Timeline(f"{self.schedule.name}, measured", tuple(devices))

    def _stage_outputs(self, microbatch: Tensor) -> list[Spec]:
        """Shape and type of each stage's output, which receivers must know; found once by running it on zeros."""
        entering = Spec(tuple(microbatch.shape), microbatch.dtype)
        if entering not in self._specs:
            specs = [entering]
            for stage, device in enumerate(self.schedule.device_of):
                mine = device == self.axis.rank
                answer = [_output_spec(self.stages[stage], specs[-1], self.axis.device) if mine else None]
                dist.broadcast_object_list(answer, src=self.axis.ranks[device], group=self.axis.group)
                specs += answer
            self._specs[entering] = specs[1:]
        return self._specs[entering]

    def _held_elsewhere(self, tied: Mapping[str, Sequence[int]]) -> dict[nn.Parameter, list[int]]:
        """This rank's parameters of which other ranks hold copies, with all those ranks."""
        copies = {}
        for name, holders in tied.items():
            ranks = sorted({self.schedule.device_of[stage] for stage in holders})
            if self.axis.rank in ranks and len(ranks) > 1:
                stage = next(self.stages[s] for s in holders if s in self.stages)
                copies[stage.get_parameter(name)] = ranks
        return copies

    def _sum_over(self, ranks: Sequence[int], gradient: Tensor) -> Tensor:
        """The sum of the ranks' gradients, added in the same order on each, so that copies stay equal to the bit."""
        parts = {rank: torch.empty_like(gradient) for rank in ranks} | {self.axis.rank: gradient}
        others = [rank for rank in ranks if rank != self.axis.rank]
        self.transport.start([(gradient, rank) for rank in others], [(parts[rank], rank) for rank in others]).wait()
        return torch.stack([parts[rank] for rank in ranks]).sum(0)


class _Stored(NamedTuple):
    """Input and output of a forward, kept for its backward; `later` where that comes in two passes."""

    x: Tensor
    y: Tensor
    later: WeightGradientsLater | None


class _Execution:
    """One step on one rank: what it has stored, and its operations."""

    def __init__(
        self,
        pipeline: Pipeline,
        inputs: Sequence[Tensor],
        targets: Sequence[Tensor],
        specs: Sequence[Spec],
        record: bool,
    ) -> None:
        self.pipeline, self.schedule = pipeline, pipeline.schedule
        self.inputs, self.targets, self.record = inputs, targets, record
        self.last = self.schedule.stages - 1
        self.split = {o[1:] for o in self.schedule.orders[pipeline.axis.rank] if o.kind == B}
        self.mailbox = Mailbox(self.schedule, pipeline.transport, specs)
        self.for_backward: dict[tuple[int, int], _Stored] = {}
        self.for_weights: dict[tuple[int, int], WeightGradientsLater] = {}
        self.loss: Tensor | None = None
        self.peak_held = 0
        self.intervals: list[OperationInterval] = []
        if record:
            dist.barrier(pipeline.axis.group)
        self.began = perf_counter()

    def run(self, operation: Operation) -> None:
        """Wait for what `operation` needs, then compute."""
        kind, stage, j = operation
        passes = {F: self._forward, B: self._backward, BW: self._backward, W: self._weights}
        arrived = self._receive(operation)
        start = self._now()
        passes[kind](stage, j, arrived)
        if self.record:
            self.intervals.append(OperationInterval(self.pipeline.axis.rank, operation, start, self._now()))
        self.peak_held = max(self.peak_held, len(self.for_backward) + len(self.for_weights))

    def _receive(self, operation: Operation) -> Tensor | None:
        kind, stage, j = operation
        if kind == F and stage > 0:
            return self.mailbox.recv(PassOutput("activation", stage - 1, j))
        if kind in (B, BW) and stage < self.last:
            return self.mailbox.recv(PassOutput("gradient", stage + 1, j))
        return None

    def _forward(self, stage: int, j: int, activation: Tensor | None) -> None:
        x = self.inputs[j] if activation is None else activation.requires_grad_()
        later = WeightGradientsLater() if (stage, j) in self.split else None
        with later or nullcontext():
            y = self.pipeline.stages[stage](x)
        if stage < self.last:
            self.mailbox.send(PassOutput("activation", stage, j), y.detach())
        else:
            y = self.pipeline.loss(y, self.targets[j]) / self.schedule.microbatches
            self.loss = y.detach() + (0 if self.loss is None else self.loss)
        self.for_backward[stage, j] = _Stored(x, y, later)

    def _backward(self, stage: int, j: int, gradient: Tensor | None) -> None:
        x, y, later = self.for_backward.pop((stage, j))
        if y.requires_grad:  # else a first stage without weights
            torch.autograd.backward(y, gradient)
        if stage > 0:
            self.mailbox.send(PassOutput("gradient", stage, j), torch.zeros_like(x) if x.grad is None else x.grad)
        if later:
            self.for_weights[stage, j] = later

    def _weights(self, stage: int, j: int, _: None) -> None:
        self.for_weights.pop((stage, j)).compute()

    def _now(self) -> float:
        if self.record:
            synchronize(self.pipeline.axis.device)
        return perf_counter() - self.began


def _output_spec(stage: nn.Module, entering: Spec, device: torch.device) -> Spec:
    """Run `stage` on zeros, in evaluation mode: no random numbers are used up, no running statistics changed."""
    training = {module: module.training for module in stage.modules()}
    stage.eval()
    with torch.no_grad():
        y = stage(torch.zeros(entering.shape, dtype=entering.dtype, device=device))
    for module, mode in training.items():
        module.training = mode
    if not isinstance(y, Tensor):
        raise ValueError(f"a stage must return one tensor, this one returned {type(y).__name__}: cut elsewhere")
    if not (y.is_floating_point() or y.is_complex()):
        raise ValueError(f"a stage returned {y.dtype}, through which no gradient comes back: cut elsewhere")
    return Spec(tuple(y.shape), y.dtype)


def _default_transport(axis: MeshAxis) -> Transport:
    if axis.device.type == "cuda" and axis.size > 1:
        raise ValueError(
            "over NCCL a receive that is started early holds up the sends after it: give Pipeline a transport "
            "with a group for each direction between two ranks, or run it on device='cpu'"
        )
    return transport_for(axis)
