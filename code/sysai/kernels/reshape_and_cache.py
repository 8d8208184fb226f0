"""Put a step's new keys and values into the blocks of a paged cache, all sequences in one launch.

A position's place is its slot, block * block_size + offset; a program copies one token's N * K keys, then its values.

Cost: 4 * T * N * K * bytes_per_element, each element read once and written once. Source: Kwon et al., arXiv
2309.06180, section 5.1 ("fused reshape and block write"); the name is vLLM's. Production converts to the cache's dtype
on the way, and skips the slots -1 that pad a CUDA graph's batch.

Shapes: T tokens of the step, N key-value heads, K head size, P blocks, O positions of a block.
"""

from contextlib import nullcontext

import torch
from torch import Tensor

from sysai.kernels.loading import kernel_path, load_kernels, must_interpret
from sysai.kernels.report import POINTERS, Launch


def reshape_and_cache(k_TNK: Tensor, v_TNK: Tensor, blocks_2PONK: Tensor, slot_mapping_T: Tensor) -> None:
    """Write keys and values to their slots, in place. That slots exist, and no two are the same, is not checked.

    Args:
        blocks_2PONK: one layer's keys [0] and values [1].
        slot_mapping_T: int32 or int64.

    Raises:
        ValueError: shapes, dtypes or devices do not fit each other.
        RuntimeError: Triton is not installed.
    """
    _check(k_TNK, v_TNK, blocks_2PONK, slot_mapping_T)
    kernels = load_kernels("reshape_and_cache", must_interpret(k_TNK.device))
    tokens, width = len(k_TNK), k_TNK.shape[1] * k_TNK.shape[2]
    if not tokens:
        return
    k_TE, v_TE = (x_TNK.flatten(1) for x_TNK in (k_TNK, v_TNK))
    k_TE, v_TE = (x_TE if x_TE.stride(1) == 1 else x_TE.contiguous() for x_TE in (k_TE, v_TE))
    tensors, strides = (k_TE, v_TE, slot_mapping_T, blocks_2PONK), (k_TE.stride(0), v_TE.stride(0))
    kernel, grid, constants = kernels.launch(tokens, width)
    with torch.cuda.device(k_TNK.device) if k_TNK.is_cuda else nullcontext():
        kernel[grid](*tensors, *strides, blocks_2PONK.stride(0), **constants)


def reshape_and_cache_reference(k_TNK: Tensor, v_TNK: Tensor, blocks_2PONK: Tensor, slot_mapping_T: Tensor) -> None:
    """As `reshape_and_cache`, in torch."""
    for blocks_PONK, new_TNK in zip(blocks_2PONK, (k_TNK, v_TNK), strict=True):
        blocks_PONK.flatten(0, 1).index_copy_(0, slot_mapping_T.long(), new_TNK)


def launches(tokens: int, width: int, dtype: torch.dtype, values: int) -> list[Launch]:
    """The launch of `reshape_and_cache` for N * K = `width`, with values that lie `values` elements after keys."""
    element = POINTERS[str(dtype).removeprefix("torch.")]
    return [
        Launch(
            name="reshape_and_cache",
            path=kernel_path("reshape_and_cache"),
            function="launch",
            parameters=(tokens, width),
            pointers=(element, element, POINTERS["int64"], element),
            numbers=(width, width, values),
        )
    ]


def _check(k: Tensor, v: Tensor, blocks: Tensor, slots: Tensor) -> None:
    if (k.dim(), blocks.dim(), slots.dim()) != (3, 5, 1) or k.shape != v.shape or blocks.shape[0] != 2:
        given = ", ".join(str(list(tensor.shape)) for tensor in (k, v, blocks, slots))
        raise ValueError(f"shapes {given} are not [T, N, K], [T, N, K], [2, P, O, N, K], [T]")
    if k.shape[1:] != blocks.shape[3:] or len(slots) != len(k):
        raise ValueError(f"{list(k.shape)} keys and {len(slots)} slots for blocks of {list(blocks.shape[2:])}")
    if not k.dtype == v.dtype == blocks.dtype:
        raise ValueError(f"keys in {k.dtype}, values in {v.dtype}, blocks in {blocks.dtype}: give all in one dtype")
    if slots.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"slots in {slots.dtype}: give integers")
    if len({tensor.device for tensor in (k, v, blocks, slots)}) > 1:
        raise ValueError("tensors lie on several devices: move them to that of the keys")
    if not blocks.is_contiguous():
        raise ValueError("blocks must be contiguous: give a layer of the cache itself")
