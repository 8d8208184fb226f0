"""The requests of `/v1/completions` and `/v1/chat/completions`: the OpenAI API's parameters, and vLLM's further ones
beside them in the same object.

Unknown parameters are errors, because an answer without them would not be what was asked for; those that concern the
service and not the answer are accepted. A parameter that is null, or an unknown one that asks for nothing (empty, or
its documented default), counts as left out. Ranges stand here so that clients can read them; they lie within those of
`SamplingParams`, and are narrower where a value would drive logits out of their range.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from sysai.serving.core.sampling_params import MAX_LOGPROBS, ParameterError, SamplingParams

_EMPTY = ([], {}, "none", "")
_DEFAULTS = {  # OpenAI's, of parameters that are not supported
    "best_of": [1],
    "function_call": ["auto"],
    "modalities": [["text"]],
    "reasoning_effort": ["medium"],
    "tool_choice": ["auto"],
    "verbosity": ["medium"],
}


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, data: object) -> object:
        """Drop parameters that are null, and unknown ones whose value asks for nothing."""
        if not isinstance(data, Mapping):
            return data
        parameters = {field.alias or name for name, field in cls.model_fields.items()}
        return {
            name: value
            for name, value in data.items()
            if value is not None and (name in parameters or value not in (*_EMPTY, *_DEFAULTS.get(name, ())))
        }


class TextPart(_Form):
    """Text in a message of several parts; other kinds of part are not supported."""

    type: Literal["text"]
    text: str


class Message(_Form):
    """One turn of a conversation. `developer` is the newer name of `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """The content as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(_Form):
    """`include_usage`: one more chunk before the end tells the tokens that were used."""

    include_usage: bool = False
    include_obfuscation: bool = False


class TextFormat(_Form):
    """The form of an answer that is free text."""

    type: Literal["text"]


class JsonObjectFormat(_Form):
    """The form of an answer that is any JSON object."""

    type: Literal["json_object"]


class NamedSchema(_Form):
    """A JSON schema; which keywords are supported stands in `sysai.serving.structured_output.json_schema`."""

    name: str = ""
    description: str = ""
    strict: bool = True
    document: dict[str, Any] = Field(alias="schema")


class JsonSchemaFormat(_Form):
    """A JSON document that satisfies a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


def _as_prompts(value: object) -> list[str | list[int]]:
    """All forms of `prompt` as a list of prompts."""

    def is_ids(prompt: object) -> bool:
        return isinstance(prompt, list) and bool(prompt) and all(type(token_id) is int for token_id in prompt)

    prompts = [value] if isinstance(value, str) or is_ids(value) else value
    if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) or is_ids(p) for p in prompts):
        raise ValueError("give a text, a list of token ids, or a list of texts or of lists of token ids; none empty")
    return prompts


Prompts = Annotated[
    list[str | list[int]],
    PlainValidator(_as_prompts, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
]


class _Request(_Form):
    model: str | None = None
    n: int = Field(1, ge=1, le=128)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, ge=0, le=1)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None

    top_k: int = Field(0, ge=-1, description="vLLM's: only the likeliest k tokens; 0 or -1 for all.")
    min_p: float = Field(0.0, ge=0, le=1, description="vLLM's: only tokens this times as likely as the likeliest.")
    repetition_penalty: float = Field(1.0, ge=0.01, le=100, description="vLLM's: 1 changes nothing.")
    ignore_eos: bool = Field(False, description="vLLM's: go on after the end of sequence.")
    stop_token_ids: list[int] = Field([], description="vLLM's: tokens that end the answer.")

    user: str | None = None  # from here on, what concerns the service and not the answer
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _only_streams_have_options(self) -> "_Request":
        if self.stream_options is not None and not self.stream:
            raise ParameterError("stream_options", "stream_options are for stream: true")
        return self

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the tokens that were used."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def json_schema(self) -> str | None:
        """JSON text of the schema that the answer must satisfy.

        Raises:
            ParameterError: a schema that is nested too deeply to be written.
        """
        match self.response_format:
            case JsonObjectFormat():
                return '{"type": "object", "additionalProperties": true}'
            case JsonSchemaFormat(json_schema=schema):
                try:
                    return json.dumps(schema.document)
                except RecursionError:
                    message = "the schema is nested too deeply: write it with fewer levels"
                    raise ParameterError("json_schema", message) from None
        return None

    def sampling_params(self, max_tokens: int) -> SamplingParams:
        """Make the engine's parameters.

        Raises:
            ParameterError: a value out of range.
        """
        return SamplingParams(
            n=self.n,
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_k=max(self.top_k, 0),
            top_p=self.top_p,
            min_p=self.min_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            logprobs=self.num_logprobs,
            prompt_logprobs=self.num_logprobs if self.echo else None,
            stop=self.stop,
            stop_token_ids=tuple(self.stop_token_ids),
            ignore_eos=self.ignore_eos,
            json_schema=self.json_schema,
        )


class CompletionRequest(_Request):
    """A prompt, or several, to be continued."""

    prompt: Prompts = Field([], description="Without one, the text is that of a new document.")
    max_tokens: int | None = Field(16, ge=0)
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    echo: bool = Field(False, description="Begin the text, and the logprobs, with the prompt.")

    @property
    def num_logprobs(self) -> int | None:
        """The value of `SamplingParams.logprobs`."""
        return self.logprobs


class ChatRequest(_Request):
    """A conversation to be answered. Without a limit, the answer may fill the context."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, description="The older name of max_completion_tokens.")
    max_completion_tokens: int | None = Field(None, ge=1)
    echo: ClassVar[bool] = False
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)

    @model_validator(mode="after")
    def _top_logprobs_need_logprobs(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ParameterError("top_logprobs", "top_logprobs need logprobs: true")
        return self

    @property
    def num_logprobs(self) -> int | None:
        """The value of `SamplingParams.logprobs`."""
        return self.top_logprobs or 0 if self.logprobs else None
