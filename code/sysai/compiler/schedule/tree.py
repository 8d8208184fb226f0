"""Finding, replacing and naming the loops, blocks and buffers of a function.

Functions are immutable trees, and names are unique in them: a primitive looks its loop up, makes a new statement,
and puts that in the old one's place.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace

from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.tir.expr import Buffer, Expr, Load, Var, transform, walk
from sysai.compiler.tir.statement import (
    Allocate,
    Block,
    For,
    If,
    PrimFunc,
    Seq,
    Stmt,
    blocks,
    sequence,
    statements,
    substitute_loops,
    transform_statement,
)


def loops(stmt: Stmt) -> Iterator[For]:
    """The loops inside, in the order of execution."""
    return (inner for inner in statements(stmt) if isinstance(inner, For))


def find_loop(function: PrimFunc, name: str) -> For:
    """The loop whose variable is called `name`.

    Raises:
        IllegalSchedule: there is none.
    """
    for loop in loops(function.body):
        if loop.var.name == name:
            return loop
    there = ", ".join(loop.var.name for loop in loops(function.body))
    raise IllegalSchedule(f"there is no loop {name!r}: the loops are {there or 'none'}")


def find_block(function: PrimFunc, name: str) -> Block:
    """The block called `name`.

    Raises:
        IllegalSchedule: there is none.
    """
    for block in blocks(function.body):
        if block.name == name:
            return block
    there = ", ".join(block.name for block in blocks(function.body))
    raise IllegalSchedule(f"there is no block {name!r}: the blocks are {there or 'none'}")


def find_buffer(function: PrimFunc, name: str) -> Buffer:
    """The parameter or allocated buffer called `name`.

    Raises:
        IllegalSchedule: there is none.
    """
    known = {buffer.name: buffer for buffer in (*function.buffers, *allocated(function.body))}
    if name not in known:
        raise IllegalSchedule(f"there is no buffer {name!r}: the buffers are {', '.join(known)}")
    return known[name]


def allocated(stmt: Stmt) -> list[Buffer]:
    """The buffers that are allocated inside."""
    return [inner.buffer for inner in statements(stmt) if isinstance(inner, Allocate)]


def path(stmt: Stmt, found: Callable[[Stmt], bool]) -> tuple[Stmt, ...]:
    """The statements from `stmt` down to the first for which `found` holds, both included; empty if there is none."""
    if found(stmt):
        return (stmt,)
    for part in parts(stmt):
        below = path(part, found)
        if below:
            return (stmt, *below)
    return ()


def parts(stmt: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside."""
    match stmt:
        case For() | If() | Allocate():
            return (stmt.body,)
        case Seq(inner):
            return inner
    return ()


def path_to_block(stmt: Stmt, name: str) -> tuple[Stmt, ...]:
    """The statements from `stmt` down to the block."""
    return path(stmt, lambda inner: isinstance(inner, Block) and inner.name == name)


def path_to_loop(stmt: Stmt, name: str) -> tuple[Stmt, ...]:
    """The statements from `stmt` down to the loop."""
    return path(stmt, lambda inner: isinstance(inner, For) and inner.var.name == name)


def loops_around(stmt: Stmt, block: str) -> list[For]:
    """The loops around the block, the outermost first."""
    return [inner for inner in path_to_block(stmt, block) if isinstance(inner, For)]


def replace_loop(function: PrimFunc, name: str, new: Stmt) -> PrimFunc:
    """The function with `new` where the loop `name` was."""
    return replace(function, body=replace_statement(function.body, find_loop(function, name), new))


def replace_statement(stmt: Stmt, old: Stmt, new: Stmt) -> Stmt:
    """The tree with `new` where `old` was (both as values: names make them unique)."""
    if stmt == old:
        return new
    match stmt:
        case For() | If() | Allocate():
            return replace(stmt, body=replace_statement(stmt.body, old, new))
        case Seq(inner):
            return sequence(*(replace_statement(part, old, new) for part in inner))
    return stmt


