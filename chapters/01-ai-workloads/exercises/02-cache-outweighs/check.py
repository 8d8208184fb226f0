"""Gates on the balancing batch and on the ceiling, for the published case and random models."""

import math

from sysai.core.language import Text
from sysai.exercises.configs import random_config
from sysai.exercises.trial import Hint, Trial
from sysai.models.presets import PRESETS

REQUESTS = Text("requests", "个请求")
RATE = Text("tokens/s", "词元/秒")


def check(trial: Trial) -> None:
    _check(trial, PRESETS["Llama 3 8B"], context=8192, weight=2, element=2, bandwidth=3.35e12)
    for _ in range(12):
        config = random_config(trial.random)
        context = trial.random.randint(16, 4096)
        weight, element = trial.random.choice([0.5, 1, 2, 4]), trial.random.choice([1, 2, 4])
        _check(trial, config, context, weight, element, trial.random.uniform(0.2e12, 8e12))


def _check(trial: Trial, config, context: int, weight: float, element: int, bandwidth: float) -> None:
    table = config.vocab_size * config.d_model
    attention = 2 * config.d_model * config.head_dim * (config.n_heads + config.n_kv_heads)
    layer = attention + 3 * config.d_model * config.d_ff + 2 * config.d_model
    weights = weight * (config.n_layers * layer + config.d_model + table)
    cache = 2 * config.n_layers * config.n_kv_heads * config.head_dim * context * element
    by_query_heads = cache * config.n_heads // config.n_kv_heads

    got = trial.call("balance_batch", config, context=context, bytes_per_weight=weight, bytes_per_element=element)
    wrong_table = -weight * table if config.tie_embeddings else weight * table
    hints = [
        *_cache_hints(lambda c: math.ceil(weights / c), cache, by_query_heads, element),
        Hint(
            math.floor(weights / cache),
            Text(
                "One too few: at this batch size the weights still weigh more. Round up.",
                "少了一个：在这个批大小下，权重仍比缓存重。应向上取整。",
            ),
        ),
        Hint(
            math.ceil((weights + wrong_table) / cache),
            Text(
                "The embedding table: it counts where it also serves as the head (tie_embeddings is True), and does "
                "not count where it is only looked up.",
                "请看嵌入表：它兼作输出头时（tie_embeddings为True）要计入，只用来查表时不计入。",
            ),
        ),
    ]
    trial.expect_equal(got, math.ceil(weights / cache), unit=REQUESTS, hints=hints)

    got = trial.call("throughput_ceiling", config, context=context, bytes_per_element=element, bandwidth=bandwidth)
    hints = [
        Hint(
            bandwidth / cache / 2,
            Text(
                "This is the throughput at the balance, where half of the bytes are weights. As the batch grows, "
                "their share tends to nothing.",
                "这是两者相等时的吞吐量，那时有一半字节是权重。批次继续增大，权重所占的份额趋于零。",
            ),
        ),
        *_cache_hints(lambda c: bandwidth / c, cache, by_query_heads, element),
    ]
    trial.expect_close(got, bandwidth / cache, unit=RATE, hints=hints)


def _cache_hints(value, cache: int, by_query_heads: int, element: int) -> list[Hint]:
    """Hints for a cache counted wrongly; `value(cache)` is what follows from it."""
    return [
        Hint(
            value(by_query_heads),
            Text(
                "You counted a key and a value for every query head. Grouped queries share them: the cache has "
                "n_kv_heads of each.",
                "你给每个查询头都算了一份键和值。分组查询共用它们：缓存里键和值各只有n_kv_heads份。",
            ),
        ),
        Hint(
            value(cache // 2),
            Text("Half of the cache is missing: it keeps keys and values.", "缓存少算了一半：键和值都要存。"),
        ),
        Hint(
            value(cache * 4 // element),
            Text(
                "The cache's elements take bytes_per_element bytes. kv_cache_bytes takes it as its last argument, 4 "
                "where left out.",
                "缓存里每个元素占bytes_per_element字节。它是kv_cache_bytes的最后一个参数，省略时取4。",
            ),
        ),
    ]
