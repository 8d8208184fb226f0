"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "active_weights",
        "Stores only the weights that one token uses.",
        told="You stored the active parameters only. Nobody knows in",
        text="""\
from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * memory_bytes) - parameters(config).active * bytes_per_weight
    if free < 0:
        return 0, 0, 0
    blocks, unused = divmod(free, kv_cache_bytes(config, 1, block_tokens, bytes_per_element))
    return blocks * block_tokens, blocks // -(-context // block_tokens), unused
""",
    ),
    Fault(
        "does_not_fit",
        "Returns negative numbers where not even the weights fit.",
        told="The weights alone exceed the share of the memory, by",
        text="""\
from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * memory_bytes) - parameters(config).total * bytes_per_weight
    blocks, unused = divmod(free, kv_cache_bytes(config, 1, block_tokens, bytes_per_element))
    return blocks * block_tokens, blocks // -(-context // block_tokens), unused
""",
    ),
    Fault(
        "no_whole_blocks",
        "Divides tokens by the context, as if two requests could share a block.",
        told="You divided tokens by tokens. A request takes whole blocks",
        text="""\
from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * memory_bytes) - parameters(config).total * bytes_per_weight
    if free < 0:
        return 0, 0, 0
    blocks, unused = divmod(free, kv_cache_bytes(config, 1, block_tokens, bytes_per_element))
    return blocks * block_tokens, blocks * block_tokens // context, unused
""",
    ),
    Fault(
        "share_of_the_rest",
        "Takes the share of what the weights leave, and not of the whole memory.",
        told="You took the share of what the weights leave. It is a share",
        text="""\
from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * (memory_bytes - parameters(config).total * bytes_per_weight))
    if free < 0:
        return 0, 0, 0
    blocks, unused = divmod(free, kv_cache_bytes(config, 1, block_tokens, bytes_per_element))
    return blocks * block_tokens, blocks // -(-context // block_tokens), unused
""",
    ),
    Fault(
        "tokens_not_rounded",
        "Counts single tokens where the memory is given out in blocks.",
        told="You counted single tokens. Memory is given out in whole",
        text="""\
from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * memory_bytes) - parameters(config).total * bytes_per_weight
    if free < 0:
        return 0, 0, 0
    tokens, unused = divmod(free, kv_cache_bytes(config, 1, 1, bytes_per_element))
    return tokens, tokens // block_tokens // -(-context // block_tokens), unused
""",
    ),
]
