"""Costs of the two calls of a served model, the decode step and the prefill, in FLOPs and in bytes.

Weights are read once a call, the cache once a request; activations stay on the chip. Of a mixture's experts as many
are read as the tokens may visit at most.
"""

from dataclasses import dataclass

from sysai.explorables.controls import BYTES
from sysai.models.config import ModelConfig
from sysai.models.formulas.flop_count import forward_flops
from sysai.models.formulas.memory import decode_bytes, kv_cache_bytes, prefill_bytes


@dataclass(frozen=True)
class ModelCall:
    """One call of the model: its two costs, and the tokens it yields or reads."""

    flops: float
    weights: float  # bytes
    cache: float  # bytes
    tokens: int

    @property
    def bytes(self) -> float:
        """All bytes moved."""
        return self.weights + self.cache

    @property
    def intensity(self) -> float:
        """FLOP/byte."""
        return self.flops / self.bytes


def decode(config: ModelConfig, batch: int, context: int, precision: str) -> ModelCall:
    """One decode step of `batch` requests with `context` tokens in the cache of each."""
    size = BYTES[precision]
    everything = decode_bytes(config, batch, context, 1) * size
    cache = kv_cache_bytes(config, batch, context + 1, 1) * size
    return ModelCall(forward_flops(config, batch, 1, context).total, everything - cache, cache, batch)


def prefill(config: ModelConfig, batch: int, context: int, precision: str) -> ModelCall:
    """The prefill of `batch` prompts of `context` tokens, with the head at the last position only."""
    size = BYTES[precision]
    everything = prefill_bytes(config, batch, context, 1) * size
    cache = kv_cache_bytes(config, batch, context, 1) * size
    flops = forward_flops(config, batch, context, last_only=True).total
    return ModelCall(flops, everything - cache, cache, batch * context)
