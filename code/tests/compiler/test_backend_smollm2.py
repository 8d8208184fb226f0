"""The unmodified Llama of transformers with SmolLM2's weights: equal words by `torch.compile(backend="sysai")`.

Two of thirty layers, which are alike: Dynamo takes two seconds for each. The tests of serving compile them all.
"""

from dataclasses import replace

import pytest
import torch
from sysai.compiler import backend
from sysai.models.as_transformers import as_transformers
from sysai.models.weights import load_smollm2
from torch import nn
from transformers import DynamicCache

PROMPT = "The three most important ideas of operating systems are"
LAYERS = (0, 29)
KERNELS = 24  # more than any graph of layers that are alike needs; two layers, each on its own, would need 33


@pytest.fixture(scope="module")
def smollm2():
    """(transformers' model, tokens of the prompt)."""
    ours, tokenizer = load_smollm2("cpu")
    ours.config = replace(ours.config, n_layers=len(LAYERS))
    ours.blocks = nn.ModuleList(ours.blocks[layer] for layer in LAYERS)
    return as_transformers(ours), torch.tensor([tokenizer.encode(PROMPT)])


def greedy(model, config, tokens, steps):
    """The tokens behind the prompt, each the likeliest, and all logits."""
    cache, found, logits = DynamicCache(config=config), [], []
    for step in range(steps):
        if step == 1:  # or Dynamo would find out by compiling once more
            for layer in cache.layers:
                torch._dynamo.mark_dynamic(layer.keys, 2)
                torch._dynamo.mark_dynamic(layer.values, 2)
        logits.append(model(tokens, past_key_values=cache, use_cache=True).logits[:, -1])
        tokens = logits[-1].argmax(-1, keepdim=True)
        found.append(int(tokens))
    return found, torch.stack(logits)


@torch.no_grad()
def test_greedy_tokens_are_equal(smollm2):
    model, prompt = smollm2
    torch._dynamo.reset()
    backend.statistics.reset()
    wanted, scores = greedy(model, model.config, prompt, 16)
    compiled = torch.compile(model, backend="sysai")
    found, ours = greedy(compiled, model.config, prompt, 16)
    assert found == wanted
    assert len(set(wanted)) > 10
    torch.testing.assert_close(ours, scores, rtol=1e-3, atol=1e-3)
    graphs = backend.statistics.compiled
    print([len(graph.kernels) for graph in graphs], [len(graph.plan.steps) for graph in graphs], wanted)
    assert len(graphs) == 2  # the prompt, and one for all steps behind it
    assert not backend.statistics.fallbacks
    assert all(len(graph.kernels) <= KERNELS for graph in graphs)
