"""Generation: prefill the prompt in one pass, then decode one token after the other.

Prefill reads every weight once for all prompt tokens; each decode step reads them all again for one token.
That is why the two phases have different bottlenecks: 2 * P FLOPs a token in both, but P * bytes_per_element
bytes a *pass*. Times are taken around each pass, the choice of the token included. Production engines batch
many requests and schedule the two phases against each other (Yu et al., Orca, OSDI 2022).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import torch
from torch import Tensor

from sysai.models.kv_cache import KVCache
from sysai.models.transformer import Transformer


@dataclass(frozen=True)
class GeneratedToken:
    """A token and the seconds of the pass that gave it; the first one's pass is the prefill."""

    token: int
    seconds: float


@dataclass
class Generation:
    """The result of `generate`: the new tokens, and where the time went."""

    tokens: list[int] = field(default_factory=list)
    prefill_seconds: float = 0.0
    decode_seconds: list[float] = field(default_factory=list)  # one a token after the first

    @property
    def decode_tokens_per_second(self) -> float:
        """Tokens a second while decoding, 0 if fewer than two tokens were made."""
        total = sum(self.decode_seconds)
        return len(self.decode_seconds) / total if total else 0.0


def generate(
    model: Transformer,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
    stop_ids: Sequence[int] = (),
) -> Generation:
    """Continue a prompt by up to `max_new_tokens` tokens; the arguments are those of `stream`."""
    result = Generation()
    steps = stream(model, prompt_ids, max_new_tokens, temperature=temperature, seed=seed, stop_ids=stop_ids)
    for step in steps:
        if result.tokens:
            result.decode_seconds.append(step.seconds)
        else:
            result.prefill_seconds = step.seconds
        result.tokens.append(step.token)
    return result


def stream(
    model: Transformer,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
    stop_ids: Sequence[int] = (),
) -> Iterator[GeneratedToken]:
    """Yield the tokens that continue a prompt, each as soon as it is known.

    Args:
        temperature: 0 takes the most likely token; above, logits / temperature are sampled.
        seed: makes the sampling repeatable.
        stop_ids: generation ends after the first of these (it is yielded).

    Raises:
        ValueError: empty or over-long prompt, id out of range, negative temperature; before the first step.
    """
    _check(model, prompt_ids, max_new_tokens, temperature)
    return _steps(model, prompt_ids, max_new_tokens, temperature, seed, stop_ids)


@torch.inference_mode()
def _steps(model, prompt_ids, max_new_tokens, temperature, seed, stop_ids) -> Iterator[GeneratedToken]:
    device = model.device
    cache = KVCache(model.config, 1, len(prompt_ids) + max_new_tokens, device, model.dtype)
    generator = torch.Generator(device)
    generator.seed() if seed is None else generator.manual_seed(seed)
    tokens_BT = torch.tensor([list(prompt_ids)], device=device)
    for _ in range(max_new_tokens):
        start = perf_counter()
        logits_BV = model(tokens_BT, cache, last_only=True)[:, -1]
        tokens_BT = choose(logits_BV, temperature, generator)
        token = int(tokens_BT)  # waits for the device
        yield GeneratedToken(token, perf_counter() - start)
        if token in stop_ids:
            return


def choose(logits_BV: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """The next token of every sequence, [B, 1]: the likeliest, or drawn at a temperature above 0."""
    if temperature == 0:
        return logits_BV.argmax(-1, keepdim=True)
    return torch.multinomial((logits_BV.float() / temperature).softmax(-1), 1, generator=generator)


def _check(model: Transformer, prompt_ids: Sequence[int], max_new_tokens: int, temperature: float) -> None:
    limit, size, length = model.config.max_positions, model.config.vocab_size, len(prompt_ids)
    if length == 0:
        raise ValueError("the prompt is empty: give at least one token")
    if max_new_tokens < 1 or temperature < 0:
        raise ValueError(f"max_new_tokens {max_new_tokens} must be positive, temperature {temperature} >= 0")
    if length + max_new_tokens > limit:
        raise ValueError(
            f"a prompt of {length} tokens and {max_new_tokens} new ones exceed the {limit} positions of "
            f"{model.config.name}: shorten the prompt or max_new_tokens"
        )
    if not 0 <= min(prompt_ids) <= max(prompt_ids) < size:
        raise ValueError(
            f"token id out of range: ids of {model.config.name} go from 0 to {size - 1}, the prompt's "
            f"from {min(prompt_ids)} to {max(prompt_ids)}"
        )
