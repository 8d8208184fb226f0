"""The real model against transformers on the same weights, and reading both file formats."""

import json
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch
import transformers
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from sysai.models.config import ModelConfig
from sysai.models.formulas import parameters
from sysai.models.generate import generate
from sysai.models.kv_cache import KVCache
from sysai.models.presets import SMOLLM2_135M
from sysai.models.smollm2 import fetch_smollm2
from sysai.models.tokenizer import Tokenizer
from sysai.models.transformer import Transformer
from sysai.models.weights import load_gguf, load_safetensors, weight_names
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

PROMPTS = {
    "english": topics["lists"] + topics["while"] + topics["assert"],
    "chinese": "人工智能系统研究如何让模型的训练和推理跑得又快又省。注意力机制让每个词看到前面所有的词，" * 6,
    "code": "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n\n" * 8,
}


@pytest.fixture(scope="module")
def theirs():
    """transformers' own reading of the same GGUF file, in fp32."""
    path = fetch_smollm2()
    config = transformers.LlamaConfig(**load_gguf_checkpoint(path)["config"])
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    weights = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    assert all(p.device.type == "cpu" for p in model.parameters())
    return model.eval()


def test_every_weight_equals_transformers_reading_of_the_file(smollm2, theirs):
    model, state = smollm2[0], theirs.state_dict()
    for ours, _, name in weight_names(model.config):
        assert torch.equal(model.get_parameter(ours), state[name]), ours


def test_configuration_is_that_of_the_preset(smollm2):
    config = smollm2[0].config
    assert config == ModelConfig(**{**vars(SMOLLM2_135M), "name": config.name, "norm_eps": config.norm_eps})
    assert config.norm_eps == pytest.approx(SMOLLM2_135M.norm_eps)
    assert sum(p.numel() for p in smollm2[0].parameters()) == parameters(config).total


@pytest.mark.parametrize("name", PROMPTS)
def test_logits_and_greedy_choices_equal_those_of_transformers(smollm2, theirs, name):
    model, tokenizer = smollm2
    tokens = torch.tensor([tokenizer.encode(PROMPTS[name])[:160]])
    assert tokens.shape[1] >= 128
    cache = KVCache(model.config, 1, tokens.shape[1])
    with torch.inference_mode():
        expected = theirs(tokens).logits
        whole = model(tokens)
        cached = torch.cat([model(part, cache) for part in tokens.split([60, 1, 1, tokens.shape[1] - 62], dim=1)], 1)
    for logits in (whole, cached):
        assert (logits - expected).abs().max() < 1e-3
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("name", PROMPTS)
def test_greedy_continuation_equals_that_of_transformers(smollm2, theirs, name):
    model, tokenizer = smollm2
    prompt = tokenizer.encode(PROMPTS[name])[:32]
    expected = theirs.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert generate(model, prompt, 12).tokens == expected[0, 32:].tolist()


def test_the_model_answers(smollm2):
    model, tokenizer = smollm2
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "What is the capital of France?"}])
    answer = generate(model, tokenizer.encode(prompt), 32, stop_ids=[tokenizer.eos_id])
    assert "Paris" in tokenizer.decode(answer.tokens)
    assert answer.tokens[-1] == tokenizer.eos_id


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(transformers' model, folder it was saved in, in shards) of a tiny model with an untied head."""
    config = transformers.LlamaConfig(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5_000.0},
    )
    folder = tmp_path_factory.mktemp("small")
    model = transformers.LlamaForCausalLM(config).eval()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return model, folder


