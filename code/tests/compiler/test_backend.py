"""`torch.compile(backend="sysai")`: an unmodified Llama, weights that change, training, fallbacks, no import needed."""

import subprocess
import sys

import pytest
import torch
from sysai.compiler import backend
from torch import nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    backend.statistics.reset()


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_the_unmodified_llama_of_transformers(llama):
    compiled = torch.compile(llama, backend="sysai")
    for length in (7, 9):  # the second makes the length dynamic
        tokens = torch.randint(3, 64, (2, length))
        with torch.no_grad():
            torch.testing.assert_close(compiled(tokens).logits, llama(tokens).logits, rtol=1e-4, atol=1e-5)
    assert len(backend.statistics.compiled) == 2
    assert not backend.statistics.fallbacks


def test_caches_that_grow_share_one_graph(llama):
    tokens = torch.randint(3, 64, (2, 9))
    wanted, grown = DynamicCache(config=llama.config), DynamicCache(config=llama.config)
    compiled = torch.compile(llama, backend="sysai")
    with torch.no_grad():
        for _ in range(6):  # the prompt, the first step, and one graph for all that follow
            expected = llama(tokens, past_key_values=wanted).logits
            torch.testing.assert_close(compiled(tokens, past_key_values=grown).logits, expected, rtol=1e-4, atol=1e-5)
            tokens = expected[:, -1:].argmax(-1)
    assert len(backend.statistics.compiled) == 3
    assert not backend.statistics.fallbacks


def test_keys_and_values_of_two_lengths_are_refused():
    compiled = torch.compile(nn.functional.scaled_dot_product_attention, backend="sysai")
    q, k, v = torch.randn(1, 2, 1, 8), torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8)
    for cached in (k, v):
        torch._dynamo.mark_dynamic(cached, 2)
    with torch.no_grad():
        torch.testing.assert_close(compiled(q, k, v), nn.functional.scaled_dot_product_attention(q, k, v))
        with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match=r"attention over .* keys and .* values"):
            compiled(q, k, torch.randn(1, 2, 7, 8))


def test_attention_with_heads_of_any_size_is_left_to_torch():
    compiled = torch.compile(nn.functional.scaled_dot_product_attention, backend="sysai", dynamic=True)
    q, k, v = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8)
    with torch.no_grad(), pytest.warns(UserWarning, match="scaled_dot_product"):
        found = compiled(q, k, v)
    torch.testing.assert_close(found, nn.functional.scaled_dot_product_attention(q, k, v))
    assert backend.statistics.fallbacks.total() == 1


def test_torch_finds_the_backend_by_itself():
    code = (
        "import torch; f = torch.compile(lambda x: x.exp() + 1, backend='sysai')\n"
        "with torch.no_grad(): print(f(torch.zeros(3)).tolist())\n"
        "from sysai.compiler.backend import statistics; print(len(statistics.compiled))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split("\n")[:2] == ["[2.0, 2.0, 2.0]", "1"], done.stderr


def test_weights_that_change_are_seen():
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    compiled = torch.compile(module, backend="sysai")
    x = torch.randn(3, 8)
    with torch.no_grad():
        compiled(x)
        module[0].weight.mul_(-2)
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-5)
        module.load_state_dict({"0.weight": torch.eye(8), "0.bias": torch.ones(8)})
        torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-5)


def test_training_is_left_to_torch_with_a_note():
    module = nn.Linear(4, 4)
    compiled = torch.compile(module, backend="sysai")
    x = torch.randn(2, 4)
    with pytest.warns(UserWarning, match="inference only"):
        compiled(x).sum().backward()
    assert backend.statistics.training == 1
    torch.testing.assert_close(module.weight.grad, x.sum(0).expand(4, 4))


def test_fallbacks_are_noted_and_counted():
    compiled = torch.compile(lambda x: (x * 2).sort().values + 1, backend="sysai")
    x = torch.randn(9)
    with torch.no_grad(), pytest.warns(UserWarning, match="sort"):
        found = compiled(x)
    assert torch.equal(found, (x * 2).sort().values + 1)
    assert backend.statistics.fallbacks["aten.sort.default"] == 1
