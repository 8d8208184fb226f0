"""Fragmentation of a KV cache: contiguous reservations of three sizes, beside pages. vLLM's figure 2, run again.

Before pages a sequence's keys and values lay in one piece, reserved at admission for its final length, which nobody
knows. Each position of the memory is then one of

    used         holds a token               internal     reserved, and never used by this sequence
    reserved     will hold one later         external     free, and of no use to the next in the queue

With a queue that never empties, the shares are counted at every step, a token for each sequence, and averaged; steps
in which no sequence comes, goes or needs more memory are counted together. Reservations are Orca's as vLLM's
authors modelled them (arXiv 2309.06180, section 6.1): for the longest possible sequence ("max"), for the prompt and
the next power of two of the output ("pow2"), or for exactly what will be used, known by an oracle; addresses come from
a buddy allocator. Pages come from `BlockPool`; when they run out the newest sequence is sent back.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from sysai.serving.core.blocks import BlockPool, BlockTable, OutOfBlocksError


@dataclass(frozen=True)
class Fragmentation:
    """Shares of the memory, which sum to 1, and the mean number of sequences that ran at a time."""

    used: float
    reserved: float
    internal: float
    external: float
    running: float


class BuddyAllocator:
    """Contiguous pieces of a memory, each a power of two long, cut in halves as often as a request allows.

    A piece for n positions has the next power of two; its two halves rejoin when both are free. What a piece has
    beyond n is given to nobody. Source: Knuth, The Art of Computer Programming, volume 1, section 2.5.
    """

    def __init__(self, positions: int) -> None:
        if positions < 1:
            raise ValueError(f"a memory has positions, not {positions}")
        self._free: dict[int, set[int]] = {}  # size -> first positions
        start = 0
        while start < positions:  # each piece is the longest that fits after those before it
            size = 1 << ((positions - start).bit_length() - 1)
            self._free[size] = {start}
            start += size

    def allocate(self, positions: int) -> tuple[int, int] | None:
        """(first position, size) of a piece of at least `positions`, or None if no free piece is long enough."""
        size = 1 << (positions - 1).bit_length()
        fitting = [s for s, pieces in self._free.items() if s >= size and pieces]
        if not fitting:
            return None
        cut = min(fitting)
        start = min(self._free[cut])
        self._free[cut].remove(start)
        while cut > size:
            cut //= 2
            self._free.setdefault(cut, set()).add(start + cut)
        return start, size

    def free(self, piece: tuple[int, int]) -> None:
        """Give a piece back, and join it with its buddy while that is free too."""
        start, size = piece
        while start ^ size in self._free.get(size, ()):
            self._free[size].remove(start ^ size)
            start, size = min(start, start ^ size), 2 * size
        self._free.setdefault(size, set()).add(start)


class Memory(Protocol):
    """A way to give memory to a sequence of `prompt` tokens that will have `final` in the end."""

    def allocate(self, prompt: int, final: int) -> Any | None:
        """Take memory for a prompt: a holding, or None if there is no room."""

    def room(self, holding: Any) -> float:
        """Tokens that a sequence can add while nothing else changes."""

    def append_slots(self, holding: Any, tokens: int) -> bool:
        """Make room for so many more tokens; False if there is none."""

    def reservation(self, holding: Any) -> int:
        """Positions that no other sequence may have."""

    def release(self, holding: Any) -> None:
        """Give the holding back."""


class ContiguousMemory:
    """One piece a sequence, as long as `reserve(prompt, final)` says."""

    def __init__(self, positions: int, reserve: Callable[[int, int], int]) -> None:
        self._buddies, self._reserve = BuddyAllocator(positions), reserve

    def allocate(self, prompt: int, final: int) -> tuple[int, tuple[int, int]] | None:
        """Take (reservation, piece); positions that the allocator adds to a power of two are not the sequence's."""
        reservation = self._reserve(prompt, final)
        piece = self._buddies.allocate(reservation)
        return piece and (reservation, piece)

    def room(self, holding: tuple[int, tuple[int, int]]) -> float:
        """No limit: the piece has the final length from the start."""
        return math.inf

    def append_slots(self, holding: tuple[int, tuple[int, int]], tokens: int) -> bool:
        """Succeed: the room was reserved at admission."""
        return True

    def reservation(self, holding: tuple[int, tuple[int, int]]) -> int:
        """The positions that were asked for."""
        return holding[0]

    def release(self, holding: tuple[int, tuple[int, int]]) -> None:
        """Free the piece of memory."""
        self._buddies.free(holding[1])


