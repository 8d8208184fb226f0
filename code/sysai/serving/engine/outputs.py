"""Outputs as a caller sees them: a chunk for each token, and whole completions when they have ended.

Each new token of a sequence yields a `Chunk`; a server sends chunks as they come, and an offline call joins them. The
words for the joined results are vLLM's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sysai.serving.core.sequence import FinishReason
from sysai.serving.engine.sampler import TokenLogprobs


@dataclass(frozen=True)
class Chunk:
    """One step's addition to completion `index` of a request: a token, the text certain with it, perhaps the end.

    A completion that fails ends with a chunk without a token, and says why in `error`. `start_time` (on the engine's
    clock) is that of the step in which the request's prompt was first computed, `num_cached_tokens` how many tokens of
    the prompt the prefix cache had then. `prompt_logprobs`, if asked for, has an entry for each token of the prompt
    but the first, which has none before it.
    """

    request_id: str
    index: int
    text: str
    token_id: int | None = None
    logprobs: TokenLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None  # the stop token or string that was met
    error: str | None = None
    start_time: float | None = None
    num_cached_tokens: int = 0
    prompt_logprobs: Sequence[TokenLogprobs] | None = None


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
    """A prompt, and its `n` completions in order. `prompt_logprobs` are those of a chunk."""

    prompt_token_ids: tuple[int, ...]
    outputs: tuple[CompletionOutput, ...]
    prompt_logprobs: Sequence[TokenLogprobs] | None = None


def join(chunks: Sequence[Chunk]) -> CompletionOutput:
    """Make a completion of all its chunks, in the order in which they came."""
    last = chunks[-1]
    assert last.finish_reason is not None, f"completion {last.index} of {last.request_id} goes on"
    with_token = [chunk for chunk in chunks if chunk.token_id is not None]
    logprobs = tuple(chunk.logprobs for chunk in with_token if chunk.logprobs is not None)
    return CompletionOutput(
        last.index,
        "".join(chunk.text for chunk in chunks),
        tuple(chunk.token_id for chunk in with_token),
        logprobs or None,
        last.finish_reason,
        last.stop_reason,
        last.error,
    )
