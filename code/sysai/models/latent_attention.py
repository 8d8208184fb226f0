"""Multi-head latent attention: keys and values of all heads are rebuilt from one short vector a position.

    latent = norm(W_down x) [R],   k_h = [W_k,h latent ; rotate(W_r x)],   v_h = W_v,h latent

The cache keeps R + P elements a position (P the shared rotary key) instead of 2 * H * K. This is the expanded
form: every step rebuilds keys and values of all S positions, 2 * B * S * R * H * (nope + v) FLOPs.
Production folds W_k and W_v into the query and the output instead, and never expands while decoding.
DeepSeek-V2, arXiv 2405.04434, section 2.1.

Shapes: B batch, T new positions, S all positions, D model, H heads, K head size, R latent, P rotary.
"""

import torch
from torch import Tensor, nn

from sysai.models.attention import attend
from sysai.models.config import ModelConfig
from sysai.models.kv_cache import KVCache
from sysai.models.layers import RMSNorm, rotate


class LatentAttention(nn.Module):
    """Attention through low-rank queries and a cached latent, as in DeepSeek-V2 and V3."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        mla, D, H = config.mla, config.d_model, config.n_heads
        self.layer, self.mla = layer, mla
        self.query_down = nn.Linear(D, mla.q_rank, bias=False)
        self.query_norm = RMSNorm(mla.q_rank, config.norm_eps)
        self.query_up = nn.Linear(mla.q_rank, H * config.head_dim, bias=False)
        self.latent_down = nn.Linear(D, mla.kv_rank + mla.rope_dim, bias=False)
        self.latent_norm = RMSNorm(mla.kv_rank, config.norm_eps)
        self.latent_up = nn.Linear(mla.kv_rank, H * (mla.nope_dim + mla.v_dim), bias=False)
        self.output = nn.Linear(H * mla.v_dim, D, bias=False)

    def forward(
        self,
        x_BTD: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask_TS: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        """[B, T, D] to [B, T, D]; with a cache, the new positions also see those in it."""
        q_BHTK = self._queries(x_BTD, rotation)
        latent_BTR, key_BTP = self.latent_down(x_BTD).split([self.mla.kv_rank, self.mla.rope_dim], dim=-1)
        latent_B1SR = self.latent_norm(latent_BTR)[:, None]
        key_B1SP = rotate(key_BTP[:, None], rotation)
        if cache is not None:
            latent_B1SR, key_B1SP = cache.update(self.layer, latent_B1SR, key_B1SP)
        k_BHSK, v_BHSK = self._expand(latent_B1SR, key_B1SP)
        mixed_BHTK = attend(q_BHTK, k_BHSK, v_BHSK, mask_TS)
        return self.output(mixed_BHTK.transpose(1, 2).flatten(2))

    def _queries(self, x_BTD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        q_BTE = self.query_up(self.query_norm(self.query_down(x_BTD)))
        head = self.mla.nope_dim + self.mla.rope_dim
        q_BHTK = q_BTE.unflatten(-1, (-1, head)).transpose(1, 2)
        plain, rotary = q_BHTK.split([self.mla.nope_dim, self.mla.rope_dim], dim=-1)
        return torch.cat([plain, rotate(rotary, rotation)], dim=-1)

    def _expand(self, latent_B1SR: Tensor, key_B1SP: Tensor) -> tuple[Tensor, Tensor]:
        """Rebuild every head's keys [B, H, S, K] and values [B, H, S, V] from the latent."""
        width = self.mla.nope_dim + self.mla.v_dim
        kv_BHSE = self.latent_up(latent_B1SR[:, 0]).unflatten(-1, (-1, width)).transpose(1, 2)
        plain, v_BHSK = kv_BHSE.split([self.mla.nope_dim, self.mla.v_dim], dim=-1)
        rotary = key_B1SP.expand(-1, plain.shape[1], -1, -1)
        return torch.cat([plain, rotary], dim=-1), v_BHSK
