"""Memory planning: one arena for all that lives inside a run, so that dead values' memory is used again.

A value lives from the step that writes it to the last one that reads it. Two values that live at the same time must
not overlap; the peak is the arena's size. Minimizing it is NP-hard (dynamic storage allocation); large ones first,
each at the lowest offset where it fits, is close in practice (Pisarchyk and Lee, 2020, arXiv 2001.03288, section 5).

    sum of all >= peak >= lower bound = the most bytes that live at one step

Reshapes have no memory of their own: `lifetimes` counts their readers as readers of what they rename. Sizes must be
numbers: a run with symbolic sizes plans when it knows them, and keeps the plan (`runtime/executable.py`). Production
(Relax, TFLite, PyTorch's AOTInductor) also writes results over operands that die in the same step.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sysai.compiler.cpu import ALIGNMENT
from sysai.compiler.graph import Value
from sysai.compiler.passes.groups import Group


@dataclass(frozen=True)
class Lifetime:
    """A value's memory: needed from step `first` to step `last`, both inclusive."""

    name: str
    first: int
    last: int

    def meets(self, other: "Lifetime") -> bool:
        """Whether both are needed at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Where in the arena each value lies.

    Attributes:
        offsets: bytes from the arena's start, by name; multiples of ALIGNMENT.
        sizes: bytes that are set aside, by name.
        peak: bytes of the arena.
        lower_bound: bytes that no plan can do without.
    """

    lifetimes: tuple[Lifetime, ...]
    offsets: Mapping[str, int]
    sizes: Mapping[str, int]
    peak: int
    lower_bound: int

    @property
    def total(self) -> int:
        """Bytes without any reuse."""
        return sum(map(aligned, self.sizes.values()))

    def check_invariants(self) -> None:
        """Check that all values lie in the arena, and that those that live at the same time do not overlap.

        Raises:
            AssertionError: they do not, or do.
        """
        for index, life in enumerate(self.lifetimes):
            start, end = self.offsets[life.name], self.offsets[life.name] + self.sizes[life.name]
            assert start % ALIGNMENT == 0, f"{life.name} does not begin at a cache line"
            assert 0 <= start <= end <= self.peak, f"{life.name} lies outside the arena"
            for later in self.lifetimes[index + 1 :]:
                later_start = self.offsets[later.name]
                overlap = max(start, later_start) < min(end, later_start + self.sizes[later.name])
                assert not (overlap and life.meets(later)), f"{life.name} and {later.name} live at once and overlap"
        assert self.lower_bound <= self.peak <= self.total


def aligned(size: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def storage(groups: Iterable[Group]) -> dict[str, str]:
    """For each value that a group gives, the name of the value whose memory it is: its own, but for views."""
    owner: dict[str, str] = {}
    for group in groups:
        for value in group.outputs:
            source = group.nodes[-1].inputs[0].name if group.kind == "view" else value.name
            owner[value.name] = owner.get(source, source)
    return owner


def lifetimes(groups: Sequence[Group], outputs: Iterable[Value] = ()) -> tuple[Lifetime, ...]:
    """When each value is needed that lies in the arena: what groups store, except the graph's outputs."""
    owner = storage(groups)
    returned = {owner.get(value.name, value.name) for value in outputs}
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step, group in enumerate(groups):
        for value in group.outputs if group.kind != "view" else ():
            first[value.name] = last[value.name] = step
        for value in group.inputs:
            name = owner.get(value.name, value.name)
            if name in first:
                last[name] = step
    return tuple(Lifetime(name, first[name], last[name]) for name in first if name not in returned)


def plan_memory(lives: Sequence[Lifetime], sizes: Mapping[str, int]) -> MemoryPlan:
    """Place values of known sizes (bytes) in one arena."""
    placed: list[tuple[Lifetime, int, int]] = []  # with the bytes where it begins and ends
    for life in sorted(lives, key=lambda life: (-sizes[life.name], life.first)):
        offset = 0
        for start, end in sorted((start, end) for other, start, end in placed if life.meets(other)):
            if offset + sizes[life.name] <= start:
                break
            offset = max(offset, end)
        placed.append((life, offset, offset + aligned(sizes[life.name])))
    offsets = {life.name: start for life, start, _ in placed}
    peak = max((end for _, _, end in placed), default=0)
    return MemoryPlan(tuple(lives), offsets, dict(sizes), peak, _lower_bound(lives, sizes))


def _lower_bound(lives: Sequence[Lifetime], sizes: Mapping[str, int]) -> int:
    changes: Counter[int] = Counter()
    for life in lives:
        changes[life.first] += aligned(sizes[life.name])
        changes[life.last + 1] -= aligned(sizes[life.name])
    return max(accumulate(changes[step] for step in sorted(changes)), default=0)
