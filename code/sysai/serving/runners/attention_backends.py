"""Attention of a step over paged memory, two ways: by torch anywhere, and by Triton kernels on a GPU.

A backend is made for a step, and then called for every layer: new keys and values go to their slots, then queries see
all that their sequence's block table leads to, up to their own position. Indices and masks are the same for every
layer, and are made once.

    torch     keys and values are gathered into one piece, then multiplied as any other: 2 reads and 1 write of each
    Triton    one launch for all sequences, which reads blocks where they lie: 1 read

On the CPU `cpu_attention` takes the place of both. Production: vLLM chooses among a dozen backends by device and shape,
each with a metadata builder for what is made once a step.

Shapes: T tokens of the step, H query heads, N key-value heads, K head size, L layers, P blocks, O positions of a block;
of a group, B sequences with C new tokens each, S positions of the longest one.
"""

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sysai.kernels.paged_attention import paged_attention
from sysai.kernels.reshape_and_cache import reshape_and_cache, reshape_and_cache_reference
from sysai.models.attention import attend
from sysai.serving.runners.step_inputs import StepInputs


class AttentionBackend(Protocol):
    """Attention of one step: made of its inputs and the memory, then called for each layer."""

    def __init__(self, inputs: StepInputs, blocks_L2PONK: Tensor) -> None: ...

    def __call__(self, layer: int, q_THK: Tensor, k_TNK: Tensor, v_TNK: Tensor) -> Tensor:
        """Write the new keys and values to their slots, and attend: [T, H, K]."""


class _Group(NamedTuple):
    """Sequences that share a call: with equally many new tokens, and fewer than twice the positions of another."""

    rows: Tensor  # [B, C] of the step's tokens
    cache_rows: Tensor  # [B, N, S] of a head's key or value at a position, counted in heads over all blocks
    mask: Tensor | None  # [B, 1, C, S]


class TorchAttention:
    """By torch, group by group; on any device, in any dtype."""

    def __init__(self, inputs: StepInputs, blocks_L2PONK: Tensor) -> None:
        self.blocks_L2PONK = blocks_L2PONK
        self.slot_mapping_T = torch.from_numpy(inputs.slot_mapping).to(blocks_L2PONK.device)
        keys_B = zip(np.diff(inputs.query_starts).tolist(), np.frexp(inputs.lengths)[1].tolist(), strict=True)
        alike: dict[tuple[int, int], list[int]] = {}
        for sequence, key in enumerate(keys_B):
            alike.setdefault(key, []).append(sequence)
        self.groups = [self._group(inputs, sequences, count) for (count, _), sequences in alike.items()]

    def _group(self, inputs: StepInputs, sequences: list[int], count: int) -> _Group:
        """Gather indices and a mask for sequences alike; `count` new tokens each.

        Beyond its end a sequence gets its last position again, masked: memory that nobody wrote may be NaN.
        """
        memory, (O, N) = self.blocks_L2PONK, self.blocks_L2PONK.shape[3:5]
        lengths_B1 = inputs.lengths[sequences, None]
        positions_S = np.arange(lengths_B1.max())
        seen_BS = np.minimum(positions_S, lengths_B1 - 1)
        blocks_BS = np.take_along_axis(inputs.block_tables[sequences], seen_BS // O, axis=1)
        slots_B1S = (blocks_BS.astype(np.int64) * O + seen_BS % O)[:, None]
        new_C = np.arange(count)
        hidden_B1CS = positions_S > (lengths_B1 - count + new_C)[:, None, :, None]
        mask_B1CS = None
        if hidden_B1CS.any():
            mask_B1CS = memory.new_zeros(hidden_B1CS.shape)
            mask_B1CS.masked_fill_(torch.from_numpy(hidden_B1CS).to(memory.device), float("-inf"))
        rows_BC = inputs.query_starts[sequences, None] + new_C
        cache_rows_BNS = slots_B1S * N + np.arange(N)[:, None]
        return _Group(*(torch.from_numpy(x).to(memory.device) for x in (rows_BC, cache_rows_BNS)), mask_B1CS)

    def __call__(self, layer: int, q_THK: Tensor, k_TNK: Tensor, v_TNK: Tensor) -> Tensor:
        """Write to the slots, gather, and attend with torch: [T, H, K]."""
        blocks_2PONK = self.blocks_L2PONK[layer]
        reshape_and_cache_reference(k_TNK, v_TNK, blocks_2PONK, self.slot_mapping_T)
        mixed_THK = torch.empty_like(q_THK)
        for rows_BC, cache_rows_BNS, mask_B1CS in self.groups:
            k_BNSK, v_BNSK = (x_PONK.flatten(0, 2)[cache_rows_BNS] for x_PONK in blocks_2PONK)
            q_BHCK = q_THK[rows_BC].transpose(1, 2)
            mixed_THK[rows_BC] = attend(q_BHCK, k_BNSK, v_BNSK, mask_B1CS).transpose(1, 2)
        return mixed_THK


class TritonAttention:
    """By `sysai.kernels`, compiled on a GPU; in Triton's interpreter, slowly, on a CPU."""

    def __init__(self, inputs: StepInputs, blocks_L2PONK: Tensor) -> None:
        self.blocks_L2PONK = blocks_L2PONK
        self.slot_mapping_T, *self.sequences = (
            torch.from_numpy(x).to(blocks_L2PONK.device)
            for x in (inputs.slot_mapping, inputs.block_tables, inputs.query_starts, inputs.lengths)
        )

    def __call__(self, layer: int, q_THK: Tensor, k_TNK: Tensor, v_TNK: Tensor) -> Tensor:
        """Launch two kernels, one that writes to the slots and one that attends: [T, H, K]."""
        blocks_2PONK = self.blocks_L2PONK[layer]
        reshape_and_cache(k_TNK, v_TNK, blocks_2PONK, self.slot_mapping_T)
        return paged_attention(q_THK, blocks_2PONK, *self.sequences)
