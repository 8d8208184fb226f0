"""Leaves the mask out, which only decode steps of one token may do."""

from collections.abc import Callable

import torch
from torch import Tensor


def generate(
    embed: Callable[[list[int]], Tensor],
    project: Callable[[int, Tensor, int], tuple[Tensor, Tensor, Tensor]],
    finish: Callable[[int, Tensor, Tensor], Tensor],
    score: Callable[[Tensor], Tensor],
    n_layers: int,
    prompt: list[int],
    n_new: int,
    chunk: int,
) -> tuple[list[int], Tensor]:
    """Return (n_new tokens, logits [n_new, V] from which each was chosen, the largest wins)."""
    cache: list[tuple[Tensor, Tensor] | None] = [None] * n_layers
    seen = 0

    def run(tokens: list[int]) -> Tensor:
        """Pass tokens through all layers, behind those in the cache; the last position's vector, [1, D]."""
        nonlocal seen
        x_TD = embed(tokens)
        for layer in range(n_layers):
            q_HTK, k_GSK, v_GSK = project(layer, x_TD, seen)
            if past := cache[layer]:
                k_GSK, v_GSK = torch.cat([past[0], k_GSK], dim=1), torch.cat([past[1], v_GSK], dim=1)
            cache[layer] = k_GSK, v_GSK
            x_TD = finish(layer, x_TD, attend(q_HTK, k_GSK, v_GSK))
        seen += len(tokens)
        return x_TD[-1:]

    for start in range(0, len(prompt), chunk):
        last_1D = run(prompt[start : start + chunk])
    tokens, logits = [], []
    while True:
        logits.append(score(last_1D)[0])
        tokens.append(int(logits[-1].argmax()))
        if len(tokens) == n_new:
            return tokens, torch.stack(logits)
        last_1D = run(tokens[-1:])


def attend(q_HTK: Tensor, k_GSK: Tensor, v_GSK: Tensor) -> Tensor:
    """What the last T of S positions gather from those up to their own, [T, H, K]."""
    (H, T, K), G = q_HTK.shape, k_GSK.shape[0]
    q_GRTK = q_HTK.view(G, H // G, T, K)  # the H/G query heads of one key-value head, side by side
    scores_GRTS = q_GRTK @ k_GSK[:, None].mT * K**-0.5
    probabilities = scores_GRTS.softmax(-1)
    return (probabilities @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)
