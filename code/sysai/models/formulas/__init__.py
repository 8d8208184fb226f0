"""Closed forms of what a model costs: configuration in, exact numbers out, no weight ever made.

Each is proved equal to what is counted on our model (tests), and held to published figures (code/oracles).
"""

from sysai.models.formulas.flop_count import FlopCount, forward_flops, training_flops
from sysai.models.formulas.memory import (
    MIXED_ADAM,
    MIXED_ADAM_FP32_GRADIENTS,
    PLAIN_ADAM,
    MemoryBill,
    Recipe,
    activation_bytes,
    decode_bytes,
    inference_memory,
    kv_cache_bytes,
    prefill_bytes,
    training_memory,
)
from sysai.models.formulas.parameter_count import ParameterCount, parameters

__all__ = [
    "MIXED_ADAM",
    "MIXED_ADAM_FP32_GRADIENTS",
    "PLAIN_ADAM",
    "FlopCount",
    "MemoryBill",
    "ParameterCount",
    "Recipe",
    "activation_bytes",
    "decode_bytes",
    "forward_flops",
    "inference_memory",
    "kv_cache_bytes",
    "parameters",
    "prefill_bytes",
    "training_flops",
    "training_memory",
]