class PagedMemory:
    """Blocks, each taken when the one before it is full."""

    def __init__(self, positions: int, block_size: int) -> None:
        self._pool = BlockPool(positions // block_size, block_size)

    def allocate(self, prompt: int, final: int) -> BlockTable | None:
        """Take blocks for the prompt alone."""
        table = BlockTable(self._pool)
        return table if self._extend(table, prompt) else None

    def room(self, holding: BlockTable) -> float:
        """The free positions of the last block."""
        return self.reservation(holding) - holding.length

    def append_slots(self, holding: BlockTable, tokens: int) -> bool:
        """Take a block if the last is full; False if there is none."""
        return self._extend(holding, tokens)

    def reservation(self, holding: BlockTable) -> int:
        """All positions of the blocks, free ones included."""
        return len(holding.blocks) * self._pool.block_size

    def release(self, holding: BlockTable) -> None:
        """Free all blocks of the table."""
        holding.release()

    def _extend(self, table: BlockTable, positions: int) -> bool:
        try:
            table.reserve(positions)
        except OutOfBlocksError:
            return False
        return True


def memories(positions: int, max_length: int, block_size: int) -> dict[str, Memory]:
    """The four policies of vLLM's comparison, each with a memory of its own."""
    return {
        "max": ContiguousMemory(positions, lambda prompt, final: max_length),
        "pow2": ContiguousMemory(positions, lambda prompt, final: prompt + (1 << (final - prompt - 1).bit_length())),
        "oracle": ContiguousMemory(positions, lambda prompt, final: final),
        "paged": PagedMemory(positions, block_size),
    }


@dataclass
class _Running:
    prompt: int
    final: int
    tokens: int
    holding: Any


def measure_fragmentation(memory: Memory, positions: int, lengths: Iterable[tuple[int, int]]) -> Fragmentation:
    """Run (prompt, output) lengths through `memory` of `positions`, all waiting from the start; shares while any waits.

    Raises:
        ValueError: all fit at once, or one does not fit alone: the shares of a full memory can't be measured.
    """
    queue = deque((prompt, prompt + output) for prompt, output in lengths)
    running: list[_Running] = []
    sums, steps = [0, 0, 0, 0, 0], 0
    while queue:
        while queue and (holding := memory.allocate(*queue[0])) is not None:
            prompt, final = queue.popleft()
            running.append(_Running(prompt, final, prompt, holding))
        if not running:
            raise ValueError(f"a sequence of {queue[0]} tokens does not fit into {positions} positions: take more")
        # Steps until some sequence ends or needs memory: nothing changes in them but that each adds a token a step.
        uneventful = min(min(seq.final - seq.tokens, memory.room(seq.holding)) for seq in running)
        if queue:
            count = max(uneventful, 1)
            reserved = [memory.reservation(seq.holding) for seq in running]
            total = sum(reserved)
            used = sum(seq.tokens for seq in running)
            internal = sum(max(0, own - seq.final) for own, seq in zip(reserved, running, strict=True))
            shares = (used, total - internal - used, internal, positions - total, len(running) * positions)
            # In step i of them each sequence has i tokens more, in positions that were reserved before.
            filled = len(running) * count * (count - 1) // 2
            sums = [before + count * share for before, share in zip(sums, shares, strict=True)]
            sums[0], sums[1], steps = sums[0] + filled, sums[1] - filled, steps + count
        if uneventful:
            for seq in running:
                memory.append_slots(seq.holding, uneventful)
                seq.tokens += uneventful
        else:
            _advance(memory, running, queue)
    if not steps:
        raise ValueError(f"all sequences fit into {positions} positions at once: give more sequences")
    return Fragmentation(*(total / (steps * positions) for total in sums))


def _advance(memory: Memory, running: list[_Running], queue: deque[tuple[int, int]]) -> None:
    """Give each sequence a token, the oldest first; finished ones leave, and the newest leaves if memory is short."""
    i = 0
    while i < len(running):
        seq = running[i]
        if seq.tokens == seq.final:
            memory.release(running.pop(i).holding)
        elif memory.append_slots(seq.holding, 1):
            seq.tokens, i = seq.tokens + 1, i + 1
        else:
            last = running.pop()
            memory.release(last.holding)
            queue.appendleft((last.prompt, last.final))
