"""Which elements a block reads and writes, in terms of the loops around it; and all of them, one after the other.

`accesses` replaces the block's axes by their bindings, so that questions about loops can be asked of the indices.
`instances` executes the loops for given sizes without computing anything: every execution of every block with the
elements that it touches, which counts, checks and cache simulators start from.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from sysai.compiler import tir
from sysai.compiler.tir.arith import simplify


class Access(NamedTuple):
    """A read or a write of `buffer[indices]` where all of `guards` hold; in terms of loop variables and sizes."""

    buffer: tir.Buffer
    indices: tuple[tir.Expr, ...]
    writes: bool
    guards: tuple[tir.Expr, ...] = ()


def accesses(block: tir.Block) -> tuple[Access, ...]:
    """The elements that the block touches, in order: its value's reads, its own element if it combines, its write.

    Reads in a branch of a Select are guarded by the branch's condition; reads in the branch for "else" by its opposite,
    where that can be written.
    """
    bindings = {axis.var: axis.binding for axis in block.axes}

    def at_loops(exprs: Iterable[tir.Expr]) -> tuple[tir.Expr, ...]:
        return tuple(tir.substitute(expr, bindings) for expr in exprs)

    reads = (read for expr in (block.value, *block.indices) for read in _reads(expr, ()))
    touched = [Access(load.buffer, at_loops(load.indices), False, at_loops(guards)) for load, guards in reads]
    write = Access(block.buffer, at_loops(block.indices), True)
    return (*touched, write._replace(writes=False), write) if block.reduces else (*touched, write)


def nests(stmt: tir.Stmt, enclosing: tuple[tir.Stmt, ...] = ()) -> Iterator[tuple[tir.Block, tuple[tir.Stmt, ...]]]:
    """Every block with the loops, conditions and allocations around it, from the outermost, in order of execution."""
    if isinstance(stmt, tir.Block):
        yield stmt, enclosing
    inner = enclosing if isinstance(stmt, tir.Seq) else (*enclosing, stmt)
    for child in tir.substatements(stmt):
        yield from nests(child, inner)


def guards_of(block: tir.Block, enclosing: Iterable[tir.Stmt]) -> tuple[tir.Expr, ...]:
    """The conditions under which a block is executed: those around it, and its predicate."""
    inside = [stmt.condition for stmt in enclosing if isinstance(stmt, tir.If)]
    return (*inside, block.predicate) if block.predicate != tir.TRUE else tuple(inside)


def _reads(expr: tir.Expr, guards: tuple[tir.Expr, ...]) -> Iterator[tuple[tir.Load, tuple[tir.Expr, ...]]]:
    match expr:
        case tir.Select(condition, a, b):
            yield from _reads(condition, guards)
            yield from _reads(a, (*guards, condition))
            otherwise = tir.opposite(condition)
            yield from _reads(b, guards if otherwise is None else (*guards, otherwise))
        case _:
            for child in tir.children(expr):
                yield from _reads(child, guards)
            if isinstance(expr, tir.Load):
                yield expr, guards


def goes_along(operand: tir.Expr, index: tir.Expr) -> bool:
    """Whether an operand is read in the order in which it lies in memory as `index` grows."""
    if not isinstance(operand, tir.Load):
        return False
    moving = [i for i, size in zip(operand.indices, operand.buffer.shape, strict=True) if simplify(size) != tir.ONE]
    return moving[-1:] == [index] and not any(index in tir.walk(outer) for outer in moving[:-1])


class Touch(NamedTuple):
    """An element that is read or written.

    `indices` is None where they depend on data; whether it is touched at all depends on data where not `certain`.
    """

    buffer: tir.Buffer
    indices: tuple[int, ...] | None
    writes: bool
    certain: bool


@dataclass
class Instance:
    """One execution of a block.

    Attributes:
        values: loop variables and sizes, by name.
        axes: the values of the block's axes.
        touches: the elements in order, conditions on integers evaluated.
        enclosing: the loops, conditions and allocations around the block.
    """

    block: tir.Block
    values: dict[str, int]
    axes: tuple[int, ...]
    touches: list[Touch]
    enclosing: tuple[tir.Stmt, ...]

    def along(self, kind: str) -> tuple[int, ...]:
        """The values of the axes of a kind."""
        return tuple(value for axis, value in zip(self.block.axes, self.axes, strict=True) if axis.kind == kind)


Pick = Callable[[int], Iterable[int]]
Observer = Callable[[tir.Stmt, Mapping[str, int]], None]


def instances(
    stmt: tir.Stmt, sizes: Mapping[str, int], pick: Pick = range, entered: Observer | None = None
) -> Iterator[Instance]:
    """All executions of blocks for given sizes, in order.

    Args:
        stmt: the function's body, or a part of it whose outer loop variables are in `sizes`.
        sizes: values of sizes (and outer loop variables), by name.
        pick: which iterations of a loop, of its extent; by default all.
        entered: called with each loop and each allocation that is entered.
    """
    values = dict(sizes)
    compiled: dict[int, _Compiled] = {}

    def run(stmt: tir.Stmt, enclosing: tuple[tir.Stmt, ...]) -> Iterator[Instance]:
        inner = enclosing if isinstance(stmt, tir.Seq) else (*enclosing, stmt)
        if entered and isinstance(stmt, tir.For | tir.Allocate):
            entered(stmt, values)
        match stmt:
            case tir.For(var, extent, body):
                for iteration in pick(evaluate(extent, values)):
                    values[var.name] = iteration
                    yield from run(body, inner)
            case tir.If(condition, body):
                if tir.depends_on_data(condition) or evaluate(condition, values):
                    yield from run(body, inner)
            case tir.Block():
                if id(stmt) not in compiled:
                    compiled[id(stmt)] = _Compiled(stmt)
                yield from compiled[id(stmt)].executed(values, enclosing)
            case _:
                for child in tir.substatements(stmt):
                    yield from run(child, inner)

    yield from run(stmt, ())


def evaluate(expr: tir.Expr, values: Mapping[str, int]) -> int:
    """The value of an integer expression or a condition that reads no buffer."""
    return eval(_code(expr), {"min": min, "max": max}, dict(values))


class _Compiled:
    """A block's index expressions as Python's code, since they are evaluated once per execution."""

    def __init__(self, block: tir.Block):
        self.block = block
        self.predicate = None if tir.depends_on_data(block.predicate) else _code(block.predicate)
        self.bindings = _codes(axis.binding for axis in block.axes)
        self.touches = []
        for access in accesses(block):
            static = not any(map(tir.depends_on_data, access.indices))
            guards = [_code(guard) for guard in access.guards if not tir.depends_on_data(guard)]
            certain = len(guards) == len(access.guards) and not tir.depends_on_data(block.predicate)
            indices = _codes(access.indices) if static else None
            self.touches.append((guards, indices, access, certain))

    def executed(self, values: Mapping[str, int], enclosing: tuple[tir.Stmt, ...]) -> Iterator[Instance]:
        functions = {"min": min, "max": max}
        if self.predicate is not None and not eval(self.predicate, functions, values):
            return
        touches = []
        for guards, code, access, certain in self.touches:
            if all(eval(guard, functions, values) for guard in guards):
                indices = None if code is None else eval(code, functions, values)
                touches.append(Touch(access.buffer, indices, access.writes, certain))
        yield Instance(self.block, dict(values), eval(self.bindings, functions, values), touches, enclosing)


@lru_cache(maxsize=4096)
def _code(expr: tir.Expr) -> CodeType:
    return compile(_python(expr), "<index>", "eval")


def _codes(exprs: Iterable[tir.Expr]) -> CodeType:
    return compile(f"({''.join(_python(expr) + ',' for expr in exprs)})", "<indices>", "eval")


def _python(expr: tir.Expr) -> str:
    match expr:
        case tir.Const(value):
            return repr(value)
        case tir.Var(name):
            return name
        case tir.Binary("within", a, b):
            return f"({_python(a)} if 0 <= {_python(a)} < {_python(b)} else 0)"
        case tir.Binary(op, a, b):
            symbol, left, right = tir.OPERATORS[op].symbol, _python(a), _python(b)
            return f"({left} {symbol} {right})" if symbol else f"{op}({left}, {right})"
        case tir.Select(condition, a, b):
            return f"({_python(a)} if {_python(condition)} else {_python(b)})"
    raise TypeError(f"{expr} is no arithmetic on integers")
