"""Which stage of ZeRO a model needs on a cluster, and what it sends."""

from sysai.models.formulas.memory import Recipe


def plan(
    parameters: int,
    largest_unit: int,
    devices: int,
    memory: int,
    activations: int,
    recipe: Recipe,
    micro_batches: int,
    gpus_per_node: int,
    nics_per_node: int,
    link: float,
    nic: float,
) -> tuple[int, int, int, float] | None:
    """Return (stage, bytes held, bytes sent a step, seconds), or None.

    Args:
        parameters: of the whole model.
        largest_unit: parameters of the largest unit, of which stage 3 gathers
            two at a time.
        devices: how many devices share the work.
        memory: bytes of one device.
        activations: bytes that they take on each device, in every stage.
        recipe: bytes per parameter: recipe.weights, recipe.gradients,
            recipe.optimizer.
        micro_batches: forward and backward passes of a step.
        gpus_per_node: the devices are neighbours, and fill node after node.
        nics_per_node: network cards of a node.
        link: bytes/s that a GPU sends to the others of its node.
        nic: bytes/s that a network card sends.

    Returns:
        The lowest stage, 0 to 3, that fits into the memory, and what each
        device holds and sends. None if no stage fits.

    Example: 8_030_261_248 parameters, 8 devices of 80e9 bytes, 20e9 for
    activations, 2 + 2 + 12 bytes per parameter, 1 micro-batch, 8 GPUs and 8
    NICs per node, 450e9 and 50e9 bytes/s: stage 1, 64.2e9 bytes held, 28.1e9
    sent, 0.062 s.
    """
    raise NotImplementedError
