"""A space of schedules: a rule that transforms a function and leaves choices open, as a program that asks.

    def rule(schedule, choose):
        tile = choose("tile of i", (1, 2, 4, 8))
        outer, inner = schedule.split("i", tile)
        ...

A candidate is what the rule made, with all decisions that were asked for. Run again with some of these wanted, the rule
follows them where they still fit and decides the rest anew: that is mutation (all but one are kept) and crossover
(kept from two parents). Candidates that a primitive refuses are not in the space.

MetaSchedule (Shao et al., arXiv 2205.13603, sections 3 and 4) has the same idea: sampling is part of the trace, and
evolution changes the sampled values. Its rules are generated from the program; ours are written here: `tiled` for any
nest, `product` and `rows` for lowered products and reductions. A tile's size may be anything that a register or a cache
holds, also one that does not divide: the rest is a tail.
"""

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sysai.compiler.cpu import lanes
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule.default import (
    extent_of,
    is_shorter,
    outer_products,
    parallelize,
    partial_results,
    reduces_over,
    row_passes,
    vectors,
)
from sysai.compiler.schedule.schedule import Schedule, Trace
from sysai.compiler.schedule.tree import find_block, find_loop
from sysai.compiler.tir.expr import Const, Expr
from sysai.compiler.tir.statement import PrimFunc, blocks
from sysai.compiler.tir.text import print_function

Decision = int | str | bool
Choose = Callable[[str, Sequence[Decision]], Decision]
Rule = Callable[[Schedule, Choose], None]

NEIGHBOUR = 0.5
"""How often a mutation takes the next option up or down rather than any other."""
REGISTER_TILE = 512  # elements, of 4 bytes: the 32 vectors of 64 bytes that the largest machines have
UNROLLED = 64  # copies of a block, at most
CACHE_TILES = (1, 2, 4, 8, 16, 32)
REDUCE_TILES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Candidate:
    """A member of a space.

    Attributes:
        decisions: by what was asked, in order.
        options: what each was chosen from.
        trace: the primitives that were applied.
        function: what they made.
    """

    decisions: Mapping[str, Decision]
    options: Mapping[str, tuple[Decision, ...]]
    trace: Trace
    function: PrimFunc

    @property
    def text(self) -> str:
        """The program, by which candidates that come to the same are recognized."""
        return print_function(self.function)


class _Chooser:
    """Answers a rule's questions: as wanted where that is an option, else at random."""

    def __init__(self, rng: random.Random, wanted: Mapping[str, Decision]) -> None:
        self.rng, self.wanted = rng, wanted
        self.decisions: dict[str, Decision] = {}
        self.options: dict[str, tuple[Decision, ...]] = {}

    def __call__(self, question: str, options: Sequence[Decision]) -> Decision:
        if not options:
            raise ValueError(f"no options for {question!r}: a rule offers at least one")
        if question in self.decisions:
            raise ValueError(f"{question!r} is asked twice: a rule gives each choice a name of its own")
        wanted = self.wanted.get(question)
        self.options[question] = options = tuple(options)
        self.decisions[question] = wanted if wanted in options else self.rng.choice(options)
        return self.decisions[question]


class Space:
    """All that a rule can make of a function.

    Attributes:
        refused: how many attempts a primitive refused.
    """

    def __init__(self, function: PrimFunc, rule: Rule) -> None:
        self.function, self.rule = function, rule
        self.refused = 0

    def make(self, rng: random.Random, wanted: Mapping[str, Decision] | None = None) -> Candidate | None:
        """A candidate that makes the wanted decisions where it can; None if its schedule is illegal."""
        schedule, chooser = Schedule(self.function), _Chooser(rng, wanted or {})
        try:
            self.rule(schedule, chooser)
        except IllegalSchedule:
            self.refused += 1
            return None
        return Candidate(chooser.decisions, chooser.options, schedule.trace, schedule.function)

    def sample(self, rng: random.Random, attempts: int = 64) -> Candidate:
        """A random candidate.

        Raises:
            IllegalSchedule: none of so many attempts was legal.
        """
        for _ in range(attempts):
            candidate = self.make(rng)
            if candidate is not None:
                return candidate
        raise IllegalSchedule(f"the rule made {attempts} illegal schedules of {self.function.name}: look for its fault")

    def mutate(self, parent: Candidate, rng: random.Random) -> Candidate | None:
        """One decision is another one; those that depended on it may be too."""
        open_questions = [question for question, options in parent.options.items() if len(set(options)) > 1]
        if not open_questions:
            return None
        question = rng.choice(open_questions)
        return self.make(rng, {**parent.decisions, question: _other(parent, question, rng)})

    def cross(self, a: Candidate, b: Candidate, rng: random.Random) -> Candidate | None:
        """Each decision is that of one of the parents."""
        questions = {**b.decisions, **a.decisions}
        wanted = {}
        for question in questions:
            parents = [parent for parent in (a, b) if question in parent.decisions]
            wanted[question] = rng.choice(parents).decisions[question]
        return self.make(rng, wanted)


