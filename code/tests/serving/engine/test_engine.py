"""The engine: results that depend on a request alone, texts and their ends, and what a failure leaves standing."""

import json
from dataclasses import replace

import jsonschema
import pytest
import torch
from planted import PlantedError
from sysai.models.generate import generate
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.llm_engine import Engine
from sysai.serving.engine.outputs import join
from tiny_models import END, byte_tokenizer, tiny_model

ROOMY = SchedulerConfig(num_blocks=128, block_size=4, max_num_batched_tokens=64, max_num_seqs=16)
TIGHT = SchedulerConfig(
    num_blocks=12, block_size=4, max_num_batched_tokens=7, max_num_seqs=5, max_model_len=40, watermark=0.0
)
SWAPPING = replace(TIGHT, num_cpu_blocks=20, prefix_caching=False)
PROMPTS = ["A prompt", "of its own", "for each", "of the four", "A prompt too"]


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def make_engine(model, config=ROOMY):
    """An engine whose every step is checked."""
    engine = Engine(model, byte_tokenizer(), config)
    plain = engine.step

    def step():
        chunks = plain()
        engine.scheduler.check_invariants()
        assert engine.has_work == bool(engine._requests) == bool(engine._request_of), "one knows requests that are gone"
        assert engine.has_work or engine.scheduler.memory.pool.num_available == config.num_blocks, "a block has leaked"
        return chunks

    engine.step = step
    return engine


def greedy(count, **others):
    return SamplingParams(max_tokens=count, temperature=0, **others)


def ids(outputs):
    return [[completion.token_ids for completion in output.outputs] for output in outputs]


def expected_ids(model, prompt, count):
    return tuple(generate(model, list(prompt.encode()), count, stop_ids=[END]).tokens)


@pytest.mark.parametrize("config", [ROOMY, TIGHT, SWAPPING])
def test_greedy_completions_are_those_of_the_model_alone(model, config):
    engine = make_engine(model, config)
    outputs = engine.generate(PROMPTS, greedy(18))
    assert ids(outputs) == [[expected_ids(model, prompt, 18)] for prompt in PROMPTS]
    assert (engine.scheduler.num_preemptions > 0) == (config is not ROOMY)
    for output, prompt in zip(outputs, PROMPTS, strict=True):
        (completion,) = output.outputs
        assert output.prompt_token_ids == tuple(prompt.encode())
        ended = completion.token_ids[-1] == END
        text = bytes(completion.token_ids[:-1] if ended else completion.token_ids)
        assert completion.text == text.decode(errors="replace")
        assert completion.finish_reason is (FinishReason.STOP if ended else FinishReason.LENGTH)
        assert completion.logprobs is None


@pytest.mark.parametrize("config", [replace(ROOMY, max_num_batched_tokens=16), TIGHT, SWAPPING])
def test_draws_do_not_depend_on_the_batch(model, config):
    params = [SamplingParams(n=1 + i % 3, max_tokens=12, seed=i % 2, top_p=0.95) for i in range(len(PROMPTS))]
    together = ids(make_engine(model, config).generate(PROMPTS, params))
    apart = [ids(make_engine(model).generate(prompt, one))[0] for prompt, one in zip(PROMPTS, params, strict=True)]
    assert together == apart
    first, second, third = apart[2]
    assert len({first, second, third}) == 3, "completions of one seed are drawn apart"


def test_the_prompt_of_several_completions_is_computed_once(model):
    engine, tokens = make_engine(model, replace(ROOMY, prefix_caching=False)), []
    execute = engine.runner.execute
    engine.runner.execute = lambda step: tokens.append(step.tokens) or execute(step)
    (output,) = engine.generate("nine char", greedy(4, n=5))
    assert tokens == [9, 5, 5, 5]
    assert [completion.index for completion in output.outputs] == [0, 1, 2, 3, 4]
    assert ids([output]) == [[expected_ids(model, "nine char", 4)] * 5]


def test_unseeded_calls_differ(model):
    engine = make_engine(model)
    assert ids(engine.generate("A", SamplingParams())) != ids(engine.generate("A", SamplingParams()))


