"""`torch.compile(backend="sysai")`: an unmodified Llama, weights that change, training, fallbacks."""

import pytest
import torch
from sysai.compiler import backend
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


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
