"""Look for iterations that break a rule: execute the loops for small sizes, and watch which elements are touched.

Sizes take a few small values; a loop that is long all the same runs only its first, middle and last iterations. So a
rule that is broken by neighbours or at a border is found to be, and one that is broken only deep inside is not.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

from sysai.compiler.tir.accesses import Instance, Touch, evaluate, instances, nests
from sysai.compiler.tir.expr import Buffer, depends_on_data
from sysai.compiler.tir.statement import (
    PARALLEL,
    REDUCE,
    SPATIAL,
    VECTORIZED,
    Allocate,
    For,
    If,
    PrimFunc,
    Seq,
    Stmt,
)

SIZES = (1, 2, 3, 5, 9)
EXECUTIONS = 3000
"""Executions of blocks that are watched for one choice of sizes, about."""


def find_counterexample(function: PrimFunc) -> str | None:
    """What goes wrong, with the values of loop variables and sizes; None where nothing does."""
    return next((message for sizes in _choices(function) for message in _watch(function, sizes)), None)


def _choices(function: PrimFunc) -> Iterator[dict[str, int]]:
    names = [size.name for size in function.sizes]
    if not names:
        yield {}
        return
    yield from (dict.fromkeys(names, value) for value in SIZES)
    if len(names) > 1:
        yield dict(zip(names, itertools.cycle((2, 7, 3)), strict=False))
        yield dict(zip(names, itertools.cycle((5, 1, 4)), strict=False))


def _watch(function: PrimFunc, sizes: Mapping[str, int]) -> Iterator[str]:
    complete = _count(function.body, dict(sizes)) <= EXECUTIONS
    watcher = _Watcher(function, sizes, complete)
    depth = max((sum(isinstance(s, For) for s in around) for _, around in nests(function.body)), default=1)
    pick = range if complete else _borders(max(3, int(EXECUTIONS ** (1 / max(depth, 1)))))
    for instance in instances(function.body, sizes, pick, watcher.entered):
        message = watcher.executed(instance)
        if message:
            values = ", ".join(f"{name}={value}" for name, value in instance.values.items())
            yield f"block {instance.block.name}: {message}" + (f" (at {values})" if values else "")
            return


def _count(stmt: Stmt, values: dict[str, int]) -> int:
    """Executions of blocks, taking each loop's first iteration for all of them."""
    match stmt:
        case For(var, extent, body):
            count = max(evaluate(extent, values), 0)
            return count and count * _count(body, {**values, var.name: 0})
        case If() | Allocate():
            return _count(stmt.body, values)
        case Seq(parts):
            return sum(_count(part, values) for part in parts)
    return 1


