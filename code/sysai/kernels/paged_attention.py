"""Paged attention: all sequences of a step in one launch, over keys and values in the blocks where they lie.

A step's tokens lie sequence after sequence, each sequence's last ones; a token sees positions up to its own.
A program takes a tile of a sequence's tokens, with the H / N queries that share a key-value head as rows of one matrix,
and walks over the positions, some at a time: it looks their blocks up in the block table, and keeps for each row the
largest score so far m, the sum l of exponentials, and the weighted sum o of values (online softmax, in float32):

    m' = max(m, max_j s_j),   l' = l e^(m - m') + sum_j e^(s_j - m'),   o' = o e^(m - m') + sum_j e^(s_j - m') v_j

and o / l is the output: scores are never stored. Which sequence a tile belongs to is found by bisection in
`query_starts`, so that prompts in chunks and sequences that decode need no order, no padding and no second launch.

Cost: 4 * H * K FLOPs for a token and a position it sees; 2 * N * K * bytes_per_element a position, once for each tile
that sees it. A sequence that decodes is one tile, bound by memory; a few of them leave most of a GPU idle, whatever
their length. Then positions are split among S programs, and a second kernel adds up what each has found:

    out = sum_i 2^(lse_i - max lse) out_i / sum_i 2^(lse_i - max lse),   lse_i = log2 of split i's sum

Sources: Kwon et al., arXiv 2309.06180, section 5.1; Dao, FlashAttention-2, arXiv 2307.08691, section 3.1; Dao, Haziza,
Massa and Sizov, Flash-Decoding, 2023. Tiles over blocks of any size and the bisection are those of vLLM's
`triton_unified_attention.py`. Production adds sliding windows, caches in fp8, copies by the tensor memory accelerator,
and shared prefixes read once for all that share them.

Shapes: T tokens of the step, B sequences, H query heads, N key-value heads, K head size, S positions or splits, P
blocks, O positions of a block, G blocks of a table's row.
"""

from contextlib import nullcontext
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from sysai.kernels.loading import kernel_path, load_kernels, must_interpret
from sysai.kernels.report import POINTERS, Launch
from sysai.models.attention import attend, causal_mask

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LEAST_SPLIT = 256
"""Positions below which a split costs more than it gains: its part of the output is written and read again."""
MOST_SPLITS = 32


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of a step's attention that are known without looking into tensors on the device."""

    tokens: int
    sequences: int
    heads: int
    kv_heads: int
    head_size: int
    block_size: int
    table_blocks: int

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} query heads do not share {self.kv_heads} key-value heads evenly")


@dataclass(frozen=True)
class Tiles:
    """Rows of a tile (queries of a group count one by one), positions at a time, splits, and warps of a program.

    Raises:
        ValueError: one of them is no power of two, or a tile is smaller than matrix units take.
    """

    block_m: int
    block_n: int
    splits: int = 1
    num_warps: int = 4

    def __post_init__(self) -> None:
        if any(size < 1 or size & (size - 1) for size in astuple(self)):
            raise ValueError(f"{self} has a number that is not a power of two")
        if min(self.block_m, self.block_n) < 16:
            raise ValueError(f"{self} is too small for matrix units: give block_m and block_n of 16 or more")


