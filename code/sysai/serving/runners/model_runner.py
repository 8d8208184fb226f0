"""The runner: one pass of the model over all sequences of a step, prompts in chunks and decoding ones alike.

The tokens of all sequences follow each other, as one matrix of T rows without padding. Norms, projections and MLP
take a row for a token and don't ask whose it is, so that their weights are read once for everybody:

    x = embed(tokens);  x += output(attention of each sequence (norm(x)));  x += mlp(norm(x));  logits = head(x[wanted])

Only attention goes by sequence (`attention_backends`). The head, 2 * D * V FLOPs a row, is computed for those rows only
from which a token will be sampled, or the prompt's next one scored (Yu et al., Orca, OSDI 2022, section 3.2: selective
batching). The weights are those of `sysai.models.transformer.Transformer`, in place. On a CPU `compiled_runner` does
the same by kernels of chapter 07's compiler.

Shapes: T tokens of the step, D model, H query heads, N key-value heads, K head size, R rows that have logits, V
vocabulary.
"""

from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sysai.models.attention import Attention
from sysai.models.layers import rotate
from sysai.models.transformer import Transformer
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.runners.attention_backends import AttentionBackend, TorchAttention, TritonAttention
from sysai.serving.runners.paged_cache import PagedKVCache
from sysai.serving.runners.step_inputs import StepInputs


class Runner(Protocol):
    """Executes steps; made from a model and the limits."""

    def execute(self, step: SchedulerOutput) -> Tensor:
        """Move the blocks of a step, and compute it: logits [R, V], each sequence's last `num_logits` in order."""


def check_served(model: Transformer, config: SchedulerConfig) -> None:
    """Check that runners can serve a model within the limits.

    Raises:
        ValueError: a model with experts or latent attention, or sequences longer than the model has positions.
    """
    shape = model.config
    if shape.moe is not None or shape.mla is not None:
        raise ValueError(
            f"{shape.name} has {'latent attention' if shape.mla else 'a mixture of experts'}: "
            f"the runner serves dense models whose heads have keys and values"
        )
    if config.most_positions > shape.max_positions:
        raise ValueError(
            f"sequences of {config.most_positions} positions exceed the {shape.max_positions} of {shape.name}: "
            f"set max_model_len"
        )


class ModelRunner:
    """Executes steps over `model`, which has its keys and values in `cache`.

    Args:
        attention: the backend's class; None for Triton's kernels on a GPU (if Triton is there), else torch.

    Raises:
        ValueError: a model with experts or latent attention, or sequences longer than the model has positions.
    """

    def __init__(
        self, model: Transformer, config: SchedulerConfig, attention: type[AttentionBackend] | None = None
    ) -> None:
        check_served(model, config)
        self.model = model
        on_gpu = model.device.type == "cuda" and find_spec("triton") is not None and model.dtype != torch.float64
        self.attention = attention or (TritonAttention if on_gpu else TorchAttention)
        memory = (config.num_blocks, config.block_size, config.num_cpu_blocks)
        self.cache = PagedKVCache(model.config, *memory, device=model.device, dtype=model.dtype)

    @torch.inference_mode()
    def execute(self, step: SchedulerOutput) -> Tensor:
        """Move the blocks of a step, and compute it: logits [R, V], each sequence's last `num_logits` in order."""
        self.cache.move(step)
        model = self.model
        inputs = StepInputs.of(step, self.cache.block_size)
        attention = self.attention(inputs, self.cache.blocks_L2PONK)
        tokens_T, positions_T, logits_R = (
            torch.from_numpy(x).to(model.device) for x in (inputs.tokens, inputs.positions, inputs.logits)
        )
        x_TD = model.embed(tokens_T)
        rotation = None
        if model.config.positions == "learned":
            x_TD = x_TD + model.positions(positions_T)
        else:  # an axis more, for the heads
            rotation = (model.rope.cos[positions_T][:, None], model.rope.sin[positions_T][:, None])
        for layer, block in enumerate(model.blocks):
            q_THK, k_TNK, v_TNK = _projections(block.attention, block.attention_norm(x_TD), rotation)
            mixed_THK = attention(layer, q_THK, k_TNK, v_TNK)
            x_TD = x_TD + block.attention.output(mixed_THK.flatten(1))
            x_TD = x_TD + block.mlp(block.mlp_norm(x_TD))
        x_RD = model.norm(x_TD[logits_R])
        return F.linear(x_RD, model.embed.weight if model.config.tie_embeddings else model.head.weight)


def _projections(layer: Attention, x_TD: Tensor, rotation: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
    """Queries [T, H, K], keys and values [T, N, K], turned to their positions."""
    heads = (-1, layer.head_dim)
    q_THK = layer.query_norm(layer.query(x_TD).unflatten(-1, heads))
    k_TNK = layer.key_norm(layer.key(x_TD).unflatten(-1, heads))
    if rotation is not None:
        q_THK, k_TNK = rotate(q_THK, rotation), rotate(k_TNK, rotation)
    return q_THK, k_TNK, layer.value(x_TD).unflatten(-1, heads)
