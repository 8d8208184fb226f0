"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "default_precision",
        "Leaves the bytes of an element to kv_cache_bytes, whose default is float32.",
        told="The cache's elements take bytes_per_element bytes.",
        text="""\
import math

from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return math.ceil(weights * bytes_per_weight / kv_cache_bytes(config, 1, context))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / kv_cache_bytes(config, 1, context)
""",
    ),
    Fault(
        "keys_only",
        "Keeps keys and forgets that the values are kept as well.",
        told="Half of the cache is missing: it keeps keys and values.",
        text="""\
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
""",
    ),
    Fault(
        "query_heads",
        "Gives every query head keys and values of its own.",
        told="You counted a key and a value for every query head. Grouped",
        text="""\
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
""",
    ),
    Fault(
        "rounded_down",
        "Rounds the batch down, where the cache is still the lighter part.",
        told="One too few: at this batch size the weights still weigh",
        text="""\
from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return int(weights * bytes_per_weight / kv_cache_bytes(config, 1, context, bytes_per_element))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / kv_cache_bytes(config, 1, context, bytes_per_element)
""",
    ),
    Fault(
        "throughput_at_balance",
        "Takes the throughput at the balance for the ceiling.",
        told="This is the throughput at the balance, where half of the",
        text="""\
import math

from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(config, context, bytes_per_weight, bytes_per_element):
    count = parameters(config)
    weights = count.total if config.tie_embeddings else count.total - count.embedding
    return math.ceil(weights * bytes_per_weight / kv_cache_bytes(config, 1, context, bytes_per_element))


def throughput_ceiling(config, context, bytes_per_element, bandwidth):
    return bandwidth / (2 * kv_cache_bytes(config, 1, context, bytes_per_element))
""",
    ),
]
