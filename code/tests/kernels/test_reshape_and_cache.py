"""New keys and values in their slots, by Triton's interpreter and by torch."""

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sysai.kernels.reshape_and_cache import reshape_and_cache, reshape_and_cache_reference

pytest.importorskip("triton", reason="Triton is not installed")

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@examples(15)
@given(
    tokens=st.integers(0, 12),
    kv_heads=st.integers(1, 3),
    head_size=st.sampled_from([4, 32, 80]),
    block_size=st.sampled_from([1, 3, 8]),
    dtype=st.sampled_from(DTYPES),
    index=st.sampled_from([torch.int32, torch.int64]),
    seed=st.integers(0, 1000),
)
def test_every_key_and_value_is_where_its_slot_says_and_nothing_else_has_changed(
    tokens, kv_heads, head_size, block_size, dtype, index, seed
):
    generator = torch.Generator().manual_seed(seed)
    blocks_2PONK = torch.randn(2, 14, block_size, kv_heads, head_size, generator=generator).to(dtype)
    slots_T = torch.randperm(14 * block_size, generator=generator)[:tokens].to(index)
    kv_2TNK = torch.randn(2, tokens, kv_heads, head_size, generator=generator).to(dtype)
    got, expected = blocks_2PONK.clone(), blocks_2PONK.clone()
    reshape_and_cache(*kv_2TNK, got, slots_T)
    reshape_and_cache_reference(*kv_2TNK, expected, slots_T)
    assert torch.equal(got, expected)
    for at, slot in enumerate(slots_T.tolist()):
        assert torch.equal(got[:, slot // block_size, slot % block_size], kv_2TNK[:, at])


def test_keys_and_values_may_be_rows_of_one_projection():
    qkv_TNK = torch.randn(5, 7, 16)
    k_TNK, v_TNK = qkv_TNK[:, 3:5], qkv_TNK[:, 5:]
    got, expected = torch.zeros(2, 3, 4, 2, 16), torch.zeros(2, 3, 4, 2, 16)
    slots_T = torch.tensor([7, 2, 11, 0, 5])
    for write, blocks in ((reshape_and_cache, got), (reshape_and_cache_reference, expected)):
        write(k_TNK, v_TNK.mT.contiguous().mT, blocks, slots_T)
    assert torch.equal(got, expected)
    assert torch.equal(got[0].flatten(0, 1)[slots_T], k_TNK)


REFUSED = {
    "are not": lambda k, v, blocks, slots: (k[None], v, blocks, slots),
    "and 4 slots": lambda k, v, blocks, slots: (k, v, blocks, slots[:-1]),
    "in one dtype": lambda k, v, blocks, slots: (k, v.half(), blocks, slots),
    "give integers": lambda k, v, blocks, slots: (k, v, blocks, slots.float()),
    "contiguous": lambda k, v, blocks, slots: (k, v, blocks.transpose(1, 2).contiguous().transpose(1, 2), slots),
}


@pytest.mark.parametrize("message", REFUSED)
def test_operands_that_do_not_fit_are_refused(message):
    operands = torch.zeros(5, 2, 16), torch.zeros(5, 2, 16), torch.zeros(2, 3, 4, 2, 16), torch.arange(5)
    with pytest.raises(ValueError, match=message):
        reshape_and_cache(*REFUSED[message](*operands))