def _other(parent: Candidate, question: str, rng: random.Random) -> Decision:
    options, current = parent.options[question], parent.decisions[question]
    others = [option for option in options if option != current]
    if rng.random() < NEIGHBOUR:
        at = options.index(current)
        others = [option for option in options[max(0, at - 1) : at + 2] if option != current] or others
    return rng.choice(others)


def registers() -> int:
    """Vector registers of this machine."""
    return 32 if lanes() == 16 else 16


def tile_sizes(extent: Expr, limit: int) -> tuple[int, ...]:
    """Powers of two, multiples of three of them (they leave other tails), and what divides, up to the limit."""
    numbers = {factor << shift for factor in (1, 3) for shift in range(limit.bit_length()) if factor << shift <= limit}
    if isinstance(extent, Const):
        numbers |= {number for number in range(1, limit + 1) if extent.value % number == 0}
        numbers = {number for number in numbers if number <= max(1, extent.value)}
    return tuple(sorted(numbers))


def tiled(schedule: Schedule, choose: Choose) -> None:
    """Cut every loop of a nest that has one block in up to three: over cores, within a cache, within registers.

    A sum is kept in registers or in memory, and the innermost loop runs in vectors. Ansor calls this structure SSRSRS
    (Zheng et al., OSDI 2020, arXiv 2006.06762, section 4): S for independent loops, R for those that sum.
    """
    for block, loops in _nests(schedule):
        _tile_nest(schedule, block, loops, choose)


def _nests(schedule: Schedule) -> list[tuple[str, tuple[str, ...]]]:
    """Each block that is alone in the loops around it, and these."""
    alone = []
    for block in blocks(schedule.function.body):
        loops = schedule.loops_of(block.name)
        if loops and len(list(blocks(find_loop(schedule.function, loops[0])))) == 1:
            alone.append((block.name, loops))
    return alone


def _tile_nest(schedule: Schedule, name: str, loops: Sequence[str], choose: Choose) -> None:
    block = find_block(schedule.function, name)
    summed = [loop for loop in loops if reduces_over(block, loop)]
    spatial = [loop for loop in loops if loop not in summed]
    budget, outer, middle, inner = REGISTER_TILE, [], [], []
    for loop in reversed(spatial):  # the innermost first: vectors need it most
        extent = extent_of(schedule, loop)
        register = choose(f"{name}: register tile of {loop}", tile_sizes(extent, min(budget, 128)))
        budget //= register
        cache = choose(f"{name}: cache tile of {loop}", _cache_tiles(extent, register))
        first, *rest = _split(schedule, loop, (cache, register))
        outer.insert(0, first)
        middle[:0] = rest[:1] if cache > 1 else []
        inner[:0] = rest[-1:] if register > 1 else []
    outer = _ordered(outer, f"{name}: order of outer loops", choose)
    middle = _ordered(middle, f"{name}: order of middle loops", choose)
    splits = []
    for loop in summed:
        size = choose(f"{name}: tile of {loop}", REDUCE_TILES)
        splits.append(_split(schedule, loop, (size,)))
    long, short = [pieces[0] for pieces in splits], [pieces[1] for pieces in splits if len(pieces) > 1]
    in_registers = bool(summed and spatial) and choose(f"{name}: sum in registers", (True, False))
    blocked = bool(summed and middle) and not in_registers and choose(f"{name}: sum in blocks", (False, True))
    schedule.reorder(*outer, *(long + middle if blocked else middle + long), *short, *inner)
    stored = _keep_in_registers(schedule, name, [*outer, *middle], long[0]) if in_registers else []
    _unroll(schedule, name, [*short, *inner[:-1]], choose)
    if inner:
        schedule.vectorize(inner[-1])
    for copied in stored:
        last = schedule.loops_of(copied)[-1]
        if inner and isinstance(extent_of(schedule, last), Const):
            schedule.vectorize(last)
    count = choose(f"{name}: loops over cores", tuple(range(len(outer) + 1)))
    parallelize(schedule, outer[:count])


