"""Gives every query head keys and values of its own."""

import math

from sysai.models.formulas import parameters


def _cache(config, context, size):
    return 2 * config.n_layers * config.n_heads * config.head_dim * context * size


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return math.ceil(weights * bytes_per_weight / _cache(config, context, bytes_per_element))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / _cache(config, context, bytes_per_element)
