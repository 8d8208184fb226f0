"""The runner's tokens against those of each sequence alone, under any schedule; the moves of its memory."""

from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_runner import check_limits, make_sequence
from random_schedules import configs, works
from sysai.models.config import MLAConfig, ModelConfig, MoEConfig
from sysai.models.generate import generate
from sysai.models.transformer import Transformer
from sysai.models.weights import weight_names
from sysai.serving.core.blocks import Copy
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import ScheduledSequence, SchedulerOutput
from sysai.serving.runners.attention_backends import TritonAttention
from sysai.serving.runners.model_runner import ModelRunner
from sysai.serving.runners.paged_cache import PagedKVCache
from tiny_models import FAMILIES, tiny_model

ROOMY = SchedulerConfig(num_blocks=64, block_size=4, max_num_batched_tokens=64, max_num_seqs=8, max_model_len=128)


@cache
def model_of(family):
    return tiny_model(family)


@cache
def alone(family, prompt, count):
    return generate(model_of(family), prompt, count).tokens


def serve(model, config, sequences, arrivals=None):
    """Run all sequences, the likeliest token each; scheduler and steps. Memory not yet written is NaN."""
    scheduler, runner = Scheduler(config), ModelRunner(model, config)
    runner.cache.blocks_L2PONK.fill_(torch.nan)
    runner.cache.cpu_L2PONK.fill_(torch.nan)
    arrivals, steps = arrivals or [0] * len(sequences), []
    while scheduler.has_work or len(steps) <= max(arrivals):
        for sequence, at in zip(sequences, arrivals, strict=True):
            if at == len(steps):
                scheduler.add(sequence)
        step = scheduler.schedule()
        check_limits(scheduler, step)
        logits_RV = runner.execute(step) if step.scheduled else torch.empty(0, 1)
        sampling = [seq.seq_id for seq in step.scheduled if seq.samples]
        scheduler.update(step, dict(zip(sampling, logits_RV.argmax(-1).tolist(), strict=True)))
        scheduler.check_invariants()
        steps.append(step)
    assert scheduler.memory.pool.num_available == config.num_blocks, "a block has leaked"
    return scheduler, steps


CONFIGS = configs(replace(ROOMY, max_num_seqs=6), (1, 2, 3, 4, 5, 6), 80, [0, 5, 80])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(family=st.sampled_from(list(FAMILIES)), config=CONFIGS, work=works(7))
def test_any_batch_chunks_blocks_and_preemption_give_the_tokens_of_each_sequence_alone(family, config, work):
    sequences, arrivals = work
    serve(model_of(family), config, sequences, arrivals)
    for sequence in sequences:
        expected = alone(family, sequence.prompt_token_ids, sequence.sampling_params.max_tokens)
        assert sequence.output_token_ids == expected


