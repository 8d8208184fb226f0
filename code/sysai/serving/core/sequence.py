"""A sequence: a prompt and what has been generated of its continuation, and how far the cache has come.

The scheduler moves sequences about. Tokens of the prompt and of the output are one text, of which the first
`num_computed_tokens` have their keys and values in the cache. Preemption by recomputation sets that number back to 0
and loses nothing else: neither the output so far, nor the random draws to come, which depend on the seed and on the
position only. A request for `n` completions of a prompt is n sequences with different `index` (see `engine.request`).

Standard library only: the simulator runs the same sequences in a reader's browser.
"""

import secrets
from collections import abc
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from sysai.serving.core.sampling_params import SamplingParams


class SequenceStatus(Enum):
    """Where a sequence stands in the scheduler."""

    WAITING = "waiting"
    RUNNING = "running"
    PREEMPTED = "preempted"  # it ran, gave its blocks back, and waits again
    FINISHED = "finished"


class FinishReason(StrEnum):
    """Why a sequence ended; the values are the API's `finish_reason`."""

    STOP = "stop"  # end of sequence, a stop token or a stop string
    LENGTH = "length"  # max_tokens, or the model's positions
    ABORT = "abort"  # the client left, or cancelled
    ERROR = "error"


@dataclass(eq=False, slots=True)
class Sequence:
    """One continuation of a prompt, on its way.

    Args:
        seq_id: unique among those that the scheduler knows.
        prompt_token_ids: the prompt, at least one token.
        sampling_params: how to go on.
        arrival_time: seconds on the engine's clock.
        index: which of the `n` sequences of its request this is.

    Raises:
        ValueError: an empty prompt, or a negative token id.
    """

    seq_id: str
    prompt_token_ids: abc.Sequence[int]
    sampling_params: SamplingParams = field(default_factory=SamplingParams)
    arrival_time: float = 0.0
    index: int = 0
    output_token_ids: list[int] = field(default_factory=list, init=False)
    num_computed_tokens: int = field(default=0, init=False)
    status: SequenceStatus = field(default=SequenceStatus.WAITING, init=False)
    finish_reason: FinishReason | None = field(default=None, init=False)
    stop_reason: int | str | None = field(default=None, init=False)  # the stop token or string that was met
    seed: int = field(init=False)  # that of the parameters, or drawn
    rank: tuple[float, int] | None = field(default=None, init=False)  # its turn, given by the scheduler

    def __post_init__(self) -> None:
        self.prompt_token_ids = tuple(self.prompt_token_ids)
        if not self.prompt_token_ids:
            raise ValueError("the prompt is empty: give at least one token")
        if min(self.prompt_token_ids) < 0:
            raise ValueError(f"token id {min(self.prompt_token_ids)} in the prompt is negative")
        seed = self.sampling_params.seed
        self.seed = secrets.randbits(63) if seed is None else seed

    @property
    def num_prompt_tokens(self) -> int:
        """The length of the prompt."""
        return len(self.prompt_token_ids)

    @property
    def num_output_tokens(self) -> int:
        """How many tokens have been generated, computed or not."""
        return len(self.output_token_ids)

    @property
    def num_tokens(self) -> int:
        """The present length: the position that the next token will have."""
        return len(self.prompt_token_ids) + len(self.output_token_ids)

    @property
    def all_token_ids(self) -> list[int]:
        """Prompt and output, in order."""
        return [*self.prompt_token_ids, *self.output_token_ids]

    @property
    def scores_prompt(self) -> bool:
        """Whether the log-probabilities of the prompt's tokens are asked for; the first sequence finds them for all."""
        return self.sampling_params.prompt_logprobs is not None and self.index == 0

    @property
    def is_finished(self) -> bool:
        """Whether no more tokens will come."""
        return self.status is SequenceStatus.FINISHED

    def token_ids(self, start: int, end: int) -> tuple[int, ...]:
        """Tokens at positions `start` to `end` (excluded) of prompt and output, in O(end - start)."""
        prompt = self.num_prompt_tokens
        output = self.output_token_ids[max(0, start - prompt) : max(0, end - prompt)]
        return (*self.prompt_token_ids[start:end], *output)

    def append_output_token(self, token_id: int) -> None:
        """Add a token that was chosen; its keys and values are not computed yet."""
        assert not self.is_finished, f"sequence {self.seq_id} has ended, and got token {token_id}"
        self.output_token_ids.append(token_id)

    def check_stop(self, eos_token_id: int | None, max_model_len: int) -> bool:
        """Finish the sequence if its last token ends it; whether it did. The detokenizer looks for stop strings.

        Args:
            eos_token_id: the model's end-of-sequence token, or None.
            max_model_len: positions that the model has.
        """
        params, last = self.sampling_params, self.output_token_ids[-1]
        if last == eos_token_id and not params.ignore_eos:
            self.finish(FinishReason.STOP)
        elif last in params.stop_token_ids:
            self.finish(FinishReason.STOP, last)
        elif self.num_output_tokens >= params.max_tokens or self.num_tokens >= max_model_len:
            self.finish(FinishReason.LENGTH)
        return self.is_finished

    def finish(self, reason: FinishReason, stop_reason: int | str | None = None) -> None:
        """End the sequence. The first reason stands: a client that leaves after the last token changes nothing."""
        if not self.is_finished:
            self.status, self.finish_reason, self.stop_reason = SequenceStatus.FINISHED, reason, stop_reason

    def check_invariants(self) -> None:
        """Assert what holds between any two steps: counts within their limits, a reason for every end."""
        assert 0 <= self.num_computed_tokens <= self.num_tokens, (self.num_computed_tokens, self.num_tokens)
        assert self.num_output_tokens <= self.sampling_params.max_tokens, self.num_output_tokens
        assert self.is_finished == (self.finish_reason is not None), (self.status, self.finish_reason)
        assert self.stop_reason is None or self.finish_reason is FinishReason.STOP, self.stop_reason
