"""Stages run one after the other are the model they were cut from, with its own parameters."""

import pytest
import torch
from sysai.models.config import ModelConfig
from sysai.models.transformer import Transformer
from sysai.parallel.pipeline.stages import even_split, sequential_stages, tied_weights, transformer_stages
from torch import nn


def config(**changes):
    sizes = {"vocab_size": 19, "d_model": 8, "n_layers": 5, "n_heads": 2, "n_kv_heads": 1, "head_dim": 4, "d_ff": 12}
    return ModelConfig(name="tiny", max_positions=16, **(sizes | changes))


@pytest.mark.parametrize("layers", [[5], [2, 3], [0, 4, 1], [1, 1, 1, 1, 1], [0, 5, 0]])
@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": True}, {"positions": "learned", "norm": "layer"}])
def test_stages_compute_what_the_model_computes(layers, changes):
    model = Transformer(config(**changes))
    tokens = torch.randint(0, 19, (2, 7))
    x = tokens
    stages = transformer_stages(model, layers)
    for stage in stages:
        x = stage(x)
    torch.testing.assert_close(x, model(tokens), rtol=0, atol=0)
    names = [set(dict(stage.named_parameters())) for stage in stages]
    assert set.union(*names) == set(dict(model.named_parameters()))
    shared = {name for i, own in enumerate(names) for other in names[i + 1 :] for name in own & other}
    assert shared == set(tied_weights(model, len(stages)))
    for stage in stages:
        assert all(parameter is model.get_parameter(name) for name, parameter in stage.named_parameters())


def test_a_sequential_model_is_cut_at_will():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    first, second = sequential_stages(model, [1, 2])
    x = torch.randn(5, 3)
    torch.testing.assert_close(second(first(x)), model(x))
    assert set(dict(second.named_parameters())) == {"2.weight", "2.bias"}


@pytest.mark.parametrize(("layers", "stages"), [(1, 1), (5, 3), (8, 4), (7, 7)])
def test_an_even_split_is_even(layers, stages):
    split = even_split(layers, stages)
    assert (len(split), sum(split)) == (stages, layers)
    assert max(split) - min(split) <= 1


def test_impossible_cuts_are_refused():
    with pytest.raises(ValueError, match="use 1 to 3 stages"):
        even_split(3, 4)
    for layers in ([2, 2], [6, -1], []):
        with pytest.raises(ValueError, match="add up to the model's 5"):
            transformer_stages(Transformer(config()), layers)
