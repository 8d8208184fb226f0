"""The batch at which a decode step reads more cache than weights."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import kv_cache_bytes, parameters


def balance_batch(
    config: ModelConfig,
    context: int,
    bytes_per_weight: float,
    bytes_per_element: int,
) -> int:
    """Return the smallest batch whose caches are at least as heavy as the weights.

    Args:
        config: shape of a dense model with grouped-query attention.
        context: tokens that each request has in the cache.
        bytes_per_weight: bytes of one stored weight, for instance 2 in bf16
            and 0.5 in int4.
        bytes_per_element: bytes of one element of a key or value.

    Example: Llama 3 8B, context 8192, 2 bytes both: 14.
    """
    raise NotImplementedError


def throughput_ceiling(
    config: ModelConfig,
    context: int,
    bytes_per_element: int,
    bandwidth: float,
) -> float:
    """Return the tokens/s of all requests together that no batch size exceeds.

    Args:
        bandwidth: bytes/s at which weights and caches are read.

    Example: Llama 3 8B, context 8192, 2 bytes an element, 3.35e12 bytes/s:
    3120 tokens/s.
    """
    raise NotImplementedError
