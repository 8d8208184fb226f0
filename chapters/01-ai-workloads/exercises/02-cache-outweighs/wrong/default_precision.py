"""Leaves the bytes of an element to kv_cache_bytes, whose default is float32."""

import math

from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return math.ceil(weights * bytes_per_weight / kv_cache_bytes(config, 1, context))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / kv_cache_bytes(config, 1, context)
