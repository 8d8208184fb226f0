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
    """Return (tokens of cache in whole blocks, requests, unused bytes), or (0, 0, 0) if the weights do not fit."""
    free = int(share * memory_bytes) - parameters(config).total * bytes_per_weight
    if free < 0:
        return 0, 0, 0
    blocks, unused = divmod(free, kv_cache_bytes(config, 1, block_tokens, bytes_per_element))
    blocks_per_request = -(-context // block_tokens)
    return blocks * block_tokens, blocks // blocks_per_request, unused
