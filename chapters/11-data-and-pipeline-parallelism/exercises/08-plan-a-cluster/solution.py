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
    """Return (stage, bytes held, bytes sent a step, seconds), or None."""
    w, g, o = recipe.weights, recipe.gradients, recipe.optimizer
    shard = -(-parameters // devices)
    gathered = 2 * largest_unit * w
    held = [
        (w + g + o) * parameters,
        (w + g) * parameters + o * shard,
        w * parameters + (g + o) * shard,
        (w + g + o) * shard + gathered,
    ]
    # bytes that a shard costs in a step: reduce-scatters of gradients, all-gathers of gradients or weights
    rounds = [g + g, g + w, micro_batches * g + w, micro_batches * (g + w + w)]
    between_nodes = min(link, nics_per_node * nic)  # a ring for each NIC
    bandwidth = link if devices <= gpus_per_node else between_nodes
    for stage in range(4):
        if held[stage] + activations <= memory:
            sent = rounds[stage] * shard * (devices - 1)
            return stage, held[stage] + activations, sent, sent / bandwidth
    return None
