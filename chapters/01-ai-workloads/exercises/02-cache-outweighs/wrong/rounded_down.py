"""Rounds the batch down, where the cache is still the lighter part."""

from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return int(weights * bytes_per_weight / kv_cache_bytes(config, 1, context, bytes_per_element))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / kv_cache_bytes(config, 1, context, bytes_per_element)