def test_reported_logprobs_are_the_models(model):
    (output,) = make_engine(model, TIGHT).generate("A prompt", SamplingParams(max_tokens=6, seed=1, logprobs=3, n=2))
    for completion in output.outputs:
        tokens = [*output.prompt_token_ids, *completion.token_ids]
        with torch.inference_mode():
            logprobs_TV = model(torch.tensor([tokens]))[0].log_softmax(-1)[len(output.prompt_token_ids) - 1 :]
        assert len(completion.logprobs) == len(completion.token_ids) == 6
        for entry, token, logprobs_V in zip(completion.logprobs, completion.token_ids, logprobs_TV, strict=False):
            assert entry.token_id == token
            assert entry.logprob == pytest.approx(float(logprobs_V[token]), abs=1e-4)
            assert [token for token, _ in entry.top] == logprobs_V.topk(3).indices.tolist()


def letters_model(text):
    """Writes `text` whatever the prompt, as often as it is let; its characters must differ.

    Without layers the token alone decides: each character's row of the head is the embedding of the one before it.
    """
    model = tiny_model()
    with torch.no_grad():
        for parameter in (*model.blocks.parameters(), model.head.weight):
            parameter.zero_()
        for before, after in zip(text, text[1:] + text[0], strict=True):
            model.head.weight[ord(after)] += torch.nn.functional.normalize(model.embed.weight[ord(before)], dim=0)
    return model


def test_stop_strings_and_stop_tokens_end_the_text_before_them():
    engine = make_engine(letters_model("abcdef"))

    def completion(**params):
        ((completion,),) = (output.outputs for output in engine.generate("xa", greedy(8, **params)))
        return completion.text, len(completion.token_ids), completion.finish_reason.value, completion.stop_reason

    assert completion() == ("bcdefabc", 8, "length", None)
    assert completion(stop="efa") == ("bcd", 6, "stop", "efa")
    assert completion(stop=("fabce", "ef")) == ("bcd", 5, "stop", "ef")
    assert completion(stop="abc") == ("bcdef", 8, "stop", "abc"), "with the last token allowed"
    assert completion(stop="abcd") == ("bcdefabc", 8, "length", None), "what was held back is shown"
    assert completion(stop_token_ids=[ord("e")]) == ("bcd", 4, "stop", ord("e"))
    assert completion(stop="b") == ("", 1, "stop", "b")
    (output,) = engine.generate("xa", greedy(8, n=3, stop="bc"))
    assert [(one.text, len(one.token_ids)) for one in output.outputs] == [("", 2)] * 3
    (output,) = engine.generate("xa", greedy(1, n=3))
    assert [(one.text, one.finish_reason) for one in output.outputs] == [("b", FinishReason.LENGTH)] * 3


def test_the_end_of_sequence_ends_a_completion_unless_ignored():
    model = letters_model("abcdef")
    with torch.no_grad():
        model.head.weight[END] = 2 * model.head.weight[ord("e")]
    engine = make_engine(model)
    ending, going_on = engine.generate(["a", "a"], [greedy(8), greedy(5, ignore_eos=True)])
    (ended,) = ending.outputs
    assert (ended.text, ended.token_ids[-1], ended.finish_reason) == ("bcd", END, FinishReason.STOP)
    assert len(going_on.outputs[0].token_ids) == 5
    assert going_on.outputs[0].token_ids[3] == END


def test_chunks_show_text_as_soon_as_it_is_certain():
    engine = make_engine(letters_model("abcdef"))
    engine.add_request("a", greedy(8, stop="deg"), "call")
    chunks = []
    while engine.has_work:
        chunks += engine.step()
    assert [chunk.text for chunk in chunks] == ["b", "c", "", "", "def", "a", "b", "c"]
    assert {chunk.request_id for chunk in chunks} == {"call"}
    assert join(chunks).text == "bcdefabc"
    assert engine.step() == []


SCHEMA = {"type": "array", "items": {"enum": [True, 22, "name"]}, "minItems": 1, "maxItems": 3}


def test_a_schema_is_satisfied_beside_requests_without_one():
    model = tiny_model(max_positions=512)
    constrained = SamplingParams(max_tokens=300, n=4, seed=4, json_schema=json.dumps(SCHEMA))
    engine = make_engine(model, replace(TIGHT, num_blocks=200, max_model_len=400, max_num_batched_tokens=20))
    free, bound = engine.generate(["A prompt", "JSON: "], [greedy(12), constrained])
    assert ids([free]) == [[expected_ids(model, "A prompt", 12)]]
    assert [completion.finish_reason for completion in bound.outputs] == [FinishReason.STOP] * 4
    documents = [json.loads(completion.text) for completion in bound.outputs]
    for document in documents:
        jsonschema.validate(document, SCHEMA)
    assert len(set(map(str, documents))) > 1


