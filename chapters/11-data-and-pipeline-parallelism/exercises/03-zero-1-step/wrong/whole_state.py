"""Gathers the mean gradient and updates everything everywhere, which needs the whole state."""

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
