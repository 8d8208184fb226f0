"""Models so small that thousands of passes take a second, with weights so large that every position matters."""

import torch
from sysai.models.config import ModelConfig
from sysai.models.tokenizer import _SYMBOL_OF_BYTE, Tokenizer
from sysai.models.transformer import Transformer

END = 256
SHAPE = {"vocab_size": END + 1, "d_model": 32, "n_layers": 2, "head_dim": 8, "max_positions": 128}
FAMILIES = {
    "llama": {"n_heads": 4, "n_kv_heads": 2, "d_ff": 48},
    "qwen": {"n_heads": 4, "n_kv_heads": 1, "d_ff": 48, "qk_norm": True, "tie_embeddings": True},
    "gpt": {"n_heads": 4, "n_kv_heads": 4, "d_ff": 64, "norm": "layer", "activation": "gelu", "bias": True}
    | {"positions": "learned"},
}


def tiny_model(family: str = "llama", seed: int = 0, **changes) -> Transformer:
    """In float64, so that no batch can turn a near-tie of two logits."""
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(family, **SHAPE | FAMILIES[family] | changes)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(0.4 * noise if parameter.dim() > 1 else parameter + 0.1 * noise)
    return model


def byte_tokenizer() -> Tokenizer:
    """A token for each byte, and an end of sequence."""
    symbols = [_SYMBOL_OF_BYTE[byte] for byte in range(256)]
    return Tokenizer([*symbols, "<|end|>"], [], special_ids=[END], eos_id=END)