PROMPTS = [tuple(range(10 * i, 10 * i + 9)) for i in range(4)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_cpu_blocks", [0, 12])
def test_preempted_sequences_go_on_as_if_nothing_had_happened(family, num_cpu_blocks):
    config = replace(ROOMY, num_blocks=12, num_cpu_blocks=num_cpu_blocks, prefix_caching=False, max_model_len=40)
    sequences = [make_sequence(str(i), prompt, 16) for i, prompt in enumerate(PROMPTS)]
    scheduler, steps = serve(model_of(family), config, sequences)
    assert scheduler.num_preemptions > 0
    assert any(step.swap_in for step in steps) == any(step.swap_out for step in steps) == (num_cpu_blocks > 0)
    outputs = [sequence.output_token_ids for sequence in sequences]
    assert outputs == [alone(family, prompt, 16) for prompt in PROMPTS]
    assert len({token for output in outputs for token in output}) > 8, "a model that repeats itself shows nothing"


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_prefixes_are_not_computed_again_and_change_nothing(family):
    prompts = [PROMPTS[0] + (i,) for i in range(3)]
    sequences = [make_sequence(str(i), prompt, 6) for i, prompt in enumerate(prompts)]
    scheduler, steps = serve(model_of(family), ROOMY, sequences, [0, 3, 12])
    assert scheduler.memory.stats.hit == 2 * 8
    assert sum(step.tokens for step in steps) == 3 * (10 + 5) - 2 * 8
    assert [sequence.output_token_ids for sequence in sequences] == [alone(family, prompt, 6) for prompt in prompts]


def test_greedy_tokens_are_those_of_transformers():
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=97,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            max_position_embeddings=128,
            initializer_range=0.4,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        )
    )
    theirs = theirs.double().eval()
    shape = {"d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "d_ff": 48}
    model = Transformer(ModelConfig("llama", vocab_size=97, max_positions=128, **shape)).double()
    names = {ours: hf for ours, _, hf in weight_names(model.config)}
    model.load_state_dict({ours: theirs.state_dict()[hf] for ours, hf in names.items()}, strict=True)
    sequences = [make_sequence(str(i), prompt, 16) for i, prompt in enumerate(PROMPTS)]
    serve(model, replace(ROOMY, num_blocks=14, max_num_batched_tokens=11, max_model_len=40), sequences)
    for sequence in sequences:
        expected = theirs.generate(
            torch.tensor([sequence.prompt_token_ids]), max_new_tokens=16, do_sample=False, eos_token_id=None
        )
        assert sequence.all_token_ids == expected[0].tolist()


def test_only_parts_that_sample_have_logits():
    runner = ModelRunner(model_of("llama"), ROOMY)
    chunk = ScheduledSequence("a", 0, (1, 2, 3), (5,), samples=False)
    rest = ScheduledSequence("a", 3, (4, 5), (5, 9), samples=True)
    other = ScheduledSequence("b", 0, (7,), (3,), samples=True)
    assert runner.execute(SchedulerOutput((chunk,))).shape == (0, 257)
    logits_RV = runner.execute(SchedulerOutput((other, rest)))
    with torch.inference_mode():
        for row, tokens in zip(logits_RV, ([7], [1, 2, 3, 4, 5]), strict=True):
            torch.testing.assert_close(row, model_of("llama")(torch.tensor([tokens]))[0, -1], rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton has no wheels for this platform")
@pytest.mark.parametrize("family", FAMILIES)
def test_triton_s_kernels_give_the_logits_of_torch(family):
    """Chunks, decodes and a shared prefix in mixed steps, in Triton's interpreter."""
    model, config = tiny_model(family).float(), replace(ROOMY, max_num_batched_tokens=9)
    scheduler, runners = Scheduler(config), [ModelRunner(model, config, a) for a in (None, TritonAttention)]
    for runner in runners:
        runner.cache.blocks_L2PONK.fill_(torch.nan)
    for i, prompt in enumerate((PROMPTS[0], (*PROMPTS[0][:8], 7, 8), PROMPTS[1][:3])):
        scheduler.add(make_sequence(str(i), prompt, 3))
    while scheduler.has_work:
        step = scheduler.schedule()
        expected_RV, found_RV = (runner.execute(step) for runner in runners)
        torch.testing.assert_close(found_RV, expected_RV, rtol=1e-4, atol=1e-3)
        sampling = [seq.seq_id for seq in step.scheduled if seq.samples]
        scheduler.update(step, dict(zip(sampling, expected_RV.argmax(-1).tolist(), strict=True)))
    assert torch.equal(*(runner.cache.blocks_L2PONK.isnan() for runner in runners))


def test_models_and_lengths_that_the_runner_cannot_serve_are_refused():
    shape = {"vocab_size": 9, "d_model": 8, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "max_positions": 128}
    experts = ModelConfig("experts", head_dim=4, d_ff=0, moe=MoEConfig(2, 1, 4), **shape)
    latent = ModelConfig("latent", head_dim=6, d_ff=8, mla=MLAConfig(4, 4, 4, 2, 4), **shape)
    with pytest.raises(ValueError, match="experts has a mixture of experts"):
        ModelRunner(Transformer(experts), ROOMY)
    with pytest.raises(ValueError, match="latent has latent attention"):
        ModelRunner(Transformer(latent), ROOMY)
    with pytest.raises(ValueError, match="latent has latent attention"):
        PagedKVCache(latent, 4, 4)
    with pytest.raises(ValueError, match="200 positions exceed the 128 of llama: set max_model_len"):
        ModelRunner(model_of("llama"), replace(ROOMY, max_model_len=200))


def test_moves_go_out_in_and_then_block_by_block():
    config = model_of("llama").config
    cache = PagedKVCache(config, num_blocks=4, block_size=3, num_cpu_blocks=2, dtype=torch.float64)
    cache.blocks_L2PONK[:] = torch.arange(4.0)[:, None, None, None]
    cache.cpu_L2PONK[:] = torch.tensor([10.0, 11.0])[:, None, None, None]
    out, back = (Copy(0, 0), Copy(1, 1)), (Copy(1, 3), Copy(0, 2))  # what comes in has just gone out
    cache.move(SchedulerOutput(swap_out=out, swap_in=back, copies=(Copy(2, 1), Copy(3, 2), Copy(2, 0))))
    for layer in cache.blocks_L2PONK.flatten(0, 1):
        assert [block.unique().tolist() for block in layer] == [[1.0], [0.0], [1.0], [1.0]]
    assert cache.cpu_L2PONK.mean((0, 1, 3, 4, 5)).tolist() == [0.0, 1.0]
    assert cache.bytes == 4 * 3 * (2 * 2 * 2 * 8 * 8)
