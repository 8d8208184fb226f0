"""Looks for the best batch without looking at the target."""

from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters


def sequences_that_fit(config: ModelConfig, context: int, bytes_per_element: int, memory: float) -> int:
    """Return how many sequences fit into memory beside the weights."""
    free = memory - parameters(config).total * bytes_per_element
    return max(0, int(free // _cache_bytes(config, context, bytes_per_element)))


def step_seconds(
    config: ModelConfig, batch: int, context: int, bytes_per_element: int, bandwidth: float, peak: float
) -> float:
    """Return the least seconds of a decode step, one token for each of `batch` sequences."""
    count = parameters(config)
    used = count.total if config.tie_embeddings else count.total - count.embedding
    traffic = used * bytes_per_element + batch * _cache_bytes(config, context, bytes_per_element)
    attention = 4 * config.n_layers * config.n_heads * config.head_dim * context
    return max(traffic / bandwidth, batch * (2 * used + attention) / peak)


def best_batch(
    config: ModelConfig,
    context: int,
    bytes_per_element: int,
    memory: float,
    bandwidth: float,
    peak: float,
    target: float,
) -> tuple[int, float] | None:
    """Return the smallest good batch size and its tokens/s, or None."""
    rates = {}
    for batch in range(1, sequences_that_fit(config, context, bytes_per_element, memory) + 1):
        seconds = step_seconds(config, batch, context, bytes_per_element, bandwidth, peak)
        rates[batch] = batch / seconds
    good = 0.99 * max(rates.values(), default=0.0)
    return next(((batch, rate) for batch, rate in rates.items() if rate >= good), None)


def _cache_bytes(config: ModelConfig, context: int, bytes_per_element: int) -> int:
    """Keys and values of one sequence, in all layers."""
    return 2 * config.n_layers * config.n_kv_heads * config.head_dim * context * bytes_per_element
