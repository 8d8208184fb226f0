"""The same tensors in Hugging Face's Llama: what the book's model and engine are compared with.

transformers is no dependency of the package: whoever calls this has it (`pip install transformers`).
"""

from typing import TYPE_CHECKING

import torch

from sysai.models.transformer import Transformer
from sysai.models.weights import weight_names

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def as_transformers(model: Transformer) -> "LlamaForCausalLM":
    """transformers' Llama around the very tensors of `model`, a dense Llama with tied embeddings such as SmolLM2."""
    import transformers

    own_config = model.config
    config = transformers.LlamaConfig(
        vocab_size=own_config.vocab_size,
        hidden_size=own_config.d_model,
        intermediate_size=own_config.d_ff,
        num_hidden_layers=own_config.n_layers,
        num_attention_heads=own_config.n_heads,
        num_key_value_heads=own_config.n_kv_heads,
        max_position_embeddings=own_config.max_positions,
        rms_norm_eps=own_config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": own_config.rope_theta},
        tie_word_embeddings=own_config.tie_embeddings,
    )
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(config)
    weights = {name: model.get_parameter(our_name) for our_name, _, name in weight_names(own_config)}
    llama.load_state_dict(weights, strict=False, assign=True)
    llama.tie_weights()
    llama.model.rotary_emb = type(llama.model.rotary_emb)(config).to(model.device)
    return llama.eval()
