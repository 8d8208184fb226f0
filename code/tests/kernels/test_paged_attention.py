"""Paged attention in Triton's interpreter, against torch; the tiles it is launched with; what is refused."""

from dataclasses import replace

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from paged_steps import random_step, random_steps
from sysai.kernels import loading
from sysai.kernels import paged_attention as wrapper
from sysai.kernels.paged_attention import (
    LEAST_SPLIT,
    AttentionShape,
    Tiles,
    choose_tiles,
    paged_attention,
    paged_attention_reference,
)
from torch.nn import functional as F

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")

TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
TILES = st.builds(Tiles, st.sampled_from([16, 32, 64]), st.sampled_from([16, 32, 64]), st.sampled_from([1, 2, 4]))
LLAMA = AttentionShape(
    tokens=1, sequences=1, heads=32, kv_heads=8, head_size=128, block_size=16, table_blocks=32_768 // 16
)


def check(step, tiles=None, tolerance=None):
    got, expected = paged_attention(*step, tiles=tiles), paged_attention_reference(*step)
    assert got.dtype == step[0].dtype
    assert expected.isfinite().all()
    tolerance = tolerance or TOLERANCE[step[0].dtype]
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_the_reference_is_torchs_attention():
    queries, past = [5, 1, 12], [3, 16, 0]
    q_THK, blocks_2PONK, tables_BG, starts_B1, lengths_B = random_step(queries, past)
    got_THK = paged_attention_reference(q_THK, blocks_2PONK, tables_BG, starts_B1, lengths_B)
    for sequence, (new, old) in enumerate(zip(queries, past, strict=True)):
        places = [(int(tables_BG[sequence, at // 8]), at % 8) for at in range(new + old)]
        k_NSK, v_NSK = (torch.stack([blocks_PONK[place] for place in places], 1) for blocks_PONK in blocks_2PONK)
        rows = slice(starts_B1[sequence], starts_B1[sequence + 1])
        sees = torch.ones(new, new + old, dtype=torch.bool).tril(old)
        expected = F.scaled_dot_product_attention(q_THK[rows].transpose(0, 1), k_NSK, v_NSK, sees, enable_gqa=True)
        torch.testing.assert_close(got_THK[rows], expected.transpose(0, 1))


@examples(25)
@given(step=random_steps(), tiles=st.none() | TILES)
def test_any_step_is_the_references(step, tiles):
    check(step, tiles)


@pytest.mark.parametrize("head_size", [96, 128])
def test_large_heads(head_size):
    check(random_step([1, 3], [20, 9], 2, 1, head_size), Tiles(16, 16, 2))


@pytest.mark.parametrize("splits", [1, 4])
def test_large_logits_neither_overflow_nor_hide_each_other(splits):
    check(random_step([1, 6], [70, 30], heads=2, kv_heads=1, q_scale=100.0), Tiles(16, 16, splits), tolerance=1e-3)


def test_more_splits_than_there_is_to_split():
    check(random_step([1, 1, 4], [0, 16, 0], heads=2, kv_heads=1), Tiles(16, 16, 8))


def test_a_tile_writes_no_row_of_another():
    """Five queries of three heads leave one of sixteen rows over. On a GPU tiles run in any order."""
    step = random_step([12], [4], heads=3, kv_heads=1)
    shape, tiles = AttentionShape(12, 1, 3, 1, 32, 8, step[2].shape[1]), Tiles(16, 16)
    kernels = loading.load_kernels("paged_attention", interpret=True)
    kernel, grid, constants = kernels.launch_attention(*wrapper._attention_parameters(shape, tiles))
    assert grid == (12 // 5 + 1, 1, 1)
    out_THK = torch.full_like(step[0], torch.nan)
    numbers = (1, step[2].stride(0), step[1].stride(0))
    kernel[(1, 1, 1)](*step, out_THK, None, *numbers, **constants)
    torch.testing.assert_close(out_THK[:5], paged_attention_reference(*step)[:5], rtol=2e-5, atol=2e-5)
    assert out_THK[5:].isnan().all()


def test_a_step_without_tokens():
    step = random_step([0, 0], [5, 0])
    assert paged_attention(*step).shape == (0, 4, 32)


def test_operands_that_are_rows_of_something_larger():
    q_THK, blocks_2PONK, tables_BG, starts_B1, lengths_B = random_step([1, 3], [9, 4])
    qkv_T3HK = torch.stack([q_THK, q_THK, q_THK], 1)
    wide_BG = torch.cat([tables_BG, tables_BG], 1)
    layers_L2PONK = torch.stack([blocks_2PONK, blocks_2PONK])
    check((qkv_T3HK[:, 1], layers_L2PONK[1], wide_BG[:, : tables_BG.shape[1]], starts_B1, lengths_B))


SMALL = random_step([9, 1], [60, 90], heads=2, kv_heads=1), Tiles(16, 16, 2)
FAULTS = {
    "a query sees its successor": ("<= past + query[:, None]", "<= past + query[:, None] + 1"),
    "a query does not see itself": ("<= past + query[:, None]", "< past + query[:, None]"),
    "a position nobody has written is read": ("is_n = offs_n < end", "is_n = offs_n <= end"),
    "rows are of the sequence before": ("+ middle <= tile", "+ middle < tile"),
    "what has been summed up is not scaled anew": ("total = total * shrink", "total = total"),
    "splits weigh the same": ("weights = tl.exp2(lse", "weights = tl.exp2(0 * lse"),
}


def test_the_step_that_faults_are_planted_in_is_right():
    check(*SMALL)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault, tmp_path, monkeypatch):
    right, wrong = FAULTS[fault]
    source = loading.kernel_path("paged_attention").read_text()
    assert right in source
    faulty = tmp_path / "paged_attention.py"
    faulty.write_text(source.replace(right, wrong))
    monkeypatch.setattr(wrapper, "load_kernels", lambda name, interpret: loading.import_module(faulty, interpret))
    with pytest.raises(AssertionError):
        check(*SMALL)


@given(
    tokens=st.integers(1, 5000),
    sequences=st.integers(1, 300),
    group=st.integers(1, 20),
    table_blocks=st.integers(1, 5000),
    dtype=st.sampled_from(list(TOLERANCE)),
)
def test_tiles_hold_a_group_and_splits_serve_to_fill_the_gpu(tokens, sequences, group, table_blocks, dtype):
    shape = replace(LLAMA, tokens=tokens, sequences=sequences, heads=8 * group, table_blocks=table_blocks)
    tiles = choose_tiles(shape, dtype, processors=132)
    assert tiles.block_m >= group
    programs = 8 * (tokens // (tiles.block_m // group) + sequences)
    assert tiles.splits == 1 or programs * tiles.splits <= 2 * 132
    assert tiles.splits == 1 or table_blocks * 16 // tiles.splits >= LEAST_SPLIT


def test_long_contexts_of_few_sequences_are_split_and_prompts_are_not():
    assert choose_tiles(LLAMA, torch.bfloat16, processors=132) == Tiles(16, 64, 32)
    assert choose_tiles(replace(LLAMA, table_blocks=1024 // 16), torch.bfloat16, processors=132) == Tiles(16, 64, 4)
    assert choose_tiles(replace(LLAMA, tokens=64, sequences=64), torch.bfloat16, processors=132).splits == 1
    assert choose_tiles(replace(LLAMA, tokens=2048), torch.bfloat16, processors=132) == Tiles(64, 64, 1)
    assert choose_tiles(replace(LLAMA, tokens=2048, head_size=64), torch.bfloat16, processors=132) == Tiles(
        128, 64, 1, 8
    )
    assert choose_tiles(replace(LLAMA, tokens=2048), torch.float32, processors=132) == Tiles(16, 16, 1, 8)


def changed(**changes):
    names = ("q", "blocks", "tables", "starts", "lengths")
    step = dict(zip(names, random_step([1, 3], [9, 4]), strict=True))
    return [changes[name](step[name]) if name in changes else step[name] for name in names]


REFUSED = {
    "are not": {"q": lambda q: q[None]},
    "give B, B, B": {"starts": lambda starts: starts[:-1]},
    "meet keys of 16": {"blocks": lambda blocks: blocks[..., :16].contiguous()},
    "both in one of": {"q": torch.Tensor.half},
    "give integers": {"lengths": torch.Tensor.float},
    "contiguous": {"blocks": lambda blocks: blocks.mT.contiguous().mT},
    "do not share": {"q": lambda q: q[:, :3]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_operands_that_do_not_fit_are_refused(message):
    with pytest.raises(ValueError, match=message):
        paged_attention(*changed(**REFUSED[message]))


@pytest.mark.parametrize("sizes", [(24, 16), (16, 8), (16, 16, 3), (16, 16, 0)])
def test_tiles_that_cannot_be_are_refused(sizes):
    with pytest.raises(ValueError, match="Tiles"):
        Tiles(*sizes)


def test_tiles_below_a_group_are_refused():
    with pytest.raises(ValueError, match="do not hold the 20 queries"):
        paged_attention(*random_step([1], [3], heads=20, kv_heads=1), tiles=Tiles(16, 16))


def test_without_triton_the_message_says_what_to_do(monkeypatch):
    loading.load_kernels.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"not installed.*reference"):
        paged_attention(*random_step([1], [3]))
