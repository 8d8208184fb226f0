"""The compiled runner's logits against the torch runner's in float64, step by step, under any schedule."""

import copy
from dataclasses import replace
from functools import cache
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_runner import make_sequence
from random_schedules import configs, works
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import ScheduledSequence, SchedulerOutput
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.runners import step_program
from sysai.serving.runners.compiled_runner import CompiledRunner
from sysai.serving.runners.model_runner import ModelRunner
from sysai.serving.runners.quantized_linear import QuantizedLinear, quantize_linears
from sysai.serving.runners.step_program import FEW_ROWS, padded
from tiny_models import FAMILIES, byte_tokenizer, tiny_model

ROOMY = SchedulerConfig(
    num_blocks=64, block_size=4, max_num_batched_tokens=30, max_num_seqs=9, num_cpu_blocks=24, max_model_len=128
)
TOLERANCE = 2e-5  # of the largest logit


def compiled(model, config=ROOMY, weight_dtype="float32", rows=(1, 8)):
    """A runner with kernels of their own for some numbers of rows alone: others take those for any number."""
    with patch.object(step_program, "FEW_ROWS", rows):
        return CompiledRunner(model.float(), config, weight_dtype)


@cache
def runner_of(family):
    """Made once: kernels do not depend on how many blocks a scheduler hands out. Those of one family are all there."""
    return compiled(tiny_model(family), rows=FEW_ROWS if family == "llama" else (1,))


@cache
def exact_model(family, weight_dtype):
    """In float64, with the very weights that are stored."""
    model = tiny_model(family).float()
    head = model.embed.weight if model.config.tie_embeddings else model.head.weight
    head = QuantizedLinear(head, None, weight_dtype).double()
    for block in model.blocks:
        quantize_linears(block, weight_dtype)
    for layer in model.modules():
        if isinstance(layer, QuantizedLinear):
            layer.weight = layer.weight.double()
    return model.double(), head


def run_both(runner, model, config, sequences, arrivals):
    """Serve with the float64 model's likeliest tokens; the largest error of each step's logits."""
    scheduler, exact = Scheduler(config), ModelRunner(model, config)
    for memory in (runner.cache, exact.cache):  # what nobody has written must not be read
        memory.blocks_L2PONK.fill_(torch.nan)
        memory.cpu_L2PONK.fill_(torch.nan)
    errors, steps = [], 0
    while scheduler.has_work or steps <= max(arrivals):
        for sequence, at in zip(sequences, arrivals, strict=True):
            if at == steps:
                scheduler.add(sequence)
        step, steps = scheduler.schedule(), steps + 1
        sampled = {}
        if step.scheduled:
            expected_RV, found_RV = exact.execute(step), runner.execute(step)
            assert found_RV.shape == expected_RV.shape
            if len(found_RV):
                errors.append(float((found_RV - expected_RV).abs().max() / expected_RV.abs().max()))
            sampling = [seq.seq_id for seq in step.scheduled if seq.samples]
            sampled = dict(zip(sampling, expected_RV.argmax(-1).tolist(), strict=True))
        scheduler.update(step, sampled)
    return scheduler, errors


CONFIGS = configs(ROOMY, (4,), 120, [0, 3, 24])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(family=st.sampled_from(list(FAMILIES)), config=CONFIGS, work=works(12))
def test_any_batch_chunks_blocks_and_preemption_give_the_logits_of_the_torch_runner(family, config, work):
    _, errors = run_both(runner_of(family), tiny_model(family), config, *work)
    assert max(errors) < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_preempted_sequences_go_on_as_if_nothing_had_happened(family):
    config = replace(ROOMY, num_blocks=12, num_cpu_blocks=12, prefix_caching=False, max_model_len=40)
    sequences = [make_sequence(str(i), tuple(range(10 * i, 10 * i + 9)), 16) for i in range(4)]
    scheduler, errors = run_both(runner_of(family), tiny_model(family), config, sequences, [0] * 4)
    assert scheduler.num_preemptions > 0
    assert max(errors) < TOLERANCE


