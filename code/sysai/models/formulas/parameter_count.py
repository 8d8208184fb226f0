"""How many parameters a model has, and how many of them one token uses.

Dense, per layer: D*K*(H + 2N) + H*K*D in attention, 3*D*F in a SwiGLU MLP, 2*D in norms; V*D for the embedding,
and V*D again for the head unless the two are one matrix. Exact: equal to the sum over our model's tensors.
Published counts differ in what they include; `code/oracles/parameters.toml` says so for each.

Shapes: D model, H heads, N key-value heads, K head size, F feed-forward, E experts, V vocabulary.
"""

from dataclasses import dataclass

from sysai.models.config import ModelConfig


@dataclass(frozen=True)
class ParameterCount:
    """Parameters by their use; all layers together. `idle` are those of experts that a token does not visit."""

    embedding: int
    attention: int
    mlp: int
    norm: int
    router: int
    head: int
    idle: int = 0

    @property
    def total(self) -> int:
        """All parameters."""
        return self.embedding + self.attention + self.mlp + self.norm + self.router + self.head

    @property
    def active(self) -> int:
        """Parameters that one token uses: all but the experts that it is not routed to."""
        return self.total - self.idle

    def table(self) -> str:
        """One line a part, with its share of the total."""
        parts = ("embedding", "attention", "mlp", "norm", "router", "head")
        rows = [(part, getattr(self, part)) for part in parts if getattr(self, part)]
        rows += [("total", self.total), ("active", self.active)]
        return "\n".join(f"{name:<10}{n:>20,}{n / self.total:>9.2%}" for name, n in rows)


def parameters(config: ModelConfig) -> ParameterCount:
    """Count the parameters of a configuration.

    Learned positions count as embedding, the rows of a tied head as embedding (and the head as 0).
    """
    vocabulary = config.vocab_size * config.d_model
    learned = config.max_positions * config.d_model if config.positions == "learned" else 0
    experts = config.n_moe_layers * expert_parameters(config)
    moe = config.moe
    return ParameterCount(
        embedding=vocabulary + learned,
        attention=config.n_layers * attention_parameters(config),
        mlp=config.n_dense_layers * mlp_parameters(config) + (experts * (moe.n_experts + moe.n_shared) if moe else 0),
        norm=norm_parameters(config),
        router=config.n_moe_layers * config.d_model * moe.n_experts if moe else 0,
        head=0 if config.tie_embeddings else vocabulary,
        idle=experts * (moe.n_experts - moe.top_k) if moe else 0,
    )


def attention_parameters(config: ModelConfig) -> int:
    """The projections of one layer's attention, with their biases."""
    if config.mla:
        return _latent_attention_parameters(config)
    D, Q, KV = config.d_model, config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    biases = Q + 2 * KV + D if config.bias else 0
    return D * Q + 2 * D * KV + Q * D + biases


def _latent_attention_parameters(config: ModelConfig) -> int:
    D, H, mla = config.d_model, config.n_heads, config.mla
    query = D * mla.q_rank + mla.q_rank * H * config.head_dim
    latent = D * (mla.kv_rank + mla.rope_dim) + mla.kv_rank * H * (mla.nope_dim + mla.v_dim)
    return query + latent + H * mla.v_dim * D


def mlp_parameters(config: ModelConfig) -> int:
    """One dense MLP, with its biases."""
    D, F = config.d_model, config.d_ff
    inner = 2 if config.activation == "swiglu" else 1  # matrices that lead into the F hidden elements
    biases = inner * F + D if config.bias else 0
    return (inner + 1) * D * F + biases


def expert_parameters(config: ModelConfig) -> int:
    """One expert: three matrices; 0 in a dense model."""
    return 3 * config.d_model * config.moe.d_expert if config.moe else 0


def norm_parameters(config: ModelConfig) -> int:
    """All norms: two a layer and the last one, and those inside attention."""
    per_norm = config.d_model * (2 if config.norm == "layer" and config.bias else 1)
    inside = 0
    if config.mla:
        inside = config.mla.q_rank + config.mla.kv_rank
    elif config.qk_norm:
        inside = 2 * config.head_dim
    return (2 * config.n_layers + 1) * per_norm + config.n_layers * inside
