"""Look for iterations that break a rule: execute the loops for small sizes, and watch which elements are touched.

Sizes take a few small values; a loop that is long all the same runs only its first, middle and last iterations. So a
rule that is broken by neighbours or at a border is found to be, and one that is broken only deep inside is not.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

from sysai.compiler import tir
from sysai.compiler.tir.accesses import Instance, Touch, evaluate, instances, nests

SIZES = (1, 2, 3, 5, 9)
EXECUTIONS = 3000
"""About how many executions of blocks are watched for one choice of sizes."""


def find_counterexample(function: tir.PrimFunc) -> str | None:
    """A message that names the broken rule, the loop variables and the sizes; None where no rule is broken."""
    return next((message for sizes in _choices(function) for message in _watch(function, sizes)), None)


def _choices(function: tir.PrimFunc) -> Iterator[dict[str, int]]:
    names = [size.name for size in function.sizes]
    if not names:
        yield {}
        return
    yield from (dict.fromkeys(names, value) for value in SIZES)
    if len(names) > 1:
        yield dict(zip(names, itertools.cycle((2, 7, 3)), strict=False))
        yield dict(zip(names, itertools.cycle((5, 1, 4)), strict=False))


def _watch(function: tir.PrimFunc, sizes: Mapping[str, int]) -> Iterator[str]:
    complete = _count(function.body, dict(sizes)) <= EXECUTIONS
    watcher = _Watcher(function, sizes, complete)
    depth = max((sum(isinstance(s, tir.For) for s in enclosing) for _, enclosing in nests(function.body)), default=1)
    pick = range if complete else _borders(max(3, int(EXECUTIONS ** (1 / max(depth, 1)))))
    for instance in instances(function.body, sizes, pick, watcher.entered):
        message = watcher.executed(instance)
        if message:
            values = ", ".join(f"{name}={value}" for name, value in instance.values.items())
            yield f"block {instance.block.name}: {message}" + (f" (at {values})" if values else "")
            return


def _count(stmt: tir.Stmt, values: dict[str, int]) -> int:
    """The number of executions of blocks, as if every iteration of a loop were like its first."""
    match stmt:
        case tir.For(var, extent, body):
            count = max(evaluate(extent, values), 0)
            return count and count * _count(body, {**values, var.name: 0})
        case tir.If() | tir.Allocate():
            return _count(stmt.body, values)
        case tir.Seq(stmts):
            return sum(_count(child, values) for child in stmts)
    return 1


def _borders(count: int) -> Callable[[int], list[int]]:
    """About `count` iterations of a loop: the first half of them, one in the middle, the last."""

    def pick(extent: int) -> list[int]:
        if extent <= count:
            return list(range(extent))
        last = range(extent - max(count // 2 - 1, 1), extent)
        return [*range(count - len(last) - 1), extent // 2, *last]

    return pick


def _element(buffer: tir.Buffer, indices: tuple[int, ...]) -> str:
    return f"{buffer.name}{list(indices)}"


class _Watcher:
    """The blocks and iterations that have touched each element so far, to compare the next ones with."""

    def __init__(self, function: tir.PrimFunc, sizes: Mapping[str, int], complete: bool):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.sizes = sizes
        self.extents: dict[int, tuple[int, ...]] = {}  # of a block's axes
        self.serial = itertools.count()
        self.entries: dict[str, int] = {}  # of loops and of allocated buffers: the number of their latest entry
        self.loops: dict[tuple[int, str], list[tir.For]] = {}
        self.users: dict[tuple, list] = {}  # by (entry of a loop, buffer, element): [iteration, several, written]
        self.writers: dict[tuple, tuple] = {}  # by (buffer, its entry, element): block, spatial axes
        self.added: dict[tuple, tuple[str, set]] = {}  # by the same: the block, and its reduction axes so far
        self.stored: set[tuple] = set()
        block_nests = list(nests(function.body)) if complete else []  # else what is read may have been left out
        self.tracked = {
            stmt.buffer.name for _, enclosing in block_nests for stmt in enclosing if isinstance(stmt, tir.Allocate)
        }
        self.tracked -= {block.buffer.name for block, _ in block_nests if any(map(tir.depends_on_data, block.indices))}
        # A reduction over an empty axis initializes nothing; `interpret.require_initialized` refuses it at the call.
        self.tracked -= {
            block.buffer.name
            for block, _ in block_nests
            if block.init is not None
            and any(axis.kind == tir.REDUCE and evaluate(axis.extent, sizes) <= 0 for axis in block.axes)
        }
        for buffer in function.buffers:
            self.entries[buffer.name] = 0
            self.shapes[buffer.name] = tuple(evaluate(extent, sizes) for extent in buffer.shape)

    def entered(self, stmt: tir.Stmt, values: Mapping[str, int]) -> None:
        match stmt:
            case tir.For(var):
                self.entries[var.name] = next(self.serial)
            case tir.Allocate(buffer):
                self.entries[buffer.name] = next(self.serial)
                self.shapes[buffer.name] = tuple(evaluate(extent, values) for extent in buffer.shape)

    def executed(self, instance: Instance) -> str | None:
        block = instance.block
        if id(block) not in self.extents:
            self.extents[id(block)] = tuple(evaluate(axis.extent, self.sizes) for axis in block.axes)
        for axis, value, extent in zip(block.axes, instance.axes, self.extents[id(block)], strict=True):
            if not 0 <= value < extent:
                return f"axis {axis.var} is {value}, outside its extent {axis.extent}"
        reduced = tuple(v for axis, v in zip(block.axes, instance.axes, strict=True) if axis.kind == tir.REDUCE)
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
        key = (buffer.name, self.entries[buffer.name], indices)
        if buffer.name in self.tracked:
            own = starts and buffer == instance.block.buffer and indices == instance.touches[-1].indices
            if writes:
                self.stored.add(key)
            elif key not in self.stored and not own:
                return f"{_element(buffer, indices)} is read before anything is stored there"
        for loop in self.concurrent_loops(instance, buffer.name):
            iteration = instance.values[loop.var.name]
            user = self.users.setdefault((self.entries[loop.var.name], *key), [iteration, False, False])
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
        spatial = tuple(v for axis, v in zip(block.axes, instance.axes, strict=True) if axis.kind == tir.SPATIAL)
        key = (block.buffer.name, self.entries[block.buffer.name], target.indices)
        before = self.writers.get((*key, block.name), spatial)
        if before != spatial:
            element = _element(block.buffer, target.indices)
            return f"{element} is written for spatial axes {list(before)} and again for {list(spatial)}"
        self.writers[*key, block.name] = spatial
        if starts or not block.reduces or self.added.get(key, (block.name,))[0] != block.name:
            self.added.pop(key, None)
        if block.reduces:
            _, terms = self.added.setdefault(key, (block.name, set()))
            if reduced in terms:
                element = _element(block.buffer, target.indices)
                return f"{element} gets the term for reduction axes {list(reduced)} twice"
            terms.add(reduced)
        return None

    def concurrent_loops(self, instance: Instance, buffer: str) -> list[tir.For]:
        """The parallel and vectorized loops around the block whose iterations share the buffer."""
        key = (id(instance.block), buffer)
        if key not in self.loops:
            enclosing = instance.enclosing
            births = [i for i, s in enumerate(enclosing) if isinstance(s, tir.Allocate) and s.buffer.name == buffer]
            inside = enclosing[births[0] :] if births else enclosing
            self.loops[key] = [s for s in inside if isinstance(s, tir.For) and s.kind in (tir.PARALLEL, tir.VECTORIZED)]
        return self.loops[key]
