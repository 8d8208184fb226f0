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
    trial.expect(
        isinstance(got, tuple) and len(got) == 3,
        Text(f"Return a tuple of three whole numbers, not {got!r}.", f"应返回三个整数组成的元组，而不是{got!r}。"),
    )
    bytes_per_token = _bytes_per_token(config, element)
    free = int(share * memory) - weight * _weights(config)
    per_request = -(-context // block)

    def blocks(free: int, bytes_per_token: int = bytes_per_token) -> int:
        return max(0, free // (block * bytes_per_token))

    if free < 0:
        nothing_fits = Hint(
            lambda _: True,
            Text(
                f"The weights alone exceed the share of the memory, by {-free:,} bytes.",
                f"单是权重就超出了内存份额，超出{-free:,}字节。",
            ),
        )
        trial.expect_equal(got, (0, 0, 0), hints=[nothing_fits])
        return

    def tokens(free: float, bytes_per_token: int = bytes_per_token) -> int:
        return block * blocks(int(free), bytes_per_token)

    hints = [
        Hint(
            free // bytes_per_token,
            Text(
                "You counted single tokens. Memory is given out in whole blocks of block_tokens tokens.",
                "你按单个词元计数了。内存是按每块block_tokens个词元的整块分配的。",
            ),
        ),
        Hint(
            tokens(share * (memory - weight * _weights(config))),
            Text(
                "You took the share of what the weights leave. It is a share of the whole memory, and the weights lie "
                "within it.",
                "你对减去权重后的余量取了份额。份额是对整个内存取的，权重也在这个份额之内。",
            ),
        ),
        Hint(
            tokens(free + weight * config.vocab_size * config.d_model),
            Text(
                "An embedding table is missing from the weights. A step reads one row of it, but all of it is stored.",
                "权重里少了一张嵌入表。一步只读其中一行，存却要存下整张表。",
            ),
        ),
        Hint(
            tokens(memory - weight * _weights(config)),
            Text(
                "You used the whole memory: only `share` of it may be used.",
                "你用了全部内存，而可用的只有`share`这一份额。",
            ),
        ),
        Hint(
            tokens(free, bytes_per_token * 4 // element),
            Text(
                "The cache's elements take bytes_per_element bytes. kv_cache_bytes takes it as its last argument, 4 "
                "where left out.",
                "缓存里每个元素占bytes_per_element字节。它是kv_cache_bytes的最后一个参数，省略时取4。",
            ),
        ),
        Hint(
            blocks(free), Text("These are blocks. Wanted are the tokens in them.", "这是块数。要的是这些块里的词元数。")
        ),
    ]
    if config.moe:
        idle = config.n_layers - config.moe.first_dense_layers
        idle *= 3 * config.d_model * config.moe.d_expert * (config.moe.n_experts - config.moe.top_k)
        hints.append(
            Hint(
                tokens(free + weight * idle),
                Text(
                    "You stored the active parameters only. Nobody knows in advance which experts a token will visit: "
                    "all of them must be in memory.",
                    "你只存了激活参数。词元会去哪些专家，事先谁也不知道，所以全部专家都要放在内存里。",
                ),
            )
        )
    if config.mla is None:
        hints.append(
            Hint(
                tokens(free, bytes_per_token * config.n_heads // config.n_kv_heads),
                Text(
                    "You kept keys and values of every query head: the cache holds n_kv_heads of them.",
                    "你给每个查询头都存了键和值，而缓存里只有n_kv_heads份。",
                ),
            )
        )
    trial.expect_equal(got[0], block * blocks(free), what=TOKENS, hints=hints)

    hints = [
        Hint(
            block * blocks(free) // context,
            Text(
                "You divided tokens by tokens. A request takes whole blocks of its own; the rest of its last block "
                "serves nobody else.",
                "你用词元数除以词元数。每个请求占用自己的整数个块，最后一块剩下的部分别人用不上。",
            ),
        ),
        Hint(
            blocks(free) // (context // block),
            Text(
                "The last block of a request, which is only partly full, counts as well: round up.",
                "请求的最后一块即使没有装满也要占用：应向上取整。",
            ),
        ),
    ]
    trial.expect_equal(got[1], blocks(free) // per_request, what=REQUESTS, hints=hints)
    trial.expect_equal(got[2], free % (block * bytes_per_token), what=UNUSED)


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
