"""Causal self-attention: every position mixes the values of the positions before it, by similarity.

    scores = q k^T / sqrt(K),   probabilities = softmax(scores + mask),   output = probabilities v

Cost per layer: the four projections 4 * B * T * D * K * (H + N) FLOPs; scores and output 4 * B * H * T * S * K,
half of it on positions that the causal mask then hides. The scores are written out, B * H * T * S elements:
that is what FlashAttention avoids (Dao et al., arXiv 2205.14135). Grouped queries: Ainslie et al., arXiv 2305.13245.

Shapes: B batch, T new positions, S all positions, D model, H query heads, N key-value heads, K head size.
"""

import torch
from torch import Tensor, nn

from sysai.models.config import ModelConfig
from sysai.models.kv_cache import KVCache
from sysai.models.layers import RMSNorm, rotate


def causal_mask(new: int, past: int, like: Tensor) -> Tensor | None:
    """[T, S] to add to the scores: 0 where a new position may look, -inf at its future. One position sees all."""
    if new == 1:
        return None
    mask_TS = torch.full((new, past + new), float("-inf"), device=like.device, dtype=like.dtype)
    return mask_TS.triu(past + 1)


def attend(q_BHTK: Tensor, k_BNSK: Tensor, v_BNSK: Tensor, mask_TS: Tensor | None) -> Tensor:
    """Attention of H query heads over N shared key-value heads: [B, H, T, K].

    The H/N queries that share a key-value head become rows of one matrix, so that keys and values are
    read once and never repeated. A mask of [B, 1, T, S] is each sequence's own.
    """
    B, H, T, K = q_BHTK.shape
    N, S = k_BNSK.shape[1:3]
    rows = q_BHTK.reshape(B, N, H // N * T, K) * K**-0.5
    scores_BHTS = (rows @ k_BNSK.mT).view(B, H, T, S)
    if mask_TS is not None:
        scores_BHTS += mask_TS
    probabilities = scores_BHTS.softmax(-1).view(B, N, H // N * T, S)
    return (probabilities @ v_BNSK).view(B, H, T, -1)


class Attention(nn.Module):
    """Multi-head attention with grouped queries, and rotary positions where the model has them."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        D, H, N, K = config.d_model, config.n_heads, config.n_kv_heads, config.head_dim
        self.layer, self.head_dim = layer, K
        self.query = nn.Linear(D, H * K, bias=config.bias)
        self.key = nn.Linear(D, N * K, bias=config.bias)
        self.value = nn.Linear(D, N * K, bias=config.bias)
        self.output = nn.Linear(H * K, D, bias=config.bias)
        self.query_norm = RMSNorm(K, config.norm_eps) if config.qk_norm else nn.Identity()
        self.key_norm = RMSNorm(K, config.norm_eps) if config.qk_norm else nn.Identity()

    def forward(
        self,
        x_BTD: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask_TS: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        """[B, T, D] to [B, T, D]; with a cache, the new positions also see those in it."""
        q_BHTK = self.query_norm(self._heads(self.query(x_BTD)))
        k_BNTK = self.key_norm(self._heads(self.key(x_BTD)))
        v_BNTK = self._heads(self.value(x_BTD))
        if rotation is not None:
            q_BHTK, k_BNTK = rotate(q_BHTK, rotation), rotate(k_BNTK, rotation)
        if cache is not None:
            k_BNTK, v_BNTK = cache.update(self.layer, k_BNTK, v_BNTK)
        mixed_BHTK = attend(q_BHTK, k_BNTK, v_BNTK, mask_TS)
        return self.output(mixed_BHTK.transpose(1, 2).flatten(2))

    def _heads(self, x_BTE: Tensor) -> Tensor:
        """[B, T, heads * K] to [B, heads, T, K]."""
        return x_BTE.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
