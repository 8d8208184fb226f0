import dataclasses

import pytest
from sysai.models.config import MLAConfig, MoEConfig
from sysai.models.presets import DEEPSEEK_V3, GPT3_175B, LLAMA3_8B, MIXTRAL_8X7B


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (LLAMA3_8B, {"n_kv_heads": 5}, "multiple of n_kv_heads 5"),
        (LLAMA3_8B, {"n_layers": 0}, "n_layers must be positive"),
        (LLAMA3_8B, {"head_dim": 127}, "head_dim 127 must be even"),
        (LLAMA3_8B, {"norm": "batch"}, "norm 'batch' must be one of"),
        (LLAMA3_8B, {"d_ff": 0}, "d_ff is 0"),
        (LLAMA3_8B, {"d_ff": -1}, "d_ff is -1"),
        (MIXTRAL_8X7B, {"d_ff": 8}, "0 layers are dense"),
        (MIXTRAL_8X7B, {"moe": MoEConfig(8, 2, 16, first_dense_layers=33)}, "exceeds n_layers"),
        (MIXTRAL_8X7B, {"bias": True}, "without bias"),
        (DEEPSEEK_V3, {"head_dim": 128}, "nope_dim"),
        (DEEPSEEK_V3, {"norm": "layer"}, "RMS norm"),
    ],
)
def test_impossible_models_are_refused_in_one_line(config, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        dataclasses.replace(config, **changes)
    assert "\n" not in str(error.value)


def test_impossible_parts_are_refused():
    with pytest.raises(ValueError, match="top_k 9"):
        MoEConfig(n_experts=8, top_k=9, d_expert=4)
    with pytest.raises(ValueError, match="rope_dim even"):
        MLAConfig(q_rank=4, kv_rank=4, nope_dim=4, rope_dim=3, v_dim=4)


def test_layers_are_dense_first_then_experts():
    assert (GPT3_175B.n_dense_layers, GPT3_175B.n_moe_layers) == (96, 0)
    assert (DEEPSEEK_V3.n_dense_layers, DEEPSEEK_V3.n_moe_layers) == (3, 58)


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LLAMA3_8B.d_model = 1
