"""Real weights into our model: from GGUF files and from Hugging Face folders of safetensors.

Both formats are a header and a table of named arrays. GGUF (llama.cpp) stores blocks of quantized numbers:
Q4_1 keeps 32 weights as 4-bit integers with a scale and a minimum, 20 bytes instead of 128 in fp32, and
w = scale * q + minimum gives them back. Its Llama layout interleaves the two halves of every rotated head, so
rows of the query and key matrices are put back in order here. Production engines compute on the quantized
blocks and map the file into memory; here weights are expanded, so that every number can be checked.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sysai.core.device import select_device
from sysai.models.config import ModelConfig
from sysai.models.gguf_file import GGUFFile, open_gguf
from sysai.models.smollm2 import fetch_smollm2
from sysai.models.tokenizer import Tokenizer
from sysai.models.transformer import Transformer

_OUTER_NAMES = {  # ours: (in GGUF, in Hugging Face's Llama)
    "embed": ("token_embd", "model.embed_tokens"),
    "norm": ("output_norm", "model.norm"),
    "head": ("output", "lm_head"),
}
_LAYER_NAMES = {
    "attention_norm": ("attn_norm", "input_layernorm"),
    "attention.query": ("attn_q", "self_attn.q_proj"),
    "attention.key": ("attn_k", "self_attn.k_proj"),
    "attention.value": ("attn_v", "self_attn.v_proj"),
    "attention.output": ("attn_output", "self_attn.o_proj"),
    "mlp_norm": ("ffn_norm", "post_attention_layernorm"),
    "mlp.gate": ("ffn_gate", "mlp.gate_proj"),
    "mlp.up": ("ffn_up", "mlp.up_proj"),
    "mlp.down": ("ffn_down", "mlp.down_proj"),
}


def weight_names(config: ModelConfig) -> Iterator[tuple[str, str, str]]:
    """(our name, GGUF's, Hugging Face's) of every weight of a model of Llama's architecture."""
    for ours, (in_gguf, in_hf) in _OUTER_NAMES.items():
        if ours != "head" or not config.tie_embeddings:
            yield f"{ours}.weight", f"{in_gguf}.weight", f"{in_hf}.weight"
    for i in range(config.n_layers):
        for ours, (in_gguf, in_hf) in _LAYER_NAMES.items():
            yield f"blocks.{i}.{ours}.weight", f"blk.{i}.{in_gguf}.weight", f"model.layers.{i}.{in_hf}.weight"


def load_smollm2(
    device: str | torch.device = "auto", dtype: torch.dtype = torch.float32
) -> tuple[Transformer, Tokenizer]:
    """SmolLM2-135M-Instruct, ready to run: fetched once (93 MB), then from the cache.

    Raises:
        WeightsError: the file can't be had or is damaged. ValueError: the device is not there.
    """
    device = select_device(device)
    reader = open_gguf(fetch_smollm2())
    return load_gguf(reader, device, dtype), Tokenizer.from_gguf(reader)


def load_gguf(
    source: str | Path | GGUFFile, device: str | torch.device = "auto", dtype: torch.dtype = torch.float32
) -> Transformer:
    """A model of Llama's architecture from a GGUF file, its weights expanded to `dtype`.

    Raises:
        ValueError: no GGUF file, another architecture, or a weight missing.
    """
    device, reader = select_device(device), open_gguf(source)
    config = _config_from_gguf(reader)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    heads = {"attention.query": config.n_heads, "attention.key": config.n_kv_heads}
    weights = {}
    for own_name, name, _ in weight_names(config):
        if name not in stored:
            raise ValueError(f"the GGUF file of {config.name} lacks the weight {name}: fetch it again")
        array = gguf.quants.dequantize(stored[name].data, stored[name].tensor_type)
        for kind, count in heads.items():
            array = _halves(array, count) if kind in own_name else array
        weights[own_name] = torch.from_numpy(array.copy() if not array.flags.writeable else array)
    return _assemble(config, weights, device, dtype)


