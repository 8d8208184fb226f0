"""The scheduler: which sequences run in the next step, how many tokens of each, and in which blocks. No tensors.

Every step is filled anew (continuous batching). Sequences that decode get one token each, then prompts are read in
chunks until the token budget is spent, so that a long prompt never holds up the others for more than a step:

    tokens of a step <= token_budget        sequences of a step <= max_running        blocks held <= num_blocks

A request is admitted when its present tokens have blocks, and grows a block at a time. When no block is left, idle
ones of the prefix cache go, then the sequence last in the policy's order is preempted: its blocks move to the host
(swap) if there is room, else they are given up and computed again (recomputation). The first in order can always
preempt all others and fits alone, so that some sequence always advances: no deadlock. Cost: O(sequences) a step.

Sources: Kwon et al., arXiv 2309.06180, section 4.5; Agrawal et al., Sarathi-Serve, arXiv 2403.02310, section 4.
Production (vLLM) also prepares a step while the one before runs, and schedules several speculated tokens.
"""

import math
from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field

from sysai.serving.core.blocks import Copy
from sysai.serving.core.kv_cache_manager import KVCacheManager, token_ids
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, Policy
from sysai.serving.core.request import FinishReason, Request, RequestStatus
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import Part, Step


@dataclass
class _Draft:
    """A step in the making."""

    budget: int
    parts: dict[Request, Part] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    swap_out: list[Copy] = field(default_factory=list)
    swap_in: list[Copy] = field(default_factory=list)
    preempted: list[str] = field(default_factory=list)


