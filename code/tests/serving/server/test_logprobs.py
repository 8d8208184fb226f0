"""Log-probabilities beside their text: where tokens begin, which have an entry, and when a stream tells them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service import Service, chat_tokenizer, tiny_engine
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.outputs import Chunk
from sysai.serving.engine.sampler import TokenLogprobs
from sysai.serving.server.logprobs import ShownLogprobs, TextOffsets

EMOJI = "🙂🚀é"
MESSAGES = [{"role": "user", "content": "Is it so?"}]


@given(st.text(max_size=12), st.data())
def test_a_token_begins_at_the_character_of_its_first_byte(text, data):
    encoded = text.encode()
    character_of = [i for i, character in enumerate(text) for _ in character.encode()]
    offsets, at = TextOffsets(), 0
    while at < len(encoded):
        end = data.draw(st.integers(at + 1, len(encoded)))
        assert offsets.push(encoded[at:end]) == character_of[at]
        at = end


@given(st.binary(max_size=16))
def test_bytes_that_are_no_characters_count_as_decoding_shows_them(encoded):
    offsets = TextOffsets()
    starts = [offsets.push(encoded[i : i + 1]) for i in range(len(encoded))]
    assert starts == sorted(starts)
    assert set(starts) == set(range(len(encoded.decode(errors="replace"))))


def push_all(data, **ends):
    """The offsets told after each byte of a text that is shown when its characters are whole."""
    shown, told, text = ShownLogprobs(chat_tokenizer(), with_end=False), [], ""
    for i, byte in enumerate(data):
        last = i == len(data) - 1
        before, text = text, data[: i + 1].decode(errors="ignore")
        chunk = Chunk("0", 0, text[len(before) :], byte, TokenLogprobs(byte, -1.0, ()), **ends if last else {})
        told.append([offset for offset, _ in shown.push(chunk)])
    return told


def test_tokens_are_told_with_the_character_that_they_are_parts_of():
    ends = {"finish_reason": FinishReason.LENGTH}
    assert push_all("a🙂é".encode(), **ends) == [[0], [], [], [], [1, 1, 1, 1], [], [2, 2]]
    assert push_all("a🙂".encode()[:3], **ends) == [[0], [], [1, 1]]
    met = {"finish_reason": FinishReason.STOP, "stop_reason": "🙂"}
    assert push_all("a🙂".encode()[:3], **met) == [[0], [], []]


def answers(service, path, body):
    """Logprobs of the whole answer, and of a stream's pieces joined; with the texts."""
    whole = service.post(path, json=body).json()["choices"][0]
    text, pieces = "", []
    for line in service.post(path, json=body | {"stream": True}).text.splitlines():
        if line.startswith("data: {"):
            (choice,) = json.loads(line.removeprefix("data: "))["choices"]
            text += choice["text"] if "text" in choice else choice["delta"]["content"]
            pieces.append(choice["logprobs"])
    keys = whole["logprobs"].keys() - {"refusal"}
    assert {key: [v for piece in pieces for v in piece[key]] for key in keys} == {k: whole["logprobs"][k] for k in keys}
    assert text == (whole["text"] if "text" in whole else whole["message"]["content"])
    return text, whole["logprobs"], whole["finish_reason"]


def test_offsets_of_a_model_that_writes_parts_of_characters(service):
    body = {"prompt": EMOJI, "logprobs": 0, "max_tokens": 24, "ignore_eos": True, "seed": 1, "temperature": 2.0}
    text, logprobs, _ = answers(service, "/v1/completions", body | {"echo": True})
    starts = logprobs["text_offset"]
    assert starts[:10] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert (len(starts), starts) == (34, sorted(starts))
    assert max(starts) < len(text)
    _, alone, _ = answers(service, "/v1/completions", body)
    assert [3 + start for start in alone["text_offset"]] == starts[10:]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_tokens_of_a_stop_string_have_no_entries(service, length):
    body = {"prompt": "go", "max_tokens": 30, "temperature": 0, "ignore_eos": True, "logprobs": 1}
    free, all_of, _ = answers(service, "/v1/completions", body)
    begin = 10
    stop = free[begin : begin + length]
    at = free.index(stop)
    text, logprobs, reason = answers(service, "/v1/completions", body | {"stop": [stop]})
    assert (text, reason) == (free[:at], "stop")
    tokens = sum(offset < at for offset in all_of["text_offset"])
    assert logprobs == {key: values[:tokens] for key, values in all_of.items()}


def test_an_answer_that_ends_with_its_first_token_has_empty_lists_if_logprobs_were_asked_for(service):
    ends = {"stop_token_ids": list(range(256)), "max_tokens": 5}
    chat = {"messages": MESSAGES, "logprobs": True} | ends
    assert answers(service, "/v1/chat/completions", chat) == ("", {"content": [], "refusal": None}, "stop")
    _, logprobs, _ = answers(service, "/v1/completions", {"prompt": "x", "logprobs": 2} | ends)
    assert set(map(len, logprobs.values())) == {0}
    content = service.client().chat.completions.create(
        model="tiny", messages=MESSAGES, logprobs=True, max_tokens=5, extra_body={"stop_token_ids": list(range(256))}
    )
    assert content.choices[0].logprobs.content == []


def test_a_special_token_as_a_stop_string_is_met():
    with Service(tiny_engine()) as service:
        body = {"prompt": "x", "max_tokens": 200, "seed": 4, "temperature": 2.0, "ignore_eos": True}
        n = service.post("/v1/completions", json=body | {"n": 8}).json()["usage"]["completion_tokens"]
        stopped = service.post("/v1/completions", json=body | {"n": 8, "stop": ["<|end|>"]}).json()
        assert n == 8 * 200
        assert "stop" in {choice["finish_reason"] for choice in stopped["choices"]}
        refused = service.post("/v1/completions", json=body | {"stop": ["\n<|end|>"]})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stop")
