"""The official client against our server: what it sends is understood, and what it gets back it understands."""

import asyncio
import json
from dataclasses import replace

import jsonschema
import openai
import pytest
from service import Service, tiny_engine
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.server.protocol import ChatRequest, CompletionRequest

QUESTION = [{"role": "user", "content": "Is it so?"}]
PROMPT = "user:Is it so?\nassistant:"


@pytest.fixture
def client(service):
    return service.client()


@pytest.fixture(scope="module")
def offline():
    """The engine's answer without a server: texts and numbers of tokens."""
    engine = tiny_engine()

    def complete(prompt, **params):
        (output,) = engine.generate([prompt], SamplingParams(**params))
        return output.outputs

    return complete


def test_chat_answers_as_the_engine_does_streaming_or_not(client, offline):
    options = {"model": "tiny", "messages": QUESTION, "max_tokens": 12, "n": 2, "seed": 5, "temperature": 0.8}
    expected = offline(PROMPT, max_tokens=12, n=2, seed=5, temperature=0.8)
    whole = client.chat.completions.create(**options)
    assert [choice.message.content for choice in whole.choices] == [one.text for one in expected]
    assert [choice.finish_reason for choice in whole.choices] == [one.finish_reason.value for one in expected]
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert (whole.object, whole.model) == ("chat.completion", "tiny")
    tokens = sum(len(one.token_ids) for one in expected)
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (len(PROMPT), tokens)
    assert whole.usage.total_tokens == len(PROMPT) + tokens

    texts, finished, usage = ["", ""], {}, None
    for event in client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        assert (event.object, event.model) == ("chat.completion.chunk", "tiny")
        assert usage is None, "usage comes last"
        usage = event.usage
        for choice in event.choices:
            assert (choice.delta.role == "assistant") == (not texts[choice.index])
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason is not None:
                finished[choice.index] = choice.finish_reason
    assert texts == [one.text for one in expected]
    assert finished == dict(enumerate(one.finish_reason.value for one in expected))
    assert usage.completion_tokens == tokens
    assert usage.prompt_tokens_details.cached_tokens == len(PROMPT) // 8 * 8


def test_completions_of_several_prompts_in_all_their_forms(client, offline):
    greedy = {"max_tokens": 5, "temperature": 0}
    expected = {prompt: offline(prompt, **greedy)[0].text for prompt in ("one", "and two")}
    for prompt in ("one", list(b"one"), ["one", "and two"], [list(b"one"), list(b"and two")]):
        several = (
            isinstance(prompt[0], list)
            or len(prompt[0] if isinstance(prompt, list) and isinstance(prompt[0], str) else "") > 1
        )
        answer = client.completions.create(model="tiny", prompt=prompt, **greedy)
        texts = [choice.text for choice in answer.choices]
        assert texts == (list(expected.values()) if several else [expected["one"]])
    answer = client.completions.create(model="tiny", prompt=["one", "and two"], echo=True, n=2, **greedy)
    assert [choice.text for choice in answer.choices] == [p + t for p, t in expected.items() for _ in range(2)]
    texts = [""] * 4
    for event in client.completions.create(
        model="tiny", prompt=["one", "and two"], echo=True, n=2, stream=True, **greedy
    ):
        for choice in event.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in answer.choices]


def test_logprobs_of_both_endpoints_are_the_engines(client, offline):
    (expected,) = offline(PROMPT, max_tokens=6, seed=2, logprobs=3)
    chat = client.chat.completions.create(
        model="tiny", messages=QUESTION, max_tokens=6, seed=2, logprobs=True, top_logprobs=3
    )
    assert len(chat.choices[0].logprobs.content) == 6
    for got, entry in zip(chat.choices[0].logprobs.content, expected.logprobs, strict=True):
        assert got.bytes == [entry.token_id]
        assert got.logprob == pytest.approx(entry.logprob)
        assert [top.bytes[0] for top in got.top_logprobs] == [token for token, _ in entry.top]
    old = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=6, seed=2, logprobs=3).choices[0].logprobs
    assert old.token_logprobs == pytest.approx([entry.logprob for entry in expected.logprobs])
    assert old.text_offset == list(range(6))
    for tops, token, entry in zip(old.top_logprobs, old.tokens, expected.logprobs, strict=True):
        assert len(tops) == 3 + (entry.token_id not in dict(entry.top))
        assert tops[token] == pytest.approx(entry.logprob)
        assert token == (chr(entry.token_id) if entry.token_id < 128 else f"bytes:\\x{entry.token_id:02x}")
    pieces = [
        entry
        for event in client.completions.create(
            model="tiny", prompt=PROMPT, max_tokens=6, seed=2, logprobs=3, stream=True
        )
        for entry in event.choices[0].logprobs.tokens
    ]
    assert pieces == old.tokens