def test_shards_of_safetensors_are_read(small):
    theirs, folder = small
    model, tokens = load_safetensors(folder, "cpu"), torch.arange(40)[None]
    assert (model.config.rope_theta, model.config.tie_embeddings) == (5_000.0, False)
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def test_a_file_whose_head_is_the_embedding_is_read(small, tmp_path):
    """As the real model's is; in one file, where `small` has several."""
    config = transformers.LlamaConfig(**small[0].config.to_dict() | {"tie_word_embeddings": True})
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    model, tokens = load_safetensors(tmp_path, "cpu"), torch.arange(40)[None]
    assert model.config.tie_embeddings
    for name, _, their_name in weight_names(model.config):
        assert torch.equal(model.get_parameter(name), theirs.get_parameter(their_name)), name
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def test_half_precision_weights_give_nearly_the_same_scores(small):
    theirs, folder = small
    model, tokens = load_safetensors(folder, "cpu", torch.bfloat16), torch.arange(40)[None]
    with torch.inference_mode():
        logits = model(tokens, KVCache(model.config, 1, 40, dtype=torch.bfloat16))
        assert logits.dtype == torch.bfloat16
        assert (logits - theirs(tokens).logits).abs().max() < 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "only 'llama'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "only 'llama' with default rotary"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "'linear'"),
        ({"attention_bias": True}, "biases"),
        ({"intermediate_size": 40}, "do not fit"),
        ({"num_hidden_layers": 3}, "lacks 9 weights"),
    ],
)
def test_folders_that_do_not_fit_are_refused_in_one_line(small, tmp_path, changes, message):
    folder = small[1]
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = tmp_path / "config.json"
    values = json.loads(config.read_text()) | changes
    config.unlink()
    config.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message) as error:
        load_safetensors(tmp_path, "cpu")
    assert "\n" not in str(error.value)


def test_a_folder_that_lacks_files_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        load_safetensors(tmp_path, "cpu")
    (tmp_path / "config.json").write_bytes((small[1] / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
        load_safetensors(tmp_path, "cpu")


def test_a_damaged_shard_is_refused_in_one_line(small, tmp_path):
    for file in small[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = min(tmp_path.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged file") as error:
        load_safetensors(tmp_path, "cpu")
    assert "\n" not in str(error.value)


def test_a_damaged_gguf_file_is_refused(tmp_path):
    header = fetch_smollm2().read_bytes()[:5000]
    for content in (b"", b"not a model at all, but long enough to have a header", header):
        path = tmp_path / "broken.gguf"
        path.write_bytes(content)
        for read in (load_gguf, Tokenizer.from_gguf):
            with pytest.raises(ValueError, match="no whole GGUF file") as error:
                read(path)
            assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="can't be read"):
        load_gguf(tmp_path / "absent.gguf")


def write_gguf(path, architecture="llama", leave_out=()):
    """A tiny GGUF file with F32 and Q8_0 weights, as llama.cpp lays them out; returns our names' arrays."""
    config = ModelConfig("tiny", 64, 32, 1, 2, 1, 32, 64, max_positions=16)
    writer = GGUFWriter(str(path), architecture)
    writer.add_vocab_size(64)
    writer.add_context_length(16)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_key_length(32)
    writer.add_layer_norm_rms_eps(1e-5)
    model, arrays = Transformer(config), {}
    for ours, name, _ in weight_names(config):
        if ours in leave_out:
            continue
        array = model.get_parameter(ours).detach().numpy()
        if array.ndim == 2:
            packed = quantize(array, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
            array = dequantize(packed, GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, array)
        arrays[ours] = array
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return arrays


def test_other_formats_of_weights_and_an_untied_head_are_read(tmp_path):
    arrays = write_gguf(tmp_path / "tiny.gguf")
    model = load_gguf(tmp_path / "tiny.gguf", "cpu")
    assert not model.config.tie_embeddings
    for name, array in arrays.items():
        if "query" in name or "key" in name:  # llama.cpp interleaves the halves of a head's rows
            heads = model.config.n_heads if "query" in name else model.config.n_kv_heads
            array = np.concatenate([np.concatenate([h[0::2], h[1::2]]) for h in np.split(array, heads)])
        assert np.array_equal(model.get_parameter(name).detach().numpy(), array), name


def test_gguf_of_another_architecture_or_without_a_weight_is_refused(tmp_path):
    write_gguf(tmp_path / "other.gguf", architecture="gemma")
    with pytest.raises(ValueError, match="'gemma': only 'llama'"):
        load_gguf(tmp_path / "other.gguf", "cpu")
    write_gguf(tmp_path / "partial.gguf", leave_out=["norm.weight"])
    with pytest.raises(ValueError, match=r"lacks the weight output_norm\.weight"):
        load_gguf(tmp_path / "partial.gguf", "cpu")