class Scheduler:
    """Call `schedule`, execute the step, and tell `update` what it gave; `add` and `finish` at any time."""

    def __init__(self, config: SchedulerConfig, policy: Policy = FIRST_COME_FIRST_SERVED) -> None:
        self.config, self.policy = config, policy
        self.memory = KVCacheManager(config.num_blocks, config.block_size, config.host_blocks, config.prefix_caching)
        self.num_preemptions = 0
        self.running: list[Request] = []  # this and `waiting` stand in the policy's order
        self.waiting: list[Request] = []
        self._requests: dict[str, Request] = {}
        self._ranks: dict[Request, tuple[float, int]] = {}  # the policy's order, then that in which they came
        self._added = 0
        self._in_flight: Step | None = None

    @property
    def has_work(self) -> bool:
        """Whether any request runs or waits."""
        return bool(self._requests)

    def add(self, request: Request) -> None:
        """Let a request wait for its turn.

        Raises:
            ValueError: an id in use, or a prompt that leaves no position for a token of output.
        """
        if request.request_id in self._requests or request.is_finished:
            raise ValueError(f"request {request.request_id} is known or finished: give every request an id of its own")
        if request.num_prompt_tokens >= self.config.most_positions:
            raise ValueError(
                f"the prompt of {request.num_prompt_tokens} tokens leaves no room for output in the "
                f"{self.config.most_positions} positions of a sequence: shorten it"
            )
        self._requests[request.request_id] = request
        self._ranks[request] = (self.policy.order(request), self._added)
        self._added += 1
        self._enter(request, self.waiting, RequestStatus.WAITING)

    def fork(self, parent: Request, child: Request, token_id: int) -> None:
        """Let `child`, a request of the same prompt, go on with `token_id` where the parent gets its own first token.

        The child shares the parent's blocks. If the batch is full it waits, and finds most of them in the cache.

        Raises:
            ValueError: no step is in flight that samples the parent's first token, or another prompt.
        """
        parts = self._in_flight.parts if self._in_flight else ()
        samples = any(part.request_id == parent.request_id and part.samples for part in parts)
        if not samples or parent.output_token_ids or child.prompt_token_ids != parent.prompt_token_ids:
            raise ValueError("fork while the step that samples the parent's first token is in flight, with its prompt")
        child.append_output_token(token_id)
        if child.check_stop(self.config.eos_token_id, self.config.most_positions):
            return
        self.add(child)
        if parent in self.running and len(self.running) < self.config.max_running:
            self.waiting.remove(child)
            self.memory.fork(parent, child)
            child.num_computed_tokens = child.num_prompt_tokens
            self._enter(child, self.running, RequestStatus.RUNNING)

    def finish(self, request_id: str, reason: FinishReason) -> bool:
        """Take a request out, wherever it stands, and free what it holds; False if it is not (or no longer) known."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return False
        request.finish(reason)
        (self.running if request in self.running else self.waiting).remove(request)
        self.memory.release(request)
        del self._ranks[request]
        return True

    def schedule(self) -> Step:
        """The next step; one without parts only if there is no work.

        Raises:
            ValueError: the step before has not been given to `update`.
        """
        if self._in_flight is not None:
            raise ValueError("a step is in flight: give it to update before scheduling the next")
        draft = _Draft(self.config.token_budget)
        self._continue_running(draft)
        if not draft.preempted:  # memory is short; and a block that was freed may still be the source of a copy
            self._admit_waiting(draft)
        moves = (tuple(draft.copies), tuple(draft.swap_out), tuple(draft.swap_in), tuple(draft.preempted))
        self._in_flight = Step(tuple(draft.parts.values()), *moves)
        self.num_preemptions += len(draft.preempted)
        return self._in_flight

    def update(self, step: Step, sampled: Mapping[str, int]) -> list[Request]:
        """Append a step's sampled tokens, by request id; return the requests that these have finished.

        Requests that were finished while the step ran are passed over.

        Raises:
            ValueError: another step than the one in flight.
        """
        if step is not self._in_flight:
            raise ValueError("this is not the step in flight: update with what schedule returned last")
        self._in_flight = None
        done = []
        for part in step.parts:
            request = self._requests.get(part.request_id)
            if request is None:
                continue
            request.num_computed_tokens = end = part.start + len(part.token_ids)
            if part.start // self.config.block_size < end // self.config.block_size:
                self.memory.keep_computed(request)
            if part.samples:
                request.append_output_token(sampled[part.request_id])
                if request.check_stop(self.config.eos_token_id, self.config.most_positions):
                    done.append(request)
                    self.finish(request.request_id, request.finish_reason)
        return done

    def check_invariants(self) -> None:
        """Nobody is lost or stands twice, limits hold, and every block has exactly the holders that it counts."""
        assert set(self._requests.values()) == set(self._ranks) == {*self.running, *self.waiting}
        assert len(self._requests) == len(self.running) + len(self.waiting), "a request stands in two places"
        assert len(self.running) <= self.config.max_running
        for queue in (self.running, self.waiting):
            assert queue == sorted(queue, key=self._ranks.get)
        for request in self._requests.values():
            request.check_invariants()
            assert (request.status is RequestStatus.RUNNING) == (request in self.running)
        self.memory.check_invariants(self.running, self.waiting)

    def _continue_running(self, draft: _Draft) -> None:
        """Decoding requests first, so that they are never late because of a prompt."""
        for request in sorted(self.running, key=lambda request: request.num_tokens - request.num_computed_tokens > 1):
            while request.status is RequestStatus.RUNNING and (copies := self.memory.grow(request)) is None:
                self._preempt(next(other for other in reversed(self.running) if other not in draft.parts), draft)
            if request.status is RequestStatus.RUNNING and draft.budget:
                draft.copies += copies
                self._compute(request, draft)

    def _admit_waiting(self, draft: _Draft) -> None:
        """In order; no one passes the first that does not fit."""
        admits = self.policy.admits(len(self.running))
        while self.waiting and admits and draft.budget and len(self.running) < self.config.max_running:
            spare = math.ceil(self.config.watermark * self.config.num_blocks) if self.running else 0
            swap_in = self.memory.admit(self.waiting[0], spare)
            if swap_in is None:
                return
            draft.swap_in += swap_in
            request = self.waiting.pop(0)
            self._enter(request, self.running, RequestStatus.RUNNING)
            self._compute(request, draft)

    def _compute(self, request: Request, draft: _Draft) -> None:
        """Give a running request, which has its blocks, as much of the budget as it can use."""
        start = request.num_computed_tokens
        end = min(request.num_tokens, start + draft.budget)
        draft.parts[request] = Part(
            request.request_id,
            start,
            token_ids(request, start, end),
            self.memory.block_table(request),
            samples=end == request.num_tokens,
        )
        draft.budget -= end - start

    def _preempt(self, request: Request, draft: _Draft) -> None:
        """Put a running request back into the queue, its keys and values on the host or nowhere."""
        swap_out = self.memory.swap_out(request)
        if swap_out is None:
            self.memory.release(request)
            request.num_computed_tokens = 0
        draft.swap_out += swap_out or []
        self.running.remove(request)
        self._enter(request, self.waiting, RequestStatus.PREEMPTED)
        draft.preempted.append(request.request_id)

    def _enter(self, request: Request, queue: list[Request], status: RequestStatus) -> None:
        insort(queue, request, key=self._ranks.get)
        request.status = status
