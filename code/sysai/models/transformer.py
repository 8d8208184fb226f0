"""The one decoder-only transformer of the book: from token ids to the scores of every next token.

    x = embed(tokens);   x += attention(norm(x));  x += mlp(norm(x))   L times;   logits = head(norm(x))

Its cost is in `sysai.models.formulas`, exactly. One class serves GPT-3, Llama, Qwen3, Mixtral and DeepSeek-V3:
what differs between them is data in `ModelConfig`. Operators run one by one and attention writes its scores
out, so that everything can be counted; production engines fuse, page the cache, and batch requests of
different lengths. Vaswani et al. 2017, arXiv 1706.03762; pre-norm form: Radford et al. 2019 (GPT-2).

Shapes: B batch, T sequence (new positions), D model, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sysai.models.attention import Attention, causal_mask
from sysai.models.config import ModelConfig
from sysai.models.kv_cache import KVCache
from sysai.models.latent_attention import LatentAttention
from sysai.models.layers import GELUMLP, RotaryEmbedding, SwiGLU, make_norm
from sysai.models.moe import MixtureOfExperts


class TransformerBlock(nn.Module):
    """One layer: attention and MLP, each after a norm and added to its input."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = (LatentAttention if config.mla else Attention)(config, layer)
        self.mlp_norm = make_norm(config)
        if layer >= config.n_dense_layers:
            self.mlp = MixtureOfExperts(config)
        else:
            mlp = SwiGLU if config.activation == "swiglu" else GELUMLP
            self.mlp = mlp(config.d_model, config.d_ff, bias=config.bias)

    def forward(
        self,
        x_BTD: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        mask_TS: Tensor | None,
        cache: KVCache | None,
    ) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), rotation, mask_TS, cache)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


class Transformer(nn.Module):
    """A decoder-only language model of the shape that `config` describes, with fresh random weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.positions = nn.Embedding(config.max_positions, config.d_model)
        else:
            self.rope = RotaryEmbedding(config.rope_dim, config.max_positions, config.rope_theta)
        self.blocks = nn.ModuleList(TransformerBlock(config, layer) for layer in range(config.n_layers))
        self.norm = make_norm(config)
        if not config.tie_embeddings:
            self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return self.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the weights."""
        return self.embed.weight.dtype

    def forward(self, tokens_BT: Tensor, cache: KVCache | None = None, last_only: bool = False) -> Tensor:
        """Scores of the next token: logits [B, T, V], or [B, 1, V] of the last position only.

        Args:
            tokens_BT: token ids, integers below V.
            cache: the past; the new positions come after it and are added to it.
            last_only: skip the head (2 * D * V FLOPs a position) where only the last position is wanted.

        Raises:
            ValueError: empty or over-long input, ids out of range, or a batch that is not the cache's.
        """
        self._check(tokens_BT, cache)
        past, new = cache.length if cache is not None else 0, tokens_BT.shape[1]
        x_BTD, rotation = self._embed(tokens_BT, past)
        mask_TS = causal_mask(new, past, like=x_BTD)
        for block in self.blocks:
            x_BTD = block(x_BTD, rotation, mask_TS, cache)
        if cache is not None:
            cache.advance(new)
        x_BTD = self.norm(x_BTD[:, -1:] if last_only else x_BTD)
        return F.linear(x_BTD, self.embed.weight if self.config.tie_embeddings else self.head.weight)

    def _embed(self, tokens_BT: Tensor, past: int) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Vectors of the tokens, and the rotation of their positions (None where positions are learned)."""
        try:
            x_BTD = self.embed(tokens_BT)
        except IndexError:
            low, high, size = int(tokens_BT.min()), int(tokens_BT.max()), self.config.vocab_size
            raise ValueError(
                f"token id out of range: ids go from 0 to {size - 1}, these from {low} to {high}"
            ) from None
        if self.config.positions == "learned":
            return x_BTD + self.positions.weight[past : past + tokens_BT.shape[1]], None
        return x_BTD, self.rope(past, tokens_BT.shape[1])

    def _check(self, tokens_BT: Tensor, cache: KVCache | None) -> None:
        if tokens_BT.dim() != 2 or tokens_BT.numel() == 0 or tokens_BT.is_floating_point():
            found = f"{list(tokens_BT.shape)} of {tokens_BT.dtype}"
            raise ValueError(f"tokens must be integers in a non-empty [batch, sequence], got {found}")
        batch, new = tokens_BT.shape
        if cache is not None:
            cache.check_fits(batch, new)
        elif new > self.config.max_positions:
            raise ValueError(
                f"{new} tokens exceed the {self.config.max_positions} positions of {self.config.name}: "
                f"shorten the input"
            )


def next_token_loss(model: Transformer, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean cross-entropy of the targets, in nats a token: what training minimizes (in at least 32 bits)."""
    logits_BTV = model(tokens_BT)
    return F.cross_entropy(logits_BTV.float().flatten(0, 1), targets_BT.flatten())