def load_safetensors(
    folder: str | Path, device: str | torch.device = "auto", dtype: torch.dtype = torch.float32
) -> Transformer:
    """A model of Llama's architecture from a folder as the Hugging Face hub has it.

    The folder holds config.json and model.safetensors, or its shards and model.safetensors.index.json.

    Raises:
        ValueError: files or weights missing, or another architecture.
    """
    device, folder = select_device(device), Path(folder)
    config = _config_from_json(folder / "config.json")
    stored = _read_shards(folder)
    names = {own: hub for own, _, hub in weight_names(config)}
    if missing := sorted(set(names.values()) - set(stored)):
        raise ValueError(f"{folder} lacks {len(missing)} weights, the first is {missing[0]}")
    return _assemble(config, {own: stored[hub] for own, hub in names.items()}, device, dtype)


class _NoInitialization(TorchFunctionMode):
    """Leaves out modules' initializers. (A model on the meta device would import torch's compiler, for seconds.)"""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == "torch.nn.init":
            return None
        return func(*args, **(kwargs or {}))


def _assemble(config: ModelConfig, weights: dict[str, Tensor], device: torch.device, dtype: torch.dtype) -> Transformer:
    """Put weights into a model whose own are never touched, so that they take no memory."""
    with _NoInitialization():
        model = Transformer(config)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise ValueError(f"weights do not fit {config.name}: {str(error).splitlines()[-1].strip()}") from None
    return model.to(device, dtype).eval()


def _halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix from (pair, half) order, as GGUF's Llama has them, to (half, pair)."""
    rows, columns = array.shape
    return array.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _config_from_gguf(reader: GGUFFile) -> ModelConfig:
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("token")}
    if (architecture := fields["general.architecture"]) != "llama":
        raise ValueError(f"the GGUF file holds architecture {architecture!r}: only 'llama' is supported")
    values = {name.removeprefix("llama."): value for name, value in fields.items()}
    d_model, n_heads = values["embedding_length"], values["attention.head_count"]
    return ModelConfig(
        name=reader.path.stem,
        vocab_size=values["vocab_size"],
        d_model=d_model,
        n_layers=values["block_count"],
        n_heads=n_heads,
        n_kv_heads=values.get("attention.head_count_kv", n_heads),
        head_dim=values.get("attention.key_length", d_model // n_heads),
        d_ff=values["feed_forward_length"],
        max_positions=values["context_length"],
        rope_theta=values.get("rope.freq_base", 10_000.0),
        norm_eps=values["attention.layer_norm_rms_epsilon"],
        tie_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
    )


def _config_from_json(path: Path) -> ModelConfig:
    if not path.exists():
        raise ValueError(f"{path} is missing: the folder must be one of the Hugging Face hub, whole")
    values = json.loads(path.read_text(encoding="utf-8"))
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = values.get("model_type"), rope.get("rope_type") or rope.get("type") or "default"
    if kind != ("llama", "default"):
        raise ValueError(f"{path} describes {kind}: only 'llama' with default rotary positions is supported")
    if values.get("attention_bias") or values.get("mlp_bias"):
        raise ValueError(f"{path} has biases, which models of Llama's architecture here have not")
    d_model, n_heads = values["hidden_size"], values["num_attention_heads"]
    return ModelConfig(
        name=values.get("_name_or_path") or path.parent.name,
        vocab_size=values["vocab_size"],
        d_model=d_model,
        n_layers=values["num_hidden_layers"],
        n_heads=n_heads,
        n_kv_heads=values.get("num_key_value_heads") or n_heads,
        head_dim=values.get("head_dim") or d_model // n_heads,
        d_ff=values["intermediate_size"],
        max_positions=values["max_position_embeddings"],
        rope_theta=rope.get("rope_theta") or values.get("rope_theta") or 10_000.0,
        norm_eps=values["rms_norm_eps"],
        tie_embeddings=values.get("tie_word_embeddings", False),
    )


def _read_shards(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    if missing := [name for name in names if not (folder / name).exists()]:
        raise ValueError(f"{folder} lacks {missing[0]}: download the whole folder")
    try:
        return {key: tensor for name in names for key, tensor in load_file(folder / name).items()}
    except SafetensorError as error:
        raise ValueError(f"{folder} holds a damaged file ({error}): download it again") from None
