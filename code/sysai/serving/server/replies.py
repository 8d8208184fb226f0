"""From the engine's chunks to the choices of an answer, piece by piece for a stream or all at once.

`Reply` counts what is used, and knows the parts that both endpoints have; its two kinds say what a choice looks like.
A piece without new text is not sent, unless it has log-probabilities or ends its choice.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from secrets import token_hex

from sysai.models.tokenizer import Tokenizer
from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.outputs import Chunk
from sysai.serving.server.logprobs import Placed, ShownLogprobs, for_chat, for_completion, of_prompt
from sysai.serving.server.protocol import ChatRequest, CompletionRequest


class Reply(ABC):
    """The answer to a request, with `n` choices for each of its prompts, which are token ids."""

    prefix: str  # of the id
    whole_object: str  # the `object` of the whole and of a chunk
    chunk_object: str
    tells_end: bool = False  # whether the token that ends a choice has log-probabilities

    def __init__(
        self,
        tokenizer: Tokenizer,
        model: str,
        prompts: Sequence[Sequence[int]],
        request: CompletionRequest | ChatRequest,
    ) -> None:
        self.tokenizer, self.prompts, self.request = tokenizer, prompts, request
        self.num_choices, self.prompt_tokens = len(prompts) * request.n, sum(map(len, prompts))
        self.completion_tokens = self.cached_tokens = 0
        self._head = {"id": self.prefix + token_hex(12), "created": int(time.time()), "model": model}
        self._begun: set[int] = set()
        self._logprobs = [ShownLogprobs(tokenizer, self.tells_end) for _ in range(self.num_choices)]

    @property
    def usage(self) -> dict:
        """The tokens used so far, in the form of `responses.Usage`."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    def event(self, choice: int, chunk: Chunk) -> dict | None:
        """The event that a stream sends for a chunk of choice `choice`; None if it has nothing to say."""
        begins, (piece, placed) = choice not in self._begun, self._take(choice, chunk)
        if not begins and not chunk.text and not placed and chunk.finish_reason is None:
            return None
        usage = {"usage": None} if self.request.include_usage else {}
        return self._head | {"object": self.chunk_object, "choices": [piece]} | usage

    def usage_event(self) -> dict:
        """The event that a stream sends before its end if usage was asked for; in those before it is null."""
        return self._head | {"object": self.chunk_object, "choices": [], "usage": self.usage}

    def whole(self, chunks: Sequence[tuple[int, Chunk]]) -> dict:
        """Make the whole answer of all chunks, each with the choice that it belongs to."""
        pieces: list[list[dict]] = [[] for _ in range(self.num_choices)]
        for choice, chunk in chunks:
            pieces[choice].append(self._take(choice, chunk)[0])
        choices = [self._join(of_choice) for of_choice in pieces]
        return self._head | {"object": self.whole_object, "choices": choices, "usage": self.usage}

    def _take(self, choice: int, chunk: Chunk) -> tuple[dict, list[Placed]]:
        """Add a chunk to the usage; its piece, and the log-probabilities in it."""
        begins = choice not in self._begun
        self._begun.add(choice)
        if self.request.max_tokens == 0:  # a pass over the prompt gives a token, wanted or not
            chunk = replace(chunk, text="", token_id=None, logprobs=None, finish_reason=FinishReason.LENGTH)
        self.completion_tokens += chunk.token_id is not None
        if begins and chunk.index == 0:
            self.cached_tokens += chunk.num_cached_tokens
        placed = self._logprobs[choice].push(chunk)
        return self._piece(choice, chunk, begins, placed), placed

    @abstractmethod
    def _piece(self, choice: int, chunk: Chunk, begins: bool, placed: Sequence[Placed]) -> dict:
        """The entry in a streamed event's `choices` for a chunk."""

    @abstractmethod
    def _join(self, pieces: Sequence[dict]) -> dict:
        """The entry in the whole answer's `choices`, made of its pieces."""


class CompletionReply(Reply):
    """The answer of `/v1/completions`.

    With `echo` its choices begin with the prompt, whose tokens come first in the log-probabilities. Then every token
    that was generated has an entry, also an end of sequence: who scores the prompt (lm-eval) drops the last one.
    """

    prefix = "cmpl-"
    whole_object = chunk_object = "text_completion"

    def __init__(
        self, tokenizer: Tokenizer, model: str, prompts: Sequence[Sequence[int]], request: CompletionRequest
    ) -> None:
        self.tells_end = request.echo
        super().__init__(tokenizer, model, prompts, request)
        self.echoes = [tokenizer.decode(prompt) if request.echo else "" for prompt in prompts]

    def _piece(self, choice: int, chunk: Chunk, begins: bool, placed: Sequence[Placed]) -> dict:
        prompt = choice // self.request.n
        echo, logprobs = self.echoes[prompt], None
        if self.request.num_logprobs is not None:
            logprobs = for_completion(self.tokenizer, placed, len(echo))
            if begins and chunk.prompt_logprobs is not None:
                echoed = of_prompt(self.tokenizer, self.prompts[prompt], chunk.prompt_logprobs)
                logprobs = _joined([echoed, logprobs])
        return {
            "index": choice,
            "text": echo + chunk.text if begins else chunk.text,
            "logprobs": logprobs,
            "finish_reason": chunk.finish_reason,
        }

    def _join(self, pieces: Sequence[dict]) -> dict:
        entries = [piece["logprobs"] for piece in pieces]
        logprobs = None if entries[0] is None else _joined(entries)
        return pieces[-1] | {"text": "".join(piece["text"] for piece in pieces), "logprobs": logprobs}


class ChatReply(Reply):
    """The answer of `/v1/chat/completions`."""

    prefix, whole_object, chunk_object = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def _piece(self, choice: int, chunk: Chunk, begins: bool, placed: Sequence[Placed]) -> dict:
        delta = {"role": "assistant", "content": chunk.text} if begins else {"content": chunk.text}
        logprobs = None
        if self.request.num_logprobs is not None:
            logprobs = {"content": [for_chat(self.tokenizer, entry) for _, entry in placed], "refusal": None}
        return {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": chunk.finish_reason}

    def _join(self, pieces: Sequence[dict]) -> dict:
        logprobs = None
        if self.request.num_logprobs is not None:
            content = [entry for piece in pieces for entry in piece["logprobs"]["content"]]
            logprobs = {"content": content, "refusal": None}
        text = "".join(piece["delta"]["content"] for piece in pieces)
        return {
            "index": pieces[-1]["index"],
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": logprobs,
            "finish_reason": pieces[-1]["finish_reason"],
        }


def _joined(parts: Sequence[dict[str, list]]) -> dict[str, list]:
    """Dictionaries of lists with the same keys as one."""
    return {key: [value for part in parts for value in part[key]] for key in parts[0]}
