"""Takes the throughput at the balance for the ceiling."""

import math

from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return math.ceil(weights * bytes_per_weight / kv_cache_bytes(config, 1, context, bytes_per_element))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / (2 * kv_cache_bytes(config, 1, context, bytes_per_element))
