"""The kernels of `sysai.kernels.paged_attention`, which says what they compute and how they are launched.

Shapes: T tokens of all sequences, B sequences, H query heads, N key-value heads, K head size, O positions of a block,
S splits. A tile has BLOCK_M rows, the H / N queries of BLOCK_Q tokens, and walks over BLOCK_N positions at a time.
Numbers in capitals are known when the kernel is compiled. (`tl.max` and `tl.sum` are kernels
themselves, which belong to whoever ran Triton when it was imported; what they reduce with works for both.)
"""

import os

import triton
import triton.language as tl
from triton.language.standard import _elementwise_max as larger
from triton.language.standard import _sum_combine as added

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
LOG2_E = 1.4426950408889634


@triton.jit(do_not_specialize=["sequences", "stride_table"])
def attention_kernel(
    q_ptr,  # [T, H, K]
    blocks_ptr,  # [2, P, O, N, K]: keys, then values
    tables_ptr,  # [B, G]
    starts_ptr,  # [B + 1]
    lengths_ptr,  # [B]
    out_ptr,  # [T, H, S, K]: of each split
    lse_ptr,  # [T, H, S]: log2 of each split's sum of exponentials; None with one split
    sequences,
    stride_table,
    stride_values,  # elements from a key to its value
    H: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    O: tl.constexpr,
    SCALE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """One tile over one split of the positions that it sees; a row's sums are relative to its largest score so far."""
    GROUP: tl.constexpr = H // N
    BLOCK_Q: tl.constexpr = BLOCK_M // GROUP
    DOT_TYPE: tl.constexpr = tl.float32 if INTERPRETED else q_ptr.dtype.element_ty  # numpy has no bfloat16
    tile, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)

    # A sequence's tiles begin at start // BLOCK_Q + its number, which leaves enough for all before it.
    sequence = tl.full((), 0, tl.int32)
    upper = sequences
    while sequence + 1 < upper:
        middle = (sequence + upper) // 2
        if tl.load(starts_ptr + middle) // BLOCK_Q + middle <= tile:
            sequence = middle
        else:
            upper = middle
    start = tl.load(starts_ptr + sequence).to(tl.int32)
    queries = tl.load(starts_ptr + sequence + 1).to(tl.int32) - start
    past = tl.load(lengths_ptr + sequence).to(tl.int32) - queries
    first = (tile - start // BLOCK_Q - sequence) * BLOCK_Q
    if first >= queries:
        return

    rows = tl.arange(0, BLOCK_M)
    query = first + rows // GROUP
    is_row = (rows < BLOCK_Q * GROUP) & (query < queries)
    query = tl.minimum(query, queries - 1)
    offs_k = tl.arange(0, BLOCK_K)
    is_k = offs_k < K
    q_row = (start + query) * H + kv_head * GROUP + rows % GROUP
    q = tl.load(
        q_ptr + q_row.to(tl.int64)[:, None] * K + offs_k[None, :], mask=is_row[:, None] & is_k[None, :], other=0.0
    )
    q = q.to(DOT_TYPE)

    end = past + tl.minimum(first + BLOCK_Q, queries)  # what the tile's last query sees
    per_split = (end + BLOCK_N * SPLITS - 1) // (BLOCK_N * SPLITS) * BLOCK_N
    top = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.full([BLOCK_M], 0.0, tl.float32)
    mixed = tl.full([BLOCK_M, BLOCK_K], 0.0, tl.float32)
    for n in range(split * per_split, tl.minimum((split + 1) * per_split, end), BLOCK_N):
        offs_n = n + tl.arange(0, BLOCK_N)
        is_n = offs_n < end
        block = tl.load(tables_ptr + sequence.to(tl.int64) * stride_table + offs_n // O, mask=is_n, other=0)
        k_at = ((block.to(tl.int64) * O + offs_n % O) * N + kv_head) * K
        k = tl.load(blocks_ptr + k_at[None, :] + offs_k[:, None], mask=is_n[None, :] & is_k[:, None], other=0.0)
        scores = tl.dot(q, k.to(DOT_TYPE), input_precision="ieee") * SCALE
        scores = tl.where(offs_n[None, :] <= past + query[:, None], scores, float("-inf"))
        new_top = tl.maximum(top, tl.reduce(scores, 1, larger))
        base = tl.where(new_top == float("-inf"), 0.0, new_top)  # a row may see nothing of this split
        weights = tl.exp2(scores - base[:, None])
        shrink = tl.exp2(top - base)
        v_at = stride_values + k_at
        v = tl.load(blocks_ptr + v_at[:, None] + offs_k[None, :], mask=is_n[:, None] & is_k[None, :], other=0.0)
        mixed = mixed * shrink[:, None] + tl.dot(weights.to(DOT_TYPE), v.to(DOT_TYPE), input_precision="ieee")
        total = total * shrink + tl.reduce(weights, 1, added)
        top = new_top

    is_seen = total > 0
    total = tl.where(is_seen, total, 1.0)
    out = mixed / total[:, None]
    out_row = q_row.to(tl.int64) * SPLITS + split
    out_at = out_ptr + out_row[:, None] * K + offs_k[None, :]
    tl.store(out_at, out.to(out_ptr.dtype.element_ty), mask=(is_row & is_seen)[:, None] & is_k[None, :])
    if SPLITS > 1:
        tl.store(lse_ptr + out_row, top + tl.log2(total), mask=is_row)


@triton.jit
def reduce_kernel(
    partial_ptr,  # [T, H, S, K]
    lse_ptr,  # [T, H, S]
    out_ptr,  # [T, H, K]
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
):
    """A token's head over all splits: each weighs as much as its sum of exponentials."""
    row = tl.program_id(0).to(tl.int64)
    offs_s = row * SPLITS + tl.arange(0, SPLITS)
    offs_k = tl.arange(0, BLOCK_K)
    lse = tl.load(lse_ptr + offs_s)
    is_seen = lse > float("-inf")  # a split that saw nothing has written nothing
    weights = tl.exp2(lse - tl.reduce(lse, 0, larger))
    mask = is_seen[:, None] & (offs_k < K)[None, :]
    partial = tl.load(partial_ptr + offs_s[:, None] * K + offs_k[None, :], mask=mask, other=0.0)
    out = tl.reduce(partial * weights[:, None], 0, added) / tl.reduce(weights, 0, added)
    tl.store(out_ptr + row * K + offs_k, out.to(out_ptr.dtype.element_ty), mask=offs_k < K)


def launch_attention(tokens, sequences, heads, kv_heads, head_size, block_size, block_m, block_n, splits, num_warps):
    """Kernel, grid and constants for these numbers."""
    grid = (tokens // (block_m // (heads // kv_heads)) + sequences, kv_heads, splits)
    constants = {
        "H": heads,
        "N": kv_heads,
        "K": head_size,
        "O": block_size,
        "SCALE": head_size**-0.5 * LOG2_E,
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "BLOCK_K": max(16, triton.next_power_of_2(head_size)),
        "SPLITS": splits,
        "num_warps": num_warps,
        "num_stages": 2,
    }
    return attention_kernel, grid, constants


def launch_reduce(rows, head_size, splits):
    """Kernel, grid and constants for these numbers."""
    constants = {"K": head_size, "BLOCK_K": triton.next_power_of_2(head_size), "SPLITS": splits, "num_warps": 1}
    return reduce_kernel, (rows,), constants
