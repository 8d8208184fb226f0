"""The kernel of `sysai.kernels.reshape_and_cache`, which says what it computes."""

import triton
import triton.language as tl


@triton.jit
def reshape_and_cache_kernel(
    k_ptr,  # [T, N, K]
    v_ptr,  # [T, N, K]
    slots_ptr,  # [T]
    blocks_ptr,  # [2, P, O, N, K]: keys, then values
    stride_k,  # elements from a token's keys to the next's
    stride_v,
    stride_values,  # elements from a key to its value
    WIDTH: tl.constexpr,  # N * K
    BLOCK: tl.constexpr,
):
    """Copy one token's keys and values into its slot."""
    token = tl.program_id(0).to(tl.int64)
    offs = tl.arange(0, BLOCK)
    is_offs = offs < WIDTH
    slot_at = blocks_ptr + tl.load(slots_ptr + token).to(tl.int64) * WIDTH + offs
    tl.store(slot_at, tl.load(k_ptr + token * stride_k + offs, mask=is_offs), mask=is_offs)
    tl.store(slot_at + stride_values, tl.load(v_ptr + token * stride_v + offs, mask=is_offs), mask=is_offs)


def launch(tokens, width):
    """Kernel, grid and constants for these numbers."""
    block = triton.next_power_of_2(width)
    return reshape_and_cache_kernel, (tokens,), {"WIDTH": width, "BLOCK": block, "num_warps": 1 if block < 512 else 4}
