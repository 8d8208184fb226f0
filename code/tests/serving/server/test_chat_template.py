"""From messages to a prompt: the published template's text, and templates that refuse or misbehave."""

import pytest
from service import chat_tokenizer
from sysai.models.tokenizer import Tokenizer
from sysai.serving.server.chat_template import render
from sysai.serving.server.protocol import ChatRequest


def turns(*pairs):
    return ChatRequest(messages=[{"role": role, "content": content} for role, content in pairs]).messages


def test_smollm2s_own_template(tokenizer):
    system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    user, answer = "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|>assistant\n"
    assert render(tokenizer, turns(("user", "Hi"))) == system + user + answer
    own = "<|im_start|>system\nBe brief.<|im_end|>\n"
    for role in ("system", "developer"):
        assert render(tokenizer, turns((role, "Be brief."), ("user", "Hi"))) == own + user + answer
    said = "<|im_start|>assistant\nHo<|im_end|>\n"
    assert render(tokenizer, turns(("user", "Hi"), ("assistant", "Ho"), ("user", "Hi"))) == (
        system + user + said + user + answer
    )
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    assert render(tokenizer, turns(("user", parts))) == system + user + answer
    assert "{{ 7 * 6 }}" in render(tokenizer, turns(("user", "{{ 7 * 6 }}"))), "what users write is no template"


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ raise_exception('roles must alternate') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages[0]['content'].pop() }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% if %}",
    ],
)
def test_a_template_that_can_not_take_it_is_a_clear_error(template):
    plain = chat_tokenizer()
    tokenizer = Tokenizer(plain.tokens, [], [256], chat_template=template, eos_id=256)
    with pytest.raises(ValueError, match="template"):
        render(tokenizer, turns(("user", "Hi")))
