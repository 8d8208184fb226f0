"""Whether a tensor program keeps the rules that `statement.py` states, so that passes may rely on them.

Names, scopes and dtypes are checked by reading the program. Where elements lie is checked by executing the loops
without computing anything: an index that is outside, an element that two iterations write or that is read before it is
stored, two dependent iterations of a parallel loop are reported with their numbers. Sizes take a few small values; a
loop that is long all the same runs only its first, middle and last iterations. So a rule that is broken by neighbours
or at a border is found to be, and one that is broken only deep inside, or where data say so, is not.

LLVM's verifier and TVM's `VerifyWellFormed` check names and types; the rest is left to each pass there.
"""

import itertools
import keyword
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from sysai.compiler import tir
from sysai.compiler.errors import InvalidProgram
from sysai.compiler.tir.accesses import Instance, Touch, accesses, evaluate, instances, nests

SIZES = (1, 2, 3, 5, 9)
EXECUTIONS = 3000
"""About how many executions of blocks are watched for one choice of sizes."""
WORDS = ("select", "cast", "init", "combine", "where", "spatial", "reduce", "size")
RESERVED = {*tir.MATH, *tir.EXTREMES, "within", *tir.DTYPES, *WORDS}
"""Names that are words of the text form, and so cannot name a variable or a buffer."""
Variables = tuple[tir.Var, ...]
Buffers = Mapping[str, tir.Buffer]


