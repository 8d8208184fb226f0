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
    """Return (tokens of cache in whole blocks, requests, unused bytes).

    Where the weights do not fit, the three are (0, 0, 0).

    Args:
        config: shape of the model; `kv_cache_bytes(config, 1, n,
            bytes_per_element)` are the bytes that n tokens of one request keep
            in all layers.
        memory_bytes: memory of the device, in bytes.
        share: the part of it that may be used, 0 < share < 1: int(share *
            memory_bytes) bytes.
        context: tokens of each request.
        block_tokens: tokens of a block; a request takes whole blocks, and
            shares none.
        bytes_per_weight: bytes of one weight.
        bytes_per_element: bytes of one element in the cache.

    Example: Llama 3 8B, 80e9 bytes, 0.9, context 8192, blocks of 16, 2 bytes
    both: (426_784, 52, 45_056).
    """
    raise NotImplementedError
