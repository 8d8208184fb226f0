"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "decay_in_the_gradient",
        "Adds the weight decay to the gradient, as Adam with L2 regularization does.",
        told="The weight decay went into the gradient, as in Adam with L2",
        edits=[
            (
                "    m, v = state or (torch.zeros_like(g), torch.zeros_like(g))",
                """\
    m, v = state or (torch.zeros_like(g), torch.zeros_like(g))
    g = g + weight_decay * w""",
            ),
        ],
    ),
    Fault(
        "no_bias_correction",
        "Forgets that the moments began at zero.",
        told="The moments are not corrected for having begun at zero:",
        edits=[
            (
                "update = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + eps)",
                "update = m / (v.sqrt() + eps)",
            ),
        ],
    ),
    Fault(
        "own_gradient",
        "Updates its shard by this rank's own gradient, and asks nobody else.",
        told="This rank used its own gradient alone. Its shard's update",
        edits=[
            (
                "g = reduce_scatter(pad(gradient, padding)) / ranks  # Adam would hide a missing division",
                "g = pad(gradient, padding)[first:last]",
            ),
        ],
    ),
    Fault(
        "shard_cut_off",
        "Ends the last shard where the vector ends.",
        told="You cut the shard off at the end of the vector. Collectives",
        edits=[
            (
                "return rank * shard, (rank + 1) * shard",
                "return min(size, rank * shard), min(size, (rank + 1) * shard)",
            ),
        ],
    ),
    Fault(
        "sum_not_mean",
        "Takes the sum of the gradients for their mean; Adam's weights hardly show it.",
        told="This is the moment of the sum over ranks. A batch's",
        edits=[
            (
                "g = reduce_scatter(pad(gradient, padding)) / ranks  # Adam would hide a missing division",
                "g = reduce_scatter(pad(gradient, padding))",
            ),
        ],
    ),
    Fault(
        "whole_state",
        "Gathers the mean gradient and updates everything everywhere, which needs the whole state.",
        told="These are the moments of all parameters, as plain data",
        text="""\
import torch
from torch.nn.functional import pad


def shard_bounds(size, ranks, rank):
    shard = -(-size // ranks)
    return rank * shard, (rank + 1) * shard


def zero1_step(
    weights,
    gradient,
    state,
    step,
    rank,
    ranks,
    reduce_scatter,
    all_gather,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
):
    size = len(weights)
    first, last = shard_bounds(size, ranks, rank)
    g = all_gather(reduce_scatter(pad(gradient, (0, ranks * (last - first) - size))) / ranks)[:size]
    m, v = state or (torch.zeros_like(g), torch.zeros_like(g))
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    update = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + eps)
    return (1 - lr * weight_decay) * weights - lr * update, (m, v)
""",
    ),
]
