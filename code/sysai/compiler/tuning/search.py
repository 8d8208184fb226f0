"""Evolutionary search: propose many schedules, let a model choose a few, measure these, learn, repeat.

    population      the best so far, and random ones
    generation      children by mutation and crossover; the model's best survive
    batch           the best predicted that were not measured yet, and some at random, lest the model hears only itself
    measurement     the truth, for the model, the population and the database

With a model of cost 0 (None) this is plain evolution by measurement. A search is determined by its seed, but for what
the clock says. TVM's MetaSchedule runs 2048 candidates through four generations a round; ours are tens, as Python makes
them.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.statement import PrimFunc
from sysai.compiler.tuning.cost_model import CostModel, features
from sysai.compiler.tuning.measure import Database, Measurement, Record, this_machine, workload_of
from sysai.compiler.tuning.space import Candidate, Space

ELITE = 12
MUTATIONS = 0.7
"""The share of children that have one parent; the others have two."""


@dataclass(frozen=True)
class Options:
    """How to search.

    Attributes:
        trials: measurements.
        batch: measurements between two times of learning.
        population: candidates that a generation keeps.
        generations: before each batch.
        explore: the part of a batch that is chosen at random.
    """

    trials: int = 64
    batch: int = 8
    population: int = 32
    generations: int = 2
    explore: float = 0.2

    def __post_init__(self) -> None:
        if min(self.trials, self.batch, self.population) < 1 or self.generations < 0:
            raise ValueError(f"{self}: trials, batch and population are 1 or more, generations 0 or more")
        if not 0 <= self.explore <= 1:
            raise ValueError(f"explore is {self.explore}, must lie in 0..1")


@dataclass(frozen=True)
class MeasuredCandidate:
    """A measured candidate, and the score that was predicted for it (None where it was not)."""

    candidate: Candidate
    predicted: float | None
    measurement: Measurement


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
        trials: all measurements, in order.
        refused: candidates whose schedule was illegal.
    """

    trials: tuple[MeasuredCandidate, ...]
    refused: int

    @property
    def best(self) -> MeasuredCandidate | None:
        """The fastest; None if nothing could be measured."""
        measured = [trial for trial in self.trials if trial.measurement.seconds is not None]
        return min(measured, key=lambda trial: trial.measurement.seconds, default=None)

    @property
    def progress(self) -> list[float | None]:
        """The least seconds after each trial."""
        best, least = None, []
        for trial in self.trials:
            seconds = trial.measurement.seconds
            best = seconds if best is None else best if seconds is None else min(best, seconds)
            least.append(best)
        return least


def tune(
    space: Space,
    measure: Callable[[PrimFunc], Measurement],
    options: Options = Options(),
    *,
    model: CostModel | None = None,
    seed: int = 0,
    baseline: Schedule | None = None,
    sizes: Mapping[str, int] | None = None,
    database: Database | None = None,
) -> Tuned:
    """Search a space for the fastest schedule.

    Args:
        measure: usually a `Measurer`.
        model: a fresh one, or one that has learned before; None to do without.
        baseline: a schedule that is measured first, such as the default one.
        sizes: numbers for the function's sizes.
        database: to which trials are appended; what it holds of this workload and machine is known from the start.

    Raises:
        IllegalSchedule: the space's rule makes nothing that is legal.
    """
    search = _Search(space, options, model, random.Random(seed), dict(sizes or {}), database)
    search.remember()
    if baseline is not None:
        search.run(Candidate({}, {}, baseline.trace, baseline.function), None, measure)
    while len(search.trials) < options.trials:
        chosen = search.propose(min(options.batch, options.trials - len(search.trials)))
        if not chosen:
            break  # all of a small space has been measured
        for candidate, score in chosen:
            search.run(candidate, score, measure)
        if model is not None:
            model.fit()
    return Tuned(tuple(search.trials), space.refused)


@dataclass
class _Search:
    space: Space
    options: Options
    model: CostModel | None
    rng: random.Random
    sizes: dict[str, int]
    database: Database | None
    trials: list[MeasuredCandidate] = field(default_factory=list)
    known: dict[str, float | None] = field(default_factory=dict)
    elite: list[tuple[float, Candidate]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workload = workload_of(self.space.function, self.sizes)

    def remember(self) -> None:
        """Take over what the database holds."""
        for record in self.database or ():
            if (record.workload, record.machine) == (self.workload, this_machine()) and record.decisions:
                candidate = self.space.make(self.rng, record.decisions)
                if candidate is not None and candidate.trace.to_json() == record.trace:
                    self._learn(candidate, record.seconds)
        if self.model is not None:
            self.model.fit()

    def run(self, candidate: Candidate, score: float | None, measure: Callable[[PrimFunc], Measurement]) -> None:
        """Measure a candidate; add it to the trials, the model, the elite and the database."""
        measurement = measure(candidate.function)
        self.trials.append(MeasuredCandidate(candidate, score, measurement))
        self._learn(candidate, measurement.seconds)
        if self.database is not None:
            trace, seconds, error = candidate.trace.to_json(), measurement.seconds, measurement.error
            self.database.append(Record(self.workload, this_machine(), candidate.decisions, trace, seconds, error))

    def _learn(self, candidate: Candidate, seconds: float | None) -> None:
        self.known[candidate.text] = seconds
        if seconds is None:
            return
        if self.model is not None:
            self.model.add(self.workload, features(candidate.function, self.sizes), seconds)
        if candidate.decisions:
            self.elite = sorted([*self.elite, (seconds, candidate)], key=lambda entry: entry[0])[:ELITE]

    def propose(self, count: int) -> list[tuple[Candidate, float]]:
        """Candidates to measure next, with their scores."""
        population = self._scored([*(candidate for _, candidate in self.elite), *self._random(self.options.population)])
        for _ in range(self.options.generations):
            children = self._scored(self._children([candidate for candidate, _ in population]))
            population = _best(_distinct([*population, *children]), self.options.population + ELITE)
        fresh = [entry for entry in _distinct(population) if entry[0].text not in self.known]
        fresh = _best(fresh, len(fresh))
        explored = min(len(fresh), round(self.options.explore * count))
        chosen, rest = fresh[: count - explored], fresh[count - explored :]
        return chosen + self.rng.sample(rest, min(len(rest), count - len(chosen)))

    def _random(self, count: int) -> list[Candidate]:
        candidates = []
        for _ in range(count):
            try:
                candidates.append(self.space.sample(self.rng))
            except IllegalSchedule:
                if not candidates and not self.elite:
                    raise
                break
        return candidates

    def _children(self, parents: Sequence[Candidate]) -> list[Candidate]:
        children = []
        for _ in range(self.options.population if parents else 0):
            if self.rng.random() < MUTATIONS or len(parents) < 2:
                child = self.space.mutate(self.rng.choice(parents), self.rng)
            else:
                child = self.space.cross(*self.rng.sample(parents, 2), self.rng)
            children += [child] if child is not None else []
        return children

    def _scored(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
        if self.model is None:
            return [(candidate, self.rng.random()) for candidate in candidates]
        scores = self.model.predict([features(candidate.function, self.sizes) for candidate in candidates])
        return list(zip(candidates, scores, strict=True))


def _best(entries: Sequence[tuple[Candidate, float]], count: int) -> list[tuple[Candidate, float]]:
    return sorted(entries, key=lambda entry: -entry[1])[:count]


def _distinct(entries: Sequence[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
    return list({candidate.text: (candidate, score) for candidate, score in entries}.values())
