"""A request: one prompt, and the sequences that go on with it.

A user asks for `n` completions of a prompt; each is a `Sequence`, which is a matter of tokens. The request gives the
tokens a meaning: for each sequence it has a detokenizer, which turns them into text and looks for stop strings, and
the grammar's state, which says what may come next. All sequences have the same prompt, and so only the first is given
to the scheduler; when its first token is due, the others fork from it.
"""

from collections import abc
from functools import cached_property

import numpy as np
from torch import Tensor

from sysai.models.tokenizer import Tokenizer
from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.sequence import FinishReason, Sequence
from sysai.serving.engine.detokenizer import Detokenizer
from sysai.serving.engine.outputs import Chunk
from sysai.serving.engine.sampler import TokenLogprobs, score
from sysai.serving.structured_output.token_mask import TokenGrammar


class Request:
    """A prompt with its `n` sequences, on their way.

    Args:
        request_id: unique among those that the engine knows; sequence i has the id `request_id/i`.
        prompt_token_ids: at least one token.
        sampling_params: of all sequences.
        arrival_time: seconds on the engine's clock.
        tokenizer: gives the bytes of a token.
        grammar: the language that each completion must belong to, or None.

    Raises:
        ValueError: an empty prompt, or a negative token id.
    """

    def __init__(
        self,
        request_id: str,
        prompt_token_ids: abc.Sequence[int],
        sampling_params: SamplingParams,
        arrival_time: float,
        tokenizer: Tokenizer,
        grammar: TokenGrammar | None = None,
    ) -> None:
        self.request_id, self.sampling_params = request_id, sampling_params
        self.sequences = tuple(
            Sequence(f"{request_id}/{i}", prompt_token_ids, sampling_params, arrival_time, index=i)
            for i in range(sampling_params.n)
        )
        self.forked = False  # whether the sequences after the first go on by themselves
        self.start_time: float | None = None
        self.num_cached_tokens = 0
        self.prompt_logprobs: list[TokenLogprobs] | None = None if sampling_params.prompt_logprobs is None else []
        self._grammar = grammar
        self._grammar_states = [grammar and grammar.start] * sampling_params.n
        self._tokenizer = tokenizer

    @property
    def unforked(self) -> tuple[Sequence, ...]:
        """The sequences that wait for the first one's prompt to be computed."""
        return () if self.forked else self.sequences[1:]

    @property
    def is_finished(self) -> bool:
        """Whether all sequences have ended."""
        return all(sequence.is_finished for sequence in self.sequences)

    @cached_property
    def _detokenizers(self) -> list[Detokenizer]:
        """One for each sequence; made with the first token, so that thousands of waiting requests are small."""
        return [Detokenizer(self._tokenizer, self.sampling_params.stop) for _ in self.sequences]

    def start(self, now: float, num_cached_tokens: int) -> None:
        """Note when the prompt is first computed, and how many of its tokens need not be."""
        self.start_time, self.num_cached_tokens = now, num_cached_tokens

    def score(self, start: int, logits_TV: Tensor) -> None:
        """Take the logits of positions `start`, `start + 1`, ... of the prompt; those known (preemption) stay."""
        begin, prompt = len(self.prompt_logprobs), self.sequences[0].prompt_token_ids
        new_TV = logits_TV[begin - start : len(prompt) - 1 - start]
        next_ids = prompt[begin + 1 : begin + 1 + len(new_TV)]
        self.prompt_logprobs += score(new_TV, next_ids, self.sampling_params.prompt_logprobs)

    def allowed(self, sequence: Sequence) -> np.ndarray | None:
        """The tokens that may come next, bool [V]; None if all may."""
        return self._grammar and self._grammar.mask(self._grammar_states[sequence.index])

    def push(self, sequence: Sequence, token_id: int, logprobs: TokenLogprobs | None) -> Chunk:
        """Turn a token that a sequence has got into a chunk. A token that ends the sequence is no part of its text.

        A stop string ends it too; where it comes with the last token that was allowed, it is the reason told.
        """
        index, detokenizer = sequence.index, self._detokenizers[sequence.index]
        if self._grammar is not None:
            self._grammar_states[index] = self._grammar.advance(self._grammar_states[index], token_id)
        ended_by_token = sequence.finish_reason is FinishReason.STOP
        text = "" if ended_by_token else detokenizer.push(token_id)
        if sequence.is_finished:
            text += detokenizer.finish()
        reason, stop_reason = sequence.finish_reason, sequence.stop_reason
        if detokenizer.stop_reason is not None:
            reason, stop_reason = FinishReason.STOP, detokenizer.stop_reason
            sequence.finish(reason, stop_reason)
        fields = {"token_id": token_id, "logprobs": logprobs, "finish_reason": reason, "stop_reason": stop_reason}
        return self._chunk(index, text, **fields)

    def fail(self, sequence: Sequence, error: str) -> Chunk:
        """End a sequence that can't go on, with what its detokenizer has held back."""
        sequence.finish(FinishReason.ERROR)
        text = self._detokenizers[sequence.index].finish()
        return self._chunk(sequence.index, text, finish_reason=FinishReason.ERROR, error=error)

    def _chunk(self, index: int, text: str, **fields) -> Chunk:
        prompt = {
            "start_time": self.start_time,
            "num_cached_tokens": self.num_cached_tokens,
            "prompt_logprobs": self.prompt_logprobs,
        }
        return Chunk(self.request_id, index, text, **prompt, **fields)
