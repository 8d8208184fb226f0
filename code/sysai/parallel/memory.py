"""Memory and traffic of data parallelism and the three stages of ZeRO, per device and step.

With Ψ parameters on N devices, and of each parameter w bytes of weight, g of gradient, o of optimizer state:

    stage                 bytes held                     elements sent per rank and step
    0  data parallel      (w + g + o) Ψ                  2 Ψ (N-1)/N    all-reduce of the gradients
    1  optimizer state    (w + g) Ψ + o Ψ/N              2 Ψ (N-1)/N    reduce-scatter, all-gather of the weights
    2  and gradients      w Ψ + (g + o) Ψ/N              2 Ψ (N-1)/N    the same
    3  and weights        (w + g + o) Ψ/N                3 Ψ (N-1)/N    all-gather once more, for the backward pass

Rajbhandari et al. 2020, ZeRO, arXiv 1910.02054, sections 5 and 7, table 1. A flat buffer is padded until N
divides it, so Ψ/N is rounded up; a model in several buffers (buckets, units) is the sum over them. Not in these
formulas: activations, the buckets in which gradients travel, and the units that stage 3 gathers
(`gathered_elements`). Standard library only, because it also runs in the reader's browser.
"""

from collections.abc import Sequence

from sysai.models.formulas.memory import MIXED_ADAM, MemoryBill, Recipe

STAGES = {0: "data parallel", 1: "optimizer state", 2: "optimizer state, gradients", 3: "all state"}


def shard_size(parameters: int, devices: int) -> int:
    """Elements of one rank's shard of a flat buffer: Ψ/N, rounded up.

    Raises:
        ValueError: parameters is negative, or devices is not positive.
    """
    if parameters < 0 or devices < 1:
        raise ValueError(f"{parameters} parameters on {devices} devices: give at least 0 and at least 1")
    return -(-parameters // devices)


def state_memory(parameters: int, devices: int, stage: int, recipe: Recipe = MIXED_ADAM) -> MemoryBill:
    """Bytes of weights, gradients and optimizer state that each device holds between two steps.

    Raises:
        ValueError: the stage is not 0, 1, 2 or 3.
    """
    _check(stage)
    shard = shard_size(parameters, devices)
    return MemoryBill(
        weights=recipe.weights * (shard if stage >= 3 else parameters),
        gradients=recipe.gradients * (shard if stage >= 2 else parameters),
        optimizer=recipe.optimizer * (shard if stage >= 1 else parameters),
    )


def step_traffic(parameters: int, devices: int, stage: int, recipe: Recipe = MIXED_ADAM, micro_batches: int = 1) -> int:
    """Bytes that each rank sends in a training step of `micro_batches` forward and backward passes.

    Stages 0 and 1 keep whole gradients, so they reduce once a step. Stage 2 reduces after every backward pass,
    and stage 3 also gathers twice for every micro-batch.

    Raises:
        ValueError: the stage is not 0, 1, 2 or 3, or micro_batches is not positive.
    """
    _check(stage)
    if micro_batches < 1:
        raise ValueError(f"a step has at least one micro-batch, got {micro_batches}")
    once = shard_size(parameters, devices) * (devices - 1)  # a ring passes N-1 shards on
    reductions = micro_batches if stage >= 2 else 1
    gathers = 2 * micro_batches if stage == 3 else 1
    if stage == 0:
        return 2 * once * recipe.gradients
    return once * (reductions * recipe.gradients + gathers * recipe.weights)


def gathered_elements(units: Sequence[int], root: int = 0, prefetch: bool = True) -> int:
    """Elements that stage 3 holds gathered at most: the root, the unit at work, and the one that comes next.

    Args:
        units: elements of each unit (padded), in the order of the forward pass.
        root: elements that belong to no unit; they stay gathered from the forward to the backward pass.
    """
    alive = 2 if prefetch else 1
    return root + max((sum(units[i : i + alive]) for i in range(len(units))), default=0)


def _check(stage: int) -> None:
    if stage not in STAGES:
        raise ValueError(f"stage {stage} is not one of 0 (data parallel), 1, 2, 3 (ZeRO)")
