"""The engine: scheduler, runner, sampler and detokenizer in one loop, and a call that hides it.

    schedule a step -> run the model over it -> sample a token for each sequence that is at its end
    -> tell the scheduler -> turn the tokens into text -> repeat

A request for `n` completions computes its prompt once: when the first sequence's first token is due, the others take
theirs from the same logits and go on as forks, in shared blocks. The tokens of a sequence depend on its prompt, its
parameters and its seed alone, never on its neighbours, on chunks, preemption or the cache.

If a step fails, the sequences that it computed end with an error and their blocks are free; those that were not in it
go on. Production engines (vLLM's EngineCore) run this loop in a process of its own and overlap it with the device.
"""

import logging
import time
from collections import abc, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import count
from operator import index

import torch
from torch import Tensor

from sysai.models.tokenizer import Tokenizer
from sysai.models.transformer import Transformer
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, Policy
from sysai.serving.core.sampling_params import ParameterError, SamplingParams
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.core.sequence import FinishReason, Sequence
from sysai.serving.engine.outputs import Chunk, RequestOutput, join
from sysai.serving.engine.request import Request
from sysai.serving.engine.sampler import INVALID_TOKEN, SamplerOutput, sample
from sysai.serving.runners.model_runner import ModelRunner, Runner
from sysai.serving.structured_output.token_mask import TokenGrammar, Vocabulary

_MAX_GRAMMARS = 32
_NO_TOKEN = (
    "no token can be chosen: the model's logits are no numbers, or the schema's pattern can be read in too many ways "
    "at once (write it more plainly)"
)
_logger = logging.getLogger(__name__)


