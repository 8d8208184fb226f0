"""How many requests fit beside the weights."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import kv_cache_bytes, parameters


def capacity(
    config: ModelConfig,
    memory_bytes: int,
    share: float,
    context: int,
    block_tokens: int,
    bytes_per_weight: int,
    bytes_per_element: int,
) -> tuple[int, int, int]:
    """Return (tokens, requests, unused bytes), or zeros without room for weights."""
    weights = parameters(config).total * bytes_per_weight
    free = int(share * memory_bytes) - weights
    if free < 0:
        return 0, 0, 0
    block = kv_cache_bytes(config, 1, block_tokens, bytes_per_element)
    blocks, unused = divmod(free, block)
    blocks_per_request = -(-context // block_tokens)
    return blocks * block_tokens, blocks // blocks_per_request, unused
