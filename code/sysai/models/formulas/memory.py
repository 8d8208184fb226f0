"""How many bytes a model holds and moves.

    training    weights + gradients + optimizer + activations; with Adam 16 bytes a parameter before activations,
                in plain fp32 as in mixed precision (Rajbhandari et al., ZeRO, arXiv 1910.02054, section 3.1);
                18 where gradients are summed in fp32, as Megatron-LM and Llama 3 do (arXiv 2407.21783, section 3.3)
    inference   weights + KV cache
    one pass    every weight once + the KV cache of every sequence

Activations are what autograd keeps from forward to backward on our model, operator by operator, equal to what
`SavedTensors` measures. Fused kernels and recomputation keep less: Korthikanti et al. (arXiv 2205.05198) list
34 * B * T * D + 5 * B * H * T^2 bytes a layer for another block, in 16 bits, with dropout. Allocators add
fragmentation, and libraries their workspaces, to all of these.

Shapes: B batch, T sequence, D model, H heads, N key-value heads, K head size, F feed-forward, V vocabulary.
"""

from dataclasses import dataclass, fields

from sysai.models.config import ModelConfig
from sysai.models.formulas.parameter_count import expert_parameters, parameters


@dataclass(frozen=True)
class Recipe:
    """Bytes a parameter while training: its weight, its gradient, and the optimizer's state."""

    name: str
    weights: int
    gradients: int
    optimizer: int


PLAIN_ADAM = Recipe("fp32 Adam", weights=4, gradients=4, optimizer=8)
MIXED_ADAM = Recipe("mixed-precision Adam", weights=2, gradients=2, optimizer=12)  # fp32 copy and two moments
MIXED_ADAM_FP32_GRADIENTS = Recipe("mixed-precision Adam, fp32 gradients", weights=2, gradients=4, optimizer=12)


@dataclass(frozen=True)
class MemoryBill:
    """Bytes by their use; the parts that do not apply are 0."""

    weights: int
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    kv_cache: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(getattr(self, field.name) for field in fields(self))

    def table(self) -> str:
        """One line a use, in GiB, with its share of the total."""
        rows = [(field.name, getattr(self, field.name)) for field in fields(self)] + [("total", self.total)]
        return "\n".join(
            f"{name.replace('_', ' '):<13}{n / 2**30:>14,.3f} GiB{n / self.total:>9.2%}" for name, n in rows if n
        )


def kv_cache_bytes(config: ModelConfig, batch: int, context: int, bytes_per_element: int = 4) -> int:
    """Bytes of the keys and values (or latents) of `context` positions of `batch` sequences."""
    per_position = sum(heads * width for heads, width in config.cache_widths)
    return config.n_layers * batch * context * per_position * bytes_per_element


def inference_memory(config: ModelConfig, batch: int, context: int, bytes_per_element: int = 4) -> MemoryBill:
    """Bytes held while generating: all weights, and the cache of `context` positions."""
    return MemoryBill(
        weights=parameters(config).total * bytes_per_element,
        kv_cache=kv_cache_bytes(config, batch, context, bytes_per_element),
    )


def training_memory(config: ModelConfig, batch: int, sequence: int, recipe: Recipe = PLAIN_ADAM) -> MemoryBill:
    """Bytes held at the end of the forward pass of a training step, activations in fp32.

    Raises:
        ValueError: a configuration for which `activation_bytes` is not defined.
    """
    count = parameters(config).total
    return MemoryBill(
        weights=recipe.weights * count,
        gradients=recipe.gradients * count,
        optimizer=recipe.optimizer * count,
        activations=activation_bytes(config, batch, sequence),
    )


def decode_bytes(config: ModelConfig, batch: int, context: int, bytes_per_element: int = 4) -> int:
    """Bytes that a decode step must read: its weights once, and the cache with the new position.

    Of an untied embedding or learned positions only the rows of `batch` tokens are read; of the experts those
    that the tokens visit, at most batch * top_k (the bound is exact for one sequence).
    """
    weights = _weights_read(config, batch) * bytes_per_element
    return weights + kv_cache_bytes(config, batch, context + 1, bytes_per_element)


def prefill_bytes(config: ModelConfig, batch: int, sequence: int, bytes_per_element: int = 4) -> int:
    """Bytes that a prefill must move: its weights once, and the cache it writes; activations not counted."""
    weights = _weights_read(config, batch * sequence) * bytes_per_element
    return weights + kv_cache_bytes(config, batch, sequence, bytes_per_element)


def _weights_read(config: ModelConfig, tokens: int) -> int:
    """Parameters that a pass over `tokens` tokens reads."""
    count, moe = parameters(config), config.moe
    matrices = count.total - count.embedding
    if config.tie_embeddings:
        matrices += config.vocab_size * config.d_model  # the head reads the embedding's matrix
    rows = tokens * config.d_model * (2 if config.positions == "learned" else 1)
    unused = 0
    if moe:
        experts = moe.n_experts - min(moe.n_experts, tokens * moe.top_k)
        unused = config.n_moe_layers * experts * expert_parameters(config)
    return matrices + rows - unused


def activation_bytes(config: ModelConfig, batch: int, sequence: int) -> int:
    """Bytes that the forward pass of `next_token_loss` keeps for its backward pass, in fp32.

    Defined for dense models with multi-head or grouped-query attention. The terms, in elements:

        norm        rms 2*BTD + BT (input, normalized, 1/rms), layer BTD + 2*BT (input, mean, 1/deviation)
        attention   BTD in, BTK*(H + 2N) queries, keys, values, B*H*T*T probabilities, BTHK mixed
        MLP         BTD in, swiglu 4*BTF (gate, silu, up, product), gelu 2*BTF (before and after)
        head        BTD in, BTV log-probabilities

    Raises:
        ValueError: mixture of experts or latent attention, where it is not defined.
    """
    if config.moe or config.mla:
        raise ValueError("activation_bytes is defined for dense models without latent attention")
    tokens, D = batch * sequence, config.d_model
    layer = 2 * _norm_activations(config, tokens) + _attention_activations(config, batch, sequence)
    layer += 2 * tokens * D + tokens * config.d_ff * (4 if config.activation == "swiglu" else 2)
    head = _norm_activations(config, tokens) + tokens * D + tokens * config.vocab_size
    ids = 2 * 8 * tokens  # inputs and targets, 64-bit integers
    return 4 * (config.n_layers * layer + head) + ids + 4


def _norm_activations(config: ModelConfig, tokens: int) -> int:
    return 2 * tokens * config.d_model + tokens if config.norm == "rms" else tokens * (config.d_model + 2)


def _attention_activations(config: ModelConfig, batch: int, sequence: int) -> int:
    """Elements that attention keeps of one layer for the backward pass, besides its input."""
    tokens, H, N, K = batch * sequence, config.n_heads, config.n_kv_heads, config.head_dim
    normed = (H + N) * (K + K + 1) * tokens if config.qk_norm else 0
    return tokens * K * (H + 2 * N) + batch * H * sequence**2 + tokens * H * K + normed