def test_padding_of_the_models_vocabulary_is_never_sampled():
    engine = make_engine(tiny_model(vocab_size=1000))
    (output,) = engine.generate("A", SamplingParams(max_tokens=60, temperature=100.0, seed=0, ignore_eos=True))
    assert max(output.outputs[0].token_ids) <= END


def test_an_abort_frees_what_a_call_holds(model):
    engine = make_engine(model, TIGHT)
    for name, n in (("one", 1), ("many", 4), ("waits", 2)):
        engine.add_request("A prompt of many tokens", SamplingParams(n=n, max_tokens=8, seed=3), name)
    chunks = [chunk for _ in range(6) for chunk in engine.step()]
    assert {chunk.request_id for chunk in chunks} >= {"one", "many"}
    assert engine.abort("many")
    assert engine.abort("waits")
    assert not engine.abort("many")
    engine.scheduler.check_invariants()
    while engine.has_work:
        new = engine.step()
        assert {chunk.request_id for chunk in new} == {"one"}
        chunks += new
    alone = make_engine(model).generate("A prompt of many tokens", SamplingParams(max_tokens=8, seed=3))
    assert join([chunk for chunk in chunks if chunk.request_id == "one"]) == alone[0].outputs[0]


def crash_once(engine, at, error):
    """Let the model fail in the pass of the `at`-th step, half way through its layers; the steps, as they come."""
    steps, execute = [], engine.runner.execute

    def hook(*_):
        if len(steps) == at:
            raise error

    def noted(step):
        steps.append(step)
        return execute(step)

    engine.runner.execute = noted
    engine.runner.model.blocks[1].attention.output.register_forward_pre_hook(hook)
    return steps


@pytest.mark.parametrize("at", [1, 2, 5, 9])
@pytest.mark.parametrize("config", [TIGHT, SWAPPING])
def test_a_crash_of_the_pass_fails_the_requests_of_its_step_and_no_other(config, at):
    model = tiny_model()
    expected = {prompt: expected_ids(model, prompt, 14) for prompt in PROMPTS}
    engine = make_engine(model, config)
    steps = crash_once(engine, at, PlantedError("the device is gone"))
    outputs = engine.generate(PROMPTS, greedy(14, n=2))
    crashed = steps[at - 1]
    broken = {seq.seq_id for seq in crashed.scheduled} | set(crashed.preempted if crashed.swap_out else ())
    failed = {
        f"{call}/{one.index}" for call, output in enumerate(outputs) for one in output.outputs if one.error is not None
    }
    unforked = {name for name in failed if name[:-1] + "0" in broken}
    assert broken <= failed <= broken | unforked
    assert 0 < len(failed) < 2 * len(PROMPTS)
    assert engine.failed_steps == 1
    for output, prompt in zip(outputs, PROMPTS, strict=True):
        for one in output.outputs:
            if one.error is None:
                assert one.token_ids == expected[prompt]
            else:
                assert (one.finish_reason, one.error) == (FinishReason.ERROR, "PlantedError: the device is gone")
                assert one.token_ids == expected[prompt][: len(one.token_ids)]
    again = engine.generate(PROMPTS, greedy(14))
    assert ids(again) == [[expected[prompt]] for prompt in PROMPTS], "nothing wrong was left in the cache"


def test_a_crash_while_blocks_move_also_fails_those_who_were_to_be_swapped_out(model):
    engine = make_engine(model, SWAPPING)
    engine.runner.cache.cpu_L2PONK.fill_(torch.nan)
    move, preempted = engine.runner.cache.move, []

    def failing(step):
        if step.swap_out and not preempted:
            preempted.extend(step.preempted)
            raise PlantedError
        move(step)

    engine.runner.cache.move = failing
    outputs = engine.generate(PROMPTS, greedy(18))
    errors = {f"{call}/0": output.outputs[0].error for call, output in enumerate(outputs)}
    assert preempted
    assert all(errors[name] == "PlantedError: " for name in preempted)
    assert set(errors.values()) == {None, "PlantedError: "}
    for output, prompt in zip(outputs, PROMPTS, strict=True):
        if output.outputs[0].error is None:
            assert ids([output]) == [[expected_ids(model, prompt, 18)]]


