"""What is refused, and why, in the words of the caller; and what asks for nothing, which is taken."""

import pytest

MESSAGES = [{"role": "user", "content": "Is it so?"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}


def turn(**fields):
    return {"messages": [{"role": "user"} | fields]}


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (turn(content=[IMAGE]), "messages.0.content.0.type", "Input should be 'text'"),
        (turn(content=[{"type": "text", "text": "a"}, IMAGE]), "messages.0.content.1.type", "Input should be 'text'"),
        (turn(content=[{"type": "text"}]), "messages.0.content.0.text", "Field required"),
        (turn(content=["a"]), "messages.0.content.0", "valid dictionary"),
        (turn(content=5), "messages.0.content", "valid string or: Input should be a valid list"),
        (turn(), "messages.0.content", "Field required"),
        (turn(content="x", name="Ann"), "messages.0.name", "does not support it"),
        ({"stop": 5}, "stop", "valid string or: Input should be a valid list"),
        ({"stop": ["a", 5]}, "stop.1", "valid string"),
        ({"stop": [""]}, "stop", "none of them empty"),
        ({"stop": ["a<|end|>"]}, "stop", "give the token alone"),
        ({"stop_token_ids": [-1]}, "stop_token_ids", "a stop token id must be"),
        ({"top_logprobs": 2}, "top_logprobs", "need logprobs: true"),
        ({"stream_options": {}}, "stream_options", "are for stream: true"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "Field required"),
        ({"response_format": {"type": "xml"}}, "response_format", "json_object"),
        (
            {"response_format": SCHEMA | {"json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
            "required",
        ),
        (
            {"response_format": SCHEMA | {"json_schema": {"schema": {"not": {}}}}},
            "response_format",
            "not is not supported",
        ),
    ],
)
def test_errors_name_what_the_caller_wrote(service, body, param, message):
    answer = service.post("/v1/chat/completions", json={"messages": MESSAGES} | body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert message in error["message"]


@pytest.mark.parametrize(("prompt", "message"), [([1, 300], "token id 300"), ("", "empty"), ([1, -2], "negative")])
def test_errors_of_a_prompt_name_it(service, prompt, message):
    answer = service.post("/v1/completions", json={"prompt": prompt})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "prompt")
    assert message in error["message"]


@pytest.mark.parametrize(
    "asked",
    [
        {"best_of": 1},
        {"suffix": ""},
        {"verbosity": "medium"},
        {"reasoning_effort": "medium"},
        {"modalities": ["text"]},
        {"tools": [], "tool_choice": "auto"},
        {"function_call": "auto"},
        {"logit_bias": {}},
        {"audio": None},
    ],
)
def test_what_asks_for_nothing_is_taken(service, asked):
    assert service.post("/v1/chat/completions", json={"messages": MESSAGES, "max_tokens": 2} | asked).status_code == 200


@pytest.mark.parametrize(
    "asked",
    [{"best_of": 2}, {"verbosity": "low"}, {"modalities": ["text", "audio"]}, {"tool_choice": "required"}],
)
def test_what_asks_for_something_that_is_not_there_is_refused(service, asked):
    answer = service.post("/v1/chat/completions", json={"messages": MESSAGES, "max_tokens": 2} | asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_parameter")


def test_a_list_of_text_parts_is_one_text(service):
    options = {"max_tokens": 6, "temperature": 0}
    parts = [{"type": "text", "text": "Is it "}, {"type": "text", "text": "so?"}]
    whole = service.post("/v1/chat/completions", json={"messages": MESSAGES} | options).json()
    in_parts = service.post("/v1/chat/completions", json=turn(content=parts) | options).json()
    assert in_parts["choices"] == whole["choices"]


def test_top_p_of_zero_is_greedy(service):
    options = {"prompt": "x", "max_tokens": 12}
    greedy = service.post("/v1/completions", json=options | {"temperature": 0}).json()
    drawn = service.post("/v1/completions", json=options | {"top_p": 0, "temperature": 2, "n": 2}).json()
    assert {choice["text"] for choice in drawn["choices"]} == {greedy["choices"][0]["text"]}
