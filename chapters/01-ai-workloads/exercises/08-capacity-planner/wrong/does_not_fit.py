"""Returns negative numbers where not even the weights fit."""

from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * memory_bytes) - parameters(config).total * bytes_per_weight
    blocks, unused = divmod(free, kv_cache_bytes(config, 1, block_tokens, bytes_per_element))
    return blocks * block_tokens, blocks // -(-context // block_tokens), unused