STORED = [("llama", "float16"), ("gpt", "bfloat16"), ("qwen", "int8")]


@pytest.mark.parametrize(("family", "weight_dtype"), STORED)
def test_stored_weights_are_the_only_thing_that_is_rounded(family, weight_dtype):
    model, head = exact_model(family, weight_dtype)
    runner = compiled(tiny_model(family), weight_dtype=weight_dtype)
    for rows in (1, 3, 8, 11):
        tokens = tuple(range(7 * rows, 8 * rows))
        found_V = runner.execute(SchedulerOutput((ScheduledSequence("a", 0, tokens, (5, 3, 9), samples=True),)))[0]
        with torch.inference_mode():
            x_D = hidden(model, tokens)
            expected_V = head(x_D)
        assert float((found_V - expected_V).abs().max() / expected_V.abs().max()) < TOLERANCE


def hidden(model, tokens):
    """The input of the head, at the last position."""
    states = []
    handle = model.norm.register_forward_hook(lambda _, __, output: states.append(output))
    model(torch.tensor([tokens]))
    handle.remove()
    return states[0][0, -1]


@pytest.mark.parametrize("rows", range(1, 12))
def test_every_number_of_rows_has_kernels(rows):
    """A step that decodes `rows` sequences, and one that reads a prompt of `rows` tokens."""
    runner, model = runner_of("llama"), tiny_model("llama")
    prompts = [tuple(range(i, i + 5)) for i in range(min(rows, 9))]
    for i, prompt in enumerate(prompts):
        runner.execute(SchedulerOutput((ScheduledSequence(str(i), 0, prompt[:-1], (i, 20 + i), samples=False),)))
    parts = tuple(
        ScheduledSequence(str(i), 4, prompt[-1:], (i, 20 + i), samples=True) for i, prompt in enumerate(prompts)
    )
    with torch.inference_mode():
        expected_RV = model(torch.tensor(prompts))[:, -1]
        torch.testing.assert_close(runner.execute(SchedulerOutput(parts)).double(), expected_RV, rtol=1e-4, atol=1e-4)
        prompt = tuple(range(40, 40 + rows))
        found_RV = runner.execute(SchedulerOutput((ScheduledSequence("p", 0, prompt, (40, 50, 41), samples=True),)))
        torch.testing.assert_close(found_RV.double(), model(torch.tensor([prompt]))[:, -1], rtol=1e-4, atol=1e-4)


def test_rows_are_filled_up_to_kernels_that_there_are():
    assert [padded(rows) for rows in (1, 2, 3, 5, 8, 9, 100)] == [1, 2, 4, 8, 8, 9, 100]
    assert max(FEW_ROWS) == 8


def test_wide_heads_and_blocks_of_sixteen():
    """Several vectors along a block and a head; a prompt over many blocks, scattered and out of order."""
    model = tiny_model("llama", head_dim=48, d_model=96, n_heads=6, n_kv_heads=2, tie_embeddings=True)
    runner = compiled(
        copy.deepcopy(model), replace(ROOMY, num_blocks=12, block_size=16, max_num_batched_tokens=128), rows=(1,)
    )
    tokens = tuple(torch.randint(0, 256, (100,), generator=torch.Generator().manual_seed(1)).tolist())
    table = (7, 2, 9, 0, 11, 3, 5)
    first, rest = (
        ScheduledSequence("a", at, tokens[at:to], table, samples=to == 100) for at, to in ((0, 37), (37, 100))
    )
    runner.execute(SchedulerOutput((first,)))
    with torch.inference_mode():
        expected_V = model(torch.tensor([tokens]))[0, -1]
    torch.testing.assert_close(runner.execute(SchedulerOutput((rest,)))[0].double(), expected_V, rtol=1e-4, atol=1e-4)


