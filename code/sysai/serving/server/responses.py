"""The server's answers, in the OpenAI API's forms; the chunks of a stream have the same choices, with `delta` or
`text` for what is new.
"""

from typing import Literal

from pydantic import BaseModel

Finish = Literal["stop", "length"]


class ErrorBody(BaseModel):
    """An error, and the parameter that it is about."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """Every answer whose status is 400 or more."""

    error: ErrorBody


class CachedTokens(BaseModel):
    """Tokens of the prompt that the prefix cache had."""

    cached_tokens: int


class Usage(BaseModel):
    """Tokens of a request; a token that ends a completion counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class TopLogprob(BaseModel):
    """A token that could have stood here. `bytes` joined give valid UTF-8 where tokens alone do not."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token of the answer, and the likeliest ones in its place."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """One entry for each token of the text: none for those of a stop string, nor for one that ends the answer."""

    content: list[TokenLogprob]
    refusal: None = None


class CompletionLogprobs(BaseModel):
    """Lists with one entry for each token of the text; `text_offset` is the place of the character that it begins in.

    The first token of an echoed prompt has null for its log-probabilities: nothing stands before it.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One completion of a prompt."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish


class Completion(BaseModel):
    """The answer of `/v1/completions`; choices of the first prompt come first."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class ChatMessage(BaseModel):
    """The model's turn of a conversation."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer of a conversation."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class ChatCompletion(BaseModel):
    """The answer of `/v1/chat/completions`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class Model(BaseModel):
    """The model that is served; `max_model_len` is vLLM's."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int


class ModelList(BaseModel):
    """The list of models, which has one entry."""

    object: Literal["list"]
    data: list[Model]


class Health(BaseModel):
    """The state of the server: requests are taken, no more are, or the engine has failed."""

    status: Literal["ok", "draining", "dead"]
