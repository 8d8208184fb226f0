import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_configs import any_configs
from sysai.models.attention import attend, causal_mask
from sysai.models.config import ModelConfig, MoEConfig
from sysai.models.kv_cache import KVCache
from sysai.models.layers import RMSNorm, RotaryEmbedding, rotate
from sysai.models.moe import MixtureOfExperts
from sysai.models.transformer import Transformer
from torch.nn import functional as F

TINY = ModelConfig("tiny", 50, 24, 2, 4, 2, 8, 32, max_positions=16)
examples = settings(max_examples=60, deadline=None)


@examples
@given(any_configs, st.integers(1, 3), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_with_cache_equals_without(config, batch, chunks):
    model = Transformer(config)
    tokens = torch.randint(0, config.vocab_size, (batch, sum(chunks)))
    cache = KVCache(config, batch, sum(chunks))
    with torch.inference_mode():
        whole = model(tokens)
        parts = [model(part, cache) for part in tokens.split(chunks, dim=1)]
        cache.check_invariants()
        last = model(tokens, last_only=True)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(last, whole[:, -1:], rtol=1e-4, atol=1e-5)
    assert cache.length == sum(chunks)
    assert cache.bytes_used == cache.bytes


@examples
@given(any_configs, st.integers(2, 8))
def test_no_token_sees_its_future(config, sequence):
    model = Transformer(config)
    tokens = torch.randint(0, config.vocab_size, (1, sequence))
    changed = tokens.clone()
    changed[0, -1] = (changed[0, -1] + 1) % config.vocab_size
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens)[:, :-1], model(changed)[:, :-1], rtol=1e-4, atol=1e-5)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(0, 5))
@examples
def test_attention_equals_torchs_own(batch, kv_heads, group, new, past):
    q = torch.randn(batch, kv_heads * group, new, 8, requires_grad=True)
    k, v = (torch.randn(batch, kv_heads, past + new, 8, requires_grad=True) for _ in range(2))
    ours = attend(q, k, v, causal_mask(new, past, q))
    keep = torch.ones(new, past + new, dtype=torch.bool).tril(past)
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, enable_gqa=True)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)),
        torch.autograd.grad(theirs.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_rotation_keeps_length_and_makes_scores_depend_on_distance():
    rope = RotaryEmbedding(8, 64, theta=100.0)
    q, k = torch.randn(8), torch.randn(8)

    def score(i, j):
        return rotate(q[None], rope(i, 1)) @ rotate(k[None], rope(j, 1)).T

    torch.testing.assert_close(score(7, 3), score(47, 43))
    assert not torch.allclose(score(7, 3), score(7, 4))
    torch.testing.assert_close(rotate(q[None], rope(9, 1)).norm(), q.norm())


def test_rms_norm_equals_torchs():
    x, norm = torch.randn(2, 3, 8), RMSNorm(8, 1e-5)
    torch.nn.init.normal_(norm.weight)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (8,), norm.weight, 1e-5))
    assert norm.to(torch.bfloat16)(x.bfloat16()).dtype == torch.bfloat16


def test_experts_equal_a_loop_over_tokens_with_gradients():
    config = ModelConfig("moe", 50, 12, 1, 2, 2, 6, 0, 16, moe=MoEConfig(6, 3, 10, n_shared=1))
    moe = MixtureOfExperts(config)
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 12, requires_grad=True)

    def one_token(token):
        scores, chosen = moe.router(token).topk(3)
        weights = scores.softmax(-1)
        outputs = [moe.down_EDF[e] @ (F.silu(moe.gate_EFD[e] @ token) * (moe.up_EFD[e] @ token)) for e in chosen]
        return sum(w * y for w, y in zip(weights, outputs, strict=True)) + moe.shared(token)

    expected = torch.stack([torch.stack([one_token(token) for token in row]) for row in x])
    torch.testing.assert_close(moe(x), expected, rtol=1e-4, atol=1e-4)
    inputs = [x, *moe.parameters()]
    ours = torch.autograd.grad(moe(x).square().sum(), inputs)
    theirs = torch.autograd.grad(expected.square().sum(), inputs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-1)


def one_line(error, *parts):
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_over_long_input_names_length_limit_and_remedy():
    with pytest.raises(ValueError, match="exceed") as error:
        Transformer(TINY)(torch.zeros(1, 17, dtype=torch.long))
    one_line(error, "17 tokens", "16 positions", "shorten")


def test_over_full_cache_names_length_limit_and_remedy():
    model, cache = Transformer(TINY), KVCache(TINY, 1, 4)
    with torch.inference_mode():
        model(torch.zeros(1, 3, dtype=torch.long), cache)
        with pytest.raises(ValueError, match="exceed") as error:
            model(torch.zeros(1, 2, dtype=torch.long), cache)
    one_line(error, "2 new positions after 3", "cache's 4", "max_length")
    assert cache.length == 3


def test_batch_that_is_not_the_caches_is_refused():
    with pytest.raises(ValueError, match="batch of 2") as error:
        Transformer(TINY)(torch.zeros(2, 1, dtype=torch.long), KVCache(TINY, 1, 4))
    one_line(error, "made for 1")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), (1, 2, 3)])
def test_input_must_be_a_non_empty_matrix(shape):
    with pytest.raises(ValueError, match="non-empty"):
        Transformer(TINY)(torch.zeros(shape, dtype=torch.long))


def test_input_must_be_integers():
    with pytest.raises(ValueError, match=r"integers.*float32"):
        Transformer(TINY)(torch.zeros(1, 3))


@pytest.mark.parametrize("token", [50, -1])
def test_token_id_out_of_range_is_refused(token):
    with pytest.raises(ValueError, match="out of range") as error:
        Transformer(TINY)(torch.tensor([[0, token]]))
    one_line(error, "0 to 49", str(token))


@pytest.mark.parametrize(("batch", "length"), [(0, 4), (1, 0), (1, 17)])
def test_impossible_cache_is_refused(batch, length):
    with pytest.raises(ValueError, match="max_length"):
        KVCache(TINY, batch, length)
