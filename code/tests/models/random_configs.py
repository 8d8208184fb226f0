"""Small random configurations of every family that the transformer serves."""

from hypothesis import strategies as st
from sysai.models.config import MLAConfig, ModelConfig, MoEConfig


@st.composite
def dense_configs(draw) -> ModelConfig:
    kv_heads = draw(st.integers(1, 3))
    return ModelConfig(
        name="dense",
        vocab_size=draw(st.integers(5, 60)),
        d_model=draw(st.integers(1, 24)),
        n_layers=draw(st.integers(1, 3)),
        n_heads=kv_heads * draw(st.integers(1, 3)),
        n_kv_heads=kv_heads,
        head_dim=2 * draw(st.integers(1, 8)),
        d_ff=draw(st.integers(1, 40)),
        max_positions=32,
        norm=draw(st.sampled_from(["rms", "layer"])),
        activation=draw(st.sampled_from(["swiglu", "gelu"])),
        positions=draw(st.sampled_from(["rope", "learned"])),
        tie_embeddings=draw(st.booleans()),
        bias=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
    )


@st.composite
def moe_configs(draw) -> ModelConfig:
    dense_layers, layers = draw(st.integers(0, 1)), draw(st.integers(1, 2))
    experts = draw(st.integers(1, 6))
    return ModelConfig(
        name="moe",
        vocab_size=draw(st.integers(5, 60)),
        d_model=draw(st.integers(1, 24)),
        n_layers=dense_layers + layers,
        n_heads=4,
        n_kv_heads=draw(st.sampled_from([1, 2, 4])),
        head_dim=8,
        d_ff=draw(st.integers(1, 40)) if dense_layers else 0,
        max_positions=32,
        moe=MoEConfig(
            n_experts=experts,
            top_k=draw(st.integers(1, experts)),
            d_expert=draw(st.integers(1, 16)),
            n_shared=draw(st.integers(0, 2)),
            first_dense_layers=dense_layers,
        ),
    )


@st.composite
def mla_configs(draw) -> ModelConfig:
    mla = MLAConfig(
        q_rank=draw(st.integers(1, 12)),
        kv_rank=draw(st.integers(1, 12)),
        nope_dim=draw(st.integers(1, 8)),
        rope_dim=2 * draw(st.integers(1, 4)),
        v_dim=draw(st.integers(1, 8)),
    )
    heads = draw(st.integers(1, 4))
    moe = draw(st.sampled_from([None, MoEConfig(4, 2, 8, n_shared=1, first_dense_layers=1)]))
    return ModelConfig(
        name="mla",
        vocab_size=draw(st.integers(5, 60)),
        d_model=draw(st.integers(1, 24)),
        n_layers=2,
        n_heads=heads,
        n_kv_heads=heads,
        head_dim=mla.nope_dim + mla.rope_dim,
        d_ff=draw(st.integers(1, 40)),
        max_positions=32,
        moe=moe,
        mla=mla,
    )


any_configs = st.one_of(dense_configs(), moe_configs(), mla_configs())
