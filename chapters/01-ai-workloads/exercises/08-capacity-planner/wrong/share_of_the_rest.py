"""Takes the share of what the weights leave, and not of the whole memory."""

from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(config, memory_bytes, share, context, block_tokens, bytes_per_weight, bytes_per_element):
    free = int(share * (memory_bytes - parameters(config).total * bytes_per_weight))
    if free < 0:
        return 0, 0, 0
    blocks, unused = divmod(free, kv_cache_bytes(config, 1, block_tokens, bytes_per_element))
    return blocks * block_tokens, blocks // -(-context // block_tokens), unused
