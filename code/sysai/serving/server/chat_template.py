"""From a conversation to a prompt, by the template that comes with the model.

The template is a Jinja program in the model's file, and so as little trusted as the file: it runs in Jinja's sandbox
(`Tokenizer.apply_chat_template`). What it may say to the client is that it can't take the conversation. Special
tokens written in a message are recognized as such, as in vLLM: who must keep users from ending their turn themselves
filters the text before.
"""

from collections.abc import Sequence

from jinja2 import TemplateError

from sysai.models.tokenizer import Tokenizer
from sysai.serving.server.protocol import Message


def render(tokenizer: Tokenizer, messages: Sequence[Message]) -> str:
    """Make the prompt after which the assistant's answer begins.

    Raises:
        ValueError: the model has no template, or its template refuses the conversation.
    """
    roles = ["system" if message.role == "developer" else message.role for message in messages]
    turns = [{"role": role, "content": message.text} for role, message in zip(roles, messages, strict=True)]
    try:
        return tokenizer.apply_chat_template(turns)
    except (TemplateError, TypeError, OverflowError) as error:
        raise ValueError(f"the model's chat template can't take this conversation ({error})") from None
