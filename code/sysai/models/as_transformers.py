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

    ours = model.config
    config = transformers.LlamaConfig(
        vocab_size=ours.vocab_size,
        hidden_size=ours.d_model,
        intermediate_size=ours.d_ff,
        num_hidden_layers=ours.n_layers,
        num_attention_heads=ours.n_heads,
        num_key_value_heads=ours.n_kv_heads,
        max_position_embeddings=ours.max_positions,
        rms_norm_eps=ours.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": ours.rope_theta},
        tie_word_embeddings=ours.tie_embeddings,
    )
    with torch.device("meta"):
        theirs = transformers.LlamaForCausalLM(config)
    weights = {name: model.get_parameter(our_name) for our_name, _, name in weight_names(ours)}
    theirs.load_state_dict(weights, strict=False, assign=True)
    theirs.tie_weights()
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(config).to(model.device)
    return theirs.eval()
