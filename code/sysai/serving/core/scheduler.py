"""The scheduler: which sequences run in the next step, how many tokens of each, and in which blocks. No tensors.

Every step is filled anew (continuous batching). Sequences that decode get one token each, then prompts are read in
chunks until the token budget is spent, so that a long prompt never holds up the others for more than a step:

    tokens of a step <= max_num_batched_tokens    sequences of a step <= max_num_seqs    blocks held <= num_blocks

A sequence is admitted when its present tokens have blocks, and grows a block at a time. When no block is left, those
that only the prefix cache holds go, then the sequence last in the policy's order is preempted: its blocks move to the
CPU (swap) if there is room, else they are given up and computed again (recomputation). The first in order can always
preempt all others and fits alone, so that some sequence always advances: no deadlock. Cost of a step: O(r log r) for r
running sequences, and O(log n) for each that is admitted from n waiting.

Sources: Kwon et al., arXiv 2309.06180, section 4.5; Agrawal et al., Sarathi-Serve, arXiv 2403.02310, section 4.
Production (vLLM) also prepares a step while the one before runs, and schedules several speculated tokens.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sysai.serving.core.blocks import Copy
from sysai.serving.core.kv_cache_manager import KVCacheManager
from sysai.serving.core.policies import FIRST_COME_FIRST_SERVED, Policy
from sysai.serving.core.scheduler_config import SchedulerConfig
from sysai.serving.core.scheduler_output import ScheduledSequence, SchedulerOutput
from sysai.serving.core.sequence import FinishReason, Sequence, SequenceStatus
from sysai.serving.core.sequence_queue import SequenceQueue


@dataclass
class _Draft:
    """A step while `schedule` fills it."""

    budget: int  # tokens that may still be computed
    scheduled: dict[Sequence, ScheduledSequence] = field(default_factory=dict)
    copies: list[Copy] = field(default_factory=list)
    swap_out: list[Copy] = field(default_factory=list)
    swap_in: list[Copy] = field(default_factory=list)
    preempted: list[str] = field(default_factory=list)

    def output(self) -> SchedulerOutput:
        """The finished step."""
        moves = (tuple(self.copies), tuple(self.swap_out), tuple(self.swap_in), tuple(self.preempted))
        return SchedulerOutput(tuple(self.scheduled.values()), *moves)


class Scheduler:
    """Call `schedule`, execute the step, and tell `update` what it gave; `add` and `finish` at any time."""

    def __init__(self, config: SchedulerConfig, policy: Policy = FIRST_COME_FIRST_SERVED) -> None:
        self.config, self.policy = config, policy
        self.memory = KVCacheManager(config.num_blocks, config.block_size, config.num_cpu_blocks, config.prefix_caching)
        self.num_preemptions = 0
        self.sequences: dict[str, Sequence] = {}  # all that run or wait, by seq_id
        self.waiting = SequenceQueue()
        self._running: dict[Sequence, None] = {}
        self._added = 0
        self._in_flight: SchedulerOutput | None = None

    @property
    def has_work(self) -> bool:
        """Whether any sequence runs or waits."""
        return bool(self.sequences)

    @property
    def num_running(self) -> int:
        """How many sequences have blocks; may be asked for from another thread."""
        return len(self._running)

    @property
    def running(self) -> list[Sequence]:
        """The sequences that have blocks, in the policy's order; at most `max_num_seqs`."""
        return sorted(self._running, key=_rank)

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn.

        Raises:
            ValueError: an id in use, or a prompt that leaves no position for a token of output.
        """
        self._register(sequence)
        self._wait(sequence, SequenceStatus.WAITING)

    def fork(self, parent: Sequence, child: Sequence, token_id: int) -> None:
        """Let `child`, a sequence of the same prompt, go on with `token_id` where the parent gets its own first token.

        The child shares the parent's blocks. If the batch is full it waits, and finds most of them in the cache.

        Raises:
            ValueError: no step is in flight that samples the parent's first token, or another prompt.
        """
        scheduled = self._in_flight.scheduled if self._in_flight else ()
        samples = any(seq.seq_id == parent.seq_id and seq.samples for seq in scheduled)
        if not samples or parent.output_token_ids or child.prompt_token_ids != parent.prompt_token_ids:
            raise ValueError("fork while the step that samples the parent's first token is in flight, with its prompt")
        child.append_output_token(token_id)
        if child.check_stop(self.config.eos_token_id, self.config.most_positions):
            return
        self._register(child)
        if parent in self._running and len(self._running) < self.config.max_num_seqs:
            self.memory.fork(parent, child)
            child.num_computed_tokens = child.num_prompt_tokens
            self._run(child)
        else:
            self._wait(child, SequenceStatus.WAITING)

    def finish(self, seq_id: str, reason: FinishReason) -> bool:
        """Take a sequence out, wherever it stands, and free what it holds; False if it is not (or no longer) known."""
        sequence = self.sequences.pop(seq_id, None)
        if sequence is None:
            return False
        sequence.finish(reason)
        if sequence in self._running:
            del self._running[sequence]
        else:
            self.waiting.remove(sequence)
        self.memory.release(sequence)
        return True

    def schedule(self) -> SchedulerOutput:
        """Plan the next step; nothing is scheduled in it only if there is no work.

        Raises:
            ValueError: the step before has not been given to `update`.
        """
        if self._in_flight is not None:
            raise ValueError("a step is in flight: give it to update before scheduling the next")
        draft = _Draft(self.config.max_num_batched_tokens)
        self._continue_running(draft)
        if not draft.preempted:  # memory is short; and a block that was freed may still be the source of a copy
            self._admit_waiting(draft)
        self._in_flight = draft.output()
        self.num_preemptions += len(draft.preempted)
        return self._in_flight

    def update(self, step: SchedulerOutput, sampled: Mapping[str, int]) -> list[Sequence]:
        """Append a step's sampled tokens, by seq_id; return the sequences that these have finished.

        Sequences that were finished while the step ran are passed over.

        Raises:
            ValueError: another step than the one in flight.
        """
        if step is not self._in_flight:
            raise ValueError("this is not the step in flight: update with what schedule returned last")
        self._in_flight = None
        finished = []
        for scheduled in step.scheduled:
            sequence = self.sequences.get(scheduled.seq_id)
            if sequence is None:
                continue
            sequence.num_computed_tokens = scheduled.end
            if scheduled.start // self.config.block_size < scheduled.end // self.config.block_size:
                self.memory.cache_blocks(sequence)
            if scheduled.samples:
                sequence.append_output_token(sampled[scheduled.seq_id])
                if sequence.check_stop(self.config.eos_token_id, self.config.most_positions):
                    finished.append(sequence)
                    self.finish(sequence.seq_id, sequence.finish_reason)
        return finished

    def check_invariants(self) -> None:
        """Assert that no sequence is lost or stands twice, limits hold, and no block has leaked."""
        running, waiting = self.running, list(self.waiting)
        assert len(self.sequences) == len(running) + len(waiting), "a sequence stands in two places"
        assert set(self.sequences.values()) == {*running, *waiting}
        assert len(running) <= self.config.max_num_seqs
        for sequence in self.sequences.values():
            sequence.check_invariants()
            assert (sequence.status is SequenceStatus.RUNNING) == (sequence in self._running)
        self.memory.check_invariants(running, waiting)

    def _continue_running(self, draft: _Draft) -> None:
        """Decoding sequences first, so that they are never late because of a prompt."""
        for sequence in sorted(self.running, key=lambda seq: seq.num_tokens - seq.num_computed_tokens > 1):
            while sequence in self._running and (copies := self.memory.append_slots(sequence)) is None:
                self._preempt(max((seq for seq in self._running if seq not in draft.scheduled), key=_rank), draft)
            if sequence in self._running and draft.budget:
                draft.copies += copies
                self._compute(sequence, draft)

    def _admit_waiting(self, draft: _Draft) -> None:
        """In order; no one passes the first that does not fit."""
        admits = self.policy.admits(len(self._running))
        while self.waiting and admits and draft.budget and len(self._running) < self.config.max_num_seqs:
            watermark = math.ceil(self.config.watermark * self.config.num_blocks) if self._running else 0
            swap_in = self.memory.allocate(self.waiting.first(), watermark)
            if swap_in is None:
                return
            draft.swap_in += swap_in
            sequence = self.waiting.pop()
            self._run(sequence)
            self._compute(sequence, draft)

    def _compute(self, sequence: Sequence, draft: _Draft) -> None:
        """Give a running sequence, which has its blocks, as much of the budget as it can use."""
        start = sequence.num_computed_tokens
        end = min(sequence.num_tokens, start + draft.budget)
        draft.scheduled[sequence] = ScheduledSequence(
            sequence.seq_id,
            start,
            sequence.token_ids(start, end),
            self.memory.block_table(sequence),
            samples=end == sequence.num_tokens,
            scores=sequence.scores_prompt and start < sequence.num_prompt_tokens - 1,
        )
        draft.budget -= end - start

    def _preempt(self, sequence: Sequence, draft: _Draft) -> None:
        """Put a running sequence back into the queue, its keys and values on the CPU or nowhere."""
        swap_out = self.memory.swap_out(sequence)
        if swap_out is None:
            self.memory.release(sequence)
            sequence.num_computed_tokens = 0
        draft.swap_out += swap_out or []
        del self._running[sequence]
        self._wait(sequence, SequenceStatus.PREEMPTED)
        draft.preempted.append(sequence.seq_id)

    def _register(self, sequence: Sequence) -> None:
        """Check a new sequence, and give it its rank: the policy's order, then that in which they came."""
        if sequence.seq_id in self.sequences or sequence.is_finished:
            raise ValueError(f"sequence {sequence.seq_id} is known or finished: give every sequence an id of its own")
        if sequence.num_prompt_tokens >= self.config.most_positions:
            raise ValueError(
                f"the prompt of {sequence.num_prompt_tokens} tokens leaves no room for output in the "
                f"{self.config.most_positions} positions of a sequence: shorten it"
            )
        self.sequences[sequence.seq_id] = sequence
        sequence.rank = (self.policy.order(sequence), self._added)
        self._added += 1

    def _wait(self, sequence: Sequence, status: SequenceStatus) -> None:
        self.waiting.push(sequence)
        sequence.status = status

    def _run(self, sequence: Sequence) -> None:
        self._running[sequence] = None
        sequence.status = SequenceStatus.RUNNING


def _rank(sequence: Sequence) -> tuple[float, int]:
    return sequence.rank
