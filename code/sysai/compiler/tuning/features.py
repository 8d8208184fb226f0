"""Features of a loop nest: numbers that say, before it runs, what its time may depend on.

Counts are those of the whole execution: operations, accesses, iterations of loops, all for given sizes. The memory
hierarchy enters by an estimate of traffic: of the loops around a block, find the outermost one inside which all that is
touched fits into a cache of Z bytes; each iteration of the loops outside brings that in again.

    traffic(Z) = bytes touched by the loops inside * iterations of the loops outside

Ansor's features (Zheng et al., OSDI 2020, appendix B; 164 numbers a statement) are of the same kinds. How an index
moves with a loop is found by evaluating it, so that indices with quotients need no theory.
"""

import math
from collections.abc import Mapping

from sysai.compiler.graph.sizes import evaluate
from sysai.compiler.tir.accesses import Access, accesses, nests
from sysai.compiler.tir.expr import ITEM_BYTES, Binary, Call, Var, walk
from sysai.compiler.tir.statement import (
    PARALLEL,
    SERIAL,
    UNROLLED,
    VECTORIZED,
    Allocate,
    Block,
    For,
    PrimFunc,
    statements,
)

LINE_BYTES = 64
CACHES = {"registers": 2 << 10, "first cache": 32 << 10, "second cache": 1 << 20, "last cache": 16 << 20}
FEATURES = (
    "iterations",
    "iterations beyond the domain",
    "operations",
    "functions",
    "loads",
    "stores",
    "iterations in vectors",
    "vector lanes",
    "contiguous vector accesses",
    "uniform vector accesses",
    "scattered vector accesses",
    "copies by unrolling",
    "iterations of serial loops",
    "parallel iterations",
    "work of a parallel iteration",
    "parallel regions",
    "local bytes",
    *(f"bytes into {cache}" for cache in CACHES),
    *(f"operations a byte into {cache}" for cache in CACHES),
)
"""Names of the numbers of `features`, in order."""


def features(function: PrimFunc, sizes: Mapping[str, int] | None = None) -> list[float]:
    """The numbers of FEATURES: logarithms to base 2 of one plus the counts.

    Args:
        sizes: numbers for the function's sizes.

    Raises:
        ValueError: a size has no number.
    """
    sizes = dict(sizes or {})
    totals = dict.fromkeys(FEATURES, 0.0)
    for block, around in nests(function.body):
        loops = [(stmt, evaluate(stmt.extent, sizes)) for stmt in around if isinstance(stmt, For)]
        _add_block(totals, block, loops, sizes)
    for stmt in statements(function.body):
        if isinstance(stmt, Allocate) and stmt.buffer.scope == "local":
            totals["local bytes"] += (
                math.prod(evaluate(size, sizes) for size in stmt.buffer.shape) * ITEM_BYTES[stmt.buffer.dtype]
            )
    totals["parallel regions"] = sum(isinstance(s, For) and s.kind == PARALLEL for s in statements(function.body))
    for cache in CACHES:
        traffic = max(totals[f"bytes into {cache}"], 1.0)
        totals[f"operations a byte into {cache}"] = totals["operations"] / traffic
    return [math.log2(1 + max(0.0, totals[name])) for name in FEATURES]


def _add_block(totals: dict[str, float], block: Block, loops: list[tuple[For, int]], sizes: dict[str, int]) -> None:
    iterations = math.prod(extent for _, extent in loops)
    domain = math.prod(evaluate(axis.extent, sizes) for axis in block.axes)
    nodes = list(walk(block.update))
    operations = sum(isinstance(node, Binary) and node.dtype != "int64" for node in nodes)
    calls = sum(isinstance(node, Call) for node in nodes)
    found = list(dict.fromkeys(access._replace(guards=()) for access in accesses(block)))
    totals["iterations"] += iterations
    totals["iterations beyond the domain"] += max(0, iterations - domain)
    totals["operations"] += iterations * (operations + calls)
    totals["functions"] += iterations * calls
    totals["loads"] += iterations * (len(found) - 1)
    totals["stores"] += iterations
    _add_loops(totals, loops, iterations)
    values = {**sizes, **{loop.var.name: 0 for loop, _ in loops}}
    vector = next(((loop, extent) for loop, extent in loops if loop.kind == VECTORIZED), None)
    if vector:
        _add_vectors(totals, found, vector, values, iterations)
    touched = [_touched(found, loops[depth:], values) for depth in range(len(loops) + 1)]
    for cache, capacity in CACHES.items():
        totals[f"bytes into {cache}"] += _traffic(touched, [extent for _, extent in loops], capacity)


def _add_loops(totals: dict[str, float], loops: list[tuple[For, int]], iterations: int) -> None:
    shared = math.prod(extent for loop, extent in loops if loop.kind == PARALLEL)
    totals["parallel iterations"] = max(totals["parallel iterations"], shared)
    totals["work of a parallel iteration"] = max(totals["work of a parallel iteration"], iterations / max(1, shared))
    totals["copies by unrolling"] += math.prod(extent for loop, extent in loops if loop.kind == UNROLLED)
    entered = 1
    for loop, extent in loops:
        entered *= extent
        totals["iterations of serial loops"] += entered * (loop.kind == SERIAL)


def _add_vectors(
    totals: dict[str, float], found: list[Access], vector: tuple[For, int], values: dict[str, int], iterations: int
) -> None:
    loop, lanes = vector
    totals["iterations in vectors"] += iterations
    totals["vector lanes"] = max(totals["vector lanes"], lanes)
    for access in found:
        step = _step(access, loop.var, values)
        kind = "uniform" if not any(step) else "contiguous" if not any(step[:-1]) and step[-1] == 1 else "scattered"
        totals[f"{kind} vector accesses"] += iterations / lanes


def _step(access: Access, var: Var, values: dict[str, int]) -> list[int]:
    """How far each index moves in one iteration."""
    first, second = _at(access, values), _at(access, {**values, var.name: 1})
    return [b - a for a, b in zip(first, second, strict=True)]


def _at(access: Access, values: dict[str, int]) -> list[int]:
    return [evaluate(index, values) for index in access.indices]


def _traffic(touched: list[float], extents: list[int], capacity: int) -> float:
    """Bytes that go into a cache; touched[d] are those that the loops from depth d on touch together."""
    depth = len(extents)
    while depth and touched[depth - 1] <= capacity:
        depth -= 1
    return touched[depth] * math.prod(extents[:depth])


def _touched(found: list[Access], inside: list[tuple[For, int]], values: dict[str, int]) -> float:
    """Bytes, in whole cache lines, that accesses touch while loops run; each buffer counts once."""
    largest: dict[str, float] = {}
    for access in found:
        first, spans = _at(access, values), [1] * len(access.indices)
        for loop, extent in inside:
            last = _at(access, {**values, loop.var.name: max(0, extent - 1)})
            spans = [span + abs(b - a) for span, a, b in zip(spans, first, last, strict=True)]
        shape = [evaluate(size, values) for size in access.buffer.shape]
        spans = [min(span, size) for span, size in zip(spans, shape, strict=True)]
        row = math.ceil(spans[-1] * ITEM_BYTES[access.buffer.dtype] / LINE_BYTES) * LINE_BYTES if spans else LINE_BYTES
        touched = float(row * math.prod(spans[:-1]))
        largest[access.buffer.name] = max(largest.get(access.buffer.name, 0.0), touched)
    return sum(largest.values())
