"""How many floating-point operations a pass takes: twice the multiply-adds of its matrix products.

    forward    2 * (parameters in matrices) * tokens  +  4 * layers * B * H * T * S * K  for attention's scores
    training   3 * forward: the backward pass takes two products for every one of the forward pass

The common 6 * N * D (Kaplan et al., arXiv 2001.08361) is this without the scores, with the embedding counted as
if it were multiplied. Exactly what torch's ``FlopCounterMode`` counts on our model: norms, softmax, rotations
and activations count nothing (in a large model they are below 1%), a causal mask saves nothing.
Hardware counters also see padding and recomputation.

Shapes: B batch, T new tokens, C context before them, S = C + T, D model, H heads, N key-value heads, K head size.
"""

from dataclasses import dataclass, fields

from sysai.models.config import ModelConfig
from sysai.models.formulas.parameter_count import expert_parameters


@dataclass(frozen=True)
class FlopCount:
    """FLOPs by their use; all layers together."""

    attention_projections: int
    attention_scores: int
    mlp: int
    router: int
    head: int

    @property
    def total(self) -> int:
        """All floating-point operations."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __mul__(self, times: int) -> "FlopCount":
        return FlopCount(*(times * getattr(self, field.name) for field in fields(self)))

    __rmul__ = __mul__

    def table(self) -> str:
        """One line a use, with its share of the total."""
        rows = [(field.name, getattr(self, field.name)) for field in fields(self)] + [("total", self.total)]
        return "\n".join(
            f"{name.replace('_', ' '):<22}{n / 1e9:>18,.3f} GFLOP{n / self.total:>9.2%}" for name, n in rows if n
        )


def forward_flops(
    config: ModelConfig, batch: int, new_tokens: int, context: int = 0, last_only: bool = False
) -> FlopCount:
    """FLOPs of one forward pass: prefill with context 0, a decode step with new_tokens 1.

    Args:
        batch: sequences.
        new_tokens: tokens of each that are computed.
        context: tokens of each that stand in the KV cache.
        last_only: the head scores only the last position.

    Raises:
        ValueError: batch or new_tokens below 1, context below 0.
    """
    if batch < 1 or new_tokens < 1 or context < 0:
        raise ValueError(f"batch {batch} and new_tokens {new_tokens} must be positive, context {context} >= 0")
    tokens, scored, L = batch * new_tokens, batch * (1 if last_only else new_tokens), config.n_layers
    seen = batch * (context + new_tokens)
    moe = config.moe
    matrices = 3 if config.activation == "swiglu" else 2
    mlp = config.n_dense_layers * matrices * config.d_model * config.d_ff
    if moe:
        mlp += config.n_moe_layers * expert_parameters(config) * (moe.top_k + moe.n_shared)
    return FlopCount(
        attention_projections=L * _projection_flops(config, tokens, seen),
        attention_scores=L * _score_flops(config, tokens, context + new_tokens),
        mlp=2 * tokens * mlp,
        router=2 * tokens * config.n_moe_layers * config.d_model * moe.n_experts if moe else 0,
        head=2 * scored * config.d_model * config.vocab_size,
    )


def training_flops(config: ModelConfig, batch: int, sequence: int) -> FlopCount:
    """FLOPs of a forward and a backward pass over `batch` sequences: three times the forward pass.

    Every product y = x W takes two more on the way back, dx = dy W^T and dW = x^T dy, of the same size.
    """
    return 3 * forward_flops(config, batch, sequence)


def _projection_flops(config: ModelConfig, tokens: int, seen: int) -> int:
    """One layer's attention projections: `tokens` are new, `seen` (with the context) are expanded by MLA."""
    D, H, K = config.d_model, config.n_heads, config.head_dim
    if config.mla is None:
        return 2 * tokens * D * K * (2 * H + 2 * config.n_kv_heads)
    mla = config.mla
    new = D * mla.q_rank + mla.q_rank * H * K + D * (mla.kv_rank + mla.rope_dim) + H * mla.v_dim * D
    return 2 * tokens * new + 2 * seen * mla.kv_rank * H * (mla.nope_dim + mla.v_dim)


def _score_flops(config: ModelConfig, tokens: int, positions: int) -> int:
    """One layer's two products over all positions: queries with keys, probabilities with values."""
    value_dim = config.mla.v_dim if config.mla else config.head_dim
    return 2 * tokens * config.n_heads * positions * (config.head_dim + value_dim)
