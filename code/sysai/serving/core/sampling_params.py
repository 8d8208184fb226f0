"""Sampling parameters: how the tokens of a request are chosen, and when its sequences end.

The words are vLLM's and the OpenAI API's. A value is checked when the object is made, so that a wrong one is refused at
the door and not in the middle of a batch.
"""

import math
from dataclasses import dataclass

MAX_LOGPROBS = 20  # as in the OpenAI API
MAX_STOP = 16


class ParameterError(ValueError):
    """A value that can't be served, of the parameter `param`."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class SamplingParams:
    """The rules by which the tokens of a sequence are chosen, and by which it ends. `sampler` defines each filter.

    Args:
        n: sequences that go on with the prompt, each with draws of its own.
        max_tokens: tokens of output at most.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: only the k likeliest tokens; 0 for all.
        top_p: only the fewest likeliest tokens whose probabilities sum to p; 1 for all, 0 for the likeliest alone.
        min_p: only tokens at least this times as likely as the likeliest; 0 for all.
        presence_penalty: subtracted from the logit of each token that stands in the output.
        frequency_penalty: subtracted from it once for every time that it stands there.
        repetition_penalty: divides positive logits and multiplies negative ones of tokens in prompt and output.
        seed: makes the draws repeatable, whatever else runs; None draws a seed.
        logprobs: None for none; k for the log-probability of each token taken, and of the k likeliest.
        prompt_logprobs: the same for the tokens of the prompt, given those before.
        stop: strings that end the completion, and are no part of its text.
        stop_token_ids: tokens that end it.
        ignore_eos: go on after the end-of-sequence token, for benchmarks.
        json_schema: JSON text of a schema that the completion must satisfy, see `json_schema`.

    Raises:
        ParameterError: a value out of range, or no number.
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
    prompt_logprobs: int | None = None
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
        if self.repetition_penalty == 0:
            raise ParameterError("repetition_penalty", "repetition_penalty must be above 0; 1 changes nothing")
        if self.seed is not None:
            _whole("seed", self.seed, -(2**63), 2**63 - 1)
        for name in ("logprobs", "prompt_logprobs"):
            if (count := getattr(self, name)) is not None:
                _whole(name, count, 0, MAX_LOGPROBS)
        if len(self.stop) > MAX_STOP or not all(isinstance(stop, str) and stop for stop in self.stop):
            message = f"stop must be at most {MAX_STOP} strings, none of them empty, not {self.stop!r}"
            raise ParameterError("stop", message)
        for token_id in self.stop_token_ids:
            _whole("stop_token_ids", token_id, 0, subject="a stop token id")
        if not isinstance(self.ignore_eos, bool) or not isinstance(self.json_schema, str | None):
            raise ValueError("ignore_eos must be a bool, and json_schema the text of a schema or None")

    @property
    def has_penalties(self) -> bool:
        """Whether the tokens so far change the logits."""
        return (self.presence_penalty, self.frequency_penalty, self.repetition_penalty) != (0, 0, 1)


def _whole(name: str, value: object, low: int, high: int | None = None, subject: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise ParameterError(name, f"{subject or name} must be a whole number {_span(low, high)}, not {value!r}")


def _real(name: str, value: object, low: float, high: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high:
        raise ParameterError(name, f"{name} must be a number {_span(low, high)}, not {value!r}")


def _span(low: float, high: float | None) -> str:
    return f"of at least {low}" if high is None else f"from {low} to {high}"
