"""The batch at which a decode step reads more cache than weights."""

import math

from sysai.models.config import ModelConfig
from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(
    config: ModelConfig,
    context: int,
    bytes_per_weight: float,
    bytes_per_element: int,
) -> int:
    """Return the smallest batch whose caches are at least as heavy as the weights."""
    count = parameters(config)
    weights = count.total
    if not config.tie_embeddings:
        weights -= count.embedding  # looked up, not read whole
    cache = kv_cache_bytes(config, 1, context, bytes_per_element)
    return math.ceil(weights * bytes_per_weight / cache)


def throughput_ceiling(
    config: ModelConfig,
    context: int,
    bytes_per_element: int,
    bandwidth: float,
) -> float:
    """Return the tokens/s of all requests together that no batch size exceeds.

    A step of B requests takes (weights + B * cache) / bandwidth, so B / step
    tends to bandwidth / cache.
    """
    return bandwidth / kv_cache_bytes(config, 1, context, bytes_per_element)
