"""A scheduled step as data: the tokens that one pass of the model computes, and the blocks moved in memory before it.

The scheduler writes it; the engine's runner executes it and the simulator prices it, the same object. All is known
before the pass except the tokens it samples. Whoever executes a step does, in this order: `swap_out`, `swap_in`,
`copies` (one after the other: a block may be read and then overwritten), and the pass over `scheduled`. The name is
vLLM's.
"""

from dataclasses import dataclass

from sysai.serving.core.blocks import Copy


@dataclass(frozen=True)
class ScheduledSequence:
    """One sequence's share of a step: its tokens at positions `start`, `start + 1`, ...

    They attend to all positions before them, which lie in `block_table`, as do their own. If `samples`, the last of
    them is the sequence's last so far, and its logits give the next. If `scores`, the logits of all of them are asked
    for: those of a position tell how likely the prompt's next token was.
    """

    seq_id: str
    start: int
    token_ids: tuple[int, ...]
    block_table: tuple[int, ...]
    samples: bool
    scores: bool = False

    @property
    def num_logits(self) -> int:
        """Of these tokens, the last so many have their logits computed."""
        return len(self.token_ids) if self.scores else int(self.samples)

    @property
    def end(self) -> int:
        """The position after the last of these tokens."""
        return self.start + len(self.token_ids)

    @property
    def attended(self) -> int:
        """Pairs of one of these tokens and a position that it attends to, itself included."""
        n = len(self.token_ids)
        return n * self.start + n * (n + 1) // 2


@dataclass(frozen=True)
class SchedulerOutput:
    """Sequences to compute; copies of whole blocks on the device, to the CPU and back; ids that had to leave."""

    scheduled: tuple[ScheduledSequence, ...] = ()
    copies: tuple[Copy, ...] = ()
    swap_out: tuple[Copy, ...] = ()
    swap_in: tuple[Copy, ...] = ()
    preempted: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens that the pass computes."""
        return sum(len(seq.token_ids) for seq in self.scheduled)

    @property
    def attended(self) -> int:
        """Pairs of a token and a position that it attends to, in all sequences."""
        return sum(seq.attended for seq in self.scheduled)

    @property
    def sampled(self) -> int:
        """Sequences that get a new token."""
        return sum(seq.samples for seq in self.scheduled)

    @property
    def swapped(self) -> int:
        """Blocks that cross between device and CPU, either way."""
        return len(self.swap_out) + len(self.swap_in)
