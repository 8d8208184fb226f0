"""Counts single tokens where the memory is given out in blocks."""

from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * memory_bytes) - parameters(config).total * bytes_per_weight
    if free < 0:
        return 0, 0, 0
    tokens, unused = divmod(free, kv_cache_bytes(config, 1, 1, bytes_per_element))
    return tokens, tokens // block_tokens // -(-context // block_tokens), unused