def test_the_end_of_sequence_has_no_logprobs_because_it_has_no_text(client, offline):
    for seed in range(200):
        (expected,) = offline("x", max_tokens=200, seed=seed, temperature=2.0)
        if expected.finish_reason.value == "stop":
            break
    answer = client.completions.create(model="tiny", prompt="x", max_tokens=200, seed=seed, temperature=2.0, logprobs=0)
    assert answer.choices[0].finish_reason == "stop"
    assert len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens - 1 == len(expected.token_ids) - 1


def test_stop_strings_penalties_and_vllms_parameters_reach_the_engine(client, offline):
    free = offline("go", max_tokens=20, temperature=0, ignore_eos=True)[0].text
    stop = free[6:8]
    answer = client.completions.create(
        model="tiny", prompt="go", max_tokens=20, temperature=0, stop=[stop], extra_body={"ignore_eos": True}
    )
    assert answer.choices[0].text == free[: free.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    further = {"top_k": 7, "min_p": 0.01, "repetition_penalty": 1.3, "ignore_eos": True}
    common = {"max_tokens": 9, "seed": 3, "top_p": 0.9, "presence_penalty": 0.5, "frequency_penalty": -0.5}
    further["stop_token_ids"] = [offline("go", **common, **further)[0].token_ids[5]]
    answer = client.completions.create(model="tiny", prompt="go", **common, extra_body=further)
    (expected,) = offline("go", **common, **further)
    assert len(expected.token_ids) <= 6
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (expected.text, "stop")
    assert answer.usage.completion_tokens == len(expected.token_ids)


def test_every_parameter_of_the_engine_is_taken_from_the_request():
    asked = {"n": 2, "temperature": 0.5, "top_k": 7, "top_p": 0.9, "min_p": 0.1, "seed": 3, "ignore_eos": True}
    asked |= {"presence_penalty": 0.5, "frequency_penalty": -0.5, "repetition_penalty": 1.3}
    asked |= {"stop": ["a", "b"], "stop_token_ids": [65, 66]}
    form = {"response_format": {"type": "json_schema", "json_schema": {"name": "pair", "schema": SCHEMA}}}
    whole = {"max_tokens": 9, "logprobs": 4, "prompt_logprobs": 4, "json_schema": json.dumps(SCHEMA)}
    expected, default = SamplingParams(**asked, **whole), SamplingParams()
    assert not [name for name, value in vars(expected).items() if value == getattr(default, name)]
    assert CompletionRequest(prompt="go", echo=True, logprobs=4, **asked, **form).sampling_params(9) == expected
    chat = ChatRequest(messages=QUESTION, logprobs=True, top_logprobs=4, **asked, **form)
    assert chat.sampling_params(9) == replace(expected, prompt_logprobs=None)  # a chat has no echo


SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"enum": [1, 22]}}, "required": ["a", "b"]}


