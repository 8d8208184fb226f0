"""A completion as its caller sees it: what each token adds, and the whole when it has ended.

The scheduler's `Request` is a matter of tokens. Around it stands what gives the tokens a meaning: the detokenizer,
which turns them into text and looks for stop strings, and the grammar's state, which says what may come next. Each
new token yields a `Chunk`; a server sends chunks as they come, and an offline call joins them. The words for the
joined results are vLLM's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sysai.models.tokenizer import Tokenizer
from sysai.serving.core.request import FinishReason, Request
from sysai.serving.engine.detokenizer import Detokenizer
from sysai.serving.engine.sampler import TokenLogprobs
from sysai.serving.structured_output.token_mask import TokenGrammar


@dataclass(frozen=True)
class Chunk:
    """What a step adds to completion `index` of a call: a token, the text that is certain with it, perhaps the end.

    A completion that fails ends with a chunk without a token, and says why in `error`. `start_time` (on the engine's
    clock) is that of the step in which the call's prompt was first computed, `num_cached_tokens` what of the prompt
    the prefix cache had then.
    """

    call_id: str
    index: int
    text: str
    token_id: int | None = None
    logprobs: TokenLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None  # the stop token or string that was met
    error: str | None = None
    start_time: float | None = None
    num_cached_tokens: int = 0


@dataclass(frozen=True)
class CompletionOutput:
    """A whole completion. `logprobs` has an entry for each token if they were asked for, else it is None."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] | None
    finish_reason: FinishReason
    stop_reason: int | str | None
    error: str | None


@dataclass(frozen=True)
class RequestOutput:
    """A prompt, and its `n` completions in order."""

    prompt_token_ids: tuple[int, ...]
    outputs: tuple[CompletionOutput, ...]


def join(chunks: Sequence[Chunk]) -> CompletionOutput:
    """The completion that all its chunks make, in the order in which they came."""
    last = chunks[-1]
    assert last.finish_reason is not None, f"completion {last.index} of {last.call_id} goes on"
    taken = [chunk for chunk in chunks if chunk.token_id is not None]
    logprobs = tuple(chunk.logprobs for chunk in taken if chunk.logprobs is not None)
    return CompletionOutput(
        last.index,
        "".join(chunk.text for chunk in chunks),
        tuple(chunk.token_id for chunk in taken),
        logprobs or None,
        last.finish_reason,
        last.stop_reason,
        last.error,
    )


@dataclass(eq=False)
class Completion:
    """One of the `n` completions of call `call_id`, on its way.

    `unforked` are the others of the call, while they wait for this one's prompt to be computed. `start` notes when
    that begins.
    """

    call_id: str
    request: Request
    tokenizer: Tokenizer
    grammar: TokenGrammar | None = None
    unforked: list["Completion"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._detokenizer = Detokenizer(self.tokenizer, self.request.sampling_params.stop)
        self._state = self.grammar and self.grammar.start
        self.start_time: float | None = None
        self.num_cached_tokens = 0

    def start(self, now: float, num_cached_tokens: int) -> None:
        """Note, for the whole call, when its prompt is first computed, and what of it need not be."""
        for one in (self, *self.unforked):
            one.start_time, one.num_cached_tokens = now, num_cached_tokens

    def allowed(self) -> np.ndarray | None:
        """bool [V], the tokens that may come next; None if all may."""
        return self.grammar and self.grammar.mask(self._state)

    def push(self, token_id: int, logprobs: TokenLogprobs | None) -> Chunk:
        """What a token adds that the request has got. A token that ends the completion is no part of its text.

        A stop string ends it too; where it comes with the last token that was allowed, it is the reason told.
        """
        if self.grammar is not None:
            self._state = self.grammar.advance(self._state, token_id)
        ended_by_token = self.request.finish_reason is FinishReason.STOP
        text = "" if ended_by_token else self._detokenizer.push(token_id)
        if self.request.is_finished:
            text += self._detokenizer.finish()
        reason, met = self.request.finish_reason, self.request.stop_reason
        if self._detokenizer.stop_reason is not None:
            reason, met = FinishReason.STOP, self._detokenizer.stop_reason
            self.request.finish(reason, met)
        return self._chunk(text, token_id=token_id, logprobs=logprobs, finish_reason=reason, stop_reason=met)

    def fail(self, error: str) -> Chunk:
        """The end of a completion that can't go on."""
        self.request.finish(FinishReason.ERROR)
        text = self._detokenizer.finish()
        return self._chunk(text, finish_reason=FinishReason.ERROR, error=error)

    def _chunk(self, text: str, **others) -> Chunk:
        times = {"start_time": self.start_time, "num_cached_tokens": self.num_cached_tokens}
        return Chunk(self.call_id, self.request.index, text, **times, **others)
