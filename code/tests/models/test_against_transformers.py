"""Every family against transformers' model of the same weights: logits and gradients of tiny models."""

import pytest
import torch
import transformers
from sysai.models.config import MLAConfig, ModelConfig, MoEConfig
from sysai.models.transformer import Transformer, next_token_loss
from sysai.models.weights import weight_names

COMMON = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
SHAPE = {"vocab_size": 61, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_positions": 32}
NO_ROPE_SCALING = {"rope_type": "default", "rope_theta": 10_000.0}
RENAMED = {  # parts of Hugging Face's names that differ from Llama's, by ours
    "query_norm": "self_attn.q_norm",
    "key_norm": "self_attn.k_norm",
    "router": "mlp.gate",
    "query_down": "self_attn.q_a_proj",
    "query_up": "self_attn.q_b_proj",
    "latent_down": "self_attn.kv_a_proj_with_mqa",
    "latent_norm": "self_attn.kv_a_layernorm",
    "latent_up": "self_attn.kv_b_proj",
}


def llama():
    config = ModelConfig("llama", n_kv_heads=2, head_dim=8, d_ff=48, tie_embeddings=True, **SHAPE)
    theirs = transformers.LlamaConfig(
        **COMMON,
        num_key_value_heads=2,
        intermediate_size=48,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters=NO_ROPE_SCALING,
    )
    return config, transformers.LlamaForCausalLM(theirs)


def mixtral():
    moe = MoEConfig(n_experts=4, top_k=2, d_expert=24)
    config = ModelConfig("mixtral", n_kv_heads=2, head_dim=8, d_ff=0, moe=moe, **SHAPE)
    theirs = transformers.MixtralConfig(
        **COMMON,
        num_key_value_heads=2,
        intermediate_size=24,
        num_local_experts=4,
        num_experts_per_tok=2,
        rms_norm_eps=1e-5,
        rope_parameters=NO_ROPE_SCALING,
    )
    return config, transformers.MixtralForCausalLM(theirs)


def qwen3():
    moe = MoEConfig(n_experts=5, top_k=3, d_expert=24)
    config = ModelConfig("qwen3", n_kv_heads=2, head_dim=10, d_ff=0, qk_norm=True, moe=moe, **SHAPE)
    theirs = transformers.Qwen3MoeConfig(
        **COMMON,
        num_key_value_heads=2,
        head_dim=10,
        moe_intermediate_size=24,
        num_experts=5,
        num_experts_per_tok=3,
        norm_topk_prob=True,
        mlp_only_layers=[],
        rms_norm_eps=1e-5,
        rope_parameters=NO_ROPE_SCALING,
    )
    return config, transformers.Qwen3MoeForCausalLM(theirs)


def deepseek_v3_dense():
    """Latent attention; dense, because DeepSeek-V3 routes by sigmoid scores, which ours does not."""
    mla = MLAConfig(q_rank=12, kv_rank=10, nope_dim=8, rope_dim=6, v_dim=9)
    config = ModelConfig("deepseek", n_kv_heads=4, head_dim=14, d_ff=48, mla=mla, norm_eps=1e-6, **SHAPE)
    theirs = transformers.DeepseekV3Config(
        **COMMON,
        num_key_value_heads=4,
        intermediate_size=48,
        first_k_dense_replace=3,
        q_lora_rank=12,
        kv_lora_rank=10,
        qk_nope_head_dim=8,
        qk_rope_head_dim=6,
        v_head_dim=9,
        rms_norm_eps=1e-6,
        rope_interleave=False,
        rope_parameters=NO_ROPE_SCALING,
    )
    return config, transformers.DeepseekV3ForCausalLM(theirs)


def their_name(ours):
    """Hugging Face's name of one of our weights, of any family but GPT-2."""
    llama_names = {"attention." + p: f"self_attn.{p[0]}_proj" for p in ("query", "key", "value", "output")}
    llama_names |= {
        "attention_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm",
        "mlp.gate": "mlp.gate_proj",
        "mlp.up": "mlp.up_proj",
        "mlp.down": "mlp.down_proj",
    }
    if not ours.startswith("blocks."):
        return {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}[ours.split(".")[0]] + ".weight"
    _, layer, *part = ours.split(".")
    part = ".".join(part).removesuffix(".weight")
    return f"model.layers.{layer}.{RENAMED.get(part.split('.')[-1]) or llama_names[part]}.weight"


def fused_experts(name):
    """Transformers keeps gate and up of all experts as one tensor [E, 2F, D]."""
    return f"model.layers.{name.split('.')[1]}.mlp.experts"


def copy_weights(model, theirs):
    """Their weights into our model; returns how to turn their gradients into ours."""
    state, names = theirs.state_dict(), {}
    for ours in dict(model.named_parameters()):
        if ours.endswith(("gate_EFD", "up_EFD")):
            half = 0 if "gate" in ours else 1
            names[ours] = (f"{fused_experts(ours)}.gate_up_proj", lambda t, half=half: t.chunk(2, dim=1)[half])
        elif ours.endswith("down_EDF"):
            names[ours] = (f"{fused_experts(ours)}.down_proj", lambda t: t)
        elif "deepseek" in model.config.name and "query_norm" in ours:
            names[ours] = (their_name(ours).replace("q_norm", "q_a_layernorm"), lambda t: t)
        else:
            names[ours] = (their_name(ours), lambda t: t)
    with torch.no_grad():
        for ours, parameter in model.named_parameters():
            name, part = names[ours]
            parameter.copy_(part(state[name]))
    return names


@pytest.mark.parametrize("family", [llama, mixtral, qwen3, deepseek_v3_dense])
def test_logits_and_gradients_equal_those_of_transformers(family):
    torch.manual_seed(0)
    config, theirs = family()
    for parameter in theirs.parameters():  # norms too: all-ones weights would hide a missing one
        torch.nn.init.normal_(parameter, mean=0.2 if parameter.dim() == 1 else 0.0, std=0.2)
    model = Transformer(config)
    names = copy_weights(model, theirs)
    tokens, targets = (torch.randint(0, 61, (2, 19)) for _ in range(2))
    torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
    next_token_loss(model, tokens, targets).backward()
    logits = theirs(tokens).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for ours, parameter in model.named_parameters():
        name, part = names[ours]
        torch.testing.assert_close(parameter.grad, part(gradients[name]), rtol=1e-3, atol=1e-5)


def test_names_of_llama_agree_with_those_that_weights_are_loaded_by():
    config, _ = llama()
    assert {ours: theirs for ours, _, theirs in weight_names(config)} == {
        ours: their_name(ours) for ours in dict(Transformer(config).named_parameters())
    }


def test_gpt2_logits_equal_those_of_transformers():
    torch.manual_seed(0)
    config = ModelConfig(
        "gpt2",
        n_kv_heads=4,
        head_dim=8,
        d_ff=128,
        norm="layer",
        activation="gelu",
        positions="learned",
        bias=True,
        tie_embeddings=True,
        **SHAPE,
    )
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=61, n_positions=32, n_embd=32, n_layer=3, n_head=4)
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model, state = Transformer(config), theirs.state_dict()
    ours = {"embed.weight": state["transformer.wte.weight"], "positions.weight": state["transformer.wpe.weight"]}
    for kind in ("weight", "bias"):
        ours[f"norm.{kind}"] = state[f"transformer.ln_f.{kind}"]
        for i in range(3):
            block, there = f"blocks.{i}", f"transformer.h.{i}"
            ours[f"{block}.attention_norm.{kind}"] = state[f"{there}.ln_1.{kind}"]
            ours[f"{block}.mlp_norm.{kind}"] = state[f"{there}.ln_2.{kind}"]
            fused = state[f"{there}.attn.c_attn.{kind}"].t().chunk(3)  # stored [in, out], ours [out, in]
            for part, tensor in zip(("query", "key", "value"), fused, strict=True):
                ours[f"{block}.attention.{part}.{kind}"] = tensor
            ours[f"{block}.attention.output.{kind}"] = state[f"{there}.attn.c_proj.{kind}"].t()
            ours[f"{block}.mlp.up.{kind}"] = state[f"{there}.mlp.c_fc.{kind}"].t()
            ours[f"{block}.mlp.down.{kind}"] = state[f"{there}.mlp.c_proj.{kind}"].t()
    model.load_state_dict(ours)
    tokens = torch.randint(0, 61, (2, 19))
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
