"""A learned model of cost: which of many candidates is fast, without running them.

Gradient boosting (Friedman, Annals of Statistics 29, 2001) fits trees to a score of what was measured, the logarithm
of speed against the best of the same workload:

    score = log(fastest seconds / seconds)          0 for the fastest, -1 for 2.7 times slower

A search needs the order of candidates rather than their times. Production: TVM (Chen et al., NeurIPS 2018, arXiv
1805.08166) trains XGBoost on a rank loss, on records of many workloads; TenSet (2021) found networks trained on
millions of them better.

Features of a loop nest are numbers that say, before it runs, what its time may depend on: operations, accesses and
iterations of loops of the whole execution, for given sizes. The memory hierarchy enters by an estimate of traffic: of
the loops around a block, find the outermost one inside which all that is touched fits into a cache of Z bytes; each
iteration of the loops outside brings that in again.

    traffic(Z) = bytes touched by the loops inside * iterations of the loops outside

Ansor's features (Zheng et al., OSDI 2020, appendix B; 164 numbers a statement) are of the same kinds.
"""

import importlib.util
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sysai.compiler import tir
from sysai.compiler.errors import ModelUnavailable
from sysai.compiler.graph.sizes import evaluate
from sysai.compiler.tir.accesses import Access, accesses, nests

Features = Sequence[float]
LEAST_SAMPLES = 8


@dataclass
class CostModel:
    """Scores candidates; until it has seen LEAST_SAMPLES of them, all alike.

    Attributes:
        seed: of the trees' subsampling.
    """

    seed: int = 0
    _rows: list[tuple[str, list[float], float]] = field(default_factory=list)
    _trees: object = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("sklearn") is None:
            raise ModelUnavailable(
                "the cost model needs scikit-learn: `pip install scikit-learn`, or search without a model (model=None)"
            )

    def add(self, workload: str, features: Features, seconds: float) -> None:
        """Remember a measurement for `fit`; one that failed or took no time is not learned from."""
        if math.isfinite(seconds) and seconds > 0:
            self._rows.append((workload, list(features), seconds))

    def fit(self) -> None:
        """Learn from all measurements."""
        if len(self._rows) < LEAST_SAMPLES:
            return
        from sklearn.ensemble import GradientBoostingRegressor

        self._trees = GradientBoostingRegressor(
            n_estimators=120, max_depth=4, learning_rate=0.1, subsample=0.8, random_state=self.seed
        )
        self._trees.fit([features for _, features, _ in self._rows], self._scores())

    def predict(self, candidates: Sequence[Features]) -> list[float]:
        """A score for each: larger is faster."""
        if self._trees is None or not candidates:
            return [0.0] * len(candidates)
        return [float(score) for score in self._trees.predict([list(features) for features in candidates])]

    def _scores(self) -> list[float]:
        fastest: dict[str, float] = {}
        for workload, _, seconds in self._rows:
            fastest[workload] = min(seconds, fastest.get(workload, math.inf))
        return [math.log(fastest[workload] / seconds) for workload, _, seconds in self._rows]


def pairs_in_order(scores: Sequence[float], seconds: Sequence[float]) -> float:
    """The part of all pairs with different times of which the faster has the larger score; ties count as half.

    Raises:
        ValueError: there is no such pair.
    """
    pairs = [(a, b) for a, b in itertools.combinations(range(len(seconds)), 2) if seconds[a] != seconds[b]]
    if not pairs:
        raise ValueError("no two of the times differ: measure more candidates")
    ahead = [(scores[a] - scores[b]) * (seconds[b] - seconds[a]) for a, b in pairs]
    return sum(1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in ahead) / len(pairs)


LINE_BYTES = 64
CACHES = {"registers": 2 << 10, "first cache": 32 << 10, "second cache": 1 << 20, "last cache": 16 << 20}
FEATURES = (
    "iterations", "iterations beyond the domain", "operations", "functions", "loads", "stores",
    "iterations in vectors", "vector lanes", "contiguous vector accesses", "uniform vector accesses",
    "scattered vector accesses", "copies by unrolling", "iterations of serial loops",
    "parallel iterations", "work of a parallel iteration", "parallel regions", "local bytes",
    *(f"bytes into {cache}" for cache in CACHES), *(f"operations a byte into {cache}" for cache in CACHES),
)  # fmt: skip
"""Names of the numbers of `features`, in order."""