def choose_tiles(shape: AttentionShape, dtype: torch.dtype, processors: int) -> Tiles:
    """Tiles by what the host knows.

    Rows: as many as a sequence has on average, from 16, what matrix units take, to FlashAttention-2's 128; positions:
    64; both as far as registers hold so many queries or keys. Float32 takes twice the registers and has no matrix units
    to feed on NVIDIA's: a quarter of both. Warps: 4, and 8 where registers would not do. Splits: as many as give each
    of the GPU's `processors` two programs, with at least LEAST_SPLIT positions of the longest sequence in each: many
    tiles, as of prompts, are never split.
    """
    group = shape.heads // shape.kv_heads
    rows = group * -(-shape.tokens // max(shape.sequences, 1))
    wide = dtype == torch.float32
    elements, most_rows, most_positions = (2048, 32, 32) if wide else (8192, 128, 64)
    fitting = max(elements // _power_of_two(shape.head_size), 16)
    block_m = max(_power_of_two(min(rows, fitting, most_rows)), _power_of_two(group), 16)
    block_n = min(fitting, most_positions)
    tiles = shape.kv_heads * (shape.tokens // (block_m // group) + shape.sequences)
    positions = shape.table_blocks * shape.block_size
    splits = min(2 * processors // max(tiles, 1), positions // LEAST_SPLIT, MOST_SPLITS)
    return Tiles(block_m, block_n, 1 << max(splits, 1).bit_length() - 1, 8 if wide or block_m >= 128 else 4)


def paged_attention(
    q_THK: Tensor,
    blocks_2PONK: Tensor,
    block_tables_BG: Tensor,
    query_starts_B1: Tensor,
    lengths_B: Tensor,
    tiles: Tiles | None = None,
) -> Tensor:
    """Causal attention of a step's tokens to their sequences: [T, H, K], in one launch or, with splits, two.

    What tensors hold is not checked, as that would wait for the GPU. Positions from `lengths_B` on and table entries
    after the last that is needed are never read.

    Args:
        q_THK: queries in float32, float16 or bfloat16, sequence after sequence.
        blocks_2PONK: one layer's keys [0] and values [1], of the same dtype; those of `q_THK`'s positions included.
        block_tables_BG: int32 or int64, G at least the blocks of the longest sequence. No wider than that, as splits
            are chosen by it.
        query_starts_B1: [B + 1], int32 or int64: where each sequence's tokens begin in `q_THK`, and T.
        lengths_B: int32 or int64, positions of each sequence, its tokens of this step included.
        tiles: by default what `choose_tiles` says.

    Raises:
        ValueError: shapes, dtypes or devices do not fit each other.
        RuntimeError: Triton is not installed.
    """
    shape = _check(q_THK, blocks_2PONK, block_tables_BG, query_starts_B1, lengths_B)
    tiles = tiles or choose_tiles(shape, q_THK.dtype, _processors(q_THK.device))
    if tiles.block_m < shape.heads // shape.kv_heads:
        raise ValueError(f"{tiles} do not hold the {shape.heads // shape.kv_heads} queries of a key-value head")
    out_THK = torch.empty_like(q_THK, memory_format=torch.contiguous_format)
    kernels = load_kernels("paged_attention", must_interpret(q_THK.device))
    if not shape.tokens:
        return out_THK
    partial, lse = out_THK, None  # one split writes its result itself; several leave theirs to a second launch
    if tiles.splits > 1:
        partial = q_THK.new_empty(*q_THK.shape[:2], tiles.splits, shape.head_size, dtype=torch.float32)
        lse = q_THK.new_empty(partial.shape[:3], dtype=torch.float32)
    tensors = (q_THK.contiguous(), blocks_2PONK, block_tables_BG, query_starts_B1, lengths_B, partial, lse)
    numbers = (shape.sequences, block_tables_BG.stride(0), blocks_2PONK.stride(0))
    with torch.cuda.device(q_THK.device) if q_THK.is_cuda else nullcontext():
        kernel, grid, constants = kernels.launch_attention(*_attention_parameters(shape, tiles))
        kernel[grid](*tensors, *numbers, **constants)
        if tiles.splits > 1:
            kernel, grid, constants = kernels.launch_reduce(*_reduce_parameters(shape, tiles))
            kernel[grid](partial, lse, out_THK, **constants)
    return out_THK


def paged_attention_reference(
    q_THK: Tensor, blocks_2PONK: Tensor, block_tables_BG: Tensor, query_starts_B1: Tensor, lengths_B: Tensor
) -> Tensor:
    """The same as `paged_attention`, sequence by sequence in torch, from keys and values gathered into one piece.

    It computes in float32, or in float64 if that is what it is given.
    """
    out_THK = torch.empty_like(q_THK)
    dtype = torch.promote_types(q_THK.dtype, torch.float32)
    starts, block_size = query_starts_B1.tolist(), blocks_2PONK.shape[2]
    for table_G, start, stop, length in zip(block_tables_BG, starts, starts[1:], lengths_B.tolist(), strict=False):
        if start == stop:
            continue
        blocks = table_G[: -(-length // block_size)].long()
        k_1NSK, v_1NSK = blocks_2PONK[:, blocks].flatten(1, 2)[:, None, :length].to(dtype).transpose(2, 3)
        q_1HTK = q_THK[None, start:stop].to(dtype).transpose(1, 2)
        mask_TS = causal_mask(stop - start, length - (stop - start), like=q_1HTK)
        out_THK[start:stop] = attend(q_1HTK, k_1NSK, v_1NSK, mask_TS)[0].transpose(0, 1)
    return out_THK


def launches(shape: AttentionShape, tiles: Tiles, dtype: torch.dtype, num_blocks: int) -> list[Launch]:
    """The kernels that `paged_attention` launches over a layer of `num_blocks` blocks, with indices of 32 bits."""
    element, index, partial = POINTERS[str(dtype).removeprefix("torch.")], "*i32", POINTERS["float32"]
    split = tiles.splits > 1
    path = kernel_path("paged_attention")
    attention = Launch(
        name="paged_attention",
        path=path,
        function="launch_attention",
        parameters=_attention_parameters(shape, tiles),
        pointers=(element, element, index, index, index, *((partial, partial) if split else (element, None))),
        numbers=(
            shape.sequences,
            shape.table_blocks,
            num_blocks * shape.block_size * shape.kv_heads * shape.head_size,
        ),
    )
    if not split:
        return [attention]
    pointers = (partial, partial, element)
    return [attention, Launch("paged_attention", path, "launch_reduce", _reduce_parameters(shape, tiles), pointers)]


def _attention_parameters(shape: AttentionShape, tiles: Tiles) -> tuple[int, ...]:
    step = (shape.tokens, shape.sequences, shape.heads, shape.kv_heads, shape.head_size, shape.block_size)
    return (*step, *astuple(tiles))


def _reduce_parameters(shape: AttentionShape, tiles: Tiles) -> tuple[int, ...]:
    return shape.tokens * shape.heads, shape.head_size, tiles.splits


def _power_of_two(number: int) -> int:
    """The least power of two that is at least `number`."""
    return 1 << max(number - 1, 0).bit_length()


def _processors(device: torch.device) -> int:
    """Streaming multiprocessors (compute units) of a GPU; the interpreter runs one program after the other."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _check(q: Tensor, blocks: Tensor, tables: Tensor, starts: Tensor, lengths: Tensor) -> AttentionShape:
    if (q.dim(), blocks.dim(), tables.dim(), starts.dim(), lengths.dim()) != (3, 5, 2, 1, 1) or blocks.shape[0] != 2:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in (q, blocks, tables, starts, lengths))
        raise ValueError(f"shapes {shapes} are not [T, H, K], [2, P, O, N, K], [B, G], [B + 1], [B]")
    B = len(lengths)
    if len(tables) != B or len(starts) != B + 1 or (len(q) and not B):
        raise ValueError(
            f"{len(q)} tokens with {B} lengths, {len(tables)} block tables, {len(starts)} starts: give B, B, B + 1"
        )
    if q.shape[2] != blocks.shape[4]:
        raise ValueError(f"queries of {q.shape[2]} elements meet keys of {blocks.shape[4]}")
    if q.dtype not in DTYPES or blocks.dtype != q.dtype:
        raise ValueError(f"queries in {q.dtype}, blocks in {blocks.dtype}: give both in one of {DTYPES}")
    if any(tensor.dtype not in (torch.int32, torch.int64) for tensor in (tables, starts, lengths)):
        raise ValueError(f"tables, starts, lengths in {tables.dtype}, {starts.dtype}, {lengths.dtype}: give integers")
    if len({tensor.device for tensor in (q, blocks, tables, starts, lengths)}) > 1:
        raise ValueError("tensors lie on several devices: move them to that of the queries")
    if not blocks.is_contiguous() or (tables.numel() and tables.stride(1) != 1):
        raise ValueError("blocks and the rows of block tables must be contiguous: give a layer of the cache itself")
    return AttentionShape(q.shape[0], B, q.shape[1], blocks.shape[3], q.shape[2], blocks.shape[2], tables.shape[1])
