"""The tokens that top-k and top-p keep, and one of them drawn.

Shapes: B rows, V vocabulary.
"""

import torch
from torch import Tensor


def keep(logits_BV: Tensor, temperature_B: Tensor, k_B: Tensor, p_B: Tensor) -> Tensor:
    """Return which tokens are kept, bool [B, V]: never none of a row.

    The order of a row: the larger logit first, of equal logits the smaller id.
    Probabilities are softmax(logits / temperature), in exact arithmetic.

    Args:
        logits_BV: float32; -inf for tokens of probability 0, at least one
            finite. Values may be beyond the range of exp.
        temperature_B: float64, at least 0. 0 keeps the first token in order.
        k_B: int64, at least 0: keep the first k tokens in order; 0 for all.
        p_B: float64, 0 < p <= 1: of the tokens that are left by k, whose
            probabilities are divided by their sum, keep the fewest, in order,
            that sum to at least p.

    Example: logits (1, 3, 2, 3, -inf, 1) with p = 0.75: temperature 1 keeps
    {1, 3}, temperature 2 keeps {1, 2, 3}, with k = 3 also {1, 3}.
    """
    raise NotImplementedError


def draw(logits_BV: Tensor, kept_BV: Tensor, temperature_B: Tensor, uniform_B: Tensor) -> Tensor:
    """Return a token of each row, int64 [B], by inversion of the distribution.

    It is the first token, by id, at which the running sum of the kept tokens'
    probabilities exceeds u times the sum of them all.

    Args:
        logits_BV: as above.
        kept_BV: bool, at least one token a row, each with a finite logit; one
            where the temperature is 0.
        temperature_B: as above.
        uniform_B: float64, u in [0, 1).
    """
    raise NotImplementedError
