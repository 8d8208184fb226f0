"""Cutting a model into stages: consecutive layers, with the embedding in the first stage and the head in the last.

Stages share their modules with the model that they are cut from, and parameters keep their names, so that a
checkpoint of the whole model serves every stage. Where the model is too large for one device, make it under
``torch.device("meta")``, cut it, and give memory (`to_empty`) and weights to this device's stages only.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from sysai.models.attention import causal_mask
from sysai.models.transformer import Transformer


def even_split(layers: int, stages: int) -> list[int]:
    """Numbers of layers that differ by at most one; the later stages get the larger ones.

    Raises:
        ValueError: fewer layers than stages.
    """
    if not 1 <= stages <= layers:
        raise ValueError(f"{layers} layers cannot fill {stages} stages: use 1 to {layers} stages")
    return [layers * (i + 1) // stages - layers * i // stages for i in range(stages)]


def sequential_stages(model: nn.Sequential, layers: Sequence[int]) -> list[nn.Sequential]:
    """Stages of `layers[s]` consecutive modules each.

    Raises:
        ValueError: the numbers do not add up to the model's modules.
    """
    return [model[first:last] for first, last in _bounds(layers, len(model))]


def transformer_stages(model: Transformer, layers: Sequence[int]) -> list["TransformerStage"]:
    """Stages of `layers[s]` blocks each; the first also embeds, the last also has the norm and the head.

    Raises:
        ValueError: the numbers do not add up to the model's layers.
    """
    bounds = _bounds(layers, len(model.blocks))
    end = len(bounds) - 1
    return [TransformerStage(model, *layers, begins=i == 0, ends=i == end) for i, layers in enumerate(bounds)]


def tied_weights(model: Transformer, stages: int) -> dict[str, tuple[int, ...]]:
    """Parameters that several stages hold, by name: the embedding, where the head shares its matrix."""
    return {"embed.weight": (0, stages - 1)} if model.config.tie_embeddings and stages > 1 else {}


class TransformerStage(nn.Module):
    """Blocks `first` to `last - 1` of a transformer, with the embedding where it begins and the head where it ends."""

    def __init__(self, model: Transformer, first: int, last: int, begins: bool, ends: bool) -> None:
        super().__init__()
        self.config, self.begins, self.ends = model.config, begins, ends
        if begins or (ends and self.config.tie_embeddings):
            self.embed = model.embed
        if begins and self.config.positions == "learned":
            self.positions = model.positions
        if self.config.positions == "rope":
            self.rope = model.rope
        self.blocks = nn.ModuleDict({str(i): model.blocks[i] for i in range(first, last)})
        if ends:
            self.norm = model.norm
            if not self.config.tie_embeddings:
                self.head = model.head

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, T] (first stage) or vectors [B, T, D] to vectors [B, T, D] or logits [B, T, V] (last stage)."""
        x_BTD = self._embed(x) if self.begins else x
        T = x_BTD.shape[1]
        rotation = self.rope(0, T) if self.config.positions == "rope" else None
        mask_TS = causal_mask(T, 0, like=x_BTD)
        for block in self.blocks.values():
            x_BTD = block(x_BTD, rotation, mask_TS, None)
        if not self.ends:
            return x_BTD
        return F.linear(self.norm(x_BTD), (self.embed if self.config.tie_embeddings else self.head).weight)

    def _embed(self, tokens_BT: Tensor) -> Tensor:
        x_BTD = self.embed(tokens_BT)
        return x_BTD + self.positions.weight[: x_BTD.shape[1]] if self.config.positions == "learned" else x_BTD


def _bounds(layers: Sequence[int], total: int) -> list[tuple[int, int]]:
    if sum(layers) != total or min(layers, default=0) < 0 or not layers:
        raise ValueError(f"the stages' layers {list(layers)} must add up to the model's {total}")
    return list(pairwise(accumulate(layers, initial=0)))
