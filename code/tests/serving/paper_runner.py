"""A runner without a model: its memory holds tokens where a real one holds keys and values.

A sampled token is a checksum of what the sequence's block table leads to, so that one wrong block, copy, swap or
position changes the output, as it would change a model's.
"""

import zlib
from collections.abc import Sequence

from sysai.serving.core.request import Request, SamplingParams
from sysai.serving.core.scheduler import Scheduler
from sysai.serving.core.scheduler_output import Step

VOCABULARY = 50


def next_token(token_ids: Sequence[int], draw: int = 0) -> int:
    return zlib.crc32(repr((draw, list(token_ids))).encode()) % VOCABULARY


def expected_output(prompt: Sequence[int], max_tokens: int, eos_token_id: int | None = None) -> list[int]:
    """What a sequence gives alone, in one piece."""
    output: list[int] = []
    while len(output) < max_tokens and (not output or output[-1] != eos_token_id):
        output.append(next_token([*prompt, *output]))
    return output


def make_request(name: str, prompt: Sequence[int], max_tokens: int, arrival: float = 0.0) -> Request:
    return Request(name, prompt, SamplingParams(max_tokens=max_tokens, temperature=0), arrival)


class PaperRunner:
    """Executes steps in the order that `Step` asks for."""

    def __init__(self, scheduler: Scheduler) -> None:
        config = scheduler.config
        self.size = config.block_size
        self.device: list[list[int | None]] = [[None] * self.size for _ in range(config.num_blocks)]
        self.host: list[list[int | None]] = [[None] * self.size for _ in range(config.host_blocks)]

    def execute(self, step: Step) -> dict[str, int]:
        """The sampled tokens by request id."""
        for source, destination in step.swap_out:
            self.host[destination] = list(self.device[source])
        for source, destination in step.swap_in:
            self.device[destination] = list(self.host[source])
        for source, destination in step.copies:
            self.device[destination] = list(self.device[source])
        for part in step.parts:
            for position, token in enumerate(part.token_ids, start=part.start):
                self.device[part.block_table[position // self.size]][position % self.size] = token
        return {part.request_id: next_token(self.read(part)) for part in step.parts if part.samples}

    def read(self, part) -> list[int]:
        """All tokens up to the part's last, through its block table."""
        end = part.start + len(part.token_ids)
        tokens = [self.device[part.block_table[p // self.size]][p % self.size] for p in range(end)]
        assert None not in tokens, f"{part} attends to a position that was never written"
        return tokens


def check_limits(scheduler: Scheduler, step: Step) -> None:
    """What every step must keep, whatever the policy."""
    assert step.tokens <= scheduler.config.token_budget
    assert len(step.parts) <= scheduler.config.max_running
    assert len({part.request_id for part in step.parts}) == len(step.parts)
    assert all(part.token_ids for part in step.parts)
    assert not {part.request_id for part in step.parts} & set(step.preempted)
    assert not (step.swap_in and step.preempted), "in and out again in one step"
    writes = [
        (part.block_table[p // scheduler.config.block_size], p % scheduler.config.block_size)
        for part in step.parts
        for p in range(part.start, part.start + len(part.token_ids))
    ]
    assert len(writes) == len(set(writes)), "two sequences write into one place"
    assert step.parts or not scheduler.has_work, "there is work, and nobody works"
    scheduler.check_invariants()


def run(scheduler: Scheduler, runner: PaperRunner | None = None, limit: int = 100_000) -> list[Step]:
    """Run until all requests are done."""
    runner, steps = runner or PaperRunner(scheduler), []
    while scheduler.has_work:
        step = scheduler.schedule()
        check_limits(scheduler, step)
        scheduler.update(step, runner.execute(step))
        scheduler.check_invariants()
        steps.append(step)
        assert len(steps) < limit, "no end in sight"
    return steps
