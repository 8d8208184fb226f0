"""Small parts of a transformer: norms, rotary positions, and the MLP.

    RMS norm   y = x / sqrt(mean(x^2) + eps) * w            Zhang, Sennrich 2019, arXiv 1910.07467
    rotary     a position turns pair i of a query or key    Su et al. 2021, arXiv 2104.09864
               by the angle position * theta^(-2i/K), so
               that q.k depends on the distance alone
    SwiGLU     y = W_down (silu(W_gate x) * (W_up x))       Shazeer 2020, arXiv 2002.05202

The norms and rotations do few operations on every byte: production fuses them with their neighbours.

Shapes: B batch, T sequence, D model, F feed-forward, H heads, K head size, P positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sysai.models.config import ModelConfig


class RMSNorm(nn.Module):
    """Divide by the root mean square of the last dimension, in at least 32 bits; 4 operations an element."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[..., D] to [..., D], in the input's dtype."""
        x = x_BTD.float()
        y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        return y.to(x_BTD.dtype) * self.weight


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm over D that the configuration asks for."""
    if config.norm == "rms":
        return RMSNorm(config.d_model, config.norm_eps)
    return nn.LayerNorm(config.d_model, config.norm_eps, bias=config.bias)


class RotaryEmbedding(nn.Module):
    """Cosines and sines of the angles by which each position turns each pair, [P, K/2]."""

    def __init__(self, dim: int, max_positions: int, theta: float) -> None:
        super().__init__()
        frequency = theta ** -(torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        angle = torch.arange(max_positions, dtype=torch.float32)[:, None] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of `count` positions from `start` on."""
        return self.cos[start : start + count], self.sin[start : start + count]


def rotate(x_BHTK: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (x[i], x[i + K/2]) of every position by its angles."""
    cos_TK, sin_TK = rotation
    x1, x2 = x_BHTK.chunk(2, dim=-1)
    return torch.cat([x1 * cos_TK - x2 * sin_TK, x2 * cos_TK + x1 * sin_TK], dim=-1)


class SwiGLU(nn.Module):
    """Gated MLP: three matrices, 6 * D * F FLOPs a token."""

    def __init__(self, d_model: int, d_ff: int, bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class GELUMLP(nn.Module):
    """Two matrices with a GELU (its tanh form, as in GPT-2) between them: 4 * D * F FLOPs a token."""

    def __init__(self, d_model: int, d_ff: int, bias: bool = True) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        return self.down(F.gelu(self.up(x_BTD), approximate="tanh"))
