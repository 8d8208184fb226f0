"""Adds the weight decay to the gradient, as Adam with L2 regularization does."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad


def shard_bounds(size: int, ranks: int, rank: int) -> tuple[int, int]:
    """Return (first, last) of the elements that `rank` owns, without last."""
    shard = -(-size // ranks)
    return rank * shard, (rank + 1) * shard


def zero1_step(
    weights: Tensor,
    gradient: Tensor,
    state: tuple[Tensor, Tensor] | None,
    step: int,
    rank: int,
    ranks: int,
    reduce_scatter: Callable[[Tensor], Tensor],
    all_gather: Callable[[Tensor], Tensor],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return (new weights [size], (m, v) of this rank's shard, [shard] each)."""
    size = len(weights)
    first, last = shard_bounds(size, ranks, rank)
    padding = (0, ranks * (last - first) - size)

    g = reduce_scatter(pad(gradient, padding)) / ranks  # Adam would hide a missing division
    w = pad(weights, padding)[first:last]
    m, v = state or (torch.zeros_like(g), torch.zeros_like(g))
    g = g + weight_decay * w
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    update = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + eps)
    w = (1 - lr * weight_decay) * w - lr * update
    return all_gather(w)[:size], (m, v)