def test_a_mask_that_is_off_by_one_would_be_seen():
    """The comparison above catches a query that looks at its future."""
    runner, model = runner_of("llama"), tiny_model("llama")
    tokens = tuple(range(60, 66))
    with torch.inference_mode():
        expected_RV = model(torch.tensor([tokens]))[0]
        short = ScheduledSequence("a", 0, tokens[:3], (1, 2), samples=True)
        seen_future = ScheduledSequence("a", 0, tokens[:4], (1, 2), samples=True)
        errors = [
            float((runner.execute(SchedulerOutput((seq,)))[0] - expected_RV[2]).abs().max() / expected_RV.abs().max())
            for seq in (short, seen_future)
        ]
    assert errors[0] < TOLERANCE
    assert errors[1] > 100 * TOLERANCE


def test_the_engine_gives_the_same_tokens_with_either_runner():
    model, prompts = tiny_model("llama").float(), ["a b c", "systems", "\u4eba\u5de5\u667a\u80fd"]
    params = [SamplingParams(max_tokens=12, temperature=1.0, seed=i, n=2) for i in range(3)]
    outputs = []
    for make_runner in (ModelRunner, CompiledRunner):
        engine = Engine(model, byte_tokenizer(), ROOMY, make_runner=make_runner)
        outputs.append([[one.token_ids for one in output.outputs] for output in engine.generate(prompts, params)])
    assert outputs[0] == outputs[1]


def test_what_it_cannot_serve_is_refused():
    model = tiny_model("llama")
    with pytest.raises(ValueError, match=r"float32 on the CPU, not torch\.float64 on cpu"):
        CompiledRunner(model, ROOMY)
    with pytest.raises(ValueError, match="can't be stored as 'int4': choose one of float32, float16, bfloat16, int8"):
        CompiledRunner(model.float(), ROOMY, "int4")
    with pytest.raises(ValueError, match=r"blocks of 6 positions .* multiples of 4"):
        CompiledRunner(tiny_model("llama").float(), replace(ROOMY, block_size=6))
    with pytest.raises(ValueError, match="200 positions exceed the 128"):
        CompiledRunner(tiny_model("llama").float(), replace(ROOMY, max_model_len=200))


def test_weights_that_sixteen_bits_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="exceeds what float16 can hold"):
        QuantizedLinear(torch.tensor([[1e6]]), None, "float16")
    assert QuantizedLinear(torch.tensor([[1e6]]), None, "bfloat16").weight.isfinite().all()


@pytest.mark.parametrize("weight_dtype", ["float32", "float16", "bfloat16", "int8"])
def test_a_stored_weight_is_off_by_half_a_unit_at_most(weight_dtype):
    weight_NK = torch.randn(7, 33, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 7)[:, None]
    weight_NK[3] = 0
    layer = QuantizedLinear(weight_NK, torch.ones(7), weight_dtype)
    restored_NK = layer.weight.float() * (1 if layer.scale is None else layer.scale[:, None])
    largest_N1 = weight_NK.abs().amax(1, keepdim=True)
    bound = {
        "float32": torch.zeros(1),
        "float16": (weight_NK.abs() * 2**-11).clamp(min=2**-25),  # below 2^-14 numbers are evenly spaced
        "bfloat16": weight_NK.abs() * 2**-8,
        "int8": largest_N1 / 127 * 0.5001,
    }[weight_dtype]
    assert ((restored_NK - weight_NK).abs() <= bound).all()
    x = torch.randn(2, 33)
    torch.testing.assert_close(layer(x), x @ restored_NK.T + 1, rtol=1e-4, atol=1e-3)


def test_more_rows_of_logits_than_the_heads_memory_has_are_computed_in_pieces():
    model, runner = tiny_model().float(), compiled(tiny_model())
    tokens = tuple(range(3 * runner._head.rows + 1))
    table = tuple(range(len(tokens)))
    scored = ScheduledSequence("a", 0, tokens, table, samples=True, scores=True)
    found_TV = runner.execute(SchedulerOutput((scored,)))
    with torch.inference_mode():
        expected_TV = model(torch.tensor([tokens]))[0]
    assert found_TV.shape == expected_TV.shape
    assert float((found_TV - expected_TV).abs().max() / expected_TV.abs().max()) < TOLERANCE
