"""A preset made deeper or wider, and what training and serving it costs.

Width multiplies the size of heads, so D, F and the keys and values grow together and no number of heads has to be
divided. Training memory is Adam's, in fp32 or in mixed precision; activations are those of a program that runs
operator by operator, in mixed precision half of what they are in fp32, and defined for dense models only.
"""

from dataclasses import replace

from sysai.explorables.controls import BYTES
from sysai.models.config import ModelConfig
from sysai.models.formulas.flop_count import forward_flops, training_flops
from sysai.models.formulas.memory import MIXED_ADAM, PLAIN_ADAM, MemoryBill, activation_bytes
from sysai.models.formulas.parameter_count import parameters

RECIPES = {"fp32": PLAIN_ADAM, "bf16": MIXED_ADAM}


def shaped(config: ModelConfig, depth: float, width: float) -> ModelConfig:
    """The model with `depth` times the layers (rounded) and `width` times the width."""

    def wider(part: object, *fields: str) -> dict[str, int]:
        return {field: int(getattr(part, field) * width) for field in fields}

    moe, mla = config.moe, config.mla
    return replace(
        config,
        n_layers=max(1, round(config.n_layers * depth)),
        **wider(config, "d_model", "head_dim", "d_ff"),
        moe=moe and replace(moe, **wider(moe, "d_expert")),
        mla=mla and replace(mla, **wider(mla, "q_rank", "kv_rank", "nope_dim", "rope_dim", "v_dim")),
    )


def training(config: ModelConfig, batch: int, sequence: int, precision: str) -> MemoryBill:
    """Bytes held in a training step; activations are 0 where they are not defined."""
    number, recipe = parameters(config).total, RECIPES[precision]
    return MemoryBill(
        weights=recipe.weights * number,
        gradients=recipe.gradients * number,
        optimizer=recipe.optimizer * number,
        activations=activations(config, batch, sequence, precision),
    )


def activations(config: ModelConfig, batch: int, sequence: int, precision: str) -> int:
    """Bytes kept for the backward pass; 0 where they are not defined, and where there is no sequence."""
    defined = config.moe is None and config.mla is None
    return activation_bytes(config, batch, sequence) * BYTES[precision] // 4 if defined and batch else 0


def work(config: ModelConfig, batch: int, sequence: int) -> dict[str, tuple[int, int]]:
    """FLOPs of a training step, a prefill and a decode step after it: exact, and by the rule of thumb."""
    used, tokens = parameters(config).active, batch * sequence
    return {
        "training": (training_flops(config, batch, sequence).total, 6 * used * tokens),
        "prefill": (forward_flops(config, batch, sequence, last_only=True).total, 2 * used * tokens),
        "decode": (forward_flops(config, batch, 1, sequence).total, 2 * used * batch),
    }
