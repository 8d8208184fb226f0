"""From the engine's chunks to the choices of an answer, piece by piece for a stream or all at once.

`Reply` counts what is used, and knows the parts that both endpoints have; its two kinds say what a choice looks like.
A piece without new text is not sent, unless it has log-probabilities or ends its choice.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from secrets import token_hex

from sysai.models.tokenizer import Tokenizer
from sysai.serving.engine.outputs import Chunk
from sysai.serving.server.logprobs import for_chat, for_completion, shown_logprobs


class Reply(ABC):
    """One answer with `num_choices` choices, to prompts of `prompt_tokens` tokens in all."""

    prefix: str  # of the id
    whole_object: str  # the `object` of the whole and of a chunk
    chunk_object: str

    def __init__(self, tokenizer: Tokenizer, model: str, num_choices: int, prompt_tokens: int) -> None:
        self.tokenizer, self.num_choices, self.prompt_tokens = tokenizer, num_choices, prompt_tokens
        self.completion_tokens = self.cached_tokens = 0
        self._head = {"id": self.prefix + token_hex(12), "created": int(time.time()), "model": model}
        self._begun: set[int] = set()

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
        begins = self._count(choice, chunk)
        piece = self._piece(choice, chunk, begins)
        if not begins and not chunk.text and piece["logprobs"] is None and chunk.finish_reason is None:
            return None
        return self._head | {"object": self.chunk_object, "choices": [piece]}

    def usage_event(self) -> dict:
        """The event that a stream sends before its end if usage was asked for."""
        return self._head | {"object": self.chunk_object, "choices": [], "usage": self.usage}

    def whole(self, chunks: Sequence[tuple[int, Chunk]]) -> dict:
        """Make the whole answer of all chunks, each with the choice that it belongs to."""
        pieces: list[list[dict]] = [[] for _ in range(self.num_choices)]
        for choice, chunk in chunks:
            pieces[choice].append(self._piece(choice, chunk, self._count(choice, chunk)))
        choices = [self._join(of_choice) for of_choice in pieces]
        return self._head | {"object": self.whole_object, "choices": choices, "usage": self.usage}

    def _count(self, choice: int, chunk: Chunk) -> bool:
        """Add a chunk to the usage; whether it is its choice's first."""
        begins = choice not in self._begun
        self._begun.add(choice)
        self.completion_tokens += chunk.token_id is not None
        if begins and chunk.index == 0:
            self.cached_tokens += chunk.num_cached_tokens
        return begins

    @abstractmethod
    def _piece(self, choice: int, chunk: Chunk, begins: bool) -> dict:
        """The entry in a streamed event's `choices` for a chunk."""

    @abstractmethod
    def _join(self, pieces: Sequence[dict]) -> dict:
        """The entry in the whole answer's `choices`, made of its pieces."""


class CompletionReply(Reply):
    """The answer of `/v1/completions`; `echoes` are texts that the choices begin with."""

    prefix = "cmpl-"
    whole_object = chunk_object = "text_completion"

    def __init__(
        self, tokenizer: Tokenizer, model: str, num_choices: int, prompt_tokens: int, echoes: Sequence[str]
    ) -> None:
        super().__init__(tokenizer, model, num_choices, prompt_tokens)
        self.echoes = echoes
        self._offsets = [0] * num_choices  # in characters of the tokens so far

    def _piece(self, choice: int, chunk: Chunk, begins: bool) -> dict:
        entry = shown_logprobs(chunk)
        logprobs = None
        if entry is not None:
            logprobs = for_completion(self.tokenizer, entry, self._offsets[choice])
            self._offsets[choice] += len(self.tokenizer.token_bytes(entry.token_id).decode(errors="replace"))
        return {
            "index": choice,
            "text": self.echoes[choice] + chunk.text if begins else chunk.text,
            "logprobs": logprobs,
            "finish_reason": chunk.finish_reason,
        }

    def _join(self, pieces: Sequence[dict]) -> dict:
        entries = [piece["logprobs"] for piece in pieces if piece["logprobs"] is not None]
        logprobs = (
            {key: [value for entry in entries for value in entry[key]] for key in entries[0]} if entries else None
        )
        return pieces[-1] | {"text": "".join(piece["text"] for piece in pieces), "logprobs": logprobs}


class ChatReply(Reply):
    """The answer of `/v1/chat/completions`."""

    prefix, whole_object, chunk_object = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def _piece(self, choice: int, chunk: Chunk, begins: bool) -> dict:
        entry = shown_logprobs(chunk)
        delta = {"role": "assistant", "content": chunk.text} if begins else {"content": chunk.text}
        return {
            "index": choice,
            "delta": delta,
            "logprobs": None if entry is None else {"content": [for_chat(self.tokenizer, entry)], "refusal": None},
            "finish_reason": chunk.finish_reason,
        }

    def _join(self, pieces: Sequence[dict]) -> dict:
        told = [piece["logprobs"] for piece in pieces if piece["logprobs"] is not None]
        entries = [entry for logprobs in told for entry in logprobs["content"]]
        content = "".join(piece["delta"]["content"] for piece in pieces)
        return {
            "index": pieces[-1]["index"],
            "message": {"role": "assistant", "content": content, "refusal": None},
            "logprobs": {"content": entries, "refusal": None} if entries else None,
            "finish_reason": pieces[-1]["finish_reason"],
        }
