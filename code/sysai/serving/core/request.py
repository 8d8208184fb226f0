"""A request: what is asked for, how its tokens are chosen, and how far it has come.

The words are vLLM's and the OpenAI API's. `SamplingParams` never changes and is checked when made, so that a wrong
value is refused at the door and not in the middle of a batch. `Request` is what the scheduler moves about: tokens of
the prompt and of the output are one sequence, of which the first `num_computed_tokens` have their keys and values in
the cache. Preemption by recomputation sets that number back to 0 and loses nothing else: neither the output so far,
nor the random draws to come, which depend on the seed and on the position only. One completion is one request; a
call that asks for `n` of them is n requests with different `index`.

Standard library only: the simulator runs the same requests in a reader's browser.
"""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum

MAX_LOGPROBS = 20  # as in the OpenAI API
MAX_STOP = 16


@dataclass(frozen=True)
class SamplingParams:
    """How the tokens of a completion are chosen, and when it ends. `sampler` defines each of the filters.

    Args:
        n: completions of the prompt.
        max_tokens: tokens of output at most.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: only the k likeliest tokens; 0 for all.
        top_p: only the fewest likeliest tokens whose probabilities sum to p; 1 for all.
        min_p: only tokens at least this times as likely as the likeliest; 0 for all.
        presence_penalty: taken from the logit of each token that stands in the output.
        frequency_penalty: taken from it once for every time that it stands there.
        repetition_penalty: divides positive logits and multiplies negative ones of tokens in prompt and output.
        seed: makes the draws repeatable, whatever else runs; None draws a seed.
        logprobs: None for none; k for the log-probability of each token taken, and of the k likeliest.
        stop: strings that end the completion, and are no part of its text.
        stop_token_ids: tokens that end it.
        ignore_eos: go on behind the end-of-sequence token, for benchmarks.
        json_schema: JSON text of a schema that the completion must satisfy, see `json_schema`.

    Raises:
        ValueError: a value out of range, or no number.
    """

    n: int = 1
    max_tokens: int = 16
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    logprobs: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    json_schema: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids))
        _whole("n", self.n, 1, 128)
        _whole("max_tokens", self.max_tokens, 1)
        _whole("top_k", self.top_k, 0)
        _real("temperature", self.temperature, 0, 100)
        _real("top_p", self.top_p, 0, 1)
        _real("min_p", self.min_p, 0, 1)
        _real("presence_penalty", self.presence_penalty, -2, 2)
        _real("frequency_penalty", self.frequency_penalty, -2, 2)
        _real("repetition_penalty", self.repetition_penalty, 0, 100)
        if self.top_p == 0:
            raise ValueError("top_p must be above 0: no tokens are left otherwise; temperature 0 takes the likeliest")
        if self.repetition_penalty == 0:
            raise ValueError("repetition_penalty must be above 0; 1 changes nothing")
        if self.seed is not None:
            _whole("seed", self.seed, -(2**63), 2**63 - 1)
        if self.logprobs is not None:
            _whole("logprobs", self.logprobs, 0, MAX_LOGPROBS)
        if len(self.stop) > MAX_STOP or not all(isinstance(stop, str) and stop for stop in self.stop):
            raise ValueError(f"stop must be at most {MAX_STOP} strings, none of them empty, not {self.stop!r}")
        for token_id in self.stop_token_ids:
            _whole("a stop token id", token_id, 0)
        if not isinstance(self.ignore_eos, bool) or not isinstance(self.json_schema, str | None):
            raise ValueError("ignore_eos must be a bool, and json_schema the text of a schema or None")

    @property
    def has_penalties(self) -> bool:
        """Whether the tokens so far change the logits."""
        return (self.presence_penalty, self.frequency_penalty, self.repetition_penalty) != (0, 0, 1)


def _whole(name: str, value: object, low: int, high: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be a whole number {_span(low, high)}, not {value!r}")


def _real(name: str, value: object, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high:
        raise ValueError(f"{name} must be a number {_span(low, high)}, not {value!r}")


def _span(low: float, high: float | None) -> str:
    return f"of at least {low}" if high is None else f"from {low} to {high}"


class RequestStatus(Enum):
    """Where a request stands in the scheduler."""

    WAITING = "waiting"
    RUNNING = "running"
    PREEMPTED = "preempted"  # it ran, gave its blocks back, and waits again
    FINISHED = "finished"


class FinishReason(StrEnum):
    """Why a request ended; the values are the API's `finish_reason`."""

    STOP = "stop"  # end of sequence, a stop token or a stop string
    LENGTH = "length"  # max_tokens, or the model's positions
    ABORT = "abort"  # the client left, or cancelled
    ERROR = "error"


@dataclass(eq=False)
class Request:
    """One completion on its way.

    Args:
        request_id: unique among those that the engine knows.
        prompt_token_ids: the prompt, at least one token.
        sampling_params: how to go on.
        arrival_time: seconds on the engine's clock.
        index: which of the `n` completions of its call this is.

    Raises:
        ValueError: an empty prompt, or a negative token id.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    sampling_params: SamplingParams = field(default_factory=SamplingParams)
    arrival_time: float = 0.0
    index: int = 0
    output_token_ids: list[int] = field(default_factory=list, init=False)
    num_computed_tokens: int = field(default=0, init=False)
    status: RequestStatus = field(default=RequestStatus.WAITING, init=False)
    finish_reason: FinishReason | None = field(default=None, init=False)
    stop_reason: int | str | None = field(default=None, init=False)  # the stop token or string that was met
    seed: int = field(init=False)  # that of the parameters, or drawn

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
        """Tokens of the prompt."""
        return len(self.prompt_token_ids)

    @property
    def num_output_tokens(self) -> int:
        """Tokens made so far."""
        return len(self.output_token_ids)

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and output."""
        return len(self.prompt_token_ids) + len(self.output_token_ids)

    @property
    def all_token_ids(self) -> list[int]:
        """Prompt and output, in order."""
        return [*self.prompt_token_ids, *self.output_token_ids]

    @property
    def is_finished(self) -> bool:
        """Whether no more tokens will come."""
        return self.status is RequestStatus.FINISHED

    def append_output_token(self, token_id: int) -> None:
        """Note a token that was chosen; its keys and values are not computed yet."""
        assert not self.is_finished, f"request {self.request_id} has ended, and got token {token_id}"
        self.output_token_ids.append(token_id)

    def check_stop(self, eos_token_id: int | None, max_model_len: int) -> bool:
        """Finish the request if its last token ends it; whether it did. Stop strings are the detokenizer's matter.

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
        """End the request. The first reason stands: a client that leaves after the last token changes nothing."""
        if not self.is_finished:
            self.status, self.finish_reason, self.stop_reason = RequestStatus.FINISHED, reason, stop_reason

    def check_invariants(self) -> None:
        """What holds between any two steps."""
        assert 0 <= self.num_computed_tokens <= self.num_tokens, (self.num_computed_tokens, self.num_tokens)
        assert self.num_output_tokens <= self.sampling_params.max_tokens, self.num_output_tokens
        assert self.is_finished == (self.finish_reason is not None), (self.status, self.finish_reason)
        assert self.stop_reason is None or self.finish_reason is FinishReason.STOP, self.stop_reason
