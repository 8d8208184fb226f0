"""The runner: one pass of the model over all parts of a step, prompts in chunks and decoding sequences alike.

The tokens of all parts stand behind each other, as one matrix of T rows without padding. Norms, projections and MLP
take a row for a token and don't ask whose it is, so that their weights are read once for everybody:

    x = embed(tokens);   x += output(attention of each part (norm(x)));   x += mlp(norm(x));   logits = head(x[last])

Only attention goes by sequence: a part's new keys and values are written to its slots, then its queries see all that
its block table leads to, up to their own position. The head, 2 * D * V FLOPs a row, is computed for those rows only
from which a token will be sampled (Yu et al., Orca, OSDI 2022, section 3.2: selective batching). The weights are those
of `sysai.models.Transformer`, in place. Production runs attention of all sequences as one kernel over the blocks.

Shapes: T tokens of the step, D model, H query heads, N key-value heads, K head size, S positions of a sequence, G its
blocks, R rows to sample from, V vocabulary.
"""

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sysai.models.attention import Attention, attend, causal_mask
from sysai.models.layers import rotate
from sysai.models.transformer import Transformer
from sysai.serving.paged_cache import PagedKVCache
from sysai.serving.scheduler_config import SchedulerConfig
from sysai.serving.step import Part, Step


class _Sequence(NamedTuple):
    """What attention needs to know of a part, the same for every layer."""

    rows: slice  # its tokens among the step's
    block_table: Tensor  # [G]
    length: int  # S, its new positions included
    mask: Tensor | None  # [T, S]


class ModelRunner:
    """Executes steps over `model`, which has its keys and values in `cache`.

    Raises:
        ValueError: a model with experts or latent attention, or sequences longer than the model has positions.
    """

    def __init__(self, model: Transformer, config: SchedulerConfig) -> None:
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
        self.model = model
        memory = (config.num_blocks, config.block_size, config.host_blocks)
        self.cache = PagedKVCache(shape, *memory, device=model.device, dtype=model.dtype)

    @torch.inference_mode()
    def execute(self, step: Step) -> Tensor:
        """Move what the step wants moved, and compute it: logits [R, V] of the parts that sample, in their order."""
        self.cache.move(step)
        model, device = self.model, self.model.device
        ends = list(accumulate(len(part.token_ids) for part in step.parts))
        sequences = [self._sequence(part, end) for part, end in zip(step.parts, ends, strict=True)]
        positions = [position for part in step.parts for position in _positions(part)]
        positions_T = torch.tensor(positions, device=device)
        slots = [slot for part in step.parts for slot in self._slots(part)]
        slot_mapping_T = torch.tensor(slots, device=device)

        tokens = [token for part in step.parts for token in part.token_ids]
        x_TD = model.embed(torch.tensor(tokens, device=device))
        rotation = None
        if model.config.positions == "learned":
            x_TD = x_TD + model.positions(positions_T)
        else:  # an axis more, for the heads
            rotation = (model.rope.cos[positions_T][:, None], model.rope.sin[positions_T][:, None])
        for block in model.blocks:
            normed_TD = block.attention_norm(x_TD)
            x_TD = x_TD + self._attention(block.attention, normed_TD, rotation, slot_mapping_T, sequences)
            x_TD = x_TD + block.mlp(block.mlp_norm(x_TD))

        last = [end - 1 for part, end in zip(step.parts, ends, strict=True) if part.samples]
        x_RD = model.norm(x_TD[torch.tensor(last, dtype=torch.int64, device=device)])
        return F.linear(x_RD, model.embed.weight if model.config.tie_embeddings else model.head.weight)

    def _attention(
        self,
        layer: Attention,
        x_TD: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        slot_mapping_T: Tensor,
        sequences: list[_Sequence],
    ) -> Tensor:
        """[T, D] to [T, D]: projections for all at once, then each sequence by itself."""
        heads = (-1, layer.head_dim)
        q_THK = layer.query_norm(layer.query(x_TD).unflatten(-1, heads))
        k_TNK = layer.key_norm(layer.key(x_TD).unflatten(-1, heads))
        v_TNK = layer.value(x_TD).unflatten(-1, heads)
        if rotation is not None:
            q_THK, k_TNK = rotate(q_THK, rotation), rotate(k_TNK, rotation)
        self.cache.write(layer.layer, slot_mapping_T, k_TNK, v_TNK)
        mixed_THK = torch.empty_like(q_THK)
        for sequence in sequences:
            past = self.cache.read(layer.layer, sequence.block_table, sequence.length)
            k_1NSK, v_1NSK = (x_SNK.transpose(0, 1)[None] for x_SNK in past)
            q_1HTK = q_THK[sequence.rows].transpose(0, 1)[None]
            mixed_THK[sequence.rows] = attend(q_1HTK, k_1NSK, v_1NSK, sequence.mask)[0].transpose(0, 1)
        return layer.output(mixed_THK.flatten(1))

    def _sequence(self, part: Part, end: int) -> _Sequence:
        """The part whose last token is the step's row `end - 1`."""
        new, length = len(part.token_ids), part.start + len(part.token_ids)
        used = part.block_table[: -(-length // self.cache.block_size)]
        block_table_G = torch.tensor(used, device=self.model.device)
        mask_TS = causal_mask(new, part.start, like=self.model.embed.weight)
        return _Sequence(slice(end - new, end), block_table_G, length, mask_TS)

    def _slots(self, part: Part) -> list[int]:
        """Where the part's positions lie, counted in positions over all blocks."""
        size = self.cache.block_size
        return [part.block_table[position // size] * size + position % size for position in _positions(part)]


def _positions(part: Part) -> range:
    return range(part.start, part.start + len(part.token_ids))
