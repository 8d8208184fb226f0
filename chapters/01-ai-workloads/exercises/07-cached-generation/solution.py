"""Greedy generation with a KV cache, the prompt read chunk by chunk.

Shapes: T positions of one call, S positions so far, D model, H query heads, G
key-value heads, K head size, V vocabulary.
"""

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
    """Return (n_new tokens, logits [n_new, V]); the largest logit wins."""
    cache: list[tuple[Tensor, Tensor] | None] = [None] * n_layers
    seen = 0

    def run(tokens: list[int]) -> Tensor:
        """Pass tokens through all layers; the last one's vector, [1, D]."""
        nonlocal seen
        x_TD = embed(tokens)
        for layer in range(n_layers):
            q_HTK, k_GSK, v_GSK = project(layer, x_TD, seen)
            if past := cache[layer]:
                k_GSK = torch.cat([past[0], k_GSK], dim=1)
                v_GSK = torch.cat([past[1], v_GSK], dim=1)
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
    """What the last T of S positions gather from the past, [T, H, K]."""
    (H, T, K), (G, S, _) = q_HTK.shape, k_GSK.shape
    q_GRTK = q_HTK.view(G, H // G, T, K)  # R = H/G share a key-value head
    scores_GRTS = q_GRTK @ k_GSK[:, None].mT * K**-0.5
    ahead_TS = torch.ones(T, S, dtype=torch.bool).triu(S - T + 1)
    scores_GRTS = scores_GRTS.masked_fill(ahead_TS, float("-inf"))
    return (scores_GRTS.softmax(-1) @ v_GSK[:, None]).view(H, T, K).transpose(0, 1)