def without_blocks(stmt: Stmt, names: set[str]) -> Stmt:
    """The tree without the blocks, and without the loops and buffers that only they used."""

    def prune(inner: Stmt) -> Stmt | None:
        match inner:
            case Block() if inner.name in names:
                return Seq(())
            case For() | If() if inner.body == Seq(()):
                return Seq(())
            case Allocate(buffer, body) if not any(touches(block, buffer.name) for block in blocks(body)):
                return body
            case Seq(statements):
                return sequence(*statements) if statements else None
        return None

    return transform_statement(stmt, prune)


def change_blocks(stmt: Stmt, change: Callable[[Block], Block]) -> Stmt:
    """The tree with every block replaced by `change` of it."""
    return transform_statement(stmt, lambda inner: change(inner) if isinstance(inner, Block) else None)


def change_accesses(block: Block, buffer: str, change: Callable[[Load], Load]) -> Block:
    """The block with every access to the buffer replaced, reads and the write."""

    def in_value(expr: Expr) -> Expr | None:
        return change(expr) if isinstance(expr, Load) and expr.buffer.name == buffer else None

    value = transform(block.value, in_value)
    indices = tuple(transform(index, in_value) for index in block.indices)
    target = Load(block.buffer, indices)
    if block.buffer.name == buffer:
        target = change(target)
    return replace(block, buffer=target.buffer, indices=target.indices, value=value)


def reads(block: Block) -> list[Load]:
    """What the value and the indices are made from; a reduction's own element aside."""
    expressions = (block.value, *block.indices)
    return [inner for expr in expressions for inner in walk(expr) if isinstance(inner, Load)]


def touches(block: Block, buffer: str) -> bool:
    """Whether the block reads or writes the buffer."""
    return block.buffer.name == buffer or any(load.buffer.name == buffer for load in reads(block))


def writers(stmt: Stmt, buffer: str) -> list[Block]:
    """The blocks that write the buffer."""
    return [block for block in blocks(stmt) if block.buffer.name == buffer]


def readers(stmt: Stmt, buffer: str) -> list[Block]:
    """The blocks that read the buffer."""
    return [block for block in blocks(stmt) if any(load.buffer.name == buffer for load in reads(block))]


def fresh(function: PrimFunc, wanted: str, *also: str) -> str:
    """A name for a loop, block or buffer: `wanted`, or with a number behind it where that is taken."""
    axes = {axis.var.name for block in blocks(function.body) for axis in block.axes}
    return numbered(wanted, _names(function) | axes | set(also))


def fresh_axis(function: PrimFunc, wanted: str, own: Iterable[Var] = ()) -> Var:
    """A variable for an axis of a block whose others are `own`; axes of other blocks may have the same name."""
    return Var(numbered(wanted, _names(function) | {var.name for var in own}))


def numbered(wanted: str, taken: Container[str]) -> str:
    """`wanted`, or `wanted_2`, `wanted_3`, ...: the first that is not taken."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _names(function: PrimFunc) -> set[str]:
    """Of sizes, buffers, loops and blocks."""
    names = {thing.name for thing in (*function.sizes, *function.buffers, *allocated(function.body))}
    names |= {loop.var.name for loop in loops(function.body)}
    return names | {block.name for block in blocks(function.body)}


def with_unique_loops(function: PrimFunc) -> PrimFunc:
    """The function, where a loop variable that occurs again has a number behind its name."""
    taken = {thing.name for thing in (*function.sizes, *function.buffers, *allocated(function.body))}
    taken |= {axis.var.name for block in blocks(function.body) for axis in block.axes}

    def rename(stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                var = Var(numbered(stmt.var.name, taken))
                taken.add(var.name)
                body = stmt.body if var == stmt.var else substitute_loops(stmt.body, {stmt.var: var})
                return replace(stmt, var=var, body=rename(body))
            case If() | Allocate():
                return replace(stmt, body=rename(stmt.body))
            case Seq(inner):
                return Seq(tuple(rename(part) for part in inner))
        return stmt

    return replace(function, body=rename(function.body))
