"""Mixture of experts: many MLPs, of which each token passes through a few.

    y = sum over the top_k experts e of softmax(top_k router scores)_e * expert_e(x)  (+ shared experts)

Parameters grow with the number of experts, FLOPs only with top_k: 6 * D * F * top_k a token, and 2 * D * E for
the router. Tokens are sorted by expert so that each expert multiplies one matrix. Jiang et al., Mixtral,
arXiv 2401.04088. Production runs all experts in one grouped kernel, spreads them over devices, and balances
their load with an auxiliary loss or (DeepSeek-V3) a bias on sigmoid scores, which this router leaves out.

Shapes: M tokens, D model, F feed-forward of an expert, E experts, J top_k.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sysai.models.config import ModelConfig
from sysai.models.layers import SwiGLU


class MixtureOfExperts(nn.Module):
    """E SwiGLU experts, top_k of them for each token, and those shared by all tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        moe, D = config.moe, config.d_model
        self.top_k, self.n_experts = moe.top_k, moe.n_experts
        self.router = nn.Linear(D, moe.n_experts, bias=False)
        self.gate_EFD = nn.Parameter(torch.empty(moe.n_experts, moe.d_expert, D))
        self.up_EFD = nn.Parameter(torch.empty(moe.n_experts, moe.d_expert, D))
        self.down_EDF = nn.Parameter(torch.empty(moe.n_experts, D, moe.d_expert))
        self.shared = SwiGLU(D, moe.n_shared * moe.d_expert) if moe.n_shared else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        x_MD = x_BTD.flatten(0, 1)
        scores_MJ, experts_MJ = self.router(x_MD).topk(self.top_k, dim=-1)
        weights_MJ = scores_MJ.softmax(-1)
        order = experts_MJ.flatten().argsort(stable=True)  # (token, choice) pairs, grouped by expert
        token = order // self.top_k
        counts = experts_MJ.flatten().bincount(minlength=self.n_experts)
        y = self._run_experts(x_MD[token], counts.tolist()) * weights_MJ.flatten()[order, None]
        mixed_MD = torch.zeros_like(x_MD).index_add(0, token, y)
        if self.shared is not None:
            mixed_MD = mixed_MD + self.shared(x_MD)
        return mixed_MD.view_as(x_BTD)

    def _run_experts(self, x: Tensor, counts: list[int]) -> Tensor:
        """Rows of `x`, grouped by expert, `counts[e]` for expert e, through their experts."""
        experts = zip(self.gate_EFD.unbind(), self.up_EFD.unbind(), self.down_EDF.unbind(), strict=True)
        outputs = [
            F.linear(F.silu(F.linear(rows, gate)) * F.linear(rows, up), down)
            for rows, (gate, up, down) in zip(x.split(counts), experts, strict=True)
            if len(rows)
        ]
        return torch.cat(outputs)
