"""The engine: scheduler, runner, sampler and detokenizer in one loop, and a call that hides it.

    schedule a step -> run the model over it -> sample a token for each part that is at its end -> tell the scheduler
    -> turn the tokens into text -> repeat

A call for `n` completions computes its prompt once: when the first completion's first token is due, the others take
theirs from the same logits and go on as forks, in shared blocks. What a request gets depends on its prompt, its
parameters and its seed alone, never on its neighbours, on chunks, preemption or the cache.

If a step fails, the requests that it computed end with an error and their blocks are free; those that were not in it
go on. Production engines (vLLM's EngineCore) run this loop in a process of its own and overlap it with the device.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import count
from operator import index

import torch
from torch import Tensor

from sysai.models.tokenizer import Tokenizer
from sysai.models.transformer import Transformer
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, Policy
from sysai.serving.core.request import FinishReason, Request, SamplingParams
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import Step
from sysai.serving.engine.outputs import Chunk, Completion, RequestOutput, join
from sysai.serving.engine.sampler import INVALID_TOKEN, SamplerOutput, TokenLogprobs, sample
from sysai.serving.runners.model_runner import ModelRunner, Runner
from sysai.serving.structured_output.token_mask import TokenGrammar, Vocabulary

_KEPT_GRAMMARS = 32
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
            `partial(CompiledRunner, weights="int8")`.

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
        self._completions: dict[str, Completion] = {}  # those that the scheduler knows, by its request ids
        self._call_ids = map(str, count())
        self._grammar = lru_cache(maxsize=_KEPT_GRAMMARS)(self._compile)

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return self.scheduler.has_work

    def generate(
        self,
        prompts: str | Sequence[str | Sequence[int]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
    ) -> list[RequestOutput]:
        """Complete all prompts, and wait for it.

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
        requests: dict[str, Request] = {}
        try:
            for prompt, one in zip(prompts, params, strict=True):
                call_id = self.add_request(prompt, one)
                requests[call_id] = self._of_call(call_id)[0].request
            while self.has_work:
                for chunk in self.step():
                    chunks[chunk.call_id, chunk.index].append(chunk)
        finally:  # a call that is refused or interrupted leaves nothing behind
            for call_id in requests:
                self.abort(call_id)
        return [
            RequestOutput(
                request.prompt_token_ids,
                tuple(join(chunks[call_id, i]) for i in range(request.sampling_params.n)),
            )
            for call_id, request in requests.items()
        ]

    def add_request(
        self, prompt: str | Sequence[int], sampling_params: SamplingParams, call_id: str | None = None
    ) -> str:
        """Let a call for `n` completions wait for its turn; its id, which stands in its chunks.

        Raises:
            ValueError: an id in use, a prompt that is empty, too long or has unknown token ids, or a schema that
                can't be followed. TypeError: a token id that is no whole number.
        """
        call_id = next(self._call_ids) if call_id is None else call_id
        if self._of_call(call_id):
            raise ValueError(f"call id {call_id!r} is in use: give every call an id of its own")
        token_ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else tuple(map(index, prompt))
        if max(token_ids, default=0) >= len(self.tokenizer):
            raise ValueError(f"token id {max(token_ids)} is out of range: ids go from 0 to {len(self.tokenizer) - 1}")
        schema, now = sampling_params.json_schema, self.clock()
        grammar = None if schema is None else self._grammar(schema)
        requests = [
            Request(f"{call_id}/{i}", token_ids, sampling_params, now, index=i) for i in range(sampling_params.n)
        ]
        first, *others = (Completion(call_id, request, self.tokenizer, grammar) for request in requests)
        first.unforked = others
        self.scheduler.add(first.request)
        self._completions[first.request.request_id] = first
        return call_id

    def abort(self, call_id: str) -> bool:
        """End all completions of a call, without another chunk; False if none is on its way."""
        completions = self._of_call(call_id)
        for completion in completions:
            self._leave(completion, FinishReason.ABORT)
        return bool(completions)

    def step(self) -> list[Chunk]:
        """Run one step; what it adds to each completion. Nothing if there is no work."""
        if not self.has_work:
            return []
        step = self.scheduler.schedule()
        for part in step.parts:
            if self._completions[part.request_id].start_time is None:
                self._completions[part.request_id].start(self.clock(), part.start)
        try:
            rows, output = self._compute(step)
        except BaseException as error:
            self.failed_steps += 1
            chunks = self._fail(step, error)
            if not isinstance(error, Exception):  # an interrupt is not the step's fault
                raise
            _logger.exception("a step of %d requests failed", len(step.parts))
            return chunks
        return self._note(step, list(zip(rows, output.token_ids, output.logprobs, strict=True)))

    def _compute(self, step: Step) -> tuple[list[Completion], SamplerOutput]:
        """The model's pass and a token of each completion that gets one. Nothing but memory has changed so far."""
        logits_RV = self.runner.execute(step)[:, : len(self.tokenizer)]
        firsts = [self._completions[part.request_id] for part in step.parts if part.samples]
        rows = [(row, one) for row, first in enumerate(firsts) for one in (first, *first.unforked)]
        logits_BV = logits_RV[torch.tensor([row for row, _ in rows], dtype=torch.int64, device=logits_RV.device)]
        completions = [completion for _, completion in rows]
        requests = [completion.request for completion in completions]
        return completions, sample(logits_BV, requests, _allowed(completions, logits_BV))

    def _note(self, step: Step, rows: list[tuple[Completion, int, TokenLogprobs | None]]) -> list[Chunk]:
        """Give the tokens to the scheduler, new forks first, and then to the completions."""
        sampled, chunks = {}, []
        for completion, token_id, _ in rows:
            request = completion.request
            if token_id == INVALID_TOKEN:
                chunks.append(completion.fail("the model's logits are no numbers, or no token is allowed"))
                self._leave(completion, FinishReason.ERROR)
            elif request.request_id in self._completions:
                sampled[request.request_id] = token_id
                first = completion
            else:  # one of those that stand behind the first of their call
                self.scheduler.fork(first.request, request, token_id)
                self._completions[request.request_id] = completion
        self.scheduler.update(step, sampled)
        for completion, token_id, logprobs in rows:
            completion.unforked = []
            if token_id != INVALID_TOKEN:
                chunks.append(completion.push(token_id, logprobs))
                if completion.request.is_finished:
                    self._leave(completion, completion.request.finish_reason)
        return chunks

    def _fail(self, step: Step, error: BaseException) -> list[Chunk]:
        """End what a failed step computed, and what it swapped out: a device may tell of a failure late."""
        chunks, text = [], f"{type(error).__name__}: {error}"
        swapped = step.preempted if step.swap_out else ()
        for request_id in (*(part.request_id for part in step.parts), *swapped):
            first = self._completions[request_id]
            chunks += [completion.fail(text) for completion in (first, *first.unforked)]
            self._leave(first, FinishReason.ERROR)
        self.scheduler.update(step, {})
        return chunks

    def _leave(self, completion: Completion, reason: FinishReason) -> None:
        self.scheduler.finish(completion.request.request_id, reason)
        self._completions.pop(completion.request.request_id, None)

    def _of_call(self, call_id: str) -> list[Completion]:
        return [completion for completion in self._completions.values() if completion.call_id == call_id]

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.tokenizer)

    def _compile(self, schema: str) -> TokenGrammar:
        return TokenGrammar.from_json_schema(schema, self._vocabulary)


def _allowed(completions: Iterable[Completion], like_BV: Tensor) -> Tensor | None:
    """The masks of all grammars, bool [B, V]; None if there is no grammar."""
    masks = {row: mask for row, one in enumerate(completions) if (mask := one.allowed()) is not None}
    if not masks:
        return None
    allowed_BV = torch.ones(like_BV.shape, dtype=torch.bool)
    for row, mask in masks.items():
        allowed_BV[row] = torch.tensor(mask)
    return allowed_BV.to(like_BV.device)
