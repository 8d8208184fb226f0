"""A space of schedules: a rule that transforms a function and leaves choices open, as a program that asks.

    def rule(schedule, choose):
        tile = choose("tile of i", (1, 2, 4, 8))
        outer, inner = schedule.split("i", tile)
        ...

A candidate is what the rule made, with all decisions that were asked for. Run again with some of these wanted, the rule
follows them where they still fit and decides the rest anew: that is mutation (all but one are kept) and crossover
(kept from two parents). Candidates that a primitive refuses are not in the space.

MetaSchedule (Shao et al., arXiv 2205.13603, sections 3 and 4) has the same idea: sampling is part of the trace, and
evolution changes the sampled values. Its rules are generated from the program; ours are written in `rules.py`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule.schedule import Schedule, Trace
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tir.text import print_function

Decision = int | str | bool
Choose = Callable[[str, Sequence[Decision]], Decision]
Rule = Callable[[Schedule, Choose], None]

NEIGHBOUR = 0.5
"""How often a mutation takes the next option up or down rather than any other."""


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
        self.options[question] = tuple(options)
        self.decisions[question] = (
            wanted if wanted in self.options[question] else self.rng.choice(self.options[question])
        )
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
