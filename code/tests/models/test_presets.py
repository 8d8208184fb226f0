"""Presets against published figures and against transformers' own models, without a weight in memory."""

import tomllib
from pathlib import Path

import pytest
import torch
import transformers
from sysai.models.formulas import parameters, training_flops
from sysai.models.presets import (
    DEEPSEEK_V3,
    GPT3_175B,
    LLAMA3_8B,
    LLAMA3_70B,
    LLAMA3_405B,
    MIXTRAL_8X7B,
    PRESETS,
    QWEN3_235B_A22B,
    SMOLLM2_135M,
)

ORACLES = Path(__file__).parents[2] / "oracles"
PARAMETERS = tomllib.loads((ORACLES / "parameters.toml").read_text())
TRAINING = tomllib.loads((ORACLES / "training_compute.toml").read_text())


def test_every_preset_is_held_to_a_published_figure():
    assert set(PRESETS) == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_agree_with_the_published_count(name):
    published, ours = PARAMETERS[name], parameters(PRESETS[name])
    assert ours.total == pytest.approx(published["total"], rel=published["total_tolerance"])
    if "active" in published:
        assert ours.active == pytest.approx(published["active"], rel=published["active_tolerance"])


def test_deepseeks_two_published_active_counts_differ_by_the_embedding():
    ours = parameters(DEEPSEEK_V3)
    assert ours.active - ours.embedding == pytest.approx(36.7e9, rel=0.003)


@pytest.mark.parametrize("name", TRAINING)
def test_training_compute_agrees_with_the_published_figure(name):
    published, config = TRAINING[name], PRESETS[name]
    six_nd = 6 * parameters(config).total * published["tokens"]
    a_token = training_flops(config, 1, published["sequence"]).total / published["sequence"]
    exact = a_token * published["tokens"]
    assert six_nd == pytest.approx(published["flops"], rel=published["six_nd_tolerance"])
    assert exact == pytest.approx(published["flops"], rel=published["exact_tolerance"])
    assert exact > six_nd  # the scores of attention, which 6ND leaves out


def count_on_meta(model_class, config):
    with torch.device("meta"):
        model = model_class(config)
    return sum(p.numel() for p in model.parameters())


def shared_arguments(config):
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "tie_word_embeddings": config.tie_embeddings,
    }


@pytest.mark.parametrize("config", [SMOLLM2_135M, LLAMA3_8B, LLAMA3_70B, LLAMA3_405B], ids=lambda c: c.name)
def test_llama_has_as_many_parameters_as_transformers(config):
    theirs = transformers.LlamaConfig(
        **shared_arguments(config), intermediate_size=config.d_ff, head_dim=config.head_dim
    )
    assert parameters(config).total == count_on_meta(transformers.LlamaForCausalLM, theirs)


def test_gpt3_has_as_many_parameters_as_transformers_gpt2():
    theirs = transformers.GPT2Config(
        vocab_size=GPT3_175B.vocab_size,
        n_positions=GPT3_175B.max_positions,
        n_embd=GPT3_175B.d_model,
        n_layer=GPT3_175B.n_layers,
        n_head=GPT3_175B.n_heads,
    )
    assert parameters(GPT3_175B).total == count_on_meta(transformers.GPT2LMHeadModel, theirs)


def test_mixtral_has_as_many_parameters_as_transformers():
    moe = MIXTRAL_8X7B.moe
    theirs = transformers.MixtralConfig(
        **shared_arguments(MIXTRAL_8X7B),
        intermediate_size=moe.d_expert,
        num_local_experts=moe.n_experts,
        num_experts_per_tok=moe.top_k,
    )
    assert parameters(MIXTRAL_8X7B).total == count_on_meta(transformers.MixtralForCausalLM, theirs)


def test_qwen3_has_as_many_parameters_as_transformers():
    moe = QWEN3_235B_A22B.moe
    theirs = transformers.Qwen3MoeConfig(
        **shared_arguments(QWEN3_235B_A22B),
        head_dim=QWEN3_235B_A22B.head_dim,
        moe_intermediate_size=moe.d_expert,
        num_experts=moe.n_experts,
        num_experts_per_tok=moe.top_k,
        mlp_only_layers=[],
    )
    assert parameters(QWEN3_235B_A22B).total == count_on_meta(transformers.Qwen3MoeForCausalLM, theirs)


def test_deepseek_v3_has_as_many_parameters_as_transformers():
    moe, mla = DEEPSEEK_V3.moe, DEEPSEEK_V3.mla
    theirs = transformers.DeepseekV3Config(
        **shared_arguments(DEEPSEEK_V3),
        intermediate_size=DEEPSEEK_V3.d_ff,
        moe_intermediate_size=moe.d_expert,
        n_routed_experts=moe.n_experts,
        num_experts_per_tok=moe.top_k,
        n_shared_experts=moe.n_shared,
        first_k_dense_replace=moe.first_dense_layers,
        q_lora_rank=mla.q_rank,
        kv_lora_rank=mla.kv_rank,
        qk_nope_head_dim=mla.nope_dim,
        qk_rope_head_dim=mla.rope_dim,
        v_head_dim=mla.v_dim,
    )
    assert parameters(DEEPSEEK_V3).total == count_on_meta(transformers.DeepseekV3ForCausalLM, theirs)
