"""Every answer, whole or in a stream, is what the official client's types say, checked strictly."""

import json
from typing import Literal

import pytest
from openai.types import Completion, CompletionChoice, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk


class Unfinished(CompletionChoice):
    finish_reason: Literal["stop", "length"] | None


class CompletionChunk(Completion):
    """The older endpoint's chunk, for which the client has the type of the whole; the API sends null until the end."""

    choices: list[Unfinished]


MESSAGES = [{"role": "user", "content": "Is it so?"}]
CHAT = ("/v1/chat/completions", {"messages": MESSAGES}, ChatCompletion, ChatCompletionChunk)
OLD = ("/v1/completions", {"prompt": ["one", "two"]}, Completion, CompletionChunk)
ASKED = [
    (CHAT, {}),
    (CHAT, {"n": 2, "logprobs": True, "top_logprobs": 2, "stop": ["e", "\n"]}),
    (CHAT, {"logprobs": True, "max_tokens": 1, "stop_token_ids": list(range(256))}),
    (CHAT, {"response_format": {"type": "json_object"}, "max_tokens": 20}),
    (OLD, {}),
    (OLD, {"echo": True, "n": 2}),
    (OLD, {"logprobs": 2, "stop": "e", "n": 2}),
    (OLD, {"logprobs": 0, "max_tokens": 0}),
]


def events_of(response):
    lines = [line for line in response.text.splitlines() if line]
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.mark.parametrize(("endpoint", "asked"), ASKED)
def test_whole_answers_and_their_chunks_have_the_clients_types(service, endpoint, asked):
    path, prompt, whole, chunk = endpoint
    body = {"model": "tiny", "max_tokens": 8, "seed": 3} | prompt | asked
    answer = service.post(path, json=body)
    whole.model_validate_json(answer.text, strict=True)
    events = events_of(service.post(path, json=body | {"stream": True}))
    for event in events:
        chunk.model_validate_json(json.dumps(event), strict=True)
        assert "usage" not in event
    streamed = service.post(path, json=body | {"stream": True, "stream_options": {"include_usage": True}})
    *events, last = events_of(streamed)
    assert all(event["usage"] is None for event in events), "in all chunks before the one that has it"
    chunk.model_validate_json(json.dumps(last), strict=True)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == answer.json()["usage"]["completion_tokens"]


def test_models_have_the_clients_type(service):
    listed = service.get("/v1/models").json()
    assert listed["object"] == "list"
    for model in (*listed["data"], service.get("/v1/models/tiny").json()):
        Model.model_validate_json(json.dumps(model), strict=True)
