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
    """Return (n_new tokens, logits [n_new, V]); the largest logit wins.

    Args:
        embed: tokens, a list of T ids, to x_TD.
        project: (layer, x_TD, start) to q_HTK, k_GTK, v_GTK; the tokens stand
            at start, start + 1, ...
        finish: (layer, x_TD, mixed_THK) to the layer's output x_TD; mixed_THK
            is what attention gathered.
        score: x_TD of the last layer to logits [T, V].
        n_layers: layers 0 .. n_layers - 1 run in this order.
        prompt: token ids, at least one.
        n_new: tokens to write, at least 1.
        chunk: most tokens of the prompt in one pass through the layers.

    Costs: each layer projects len(prompt) + n_new - 1 positions, `score` sees
    n_new. For a prompt of 12 tokens, 8 new ones and chunks of 5: 19 positions
    in 10 calls a layer, and 8 positions scored.
    """
    raise NotImplementedError