def test_an_interrupt_ends_the_call_and_leaves_the_engine_usable():
    model = tiny_model()
    expected = expected_ids(model, "A prompt", 6)
    engine = make_engine(model, TIGHT)
    crash_once(engine, 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        engine.generate(PROMPTS, greedy(14))
    assert not engine.has_work
    assert ids(engine.generate("A prompt", greedy(6))) == [[expected]]


def test_a_request_whose_logits_are_no_numbers_fails_alone(model):
    poisoned = tiny_model()
    with torch.no_grad():
        poisoned.embed.weight[ord("!")] = torch.nan
    bad, good = make_engine(poisoned).generate(["A prompt!", "A prompt"], greedy(6, n=2))
    assert [one.finish_reason for one in bad.outputs] == [FinishReason.ERROR] * 2
    assert "no numbers" in bad.outputs[0].error
    assert ids([good]) == [[expected_ids(model, "A prompt", 6)] * 2]


def test_what_cannot_be_served_is_refused_at_the_door(model):
    engine = make_engine(model, TIGHT)
    refused = {
        "the prompt is empty": ("", greedy(4)),
        "leaves no room": ("x" * 40, greedy(4)),
        "token id 257 is out of range": ([1, 257], greedy(4)),
        "token id -1": ([-1], greedy(4)),
        "not supported|unknown": ("A", greedy(4, json_schema='{"pattern": "x"}')),
    }
    for message, (prompt, params) in refused.items():
        with pytest.raises(ValueError, match=message):
            engine.generate(["A prompt", prompt], [greedy(4), params])
        assert not engine.has_work, "the request before it is not left behind"
    with pytest.raises(TypeError):
        engine.generate([[1, 2.5]])
    with pytest.raises(ValueError, match="1 sampling_params for 2 prompts"):
        engine.generate(["A", "B"], [greedy(4)])
    engine.add_request("A", greedy(4), "name")
    with pytest.raises(ValueError, match="'name' is in use"):
        engine.add_request("A", greedy(4), "name")
    with pytest.raises(ValueError, match="requests are running"):
        engine.generate("A")
    with pytest.raises(ValueError, match="the tokenizer has 257 tokens, llama 256"):
        Engine(tiny_model(vocab_size=256), byte_tokenizer(), TIGHT)
    with pytest.raises(ValueError, match="eos_token_id 3 is not the tokenizer's 256"):
        Engine(model, byte_tokenizer(), replace(TIGHT, eos_token_id=3))


@pytest.mark.parametrize("config", [ROOMY, TIGHT, SWAPPING])
def test_the_prompts_logprobs_are_the_models_whatever_the_chunks_and_the_cache(model, config):
    engine = make_engine(model, config)
    plain = [output.outputs[0].token_ids for output in engine.generate(PROMPTS, greedy(18))]  # and in the cache now
    outputs = engine.generate(PROMPTS, [greedy(18, n=1 + i % 2, prompt_logprobs=2) for i in range(len(PROMPTS))])
    assert [output.outputs[0].token_ids for output in outputs] == plain
    for output, prompt in zip(outputs, PROMPTS, strict=True):
        ids_T = torch.tensor(list(prompt.encode()))
        expected_TV = model(ids_T[None])[0].log_softmax(-1)[:-1]
        assert [entry.token_id for entry in output.prompt_logprobs] == ids_T[1:].tolist()
        found = [entry.logprob for entry in output.prompt_logprobs]
        assert found == pytest.approx(expected_TV[torch.arange(len(ids_T) - 1), ids_T[1:]].tolist(), abs=1e-5)
        tops = [[token for token, _ in entry.top] for entry in output.prompt_logprobs]
        assert tops == expected_TV.topk(2).indices.tolist()
    assert engine.generate("alone", greedy(1))[0].prompt_logprobs is None


def test_a_stop_string_that_is_a_special_token_is_met(model):
    engine = make_engine(model)
    params = SamplingParams(n=12, max_tokens=80, seed=1, temperature=2.0, stop=("<|end|>",), ignore_eos=True)
    free = engine.generate("x", replace(params, stop=()))[0].outputs
    stopped = engine.generate("x", params)[0].outputs
    assert any(END in completion.token_ids for completion in free)
    for completion, whole in zip(stopped, free, strict=True):
        if END in whole.token_ids:
            assert completion.token_ids == whole.token_ids[: whole.token_ids.index(END) + 1]
            assert (completion.finish_reason, completion.stop_reason) == (FinishReason.STOP, END)
        else:
            assert completion.token_ids == whole.token_ids
    with pytest.raises(ValueError, match=r"special token '<\|end\|>' is no part of a text"):
        engine.generate("x", SamplingParams(stop=("a<|end|>",)))
