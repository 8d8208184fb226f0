"""A step as data: what one forward pass of the model computes, and what must be moved in memory before it.

The scheduler writes steps; the engine's runner executes them and the simulator prices them, the same objects. All is
known before the pass except the tokens it samples. Whoever executes a step does, in this order: `swap_out`,
`swap_in`, `copies` (one after the other: a block may be read and then overwritten), and the pass over `parts`.
"""

from dataclasses import dataclass

from sysai.serving.core.blocks import Copy


@dataclass(frozen=True)
class Part:
    """One sequence's share of a step: its tokens at positions `start`, `start + 1`, ...

    They attend to all positions before them, which lie in `block_table`, as do their own. If `samples`, the last of
    them is the sequence's last so far, and its logits give the next.
    """

    request_id: str
    start: int
    token_ids: tuple[int, ...]
    block_table: tuple[int, ...]
    samples: bool

    @property
    def attended(self) -> int:
        """Pairs of a token of this part and a position that it attends to, itself included."""
        n = len(self.token_ids)
        return n * self.start + n * (n + 1) // 2


@dataclass(frozen=True)
class Step:
    """`parts` to compute; copies of whole blocks on the device, to the host and back; sequences that had to leave."""

    parts: tuple[Part, ...] = ()
    copies: tuple[Copy, ...] = ()
    swap_out: tuple[Copy, ...] = ()
    swap_in: tuple[Copy, ...] = ()
    preempted: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens that the pass computes."""
        return sum(len(part.token_ids) for part in self.parts)

    @property
    def attended(self) -> int:
        """Pairs of a token and a position that it attends to."""
        return sum(part.attended for part in self.parts)

    @property
    def sampled(self) -> int:
        """Sequences that get a new token."""
        return sum(part.samples for part in self.parts)

    @property
    def swapped(self) -> int:
        """Blocks that cross between device and host, either way."""
        return len(self.swap_out) + len(self.swap_in)
