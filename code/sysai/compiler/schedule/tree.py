"""Finding, replacing and naming the loops, blocks and buffers of a function.

Functions are immutable trees, and names are unique in them: a primitive looks its loop up, makes a new statement,
and puts that in the old one's place.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from sysai.compiler import tir
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.tir.arith import Range

T = TypeVar("T")


def loops(stmt: tir.Stmt) -> Iterator[tir.For]:
    """The loops inside, in the order of execution."""
    return (inner for inner in tir.statements(stmt) if isinstance(inner, tir.For))


def ranges_of(loops: Iterable[tir.For]) -> dict[tir.Var, Range]:
    """The ranges of loop variables."""
    return {loop.var: (0, loop.extent) for loop in loops}


def find_loop(function: tir.PrimFunc, name: str) -> tir.For:
    """The loop whose variable is called `name`; IllegalSchedule if there is none."""
    return _find("loop", {loop.var.name: loop for loop in loops(function.body)}, name)


def find_block(function: tir.PrimFunc, name: str) -> tir.Block:
    """The block called `name`; IllegalSchedule if there is none."""
    return _find("block", {block.name: block for block in tir.blocks(function.body)}, name)


def find_buffer(function: tir.PrimFunc, name: str) -> tir.Buffer:
    """The parameter or allocated buffer called `name`; IllegalSchedule if there is none."""
    return _find("buffer", {buffer.name: buffer for buffer in (*function.buffers, *allocated(function.body))}, name)


def _find(kind: str, things: Mapping[str, T], name: str) -> T:
    if name not in things:
        raise IllegalSchedule(f"there is no {kind} {name!r}: the {kind}s are {', '.join(things) or 'none'}")
    return things[name]


def allocated(stmt: tir.Stmt) -> list[tir.Buffer]:
    """The buffers that are allocated inside."""
    return [inner.buffer for inner in tir.statements(stmt) if isinstance(inner, tir.Allocate)]


def path(stmt: tir.Stmt, matches: Callable[[tir.Stmt], bool]) -> tuple[tir.Stmt, ...]:
    """The statements from `stmt` down to the first for which `matches` holds, both included; empty if there is none."""
    if matches(stmt):
        return (stmt,)
    for child in tir.substatements(stmt):
        below = path(child, matches)
        if below:
            return (stmt, *below)
    return ()


def path_to_block(stmt: tir.Stmt, name: str) -> tuple[tir.Stmt, ...]:
    """The statements from `stmt` down to the block."""
    return path(stmt, lambda inner: isinstance(inner, tir.Block) and inner.name == name)


def path_to_loop(stmt: tir.Stmt, name: str) -> tuple[tir.Stmt, ...]:
    """The statements from `stmt` down to the loop."""
    return path(stmt, lambda inner: isinstance(inner, tir.For) and inner.var.name == name)


def loops_around(stmt: tir.Stmt, block: str) -> list[tir.For]:
    """The loops around the block, the outermost first."""
    return [inner for inner in path_to_block(stmt, block) if isinstance(inner, tir.For)]


def loops_down_to(function: tir.PrimFunc, loop: str) -> list[tir.For]:
    """The loops from the outermost down to the one of a name, which is the last."""
    return [inner for inner in path_to_loop(function.body, loop) if isinstance(inner, tir.For)]


def spatial_loops(block: tir.Block) -> set[tir.Var]:
    """The variables of loops that say which element is stored."""
    indexing = {var for index in block.indices for var in tir.variables(index)}
    return {var for axis in block.axes if axis.var in indexing for var in tir.variables(axis.binding)}


def reduction_loops(block: tir.Block) -> set[tir.Var]:
    """The variables of loops that say which term of a reduction is added."""
    return {var for axis in block.axes if axis.kind == tir.REDUCE for var in tir.variables(axis.binding)}


def replace_loop(function: tir.PrimFunc, name: str, new: tir.Stmt) -> tir.PrimFunc:
    """The function with `new` where the loop `name` was."""
    return replace(function, body=replace_statement(function.body, find_loop(function, name), new))


def replace_statement(stmt: tir.Stmt, old: tir.Stmt, new: tir.Stmt) -> tir.Stmt:
    """The tree with `new` where `old` was (both as values: names make them unique)."""
    if stmt == old:
        return new
    stmt = tir.map_substatements(stmt, lambda child: replace_statement(child, old, new))
    return tir.sequence(*stmt.statements) if isinstance(stmt, tir.Seq) else stmt


def without_blocks(stmt: tir.Stmt, names: set[str]) -> tir.Stmt:
    """The tree without the blocks, and without the loops and buffers that only they used."""

    def prune(inner: tir.Stmt) -> tir.Stmt | None:
        match inner:
            case tir.Block() if inner.name in names:
                return tir.Seq(())
            case tir.For() | tir.If() if inner.body == tir.Seq(()):
                return tir.Seq(())
            case tir.Allocate(buffer, body) if not any(touches(block, buffer.name) for block in tir.blocks(body)):
                return body
            case tir.Seq(statements):
                return tir.sequence(*statements) if statements else None
        return None

    return tir.transform_statement(stmt, prune)


def change_blocks(stmt: tir.Stmt, change: Callable[[tir.Block], tir.Block]) -> tir.Stmt:
    """The tree with every block replaced by `change` of it."""
    return tir.transform_statement(stmt, lambda inner: change(inner) if isinstance(inner, tir.Block) else None)


def change_accesses(block: tir.Block, buffer: str, change: Callable[[tir.Load], tir.Load]) -> tir.Block:
    """The block with every access to the buffer replaced, reads and the write."""

    def in_value(expr: tir.Expr) -> tir.Expr | None:
        return change(expr) if isinstance(expr, tir.Load) and expr.buffer.name == buffer else None

    value = tir.transform(block.value, in_value)
    indices = tuple(tir.transform(index, in_value) for index in block.indices)
    target = tir.Load(block.buffer, indices)
    if block.buffer.name == buffer:
        target = change(target)
    return replace(block, buffer=target.buffer, indices=target.indices, value=value)


def reads(block: tir.Block) -> list[tir.Load]:
    """The loads in the value and the indices; the element that a reduction updates is not among them."""
    expressions = (block.value, *block.indices)
    return [inner for expr in expressions for inner in tir.walk(expr) if isinstance(inner, tir.Load)]


def touches(block: tir.Block, buffer: str) -> bool:
    """Whether the block reads or writes the buffer."""
    return block.buffer.name == buffer or any(load.buffer.name == buffer for load in reads(block))


def writers(stmt: tir.Stmt, buffer: str) -> list[tir.Block]:
    """The blocks that write the buffer."""
    return [block for block in tir.blocks(stmt) if block.buffer.name == buffer]


def readers(stmt: tir.Stmt, buffer: str) -> list[tir.Block]:
    """The blocks that read the buffer."""
    return [block for block in tir.blocks(stmt) if any(load.buffer.name == buffer for load in reads(block))]


def fresh(function: tir.PrimFunc, wanted: str, *also: str) -> str:
    """A name for a loop, block or buffer: `wanted`, or with a number after it where that is taken."""
    axes = {axis.var.name for block in tir.blocks(function.body) for axis in block.axes}
    return numbered(wanted, _names(function) | axes | set(also))


def fresh_axis(function: tir.PrimFunc, wanted: str, own: Iterable[tir.Var] = ()) -> tir.Var:
    """A variable for an axis of a block whose others are `own`; axes of other blocks may have the same name."""
    return tir.Var(numbered(wanted, _names(function) | {var.name for var in own}))


def numbered(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or `wanted_2`, `wanted_3`, ...: the first that is not taken."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _names(function: tir.PrimFunc) -> set[str]:
    """The names of sizes, buffers, loops and blocks."""
    names = {thing.name for thing in (*function.sizes, *function.buffers, *allocated(function.body))}
    names |= {loop.var.name for loop in loops(function.body)}
    return names | {block.name for block in tir.blocks(function.body)}


def with_unique_loops(function: tir.PrimFunc) -> tir.PrimFunc:
    """The function, where a loop variable that occurs again has a number after its name."""
    taken = {thing.name for thing in (*function.sizes, *function.buffers, *allocated(function.body))}
    taken |= {axis.var.name for block in tir.blocks(function.body) for axis in block.axes}

    def rename(stmt: tir.Stmt) -> tir.Stmt:
        if not isinstance(stmt, tir.For):
            return tir.map_substatements(stmt, rename)
        var = tir.Var(numbered(stmt.var.name, taken))
        taken.add(var.name)
        body = stmt.body if var == stmt.var else tir.substitute_loops(stmt.body, {stmt.var: var})
        return replace(stmt, var=var, body=rename(body))

    return replace(function, body=rename(function.body))
