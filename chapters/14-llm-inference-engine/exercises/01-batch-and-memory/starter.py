"""How many sequences to decode at once, on paper."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters


def sequences_that_fit(config: ModelConfig, context: int, bytes_per_element: int, memory: float) -> int:
    """Return how many sequences fit into memory beside the weights.

    Args:
        config: shape of a dense model; `parameters(config)` counts its
            parameters, part by part.
        context: tokens that each sequence has in the KV cache.
        bytes_per_element: bytes of one weight, and of one element of the cache.
        memory: bytes of the device.

    Returns:
        0 if not even the weights fit.

    Example: Llama 3 8B, context 2048, 2 bytes, 80e9 bytes: 238.
    """
    raise NotImplementedError


def step_seconds(
    config: ModelConfig, batch: int, context: int, bytes_per_element: int, bandwidth: float, peak: float
) -> float:
    """Return the least seconds of a decode step, one token for each of `batch` sequences.

    Args:
        batch: sequences, at least 1.
        bandwidth: bytes/s of the device's memory.
        peak: FLOP/s of the device.

    The other arguments are as above.

    Example: Llama 3 8B, 1 sequence, context 2048, 2 bytes, 3.35e12 bytes/s,
    989e12 FLOP/s: 4.56e-3 s.
    """
    raise NotImplementedError


def best_batch(
    config: ModelConfig,
    context: int,
    bytes_per_element: int,
    memory: float,
    bandwidth: float,
    peak: float,
    target: float,
) -> tuple[int, float] | None:
    """Return the smallest good batch size and its tokens/s, or None.

    Args:
        target: the most seconds that a step may take (the TPOT promised).

    Returns:
        A batch size is allowed if its sequences fit and its step takes at most
        `target`. Of those allowed the smallest whose tokens/s are at least
        0.99 times the most that any of them reaches, with its tokens/s. None
        if no batch size is allowed.

    Example: Llama 3 8B, context 2048, 2 bytes, 80e9 bytes, 3.35e12 bytes/s,
    989e12 FLOP/s, 20e-3 s: (185, 9583.2).
    """
    raise NotImplementedError