def _borders(count: int) -> Callable[[int], list[int]]:
    """About `count` iterations of a loop: the first half of them, one in the middle, the last."""

    def pick(extent: int) -> list[int]:
        if extent <= count:
            return list(range(extent))
        last = range(extent - max(count // 2 - 1, 1), extent)
        return [*range(count - len(last) - 1), extent // 2, *last]

    return pick


def _element(buffer: Buffer, indices: tuple[int, ...]) -> str:
    return f"{buffer.name}{list(indices)}"


class _Watcher:
    """What has touched which element so far."""

    def __init__(self, function: PrimFunc, sizes: Mapping[str, int], complete: bool):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.sizes = sizes
        self.extents: dict[int, tuple[int, ...]] = {}  # of a block's axes
        self.serial = itertools.count()
        self.entries: dict[str, int] = {}  # of loops and of allocated buffers: the number of their latest entry
        self.loops: dict[tuple[int, str], list[For]] = {}
        self.users: dict[tuple, list] = {}  # by (entry of a loop, buffer, element): [iteration, several, written]
        self.writers: dict[tuple, tuple] = {}  # by (buffer, its entry, element): block, spatial axes
        self.added: dict[tuple, tuple[str, set]] = {}  # by the same: the block, and its reduction axes so far
        self.stored: set[tuple] = set()
        found = list(nests(function.body)) if complete else []  # else what is read may have been left out
        self.tracked = {stmt.buffer.name for _, around in found for stmt in around if isinstance(stmt, Allocate)}
        self.tracked -= {block.buffer.name for block, _ in found if any(map(depends_on_data, block.indices))}
        for buffer in function.buffers:
            self.entries[buffer.name] = 0
            self.shapes[buffer.name] = tuple(evaluate(extent, sizes) for extent in buffer.shape)

    def entered(self, stmt: Stmt, values: Mapping[str, int]) -> None:
        match stmt:
            case For(var):
                self.entries[var.name] = next(self.serial)
            case Allocate(buffer):
                self.entries[buffer.name] = next(self.serial)
                self.shapes[buffer.name] = tuple(evaluate(extent, values) for extent in buffer.shape)

    def executed(self, instance: Instance) -> str | None:
        block = instance.block
        if id(block) not in self.extents:
            self.extents[id(block)] = tuple(evaluate(axis.extent, self.sizes) for axis in block.axes)
        for axis, value, extent in zip(block.axes, instance.axes, self.extents[id(block)], strict=True):
            if not 0 <= value < extent:
                return f"axis {axis.var} is {value}, outside its extent {axis.extent}"
        reduced = tuple(v for axis, v in zip(block.axes, instance.axes, strict=True) if axis.kind == REDUCE)
        starts = block.init is not None and not any(reduced)
        for touch in instance.touches:
            message = self.touched(instance, touch, starts)
            if message:
                return message
        return self.written(instance, reduced, starts)

    def touched(self, instance: Instance, touch: Touch, starts: bool) -> str | None:
        buffer, indices, writes, certain = touch
        if indices is None or not certain:
            return None
        shape = self.shapes[buffer.name]
        if not all(0 <= index < extent for index, extent in zip(indices, shape, strict=True)):
            return f"{_element(buffer, indices)} is outside the shape {list(shape)}"
        place = (buffer.name, self.entries[buffer.name], indices)
        if buffer.name in self.tracked:
            own = starts and buffer == instance.block.buffer and indices == instance.touches[-1].indices
            if writes:
                self.stored.add(place)
            elif place not in self.stored and not own:
                return f"{_element(buffer, indices)} is read before anything is stored there"
        for loop in self.parallel(instance, buffer.name):
            iteration = instance.values[loop.var.name]
            user = self.users.setdefault((self.entries[loop.var.name], *place), [iteration, False, False])
            user[1] |= iteration != user[0]
            user[2] |= writes
            if user[1] and user[2]:
                return (
                    f"{_element(buffer, indices)} is touched by several iterations of the {loop.kind} loop {loop.var}, "
                    "and written: make the loop serial"
                )
        return None

    def written(self, instance: Instance, reduced: tuple[int, ...], starts: bool) -> str | None:
        block, target = instance.block, instance.touches[-1]
        if target.indices is None or not target.certain:
            return None
        spatial = tuple(v for axis, v in zip(block.axes, instance.axes, strict=True) if axis.kind == SPATIAL)
        place = (block.buffer.name, self.entries[block.buffer.name], target.indices)
        before = self.writers.get((*place, block.name), spatial)
        if before != spatial:
            element = _element(block.buffer, target.indices)
            return f"{element} is written for spatial axes {list(before)} and again for {list(spatial)}"
        self.writers[*place, block.name] = spatial
        if starts or not block.reduces or self.added.get(place, (block.name,))[0] != block.name:
            self.added.pop(place, None)
        if block.reduces:
            _, terms = self.added.setdefault(place, (block.name, set()))
            if reduced in terms:
                element = _element(block.buffer, target.indices)
                return f"{element} gets the term for reduction axes {list(reduced)} twice"
            terms.add(reduced)
        return None

    def parallel(self, instance: Instance, buffer: str) -> list[For]:
        """The parallel and vectorized loops around the block in which the buffer lives on."""
        key = (id(instance.block), buffer)
        if key not in self.loops:
            around = instance.around
            births = [i for i, s in enumerate(around) if isinstance(s, Allocate) and s.buffer.name == buffer]
            inside = around[births[0] :] if births else around
            self.loops[key] = [s for s in inside if isinstance(s, For) and s.kind in (PARALLEL, VECTORIZED)]
        return self.loops[key]
