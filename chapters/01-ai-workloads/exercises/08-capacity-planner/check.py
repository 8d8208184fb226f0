"""Gates on tokens, requests and unused bytes, for published models and random ones."""

from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
from sysai.models.presets import PRESETS

TOKENS = Text("Tokens, the first of the three", "三个数中的第一个，词元数")
REQUESTS = Text("Requests, the second of the three", "三个数中的第二个，请求数")
UNUSED = Text("Unused bytes, the third of the three", "三个数中的第三个，闲置的字节数")


def check(trial: Trial) -> None:
    _check(trial, PRESETS["Llama 3 8B"], 80_000_000_000, 0.9, context=8192, block=16, weight=2, element=2)
    _check(trial, PRESETS["DeepSeek-V3"], 16 * 80_000_000_000, 0.9, context=5000, block=64, weight=1, element=2)
    _check(trial, PRESETS["Llama 3 70B"], 80_000_000_000, 0.9, context=8192, block=16, weight=2, element=2)
    for i in range(12):
        config = random_config(trial.random, mixture=i % 2 == 1)
        weight, element = trial.random.choice([1, 2, 4]), trial.random.choice([1, 2, 4])
        block = trial.random.choice([8, 16, 32, 64, 128])
        context = block * trial.random.randint(1, 40) + trial.random.randint(1, block - 1)
        room = trial.random.uniform(30, 3000) * context * _bytes_per_token(config, element)
        share = trial.random.uniform(0.5, 0.95)
        memory = int((_weights(config) * weight + room) / share)
        if i % 6 == 5:
            memory = int(_weights(config) * weight * trial.random.uniform(0.5, 1))
        _check(trial, config, memory, share, context, block, weight, element)


def _check(trial: Trial, config, memory: int, share: float, context: int, block: int, weight: int, element: int):
    got = trial.call(
        "capacity",
        config,
        memory_bytes=memory,
        share=share,
        context=context,
        block_tokens=block,
        bytes_per_weight=weight,
        bytes_per_element=element,
    )
    free = int(share * memory) - weight * _weights(config)
    if free < 0:
        nothing_fits = Text(
            f"The weights alone exceed the share of the memory, by {-free:,} bytes.",
            f"单是权重就超出了内存份额，超出{-free:,}字节。",
        )
        trial.expect_equal(got, (0, 0, 0), hints=[Hint(lambda _: True, nothing_fits)])
        return
    tokens, requests, unused = got
    blocks, rest = divmod(free, block * _bytes_per_token(config, element))
    trial.expect_equal(tokens, block * blocks, what=TOKENS)
    trial.expect_equal(requests, blocks // -(-context // block), what=REQUESTS)
    trial.expect_equal(unused, rest, what=UNUSED)


def _bytes_per_token(config, element: int) -> int:
    """Keys and values of all layers, or with latent attention the latent and the rotary key."""
    if config.mla:
        return config.n_layers * (config.mla.kv_rank + config.mla.rope_dim) * element
    return config.n_layers * 2 * config.n_kv_heads * config.head_dim * element


def _weights(config) -> int:
    """All parameters, part by part."""
    D, H, mla, moe = config.d_model, config.n_heads, config.mla, config.moe
    if mla:
        attention = D * mla.q_rank + mla.q_rank * H * config.head_dim + D * (mla.kv_rank + mla.rope_dim)
        attention += mla.kv_rank * H * (mla.nope_dim + mla.v_dim) + H * mla.v_dim * D + mla.q_rank + mla.kv_rank
    else:
        attention = 2 * D * config.head_dim * (H + config.n_kv_heads)
    dense = moe.first_dense_layers if moe else config.n_layers
    mlp = dense * 3 * D * config.d_ff
    if moe:
        mlp += (config.n_layers - dense) * D * (moe.n_experts + 3 * moe.d_expert * (moe.n_experts + moe.n_shared))
    outside = config.vocab_size * D * (1 if config.tie_embeddings else 2) + D
    return config.n_layers * (attention + 2 * D) + mlp + outside
