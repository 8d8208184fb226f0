"""Keeps keys and forgets that the values are kept as well."""

import math

from sysai.models.formulas import parameters


def _cache(config, context, size):
    return config.n_layers * config.n_kv_heads * config.head_dim * context * size


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return math.ceil(weights * bytes_per_weight / _cache(config, context, bytes_per_element))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / _cache(config, context, bytes_per_element)
