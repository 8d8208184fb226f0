"""From an HTTP request to a stream of the engine, or to the error that says why not.

Text becomes tokens in a thread, so that a long prompt does not hold up the event loop; in a single one, so that many
long prompts do not take Python's lock from the engine. Then the length is checked, prompt and answer together:

    tokens of the prompt + max_tokens <= max_model_len

A text that has more characters than so many of the longest token is refused unread. The JSON text of a schema is
bounded in size and in depth, because the engine compiles it between two steps. Whether a prompt's token ids are in
the vocabulary, whether a schema can be followed and whether there is room in the queue is the engine's to say; its
reasons are passed on.
"""

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sysai.serving.core.sampling_params import ParameterError
from sysai.serving.engine.async_engine import AsyncEngine
from sysai.serving.engine.stream import Stream
from sysai.serving.server.chat_template import render
from sysai.serving.server.errors import APIError
from sysai.serving.server.limits import ServerLimits
from sysai.serving.server.protocol import ChatRequest, CompletionRequest

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class Admission:
    """The way into `engine`, which serves the model `name`."""

    def __init__(self, engine: AsyncEngine, name: str, limits: ServerLimits) -> None:
        self.engine, self.name, self.limits = engine, name, limits
        self.tokenizer = engine.engine.tokenizer
        self.max_model_len = engine.engine.scheduler.config.most_positions
        self._longest_token = max(len(self.tokenizer.token_bytes(i)) for i in range(len(self.tokenizer)))
        self._encoder = ThreadPoolExecutor(1, "sysai-encoder")

    async def complete(self, request: CompletionRequest) -> Stream:
        """Submit prompts to be continued.

        Raises:
            APIError: the request can't be served. QueueFullError, EngineStoppedError, EngineDeadError.
        """
        prompts = request.prompt
        if not prompts:  # as after the end of another document
            if self.tokenizer.eos_id is None:
                raise APIError(400, "this model's texts have no token to begin with: give a prompt", param="prompt")
            prompts = [[self.tokenizer.eos_id]]
        return await self._submit(request, prompts, request.max_tokens, "prompt")

    async def chat(self, request: ChatRequest) -> Stream:
        """Submit a conversation to be answered; errors as above."""
        try:
            prompt = render(self.tokenizer, request.messages)
        except ValueError as error:
            raise APIError(400, str(error), param="messages") from None
        return await self._submit(request, [prompt], request.max_completion_tokens or request.max_tokens, "messages")

    async def _submit(
        self,
        request: CompletionRequest | ChatRequest,
        prompts: Sequence[str | Sequence[int]],
        max_tokens: int | None,
        param: str,
    ) -> Stream:
        if request.model not in (None, self.name):
            message = f"the model {request.model!r} is not served here: take {self.name!r}"
            raise APIError(404, message, param="model", code="model_not_found")
        if len(prompts) * request.n > self.limits.max_completions:
            message = f"{len(prompts)} prompts with n {request.n} exceed {self.limits.max_completions} completions"
            raise APIError(400, f"{message}: ask for fewer", param="n")
        try:
            self._check_schema(request.json_schema or "")
            encoded = [await self._encode(p, param) if isinstance(p, str) else p for p in prompts]
            longest = max(map(len, encoded))
            limit = self._output_limit(longest, max_tokens, param)
            return await self.engine.submit(encoded, request.sampling_params(limit))
        except ParameterError as error:
            param = "response_format" if error.param == "json_schema" else error.param
            raise APIError(400, str(error), param=param, code="invalid_value") from None
        except ValueError as error:
            raise APIError(400, str(error), param=param, code="invalid_value") from None

    def _check_schema(self, schema: str) -> None:
        if len(schema) > self.limits.max_schema_bytes:
            message = f"the schema's {len(schema)} bytes exceed the limit of {self.limits.max_schema_bytes}"
            raise ParameterError("json_schema", f"{message}: shorten it")
        depth = deepest = 0
        for sign in _STRING.sub("", schema):
            depth += (sign in "[{") - (sign in "]}")
            deepest = max(depth, deepest)
        if deepest > self.limits.max_schema_depth:
            message = f"the schema is nested {deepest} deep, the limit is {self.limits.max_schema_depth}"
            raise ParameterError("json_schema", f"{message}: write it with fewer levels")

    async def _encode(self, text: str, param: str) -> list[int]:
        if len(text) > self.max_model_len * self._longest_token:
            message = (
                f"the prompt's {len(text)} characters are more than {self.max_model_len} tokens can be: shorten it"
            )
            raise APIError(400, message, param=param, code="context_length_exceeded")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._encoder, self.tokenizer.encode, text)
        except UnicodeEncodeError:
            message = "the text has half a surrogate pair, which is no character: send valid Unicode"
            raise APIError(400, message, param=param, code="invalid_value") from None

    def _output_limit(self, prompt: int, max_tokens: int | None, param: str) -> int:
        """Tokens of output that a request may have; without a wish, all that the context leaves.

        At least one: a pass over the prompt gives it, also where none is asked for.
        """
        room = self.max_model_len - prompt
        if room < (max_tokens or 1):
            raise APIError(
                400,
                f"the prompt has {prompt} tokens and {max_tokens or 1} are to be generated, but the context is of "
                f"{self.max_model_len}: shorten the prompt, or lower max_tokens",
                param=param,
                code="context_length_exceeded",
            )
        return room if max_tokens is None else max(max_tokens, 1)
