"""Requests as lm-evaluation-harness sends them, and their answers read as it reads them (lm_eval/models/
openai_completions.py: `LocalCompletionsAPI`, `LocalChatCompletion`)."""

import pytest
import torch
from service import chat_tokenizer
from tiny_models import END

CONTEXTS = ["The sky is", "A fish can", "é🙂"]
ENDINGS = [" blue", " swim", "?"]


def loglikelihood_request(prompts):
    return {"model": "tiny", "prompt": prompts, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234} | {
        "echo": True
    }


def parse_logprobs(answer, context_lengths):
    """As `LocalCompletionsAPI.parse_logprobs`: the last entry is that of the token generated."""
    results = []
    choices = sorted(answer["choices"], key=lambda choice: choice["index"])
    for choice, length in zip(choices, context_lengths, strict=True):
        logprobs = choice["logprobs"]["token_logprobs"][length:-1]
        tops = choice["logprobs"]["top_logprobs"][length:-1]
        results.append((sum(logprobs), all(p == max(top.values()) for p, top in zip(logprobs, tops, strict=True))))
    return results


def expected(model, context, ending):
    """The ending's log-probability by the model itself, and whether it is what greedy decoding gives."""
    ids_T = torch.tensor(context + ending)
    with torch.inference_mode():
        logprobs_TV = model(ids_T[None])[0].log_softmax(-1)
    rows_E = logprobs_TV[len(context) - 1 : -1]
    return float(rows_E.gather(-1, ids_T[len(context) :, None]).sum()), rows_E.argmax(-1).tolist() == ending


@pytest.mark.parametrize("tokenized", [True, False])
@pytest.mark.parametrize("repeated", [1, 2])
def test_loglikelihoods_are_the_models(service, tokenized, repeated):
    tokenizer, model = chat_tokenizer(), service.engine.runner.model
    pairs = [(tokenizer.encode(c), tokenizer.encode(e)) for c, e in zip(CONTEXTS, ENDINGS, strict=True)]
    context = tokenizer.encode("A fish can")
    best = int(model(torch.tensor(context)[None])[0, -1].argmax())
    pairs.append((context, [best]))
    prompts = [context + ending for context, ending in pairs]
    sent = prompts if tokenized else [*map(tokenizer.decode, prompts[:3])]
    for _ in range(repeated):  # the second time the prefix cache knows them
        answer = service.post("/v1/completions", json=loglikelihood_request(sent)).json()
    found = parse_logprobs(answer, [len(context) for context, _ in pairs[: len(sent)]])
    for (logprob, is_greedy), (context, ending) in zip(found, pairs, strict=False):
        expected_logprob, expected_greedy = expected(model, context, ending)
        assert logprob == pytest.approx(expected_logprob, abs=1e-4)
        assert is_greedy == expected_greedy
    assert not tokenized or found[-1][1]
    for choice, prompt in zip(answer["choices"], prompts, strict=False):
        logprobs = choice["logprobs"]
        assert set(map(len, logprobs.values())) == {len(prompt) + 1}
        assert (logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]) == (None, None)
        assert choice["text"].startswith(tokenizer.decode(prompt))
    assert answer["usage"]["prompt_tokens"] == sum(map(len, prompts[: len(sent)]))


def test_a_token_that_ends_the_text_has_an_entry_too_so_that_the_last_is_always_the_one_generated(service):
    body = loglikelihood_request("The sky is blue") | {"stop_token_ids": list(range(256))}
    (choice,) = service.post("/v1/completions", json=body).json()["choices"]
    assert choice["finish_reason"] == "stop"
    assert len(choice["logprobs"]["token_logprobs"]) == len("The sky is blue") + 1


def test_a_prompt_is_scored_without_a_token_generated(service):
    scored = service.post("/v1/completions", json=loglikelihood_request("The sky")).json()
    alone = service.post("/v1/completions", json=loglikelihood_request("The sky") | {"max_tokens": 0}).json()
    (choice,), (longer,) = alone["choices"], scored["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("The sky", "length")
    assert choice["logprobs"] == {key: values[:-1] for key, values in longer["logprobs"].items()}
    assert (alone["usage"]["completion_tokens"], scored["usage"]["completion_tokens"]) == (0, 1)
    nothing = service.post("/v1/completions", json={"prompt": "x", "max_tokens": 0, "n": 2}).json()
    assert [(c["text"], c["logprobs"], c["finish_reason"]) for c in nothing["choices"]] == [("", None, "length")] * 2


def test_a_text_may_be_generated_from_nothing(service):
    body = {"max_tokens": 8, "temperature": 0}
    free = service.post("/v1/completions", json=body).json()
    assert free["usage"]["prompt_tokens"] == 1
    assert free["choices"] == service.post("/v1/completions", json=body | {"prompt": [END]}).json()["choices"]
    assert free["choices"] == service.post("/v1/completions", json=body | {"prompt": None}).json()["choices"]


def test_generations_of_both_endpoints(service):
    until = ["\n\n", "Question:", "</s>", "<|im_end|>", "<|end|>"]
    body = {"model": "tiny", "max_tokens": 20, "temperature": 0, "stop": until, "seed": 1234}
    answer = service.post("/v1/completions", json=body | {"prompt": [[65, 66], [67]]}).json()
    texts = {choice["index"]: choice["text"] for choice in answer["choices"]}
    assert sorted(texts) == [0, 1]
    messages = [{"role": "user", "content": "Why?"}]
    chat = service.post("/v1/chat/completions", json=body | {"messages": messages, "stop": until[:4]}).json()
    assert isinstance(chat["choices"][0]["message"]["content"], str)
