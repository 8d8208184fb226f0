"""Configurations of published models, each from the file or table that its authors published.

Only shapes stand here. What a shape leaves out and the comment names (scaled rotary positions, DeepSeek-V3's
router and its multi-token prediction module, GPT-3's sparse attention) changes no parameter counted here.
"""

from sysai.models.config import MLAConfig, ModelConfig, MoEConfig

# https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct/blob/main/config.json
SMOLLM2_135M = ModelConfig(
    name="SmolLM2-135M",
    vocab_size=49_152,
    d_model=576,
    n_layers=30,
    n_heads=9,
    n_kv_heads=3,
    head_dim=64,
    d_ff=1_536,
    max_positions=8_192,
    rope_theta=100_000.0,
    tie_embeddings=True,
)

# Brown et al. 2020, arXiv 2005.14165, table 2.1 and section 2.1; vocabulary and tied head as in GPT-2.
# Every second layer's attention was sparse, which changes FLOPs, not parameters.
GPT3_175B = ModelConfig(
    name="GPT-3 175B",
    vocab_size=50_257,
    d_model=12_288,
    n_layers=96,
    n_heads=96,
    n_kv_heads=96,
    head_dim=128,
    d_ff=4 * 12_288,
    max_positions=2_048,
    norm="layer",
    activation="gelu",
    positions="learned",
    tie_embeddings=True,
    bias=True,
)

# https://huggingface.co/meta-llama/Meta-Llama-3-8B/blob/main/config.json; arXiv 2407.21783, table 3
LLAMA3_8B = ModelConfig(
    name="Llama 3 8B",
    vocab_size=128_256,
    d_model=4_096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    head_dim=128,
    d_ff=14_336,
    max_positions=8_192,
    rope_theta=500_000.0,
)

# https://huggingface.co/meta-llama/Meta-Llama-3-70B/blob/main/config.json; arXiv 2407.21783, table 3
LLAMA3_70B = ModelConfig(
    name="Llama 3 70B",
    vocab_size=128_256,
    d_model=8_192,
    n_layers=80,
    n_heads=64,
    n_kv_heads=8,
    head_dim=128,
    d_ff=28_672,
    max_positions=8_192,
    rope_theta=500_000.0,
)

# https://huggingface.co/meta-llama/Llama-3.1-405B/blob/main/config.json; arXiv 2407.21783, table 3.
# Its rotary frequencies are scaled for long contexts.
LLAMA3_405B = ModelConfig(
    name="Llama 3.1 405B",
    vocab_size=128_256,
    d_model=16_384,
    n_layers=126,
    n_heads=128,
    n_kv_heads=8,
    head_dim=128,
    d_ff=53_248,
    max_positions=131_072,
    rope_theta=500_000.0,
)

# https://huggingface.co/mistralai/Mixtral-8x7B-v0.1/blob/main/config.json; arXiv 2401.04088, table 1
MIXTRAL_8X7B = ModelConfig(
    name="Mixtral 8x7B",
    vocab_size=32_000,
    d_model=4_096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    head_dim=128,
    d_ff=0,
    max_positions=32_768,
    rope_theta=1_000_000.0,
    moe=MoEConfig(n_experts=8, top_k=2, d_expert=14_336),
)

# https://huggingface.co/Qwen/Qwen3-235B-A22B/blob/main/config.json; arXiv 2505.09388, table 2
QWEN3_235B_A22B = ModelConfig(
    name="Qwen3 235B-A22B",
    vocab_size=151_936,
    d_model=4_096,
    n_layers=94,
    n_heads=64,
    n_kv_heads=4,
    head_dim=128,
    d_ff=0,
    max_positions=40_960,
    rope_theta=1_000_000.0,
    norm_eps=1e-6,
    qk_norm=True,
    moe=MoEConfig(n_experts=128, top_k=8, d_expert=1_536),
)

# https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/config.json; arXiv 2412.19437, section 4.2.
# Without the multi-token prediction module, and without the router's 256 bias values a layer (a buffer).
DEEPSEEK_V3 = ModelConfig(
    name="DeepSeek-V3",
    vocab_size=129_280,
    d_model=7_168,
    n_layers=61,
    n_heads=128,
    n_kv_heads=128,
    head_dim=192,
    d_ff=18_432,
    max_positions=163_840,
    norm_eps=1e-6,
    moe=MoEConfig(n_experts=256, top_k=8, d_expert=2_048, n_shared=1, first_dense_layers=3),
    mla=MLAConfig(q_rank=1_536, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128),
)

PRESETS = {
    config.name: config
    for config in (
        SMOLLM2_135M,
        GPT3_175B,
        LLAMA3_8B,
        LLAMA3_70B,
        LLAMA3_405B,
        MIXTRAL_8X7B,
        QWEN3_235B_A22B,
        DEEPSEEK_V3,
    )
}
