"""Keeps tokens while the sum is within p, without the one that reaches it."""

import torch
from torch import Tensor


def keep(logits_BV: Tensor, temperature_B: Tensor, k_B: Tensor, p_B: Tensor) -> Tensor:
    V = logits_BV.shape[1]
    logits_BV = logits_BV.double()
    ids_BV = logits_BV.argsort(dim=1, descending=True, stable=True)
    rank_V = torch.arange(V)
    k_B1 = torch.where(temperature_B == 0, 1, torch.where(k_B == 0, V, k_B.clamp(max=V)))[:, None]
    weights_BV = _weights(logits_BV, temperature_B).gather(1, ids_BV).masked_fill(rank_V >= k_B1, 0.0)
    sums_BV = weights_BV.cumsum(1)
    needed_BV = (sums_BV <= p_B[:, None] * sums_BV[:, -1:]) | (p_B[:, None] == 1)
    finite_BV = logits_BV.gather(1, ids_BV) > -torch.inf
    head_BV = needed_BV & finite_BV & (rank_V < k_B1)
    return torch.zeros_like(head_BV).scatter(1, ids_BV, head_BV)


def draw(logits_BV: Tensor, kept_BV: Tensor, temperature_B: Tensor, uniform_B: Tensor) -> Tensor:
    weights_BV = _weights(logits_BV.double(), temperature_B).where(kept_BV, 0.0)
    sums_BV = weights_BV.cumsum(1)
    total_B1 = sums_BV[:, -1:]
    aim_B1 = uniform_B[:, None] * total_B1
    return torch.searchsorted(sums_BV, aim_B1, right=True)[:, 0]


def _weights(logits_BV: Tensor, temperature_B: Tensor) -> Tensor:
    below_BV = logits_BV - logits_BV.amax(dim=1, keepdim=True)
    return (below_BV / torch.where(temperature_B == 0, 1.0, temperature_B)[:, None]).exp()
