"""The real model on twenty-four prompts: the engine's greedy tokens are transformers', for both runners.

Greedy decoding is equal token for token if every token is the likeliest one after the tokens before it. So one pass
of transformers over prompts and outputs decides, for all steps at once.
"""

import pydoc_data.topics
import random

import pytest
import torch
from sysai.models.as_transformers import as_transformers
from sysai.models.weights import load_smollm2
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.runners.compiled_runner import CompiledRunner
from sysai.serving.runners.model_runner import ModelRunner

PROMPTS, TOKENS = 24, 12
NOISE = 2e-4  # between the logits of two programs in float32; ties within it may go either way


@pytest.fixture(scope="module")
def smollm2():
    return load_smollm2("cpu")


@pytest.fixture(scope="module")
def prompts(smollm2):
    """Pieces of Python's documentation, half of them after one of two instructions, and a few in Chinese."""
    chooser, topics = random.Random(0), pydoc_data.topics.topics
    tokenizer = smollm2[1]
    instructions = [tokenizer.encode(f"Explain {what}, in simple words and with one example:\n") for what in "ab"]
    found = []
    for name in chooser.sample(sorted(topics), PROMPTS - 5):
        text = topics[name].replace("*", "")
        start = chooser.randrange(max(1, len(text) - 300))
        tokens = tokenizer.encode(text[start : start + chooser.randrange(20, 300)])
        found.append([*chooser.choice([[], instructions[0], instructions[1]]), *tokens])
    found += [tokenizer.encode(f"{word}是计算机科学中的") for word in ("编译器", "缓存", "调度", "内存", "并行")]
    return found


@pytest.fixture(scope="module")
def shortfalls(smollm2):
    """shortfalls(prompt, tokens): by how much each token's logit is below transformers' largest, once a row."""
    theirs, known = as_transformers(smollm2[0]), {}

    def shortfalls(prompt, tokens):
        row = (*prompt, *tokens)
        if row not in known:
            with torch.no_grad():
                states_TD = theirs.model(torch.tensor([row])).last_hidden_state[0, len(prompt) - 1 : -1]
                logits_TV = theirs.lm_head(states_TD)
            known[row] = logits_TV.amax(-1) - logits_TV.gather(-1, torch.tensor(tokens)[:, None])[:, 0]
        return known[row]

    return shortfalls


@pytest.mark.parametrize("make_runner", [ModelRunner, CompiledRunner])
def test_greedy_tokens_of_a_mixed_batch_are_those_of_transformers(smollm2, prompts, shortfalls, make_runner):
    model, tokenizer = smollm2
    config = SchedulerConfig(
        num_blocks=28, max_num_batched_tokens=96, max_num_seqs=24, max_model_len=200, watermark=0.0
    )
    engine = Engine(model, tokenizer, config, make_runner=make_runner)
    outputs = engine.generate(prompts, SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True))
    assert engine.scheduler.num_preemptions > 0, "blocks should be short"
    assert engine.scheduler.memory.stats.hit > 0, "instructions are shared"
    made = [output.outputs[0].token_ids for output in outputs]
    assert all(len(tokens) == TOKENS for tokens in made)
    assert len(set(made)) > 0.8 * PROMPTS

    ties = 0
    for i, (prompt, tokens) in enumerate(zip(prompts, made, strict=True)):
        short_T = shortfalls(prompt, tokens)
        ties += int((short_T > 0).sum())
        assert short_T.max() < NOISE, f"prompt {i} goes another way at token {int(short_T.argmax())}"
    assert ties <= 2, "that many ties are no accident"