def test_response_formats_are_kept(client):
    options = {"model": "tiny", "messages": QUESTION, "max_tokens": 300, "seed": 1}
    named = {"type": "json_schema", "json_schema": {"name": "pair", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(**options, response_format=named)
    jsonschema.validate(json.loads(answer.choices[0].message.content), SCHEMA)
    text = "".join(
        event.choices[0].delta.content or ""
        for event in client.chat.completions.create(**options, response_format=named, stream=True)
    )
    assert json.loads(text) == json.loads(answer.choices[0].message.content)
    options["max_tokens"] = 20
    answer = client.chat.completions.create(**options, response_format={"type": "json_object"})
    assert answer.choices[0].message.content.lstrip().startswith("{")
    assert client.chat.completions.create(**options, response_format={"type": "text"}).choices
    refused = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer", "multipleOf": 2}}}
    with pytest.raises(openai.BadRequestError, match="multipleOf is not supported"):
        client.chat.completions.create(**options, response_format=refused)


def test_what_concerns_the_service_is_accepted_and_what_is_missing_is_refused(client):
    options = {"model": "tiny", "messages": QUESTION, "max_tokens": 2}
    harmless = {"user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto"}
    assert client.chat.completions.create(**options, **harmless, logit_bias={}, tool_choice="none").choices
    parts = [{"type": "text", "text": "Is it "}, {"type": "text", "text": "so?"}]
    answer = client.chat.completions.create(**options | {"messages": [{"role": "user", "content": parts}]})
    assert answer.usage.prompt_tokens == len(PROMPT)
    developer = [{"role": "developer", "content": "Be brief."}, *QUESTION]
    answer = client.chat.completions.create(**options | {"messages": developer})
    assert answer.usage.prompt_tokens == len(PROMPT) + len("system:Be brief.\n")
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org"}}]}
    for wrong, message in (
        ({"tools": [tool]}, "tools: this server does not support it"),
        ({"logit_bias": {"5": 1}}, "logit_bias: this server does not support it"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio: this server does not support it"),
        ({"extra_body": {"tempreature": 1}}, "tempreature: there is no such parameter"),
        ({"messages": []}, "messages"),
        ({"messages": [image]}, "messages.0.content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]}, "messages.0.role"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n: "),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs need logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options are for stream"),
        ({"max_tokens": 480}, "the context is of 500"),
        ({"extra_body": {"stop": [""]}}, "none of them empty"),
    ):
        with pytest.raises(openai.BadRequestError, match=message) as caught:
            client.chat.completions.create(**options | wrong)
        assert caught.value.type == "invalid_request_error"


def test_a_context_can_be_filled_to_its_last_token_and_no_further(client):
    """It has 500 tokens."""
    everything = {"extra_body": {"ignore_eos": True}}
    for prompt, most in ("x" * 490, 10), ("x" * 499, 1):
        answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=most, **everything)
        assert (answer.usage.total_tokens, answer.choices[0].finish_reason) == (500, "length")
        with pytest.raises(openai.BadRequestError, match="the context is of 500"):
            client.completions.create(model="tiny", prompt=prompt, max_tokens=most + 1)
    question = [{"role": "user", "content": "x" * (490 - len("user:\nassistant:"))}]
    for limit in {}, {"max_tokens": 10}, {"max_completion_tokens": 10}:
        answer = client.chat.completions.create(model="tiny", messages=question, **limit, **everything)
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (490, 10)
    with pytest.raises(openai.BadRequestError, match="the context is of 500"):
        client.chat.completions.create(model="tiny", messages=question, max_completion_tokens=11)
    with pytest.raises(openai.BadRequestError, match="the context is of 500"):
        client.completions.create(model="tiny", prompt="x" * 500, max_tokens=1)


def test_error_classes_are_those_that_the_client_knows(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="another", prompt="x")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt="x" * 600)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")
    with pytest.raises(openai.BadRequestError, match="token id 300 is out of range"):
        client.completions.create(model="tiny", prompt=[1, 300])
    with pytest.raises(openai.BadRequestError, match="the prompt is empty"):
        client.completions.create(model="tiny", prompt="")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="tiny", input="x")
    assert [model.id for model in client.models.list()] == [client.models.retrieve("tiny").id] == ["tiny"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another/one")


def test_the_key_is_asked_for_everywhere_but_at_the_health_check():
    with Service(tiny_engine(), api_key="the key") as service:
        for key in ("-", "the ke", "the keys", "The key"):
            with pytest.raises(openai.AuthenticationError) as caught:
                service.client(api_key=key).models.list()
            assert caught.value.code == "invalid_api_key"
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
            assert service.get(path).status_code == 401
        assert service.post("/v1/completions", content=b"x" * 100).status_code == 401
        assert service.get("/health").json() == {"status": "ok"}
        assert service.client(api_key="the key").completions.create(model="tiny", prompt="x").choices


def test_a_full_queue_is_status_429_with_a_time_to_wait():
    engine = tiny_engine(step_seconds=0.01, max_num_seqs=1, max_num_batched_tokens=16)
    with Service(engine, max_waiting=1, retry_after=3) as service:
        client = service.client()
        streams = [
            client.completions.create(
                model="tiny", prompt="x", max_tokens=400, stream=True, extra_body={"ignore_eos": True}
            )
            for _ in range(2)
        ]
        with pytest.raises(openai.RateLimitError) as caught:
            client.completions.create(model="tiny", prompt="x")
        assert caught.value.response.headers["retry-after"] == "3"
        assert caught.value.code == "queue_full"
        for stream in streams:
            stream.close()
        service.wait_until_idle()
        assert client.completions.create(model="tiny", prompt="x").choices


def test_many_asynchronous_callers_at_once(service, offline):
    prompts = [f"prompt {i}" for i in range(24)]

    async def one(client, i):
        options = {"model": "tiny", "prompt": prompts[i], "max_tokens": 6, "temperature": 0}
        if i % 2:
            return (await client.completions.create(**options)).choices[0].text
        return "".join([e.choices[0].text async for e in await client.completions.create(**options, stream=True)])

    async def main():
        async with service.async_client() as client:
            return await asyncio.gather(*(one(client, i) for i in range(len(prompts))))

    assert asyncio.run(main()) == [offline(prompt, max_tokens=6, temperature=0)[0].text for prompt in prompts]