class Engine:
    """Serves a model. `generate` for offline use; `add_request`, `step` and `abort` for whoever runs the loop.

    Args:
        model: a dense model, on its device.
        tokenizer: its vocabulary; one smaller than the model's (which may be padded) is never exceeded.
        config: the limits. `eos_token_id` is the tokenizer's; without `max_model_len` a sequence may have as many
            positions as model and memory have.
        policy: who comes first.
        clock: seconds, for times of arrival.
        make_runner: what executes the steps; for kernels on the CPU with weights of 8 bits
            `partial(CompiledRunner, weight_dtype="int8")`.

    Raises:
        ValueError: a model that the runner refuses, or a tokenizer that is not the model's or the limits'.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        config: SchedulerConfig,
        policy: Policy = FIRST_COME_FIRST_SERVED,
        clock: Callable[[], float] = time.monotonic,
        make_runner: Callable[[Transformer, SchedulerConfig], Runner] = ModelRunner,
    ) -> None:
        if len(tokenizer) > model.config.vocab_size:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, {model.config.name} {model.config.vocab_size}: "
                f"take the tokenizer that the model was trained with"
            )
        if config.max_model_len is None:
            config = replace(config, max_model_len=min(config.most_positions, model.config.max_positions))
        if config.eos_token_id not in (None, tokenizer.eos_id):
            raise ValueError(
                f"eos_token_id {config.eos_token_id} is not the tokenizer's {tokenizer.eos_id}: leave it out, "
                f"and name further tokens that end a request in its stop_token_ids"
            )
        config = replace(config, eos_token_id=tokenizer.eos_id)
        self.tokenizer, self.clock = tokenizer, clock
        self.runner = make_runner(model, config)
        self.scheduler = Scheduler(config, policy)
        self.failed_steps = 0
        self._requests: dict[str, Request] = {}  # those with a sequence on its way, by request_id
        self._request_of: dict[Sequence, Request] = {}  # of the sequences that the scheduler knows
        self._request_ids = map(str, count())
        self._grammar = lru_cache(maxsize=_MAX_GRAMMARS)(self._compile)

    @property
    def has_work(self) -> bool:
        """Whether any request is on its way."""
        return self.scheduler.has_work

    def generate(
        self,
        prompts: str | abc.Sequence[str | abc.Sequence[int]],
        sampling_params: SamplingParams | abc.Sequence[SamplingParams] | None = None,
    ) -> list[RequestOutput]:
        """Complete all prompts, and return when all are done.

        Args:
            prompts: each a text, or token ids.
            sampling_params: for all alike, or one for each; None for the defaults.

        Raises:
            ValueError: a request that `add_request` refuses (none is run then), not as many parameters as prompts,
                or requests that someone else has added and not finished.
        """
        if self.has_work:
            raise ValueError("requests are running: finish or abort them, their chunks would be lost here")
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        params = SamplingParams() if sampling_params is None else sampling_params
        params = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
        if len(params) != len(prompts):
            raise ValueError(f"{len(params)} sampling_params for {len(prompts)} prompts: give one for all, or each")
        chunks: dict[tuple[str, int], list[Chunk]] = defaultdict(list)
        requests: list[Request] = []
        try:
            for prompt, params_i in zip(prompts, params, strict=True):
                requests.append(self._requests[self.add_request(prompt, params_i)])
            while self.has_work:
                for chunk in self.step():
                    chunks[chunk.request_id, chunk.index].append(chunk)
        finally:  # a request that is refused, or an interrupt, leaves nothing in the engine
            for request in requests:
                self.abort(request.request_id)
        return [
            RequestOutput(
                request.sequences[0].prompt_token_ids,
                tuple(join(chunks[request.request_id, sequence.index]) for sequence in request.sequences),
                request.prompt_logprobs,
            )
            for request in requests
        ]

    def add_request(
        self, prompt: str | abc.Sequence[int], sampling_params: SamplingParams, request_id: str | None = None
    ) -> str:
        """Let a request for `n` completions wait for its turn; its id, which stands in its chunks.

        Raises:
            ValueError: an id in use, a prompt that is empty, too long or has unknown token ids, a schema that can't be
                followed, or a stop string that can't be met. TypeError: a token id that is no whole number.
        """
        request_id = next(self._request_ids) if request_id is None else request_id
        if request_id in self._requests:
            raise ValueError(f"request id {request_id!r} is in use: give every request an id of its own")
        token_ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else tuple(map(index, prompt))
        if max(token_ids, default=0) >= len(self.tokenizer):
            raise ValueError(f"token id {max(token_ids)} is out of range: ids go from 0 to {len(self.tokenizer) - 1}")
        schema = sampling_params.json_schema
        grammar = None if schema is None else self._grammar(schema)
        sampling_params = self._with_stop_tokens(sampling_params)
        request = Request(request_id, token_ids, sampling_params, self.clock(), self.tokenizer, grammar)
        first = request.sequences[0]
        self.scheduler.add(first)
        self._requests[request_id] = self._request_of[first] = request
        return request_id

    def abort(self, request_id: str) -> bool:
        """End all sequences of a request, without another chunk; False if none is on its way."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return False
        for sequence in request.sequences:
            self.scheduler.finish(sequence.seq_id, FinishReason.ABORT)
            self._request_of.pop(sequence, None)
        return True

    def step(self) -> list[Chunk]:
        """Run one step, and return a chunk for each token that it has given. Nothing if there is no work."""
        if not self.has_work:
            return []
        step = self.scheduler.schedule()
        for scheduled in step.scheduled:
            request = self._request_of[self.scheduler.sequences[scheduled.seq_id]]
            if request.start_time is None:
                request.start(self.clock(), scheduled.start)
        try:
            sequences, output = self._compute(step)
        except BaseException as error:
            self.failed_steps += 1
            chunks = self._fail(step, error)
            if not isinstance(error, Exception):  # an interrupt is not the step's fault
                raise
            _logger.exception("a step of %d sequences failed", len(step.scheduled))
            return chunks
        return self._note(step, sequences, output)

    def _compute(self, step: SchedulerOutput) -> tuple[list[tuple[Request, Sequence]], SamplerOutput]:
        """The model's pass, and a token for each sequence that gets one. Nothing but memory has changed so far."""
        logits_RV = self.runner.execute(step)[:, : len(self.tokenizer)]
        rows, sequences, end = [], [], 0
        for scheduled in step.scheduled:
            begin, end = end, end + scheduled.num_logits
            sequence = self.scheduler.sequences[scheduled.seq_id]
            request = self._request_of[sequence]
            if scheduled.scores:
                request.score(scheduled.start, logits_RV[begin:end])
            if not scheduled.samples:
                continue
            for sharer in (sequence, *request.unforked):  # those that will fork draw from the same logits
                rows.append(end - 1)
                sequences.append((request, sharer))
        logits_BV = logits_RV[torch.tensor(rows, dtype=torch.int64, device=logits_RV.device)]
        allowed_BV = _allowed(sequences, logits_BV)
        return sequences, sample(logits_BV, [sequence for _, sequence in sequences], allowed_BV)

    def _note(
        self, step: SchedulerOutput, sequences: list[tuple[Request, Sequence]], output: SamplerOutput
    ) -> list[Chunk]:
        """Give the tokens to the scheduler, new forks first, and then to the requests."""
        sampled, chunks = {}, []
        for (request, sequence), token_id in zip(sequences, output.token_ids, strict=True):
            if token_id == INVALID_TOKEN:
                chunks.append(request.fail(sequence, _NO_TOKEN))
                self._leave(request, sequence, FinishReason.ERROR)
            elif sequence.index > 0 and not request.forked:
                self.scheduler.fork(request.sequences[0], sequence, token_id)
                self._request_of[sequence] = request
            else:
                sampled[sequence.seq_id] = token_id
        self.scheduler.update(step, sampled)
        for (request, sequence), token_id, logprobs in zip(sequences, output.token_ids, output.logprobs, strict=True):
            request.forked = True
            if token_id != INVALID_TOKEN:
                chunks.append(request.push(sequence, token_id, logprobs))
                if sequence.is_finished:
                    self._leave(request, sequence, sequence.finish_reason)
        return chunks

    def _fail(self, step: SchedulerOutput, error: BaseException) -> list[Chunk]:
        """End what a failed step computed, and what it swapped out: a device may tell of a failure late."""
        chunks, text = [], f"{type(error).__name__}: {error}"
        swapped_out = step.preempted if step.swap_out else ()
        for seq_id in (*(scheduled.seq_id for scheduled in step.scheduled), *swapped_out):
            first = self.scheduler.sequences[seq_id]
            request = self._request_of[first]
            for sequence in (first, *request.unforked):
                chunks.append(request.fail(sequence, text))
                self._leave(request, sequence, FinishReason.ERROR)
        self.scheduler.update(step, {})
        return chunks

    def _leave(self, request: Request, sequence: Sequence, reason: FinishReason) -> None:
        """Take a sequence out of the scheduler, and its request with the last of them."""
        self.scheduler.finish(sequence.seq_id, reason)
        self._request_of.pop(sequence, None)
        if request.is_finished:
            self._requests.pop(request.request_id, None)

    def _with_stop_tokens(self, params: SamplingParams) -> SamplingParams:
        """Make stop tokens, too, of stop strings that are special tokens: those are left out of the text."""
        stop_token_ids = []
        for stop in params.stop:
            token_ids = self.tokenizer.encode(stop)
            special = [self.tokenizer.tokens[i] for i in token_ids if i in self.tokenizer.special_ids]
            if special and len(token_ids) > 1:
                raise ParameterError(
                    "stop",
                    f"the stop string {stop!r} is never met, because the special token {special[0]!r} is no part of a "
                    f"text: give the token alone, or its id in stop_token_ids",
                )
            stop_token_ids += token_ids if special else []
        return replace(params, stop_token_ids=(*params.stop_token_ids, *stop_token_ids)) if stop_token_ids else params

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.tokenizer)

    def _compile(self, schema: str) -> TokenGrammar:
        try:
            return TokenGrammar.from_json_schema(schema, self._vocabulary)
        except ValueError as error:
            raise ParameterError("json_schema", str(error)) from None


def _allowed(sequences: Iterable[tuple[Request, Sequence]], like_BV: Tensor) -> Tensor | None:
    """The masks of all grammars, bool [B, V]; None if there is no grammar."""
    masks = {row: request.allowed(sequence) for row, (request, sequence) in enumerate(sequences)}
    masks = {row: mask for row, mask in masks.items() if mask is not None}
    if not masks:
        return None
    allowed_BV = torch.ones(like_BV.shape, dtype=torch.bool)
    for row, mask in masks.items():
        allowed_BV[row] = torch.tensor(mask)
    return allowed_BV.to(like_BV.device)
