"""The time and memory of a training step before it is run: data parallelism or ZeRO, and a pipeline across them.

With Ψ parameters, T tokens a step and p stages of a pipeline on each of d data-parallel groups, at P FLOP/s:

    arithmetic   6 Ψ T / (d p P)
    collectives  `memory.step_traffic` of Ψ/p parameters on d devices, at the collective bandwidth of the cluster
    messages     2 m activations of 2 bytes per element (m micro-batches: m forward, m gradients back), by one NIC
    bubble       (p - 1) / (m + p - 1) of the time

A step takes at least the larger of arithmetic with its bubble and of all sending, and at most their sum. Held to the
throughput that llm-foundry publishes for 8 to 512 GPUs (tests/parallel/test_planning.py). Left out: the FLOPs of
attention's scores, latency, and whatever slows small micro-batches down. Simulators of production (Calculon,
ASTRA-sim) count operator by operator and hop by hop.
"""

from dataclasses import dataclass

from sysai.hardware.network import Cluster
from sysai.models.formulas.memory import MIXED_ADAM, Recipe
from sysai.parallel.memory import shard_size, state_memory, step_traffic

ACTIVATION_BYTES = 2


@dataclass(frozen=True)
class Plan:
    """What a device of a plan does in a step.

    Attributes:
        micro_batches: forward and backward passes of a step.
        states: bytes of weights, gradients and optimizer state.
        kept: bytes of activations, if each layer keeps its input and recomputes the rest.
        compute: seconds of arithmetic.
        collectives: seconds in which gradients and weights are sent.
        messages: seconds in which activations and their gradients are sent between stages.
        bubble: share of the time in which the device waits for other stages.
    """

    micro_batches: int
    states: int
    kept: int
    compute: float
    collectives: float
    messages: float
    bubble: float

    @property
    def sending(self) -> float:
        """Seconds of all sending."""
        return self.collectives + self.messages

    @property
    def seconds(self) -> float:
        """The least seconds of a step: all sending hides, or all arithmetic."""
        return max(self.compute / (1 - self.bubble), self.sending)


def plan(
    *,
    parameters: int,
    n_layers: int,
    d_model: int,
    tokens: int,
    micro_batch: int,
    data: int,
    pipeline: int = 1,
    stage: int,
    flops: float,
    cluster: Cluster,
    recipe: Recipe = MIXED_ADAM,
) -> Plan:
    """Plan a step. The `data` devices that hold the same layers are neighbours; stages lie in different nodes.

    Args:
        parameters: of the whole model.
        tokens: of a whole step.
        micro_batch: tokens of a micro-batch on one device.
        data: devices among which examples are divided.
        pipeline: stages among which layers are divided.
        stage: of ZeRO, 0 to 3, over the `data` devices.
        flops: FLOP/s that a device attains while it computes, in FLOPs of the model.

    Raises:
        ValueError: tokens that do not fill whole micro-batches on `data` devices.
    """
    if tokens % (data * micro_batch):
        raise ValueError(f"{tokens} tokens are no multiple of {data} devices x {micro_batch} tokens a micro-batch")
    m = tokens // (data * micro_batch)
    own = shard_size(parameters, pipeline)
    activation = ACTIVATION_BYTES * micro_batch * d_model
    sent = step_traffic(own, data, stage, recipe, m)
    return Plan(
        micro_batches=m,
        states=state_memory(own, data, stage, recipe).total,
        kept=activation * n_layers * min(pipeline, m) // pipeline,
        compute=6 * parameters * tokens / (data * pipeline * flops),
        collectives=sent / cluster.collective_bandwidth(data),
        messages=(pipeline > 1) * 2 * m * activation / cluster.point_to_point_bandwidth,
        bubble=(pipeline - 1) / (m + pipeline - 1),
    )