def _cache_tiles(extent: Expr, register: int) -> tuple[int, ...]:
    """How many register tiles may make a tile of the cache: not more than there are."""
    if not isinstance(extent, Const):
        return CACHE_TILES
    return tuple(size for size in CACHE_TILES if size == 1 or size * register <= extent.value)


def _split(schedule: Schedule, loop: str, factors: Sequence[int]) -> tuple[str, ...]:
    """The loops of a split, of which those by 1 are not made."""
    used = [factor for factor in factors if factor > 1]
    return schedule.split(loop, [None, *used]) if used else (loop,)


def _ordered(loops: list[str], question: str, choose: Choose) -> list[str]:
    if len(loops) < 2:
        return loops
    orders = [",".join(map(str, order)) for order in itertools.permutations(range(len(loops)))]
    return [loops[int(position)] for position in choose(question, orders[:24]).split(",")]


def _keep_in_registers(schedule: Schedule, name: str, enclosing: Sequence[str], first_summed: str) -> list[str]:
    """Sum into a local copy of the tile; return the blocks that clear and that store it."""
    copy = schedule.cache_write(name, "local")
    schedule.reverse_compute_at(copy, enclosing[-1])
    return [schedule.decompose_reduction(name, first_summed), copy]


def _unroll(schedule: Schedule, name: str, loops: Sequence[str], choose: Choose) -> None:
    extents = [extent_of(schedule, loop) for loop in loops]
    if not loops or math.prod(extent.value for extent in extents) > UNROLLED:
        return
    if choose(f"{name}: unroll", (True, False)):
        for loop in loops:
            schedule.unroll(loop)


def product(schedule: Schedule, choose: Choose) -> None:
    """The schedule of a lowered product (blocks "product" and "store"); open are tiles, blocks of rows and columns."""
    loops = schedule.loops_of("store")
    outer, tile, blocked = [loop for loop in loops if loop not in ("row", "column")], [], []
    rows = 1
    if "row" in loops:
        extent = extent_of(schedule, "row")
        rows = choose("rows of the tile", tile_sizes(extent, 12))
        block_rows = choose("tiles in a block of rows", _cache_tiles(extent, rows))
        *blocked, inner = _split(schedule, "row", (block_rows, rows)) if rows > 1 else ("row",)
        tile.append(inner) if rows > 1 else blocked.append(inner)
    if "column" in loops:
        held = registers() // rows  # a tile that registers do not hold is compiled long and runs slowly
        wide = choose("vectors of the tile", tuple(range(1, min(4, held) + 1)))
        panel, inner = schedule.split("column", wide * lanes())
        tile.append(inner)
        blocked.insert(choose("panels outside of", tuple(range(len(blocked) + 1))), panel)
    enclosing = [*outer, *blocked]
    schedule.reorder(*enclosing, *tile)
    schedule.compute_at("product", enclosing[-1])
    outer_products(schedule)
    if "column" in loops:
        vectors(schedule, tile[-1])
    count = choose("loops over cores", tuple(range(1, len(enclosing) + 1)))
    parallelize(schedule, enclosing[:count])


def rows(schedule: Schedule, choose: Choose) -> None:
    """The schedule of lowered reductions along rows, its numbers left open; rows whose elements lie apart are tiled."""
    first = next(block for block in blocks(schedule.function.body) if block.reduces)
    loops = schedule.loops_of(first.name)
    enclosing = [loop for loop in loops if not reduces_over(first, loop)]
    if loops[-1] in enclosing:
        return tiled(schedule, choose)
    for loop, inside in row_passes(schedule, enclosing):
        name, extent = inside[-1].name, extent_of(schedule, loop)
        width = lanes() * choose(f"{name}: vectors", (1, 2, 4, 8))
        if not inside[-1].reduces:
            vectors(schedule, loop, width)
        elif not is_shorter(extent, 2 * width):
            partial_results(schedule, name, [loop], width)
    count = choose("loops over cores", tuple(range(len(enclosing) + 1)))
    parallelize(schedule, enclosing[:count])


RULES: dict[str, Rule] = {"matmul": product, "reduction": rows}


def rule_for(kind: str) -> Rule:
    """The rule for a lowered group of a class (`passes/groups.py`); `tiled` where there is none of its own."""
    return RULES.get(kind, tiled)
