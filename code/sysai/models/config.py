"""The shape of a decoder-only transformer, as data.

Everything that a formula needs to know about a model stands here, so that parameters, FLOPs and bytes of a
model of 671 billion parameters can be computed without creating one of its weights. The fields cover what the
published models in `presets` differ in: grouped-query or latent attention, dense or mixture-of-experts MLP,
RMS or layer norm, SwiGLU or GELU, rotary or learned positions. Production configurations hold more (position
scaling, sliding windows, quantization), which change neither parameters nor FLOPs of the forms used here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class MoEConfig:
    """Mixture of experts: `top_k` of `n_experts` SwiGLU experts of width `d_expert` serve each token.

    `n_shared` experts of the same width serve every token; the first `first_dense_layers` layers are dense.
    """

    n_experts: int
    top_k: int
    d_expert: int
    n_shared: int = 0
    first_dense_layers: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.n_experts:
            raise ValueError(f"top_k {self.top_k} must lie in 1..n_experts, here 1..{self.n_experts}")
        if self.d_expert < 1 or self.n_shared < 0 or self.first_dense_layers < 0:
            raise ValueError(f"d_expert must be positive, the other counts not negative: {self}")


@dataclass(frozen=True)
class MLAConfig:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    Queries pass through a bottleneck of `q_rank`, keys and values through one of `kv_rank`, which is all that
    is cached beside one rotary key of `rope_dim` shared by all heads. A head's query and key hold `nope_dim`
    plain and `rope_dim` rotary elements, its value `v_dim`.
    """

    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int

    def __post_init__(self) -> None:
        if min(self.q_rank, self.kv_rank, self.nope_dim, self.rope_dim, self.v_dim) < 1 or self.rope_dim % 2:
            raise ValueError(f"all sizes must be positive and rope_dim even: {self}")


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer. A comment on each size gives the book's symbol.

    Raises:
        ValueError: sizes that no model can have; the message names them.
    """

    name: str
    vocab_size: int  # V
    d_model: int  # D
    n_layers: int  # L
    n_heads: int  # H
    n_kv_heads: int  # N: heads of keys and values; H/N query heads share one
    head_dim: int  # K
    d_ff: int  # F of the dense layers; 0 where every layer is a mixture of experts
    max_positions: int
    norm: str = "rms"  # or "layer"
    activation: str = "swiglu"  # or "gelu"
    positions: str = "rope"  # or "learned"
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = False
    bias: bool = False
    qk_norm: bool = False  # RMS norm of every head's query and key (Qwen3)
    moe: MoEConfig | None = None
    mla: MLAConfig | None = None

    def __post_init__(self) -> None:
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} {getattr(self, field)!r} must be one of {allowed}")
        for field in _SIZES:
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be positive, got {getattr(self, field)}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads {self.n_heads} must be a multiple of n_kv_heads {self.n_kv_heads}")
        if self.positions == "rope" and self.head_dim % 2 and self.mla is None:
            raise ValueError(f"rotary positions turn pairs: head_dim {self.head_dim} must be even")
        self._check_parts()

    def _check_parts(self) -> None:
        """Raise where the model's sizes do not fit those of its optional parts."""
        dense = self.n_dense_layers
        if dense > self.n_layers:
            raise ValueError(f"first_dense_layers {dense} exceeds n_layers {self.n_layers}")
        if self.d_ff < 0 or (self.d_ff > 0) != (dense > 0):
            raise ValueError(f"d_ff is {self.d_ff}, but {dense} layers are dense")
        if self.moe and (self.activation != "swiglu" or self.bias):
            raise ValueError("experts are SwiGLU without bias: set activation='swiglu', bias=False")
        if self.mla:
            self._check_mla(self.mla)

    def _check_mla(self, mla: MLAConfig) -> None:
        if self.head_dim != mla.nope_dim + mla.rope_dim or self.n_kv_heads != self.n_heads:
            raise ValueError("latent attention needs head_dim = nope_dim + rope_dim and n_kv_heads = n_heads")
        if self.positions != "rope" or self.bias or self.qk_norm or self.norm != "rms":
            raise ValueError("latent attention goes with rotary positions and RMS norm, without bias or qk_norm")

    @property
    def n_dense_layers(self) -> int:
        """Layers with a dense MLP; they come first."""
        return self.moe.first_dense_layers if self.moe else self.n_layers

    @property
    def n_moe_layers(self) -> int:
        """Layers with a mixture of experts."""
        return self.n_layers - self.n_dense_layers

    @property
    def cache_widths(self) -> tuple[tuple[int, int], ...]:
        """(heads, width) of each tensor that a layer keeps for a position: keys and values, or latent and key."""
        if self.mla:
            return (1, self.mla.kv_rank), (1, self.mla.rope_dim)
        return (self.n_kv_heads, self.head_dim), (self.n_kv_heads, self.head_dim)

    @property
    def rope_dim(self) -> int:
        """How many elements of a query or key are rotated."""
        return self.mla.rope_dim if self.mla else self.head_dim


_CHOICES = {"norm": ("rms", "layer"), "activation": ("swiglu", "gelu"), "positions": ("rope", "learned")}
_SIZES = ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "max_positions")
