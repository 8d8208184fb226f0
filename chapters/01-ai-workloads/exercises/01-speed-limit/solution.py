"""The speed limit of a model on given hardware."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters


def prefill_seconds(
    config: ModelConfig,
    tokens: int,
    bytes_per_weight: float,
    devices: int,
    bandwidth: float,
    peak: float,
) -> float:
    """Return the least seconds of one call on `tokens` tokens."""
    count = parameters(config)
    weights = count.total
    if not config.tie_embeddings:
        weights -= count.embedding  # looked up, not read whole
    arithmetic = 2 * weights * tokens / (devices * peak)
    traffic = bytes_per_weight * weights / (devices * bandwidth)
    return max(arithmetic, traffic)


def decode_tokens_per_second(
    config: ModelConfig,
    bytes_per_weight: float,
    devices: int,
    bandwidth: float,
    peak: float,
) -> float:
    """Return the most tokens/s of one user: a step is a call on one token."""
    step = prefill_seconds(config, 1, bytes_per_weight, devices, bandwidth, peak)
    return 1 / step
