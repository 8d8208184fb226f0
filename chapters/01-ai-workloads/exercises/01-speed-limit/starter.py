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
    """Return the least seconds of one call on `tokens` tokens.

    Args:
        config: shape of a dense model; `parameters(config)` counts its
            parameters, part by part.
        tokens: how many tokens the call reads, at least 1.
        bytes_per_weight: bytes of one stored weight: 4 in float32, 2 in bf16,
            0.5 in int4.
        devices: how many devices share the weights evenly and work at the same
            time.
        bandwidth: bytes/s of one device.
        peak: FLOP/s of one device.

    Example: Llama 3 70B, 4096 tokens, 2 bytes a weight, 2 devices of 3.35e12
    bytes/s and 989e12 FLOP/s: 0.288 s.
    """
    raise NotImplementedError


def decode_tokens_per_second(
    config: ModelConfig,
    bytes_per_weight: float,
    devices: int,
    bandwidth: float,
    peak: float,
) -> float:
    """Return the most tokens/s that one user can be written.

    The arguments are those of `prefill_seconds`.

    Example: Llama 3 70B, 2 bytes a weight, 2 devices of 3.35e12 bytes/s and
    989e12 FLOP/s: 48.2 tokens/s.
    """
    raise NotImplementedError
