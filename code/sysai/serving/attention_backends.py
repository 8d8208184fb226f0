"""Attention of a step over paged memory, two ways: gathered by torch anywhere, and by Triton kernels on a GPU.

A backend is made for a step, and then called for every layer: new keys and values go to their slots, queries see all
that their sequence's block table leads to, up to their own position. What of it is the same for every layer is made
once.

    gathered   a sequence's blocks are copied into one piece, then multiplied as any other: 2 reads and 1 write of each
               key and value, and a few launches a sequence
    paged      one launch for all sequences, which reads blocks where they lie: 1 read

On the CPU `cpu_attention` takes the place of both. Production: vLLM chooses among a dozen backends by device and shape.

Shapes: T tokens of the step, H query heads, N key-value heads, K head size, S positions of a sequence, B sequences, G
blocks of the longest one.
"""

from itertools import accumulate
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sysai.kernels.paged_attention import paged_attention
from sysai.kernels.reshape_and_cache import reshape_and_cache
from sysai.models.attention import attend, causal_mask
from sysai.serving.paged_cache import PagedKVCache
from sysai.serving.step import Part, Step


class AttentionBackend(Protocol):
    """Made of the memory and a step."""

    def __init__(self, cache: PagedKVCache, step: Step) -> None: ...

    def __call__(self, layer: int, q_THK: Tensor, k_TNK: Tensor, v_TNK: Tensor) -> Tensor:
        """Keep the new keys and values, and mix: [T, H, K]."""


class _Sequence(NamedTuple):
    rows: slice  # its tokens among the step's
    block_table: Tensor  # [G]
    length: int  # S, its new positions included
    mask: Tensor | None  # [T, S]


class GatheredAttention:
    """By torch, sequence by sequence; on any device, in any dtype."""

    def __init__(self, cache: PagedKVCache, step: Step) -> None:
        self.cache = cache
        self.slot_mapping_T = _slot_mapping(cache, step)
        ends = accumulate(len(part.token_ids) for part in step.parts)
        self.sequences = [self._sequence(part, end) for part, end in zip(step.parts, ends, strict=True)]

    def __call__(self, layer: int, q_THK: Tensor, k_TNK: Tensor, v_TNK: Tensor) -> Tensor:
        """[T, H, K]."""
        self.cache.write(layer, self.slot_mapping_T, k_TNK, v_TNK)
        mixed_THK = torch.empty_like(q_THK)
        for sequence in self.sequences:
            past = self.cache.read(layer, sequence.block_table, sequence.length)
            k_1NSK, v_1NSK = (x_SNK.transpose(0, 1)[None] for x_SNK in past)
            q_1HTK = q_THK[sequence.rows].transpose(0, 1)[None]
            mixed_THK[sequence.rows] = attend(q_1HTK, k_1NSK, v_1NSK, sequence.mask)[0].transpose(0, 1)
        return mixed_THK

    def _sequence(self, part: Part, end: int) -> _Sequence:
        """The part whose last token is the step's row `end - 1`."""
        new, length, memory = len(part.token_ids), _length(part), self.cache.blocks_L2PONK
        block_table_G = torch.tensor(_used_blocks(self.cache, part), device=memory.device)
        return _Sequence(slice(end - new, end), block_table_G, length, causal_mask(new, part.start, like=memory))


class TritonAttention:
    """By `sysai.kernels`, compiled on a GPU; in Triton's interpreter, slowly, on a CPU."""

    def __init__(self, cache: PagedKVCache, step: Step) -> None:
        self.blocks_L2PONK = memory = cache.blocks_L2PONK
        self.slot_mapping_T = _slot_mapping(cache, step)
        tables = [_used_blocks(cache, part) for part in step.parts]
        width = max(map(len, tables))
        filled = [[*table, *[0] * (width - len(table))] for table in tables]
        starts = accumulate((len(part.token_ids) for part in step.parts), initial=0)
        whole = {"dtype": torch.int32, "device": memory.device}
        self.block_tables_BG = torch.tensor(filled, **whole)
        self.query_starts_B1 = torch.tensor(list(starts), **whole)
        self.lengths_B = torch.tensor([_length(part) for part in step.parts], **whole)

    def __call__(self, layer: int, q_THK: Tensor, k_TNK: Tensor, v_TNK: Tensor) -> Tensor:
        """[T, H, K]."""
        blocks_2PONK = self.blocks_L2PONK[layer]
        reshape_and_cache(k_TNK, v_TNK, blocks_2PONK, self.slot_mapping_T)
        return paged_attention(q_THK, blocks_2PONK, self.block_tables_BG, self.query_starts_B1, self.lengths_B)


def _length(part: Part) -> int:
    return part.start + len(part.token_ids)


def _used_blocks(cache: PagedKVCache, part: Part) -> tuple[int, ...]:
    """The blocks that hold the part's positions so far."""
    return part.block_table[: -(-_length(part) // cache.block_size)]


def _slot_mapping(cache: PagedKVCache, step: Step) -> Tensor:
    """Where each token's position lies, counted in positions over all blocks."""
    size = cache.block_size
    slots = [
        part.block_table[position // size] * size + position % size
        for part in step.parts
        for position in range(part.start, _length(part))
    ]
    return torch.tensor(slots, device=cache.blocks_L2PONK.device)
