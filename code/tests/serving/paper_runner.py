"""A runner without a model: its memory holds tokens where a real one holds keys and values.

A sampled token is a checksum of what the sequence's block table leads to, so that one wrong block, copy, swap or
position changes the output, as it would change a model's.
"""

import zlib
from collections.abc import Iterable

from sysai.serving.core.sampling_params import SamplingParams
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_output import SchedulerOutput
from sysai.serving.core.sequence import Sequence

VOCABULARY = 50


def next_token(token_ids: Iterable[int], draw: int = 0) -> int:
    return zlib.crc32(repr((draw, list(token_ids))).encode()) % VOCABULARY


def expected_output(prompt: Iterable[int], max_tokens: int, eos_token_id: int | None = None) -> list[int]:
    """The output of a sequence that runs alone, its prompt in one piece."""
    output: list[int] = []
    while len(output) < max_tokens and (not output or output[-1] != eos_token_id):
        output.append(next_token([*prompt, *output]))
    return output


def make_sequence(name: str, prompt: Iterable[int], max_tokens: int, arrival: float = 0.0) -> Sequence:
    return Sequence(name, prompt, SamplingParams(max_tokens=max_tokens, temperature=0), arrival)


class PaperRunner:
    """Executes steps in the order that `SchedulerOutput` asks for."""

    def __init__(self, scheduler: Scheduler) -> None:
        config = scheduler.config
        self.size = config.block_size
        self.device: list[list[int | None]] = [[None] * self.size for _ in range(config.num_blocks)]
        self.host: list[list[int | None]] = [[None] * self.size for _ in range(config.num_cpu_blocks)]

    def execute(self, step: SchedulerOutput) -> dict[str, int]:
        """The sampled tokens by sequence id."""
        for source, destination in step.swap_out:
            self.host[destination] = list(self.device[source])
        for source, destination in step.swap_in:
            self.device[destination] = list(self.host[source])
        for source, destination in step.copies:
            self.device[destination] = list(self.device[source])
        for seq in step.scheduled:
            for position, token in enumerate(seq.token_ids, start=seq.start):
                self.device[seq.block_table[position // self.size]][position % self.size] = token
        return {seq.seq_id: next_token(self.read(seq)) for seq in step.scheduled if seq.samples}

    def read(self, seq) -> list[int]:
        """All tokens up to the seq's last, through its block table."""
        end = seq.start + len(seq.token_ids)
        tokens = [self.device[seq.block_table[p // self.size]][p % self.size] for p in range(end)]
        assert None not in tokens, f"{seq} attends to a position that was never written"
        return tokens


def check_limits(scheduler: Scheduler, step: SchedulerOutput) -> None:
    """Assert the limits of every step, whatever the policy."""
    assert step.tokens <= scheduler.config.max_num_batched_tokens
    assert len(step.scheduled) <= scheduler.config.max_num_seqs
    assert len({seq.seq_id for seq in step.scheduled}) == len(step.scheduled)
    assert all(seq.token_ids for seq in step.scheduled)
    assert not {seq.seq_id for seq in step.scheduled} & set(step.preempted)
    assert not (step.swap_in and step.preempted), "in and out again in one step"
    writes = [
        (seq.block_table[p // scheduler.config.block_size], p % scheduler.config.block_size)
        for seq in step.scheduled
        for p in range(seq.start, seq.start + len(seq.token_ids))
    ]
    assert len(writes) == len(set(writes)), "two sequences write into one place"
    assert step.scheduled or not scheduler.has_work, "there is work, and nobody works"
    scheduler.check_invariants()


def run(scheduler: Scheduler, runner: PaperRunner | None = None, limit: int = 100_000) -> list[SchedulerOutput]:
    """Run until all sequences are done."""
    runner, steps = runner or PaperRunner(scheduler), []
    while scheduler.has_work:
        step = scheduler.schedule()
        check_limits(scheduler, step)
        scheduler.update(step, runner.execute(step))
        scheduler.check_invariants()
        steps.append(step)
        assert len(steps) < limit, "no end in sight"
    return steps