def features(function: tir.PrimFunc, sizes: Mapping[str, int] | None = None) -> list[float]:
    """The numbers of FEATURES: logarithms to base 2 of one plus the counts.

    Args:
        sizes: numbers for the function's sizes.

    Raises:
        ValueError: a size has no number.
    """
    sizes = dict(sizes or {})
    totals = dict.fromkeys(FEATURES, 0.0)
    for block, enclosing in nests(function.body):
        loops = [(stmt, evaluate(stmt.extent, sizes)) for stmt in enclosing if isinstance(stmt, tir.For)]
        _add_block(totals, block, loops, sizes)
    for stmt in tir.statements(function.body):
        match stmt:
            case tir.Allocate(buffer) if buffer.scope == "local":
                elements = math.prod(evaluate(size, sizes) for size in buffer.shape)
                totals["local bytes"] += elements * tir.ITEM_BYTES[buffer.dtype]
            case tir.For(kind=tir.PARALLEL):
                totals["parallel regions"] += 1
    for cache in CACHES:
        traffic = max(totals[f"bytes into {cache}"], 1.0)
        totals[f"operations a byte into {cache}"] = totals["operations"] / traffic
    return [math.log2(1 + max(0.0, totals[name])) for name in FEATURES]


def _add_block(
    totals: dict[str, float], block: tir.Block, loops: list[tuple[tir.For, int]], sizes: dict[str, int]
) -> None:
    iterations = math.prod(extent for _, extent in loops)
    domain = math.prod(evaluate(axis.extent, sizes) for axis in block.axes)
    nodes = list(tir.walk(block.update))
    operations = sum(isinstance(node, tir.Binary) and node.dtype != "int64" for node in nodes)
    calls = sum(isinstance(node, tir.Call) for node in nodes)
    touches = list(dict.fromkeys(access._replace(guards=()) for access in accesses(block)))
    totals["iterations"] += iterations
    totals["iterations beyond the domain"] += max(0, iterations - domain)
    totals["operations"] += iterations * (operations + calls)
    totals["functions"] += iterations * calls
    totals["loads"] += iterations * (len(touches) - 1)
    totals["stores"] += iterations
    _add_loops(totals, loops, iterations)
    values = {**sizes, **{loop.var.name: 0 for loop, _ in loops}}
    vector = next(((loop.var, extent) for loop, extent in loops if loop.kind == tir.VECTORIZED), None)
    if vector:
        _add_vectors(totals, touches, *vector, values, iterations)
    touched = [_touched(touches, loops[depth:], values) for depth in range(len(loops) + 1)]
    for cache, capacity in CACHES.items():
        totals[f"bytes into {cache}"] += _traffic(touched, [extent for _, extent in loops], capacity)


def _add_loops(totals: dict[str, float], loops: list[tuple[tir.For, int]], iterations: int) -> None:
    shared = math.prod(extent for loop, extent in loops if loop.kind == tir.PARALLEL)
    totals["parallel iterations"] = max(totals["parallel iterations"], shared)
    totals["work of a parallel iteration"] = max(totals["work of a parallel iteration"], iterations / max(1, shared))
    totals["copies by unrolling"] += math.prod(extent for loop, extent in loops if loop.kind == tir.UNROLLED)
    entered = 1
    for loop, extent in loops:
        entered *= extent
        totals["iterations of serial loops"] += entered * (loop.kind == tir.SERIAL)


def _add_vectors(
    totals: dict[str, float], touches: list[Access], var: tir.Var, lanes: int, values: dict[str, int], iterations: int
) -> None:
    totals["iterations in vectors"] += iterations
    totals["vector lanes"] = max(totals["vector lanes"], lanes)
    for access in touches:
        first, second = _at(access, values), _at(access, {**values, var.name: 1})
        step = [b - a for a, b in zip(first, second, strict=True)]
        kind = "uniform" if not any(step) else "contiguous" if not any(step[:-1]) and step[-1] == 1 else "scattered"
        totals[f"{kind} vector accesses"] += iterations / lanes


def _at(access: Access, values: dict[str, int]) -> list[int]:
    return [evaluate(index, values) for index in access.indices]


def _traffic(touched: list[float], extents: list[int], capacity: int) -> float:
    """Bytes that go into a cache; touched[d] are those that the loops from depth d on touch together."""
    depth = len(extents)
    while depth and touched[depth - 1] <= capacity:
        depth -= 1
    return touched[depth] * math.prod(extents[:depth])


def _touched(touches: list[Access], inside: list[tuple[tir.For, int]], values: dict[str, int]) -> float:
    """Bytes, in whole cache lines, that accesses touch while loops run; each buffer counts once."""
    largest: dict[str, float] = {}
    for access in touches:
        first, spans = _at(access, values), [1] * len(access.indices)
        for loop, extent in inside:
            last = _at(access, {**values, loop.var.name: max(0, extent - 1)})
            spans = [span + abs(b - a) for span, a, b in zip(spans, first, last, strict=True)]
        shape = [evaluate(size, values) for size in access.buffer.shape]
        spans = [min(span, size) for span, size in zip(spans, shape, strict=True)]
        *rows, row = spans or [1]
        lines = math.ceil(row * tir.ITEM_BYTES[access.buffer.dtype] / LINE_BYTES)
        touched = float(lines * LINE_BYTES * math.prod(rows))
        largest[access.buffer.name] = max(largest.get(access.buffer.name, 0.0), touched)
    return sum(largest.values())