@lru_cache(maxsize=256)
def verify_function(function: tir.PrimFunc) -> None:
    """Check a function, once for functions that are equal.

    Raises:
        InvalidProgram: a rule is broken; the message says where, and by which numbers if they are known.
    """
    _Names(function).check()
    fault = next((fault for sizes in _choices(function) for fault in _watch(function, sizes)), None)
    _require(fault is None, f"{function.name}: {fault}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidProgram(message)


def _require_index(expr: tir.Expr, where: str) -> None:
    _require(expr.dtype == tir.INDEX, f"{where}: {expr} is {expr.dtype}, an index is {tir.INDEX}")


class _Names:
    """Checks names, scopes and dtypes, statement by statement."""

    def __init__(self, function: tir.PrimFunc):
        self.function = function
        self.sizes = dict.fromkeys(function.sizes)
        self.blocks: set[str] = set()
        self.buffers: dict[str, tir.Buffer] = {}
        self.stored = {buffer.name for buffer in function.buffers}

    def check(self) -> None:
        for size in self.sizes:
            self.name(size.name, self.buffers)
        _require(len(self.sizes) == len(self.function.sizes), "two sizes have one name")
        for buffer in self.function.buffers:
            self.buffer(buffer, ())
        self.statement(self.function.body, tuple(self.function.sizes), dict(self.buffers))

    def name(self, name: str, taken: Iterable[str]) -> None:
        identifier = re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is not None and not keyword.iskeyword(name)
        _require(identifier, f"{name!r} is no identifier: use letters, digits and _")
        _require(name not in RESERVED, f"{name} has a meaning of its own in programs: choose another name")
        _require(name not in taken, f"{name} names two things: rename one of them")

    def buffer(self, buffer: tir.Buffer, inner: Variables) -> None:
        self.name(buffer.name, {*self.buffers, *(size.name for size in self.sizes), *(var.name for var in inner)})
        known = buffer.dtype in tir.DTYPES
        _require(known, f"{buffer.name} has dtype {buffer.dtype}: use one of {', '.join(tir.DTYPES)}")
        for extent in buffer.shape:
            self.index(extent, (*self.sizes, *inner), f"the shape of {buffer.name}", {})
        self.buffers[buffer.name] = buffer

    def statement(self, stmt: tir.Stmt, variables: Variables, visible: Buffers) -> None:
        match stmt:
            case tir.For(var, extent, body, kind):
                self.index(extent, variables, f"the extent of loop {var}", visible)
                self.name(var.name, {*self.buffers, *(other.name for other in variables)})
                _require(var.dtype == tir.INDEX, f"loop {var} is {var.dtype}, not {tir.INDEX}")
                _require(kind in tir.LOOP_KINDS, f"loop {var} is {kind}: use one of {', '.join(tir.LOOP_KINDS)}")
                self.statement(body, (*variables, var), visible)
            case tir.If(condition, body):
                self.expr(condition, variables, visible, "the condition of an if")
                _require(condition.dtype == "bool", f"if {condition}: this is {condition.dtype}, not bool")
                self.statement(body, variables, visible)
            case tir.Seq(stmts):
                for child in stmts:
                    self.statement(child, variables, visible)
            case tir.Allocate(buffer, body):
                self.buffer(buffer, tuple(var for var in variables if var not in self.sizes))
                self.statement(body, variables, {**visible, buffer.name: buffer})
            case tir.Block():
                self.block(stmt, variables, visible)
            case _:
                raise InvalidProgram(f"not a statement: {stmt!r}")

    def block(self, block: tir.Block, variables: Variables, visible: Buffers) -> None:
        where = f"block {block.name}"
        _require(block.name not in self.blocks, f"two blocks are named {block.name}: rename one of them")
        self.blocks.add(block.name)
        own = [axis.var for axis in block.axes]
        for axis in block.axes:
            taken = [*self.buffers, *(v.name for v in variables), *(v.name for v in own if v is not axis.var)]
            self.name(axis.var.name, taken)
            _require(axis.kind in (tir.SPATIAL, tir.REDUCE), f"{where}: axis {axis.var} is {axis.kind}")
            self.index(axis.extent, tuple(self.sizes), f"{where}: the extent of axis {axis.var}", {})
            self.index(axis.binding, variables, f"{where}: the binding of axis {axis.var}", visible)
        # Bindings and the predicate see the loops, and all that follows only the block's own axes.
        self.expr(block.predicate, variables, visible, f"{where}: the predicate")
        _require(block.predicate.dtype == "bool", f"{where}: the predicate {block.predicate} is no condition")
        inside = (*self.sizes, *own)
        self.expr(block.target, inside, visible, where)
        self.expr(block.value, inside, visible, where)
        stored, dtype = block.value.dtype, block.buffer.dtype
        _require(stored == dtype, f"{where} stores {stored} in {block.buffer.name}: cast it to {dtype}")
        reducing = {axis.var for axis in block.axes if axis.kind == tir.REDUCE}
        known = block.combine in (None, *tir.COMBINERS)
        _require(known, f"{where} combines by {block.combine}: use {', '.join(tir.COMBINERS)}")
        _require(
            block.reduces or not reducing,
            f"{where} has reduction axes, but does not combine: its iterations would overwrite each other",
        )
        moves = reducing & tir.variables(*block.indices)
        _require(not moves, f"{where} writes where its reduction axes say: make them spatial")
        if block.init is not None:
            _require(block.reduces, f"{where} has an init, but nothing to combine with it")
            self.expr(block.init, tuple(self.sizes), {}, f"{where}: the init")
            _require(block.init.dtype == dtype, f"{where}: the init is {block.init.dtype}, the buffer {dtype}")
        for access in accesses(block):
            name = access.buffer.name
            initialized = access.buffer == block.buffer and block.init is not None
            _require(
                access.writes or initialized or name in self.stored,
                f"{where} reads {name}, in which nothing is stored before it: move the block that stores it ahead",
            )
        self.stored.add(block.buffer.name)

    def index(self, expr: tir.Expr, variables: Variables, where: str, visible: Buffers) -> None:
        self.expr(expr, variables, visible, where)
        _require_index(expr, where)

    def expr(self, expr: tir.Expr, variables: Variables, visible: Buffers, where: str) -> None:
        for node in tir.walk(expr):
            match node:
                case tir.Var(name):
                    _require(node in variables, f"{where} uses {name}, which is not defined there")
                case tir.Load(buffer, indices):
                    _require(
                        visible.get(buffer.name) == buffer,
                        f"{where} uses buffer {buffer.name}, not defined there as {buffer.dtype} of this shape",
                    )
                    rank = len(buffer.shape)
                    _require(len(indices) == rank, f"{where}: {node} has {len(indices)} indices for {rank} dimensions")
                    for index in indices:
                        _require_index(index, where)
                case tir.Binary(op, a, b):
                    _require(a.dtype == b.dtype, f"{where}: {node} has operands of {a.dtype} and {b.dtype}: cast one")
                    _require(op in tir.OPERATORS, f"{where}: no operation {op}")
                    indexes = op != "within" or a.dtype == tir.INDEX
                    _require(indexes, f"{where}: {node} checks an index of {a.dtype}, not {tir.INDEX}")
                    illogical = op in tir.LOGIC and a.dtype != "bool"
                    _require(not illogical, f"{where}: {node} is logic on {a.dtype}")
                    calculates = op in tir.ARITHMETIC and a.dtype == "bool"
                    _require(not calculates, f"{where}: {node} calculates with truth values")
                case tir.Call(function, _):
                    _require(function in tir.MATH, f"{where}: no function {function}")
                case tir.Select(condition, a, b):
                    _require(condition.dtype == "bool", f"{where}: {condition} is no condition")
                    _require(a.dtype == b.dtype, f"{where}: {node} is {a.dtype} or {b.dtype}: cast one")
                case tir.Cast(dtype, _) | tir.Const(_, dtype):
                    _require(dtype in tir.DTYPES, f"{where}: no dtype {dtype}")


def _choices(function: tir.PrimFunc) -> list[dict[str, int]]:
    """Values of the sizes: all the same, and different ones."""
    names = [size.name for size in function.sizes]
    patterns = [(value,) for value in SIZES] + ([(2, 7, 3), (5, 1, 4)] if len(names) > 1 else [])
    return [dict(zip(names, itertools.cycle(pattern), strict=False)) for pattern in patterns] if names else [{}]


def _watch(function: tir.PrimFunc, sizes: Mapping[str, int]) -> Iterator[str]:
    complete = _count(function.body, dict(sizes)) <= EXECUTIONS
    watcher = _Watcher(function, sizes, complete)
    depth = max((sum(isinstance(s, tir.For) for s in enclosing) for _, enclosing in nests(function.body)), default=1)
    pick = range if complete else _borders(max(3, int(EXECUTIONS ** (1 / max(depth, 1)))))
    for instance in instances(function.body, sizes, pick, watcher.entered):
        for message in watcher.faults(instance):
            values = ", ".join(f"{name}={value}" for name, value in instance.values.items())
            yield f"block {instance.block.name}: {message}" + (f" (at {values})" if values else "")


def _count(stmt: tir.Stmt, values: dict[str, int]) -> int:
    """The number of executions of blocks, as if every iteration of a loop were like its first."""
    match stmt:
        case tir.For(var, extent, body):
            count = max(evaluate(extent, values), 0)
            return count and count * _count(body, {**values, var.name: 0})
        case tir.Block():
            return 1
    return sum(_count(child, values) for child in tir.substatements(stmt))


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
        self.extents: dict[int, tuple[int, ...]] = {}  # of the axes of a block, by its id
        self.serial = itertools.count()
        self.entries: dict[str, int] = {}  # of loops and of allocated buffers: the number of their latest entry
        self.loops: dict[tuple[int, str], list[tir.For]] = {}
        self.users: dict[tuple, list] = {}  # by (entry of a loop, buffer, element): [iteration, several, written]
        self.writers: dict[tuple, tuple] = {}  # by (buffer, its entry, element): block, spatial axes
        self.added: dict[tuple, tuple[str, set]] = {}  # by the same: the block, and its reduction axes so far
        self.stored: set[tuple] = set()
        block_nests = list(nests(function.body)) if complete else []  # else what is read may have been left out
        enclosing = [stmt for _, around in block_nests for stmt in around]
        self.tracked = {stmt.buffer.name for stmt in enclosing if isinstance(stmt, tir.Allocate)}
        for block, _ in block_nests:
            # Reductions over an empty axis initialize nothing; `interpret.require_initialized` refuses them.
            empty = any(axis.kind == tir.REDUCE and evaluate(axis.extent, sizes) <= 0 for axis in block.axes)
            if any(map(tir.depends_on_data, block.indices)) or (block.init is not None and empty):
                self.tracked.discard(block.buffer.name)
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

    def faults(self, instance: Instance) -> Iterator[str]:
        """The rules that an execution of a block breaks, given all before it."""
        block = instance.block
        if id(block) not in self.extents:
            self.extents[id(block)] = tuple(evaluate(axis.extent, self.sizes) for axis in block.axes)
        for axis, value, extent in zip(block.axes, instance.axes, self.extents[id(block)], strict=True):
            if not 0 <= value < extent:
                yield f"axis {axis.var} is {value}, outside its extent {axis.extent}"
        starts = block.init is not None and not any(instance.along(tir.REDUCE))
        for touch in instance.touches:
            if touch.indices is not None and touch.certain:
                yield from self.touched(instance, touch, starts)
        if instance.touches[-1].indices is not None and instance.touches[-1].certain:
            yield from self.written(instance, starts)

    def touched(self, instance: Instance, touch: Touch, starts: bool) -> Iterator[str]:
        buffer, indices, writes, _ = touch
        shape = self.shapes[buffer.name]
        if not all(0 <= index < extent for index, extent in zip(indices, shape, strict=True)):
            yield f"{_element(buffer, indices)} is outside the shape {list(shape)}"
        key = (buffer.name, self.entries[buffer.name], indices)
        if buffer.name in self.tracked:
            own = starts and buffer == instance.block.buffer and indices == instance.touches[-1].indices
            if writes:
                self.stored.add(key)
            elif key not in self.stored and not own:
                yield f"{_element(buffer, indices)} is read before anything is stored there"
        for loop in self.concurrent_loops(instance, buffer.name):
            iteration = instance.values[loop.var.name]
            user = self.users.setdefault((self.entries[loop.var.name], *key), [iteration, False, False])
            user[1] |= iteration != user[0]
            user[2] |= writes
            if user[1] and user[2]:
                yield (
                    f"{_element(buffer, indices)} is touched by several iterations of the {loop.kind} loop {loop.var}, "
                    "and written: make the loop serial"
                )

    def written(self, instance: Instance, starts: bool) -> Iterator[str]:
        block, indices = instance.block, instance.touches[-1].indices
        spatial, reduced = instance.along(tir.SPATIAL), instance.along(tir.REDUCE)
        key = (block.buffer.name, self.entries[block.buffer.name], indices)
        before = self.writers.setdefault((*key, block.name), spatial)
        if before != spatial:
            element = _element(block.buffer, indices)
            yield f"{element} is written for spatial axes {list(before)} and again for {list(spatial)}"
        if starts or not block.reduces or self.added.get(key, (block.name,))[0] != block.name:
            self.added.pop(key, None)
        if block.reduces:
            _, terms = self.added.setdefault(key, (block.name, set()))
            if reduced in terms:
                yield f"{_element(block.buffer, indices)} gets the term for reduction axes {list(reduced)} twice"
            terms.add(reduced)

    def concurrent_loops(self, instance: Instance, buffer: str) -> list[tir.For]:
        """The parallel and vectorized loops around the block whose iterations share the buffer."""
        key = (id(instance.block), buffer)
        if key not in self.loops:
            enclosing = instance.enclosing
            births = [i for i, s in enumerate(enclosing) if isinstance(s, tir.Allocate) and s.buffer.name == buffer]
            inside = enclosing[births[0] :] if births else enclosing
            self.loops[key] = [s for s in inside if isinstance(s, tir.For) and s.kind in (tir.PARALLEL, tir.VECTORIZED)]
        return self.loops[key]
