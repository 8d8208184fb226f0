"""Functions that differ only in what their sizes are, or are called.

Tracers give every tensor sizes of its own: the caches of thirty layers have thirty lengths, equal or not. The same
program is made for each, and one kernel serves them all: it takes its sizes as arguments.
"""

from collections.abc import Mapping
from dataclasses import replace

from sysai.compiler.tir.expr import Buffer, Expr, Load, Var, transform, walk
from sysai.compiler.tir.statement import Allocate, Block, For, If, PrimFunc, Stmt, transform_statement


def with_sizes_by_place(function: PrimFunc) -> tuple[PrimFunc, tuple[Var, ...]]:
    """The function with its sizes called size0, size1, ... as they occur in its shapes; and its own, in that order."""
    shapes = [size for buffer in function.buffers for size in buffer.shape]
    found = [node for size in shapes for node in walk(size) if isinstance(node, Var)]
    sizes = tuple(dict.fromkeys((*found, *function.sizes)))
    if not sizes:
        return function, ()
    renamed = with_sizes(function, {size: Var(f"size{place}") for place, size in enumerate(sizes)})
    return replace(renamed, sizes=tuple(Var(f"size{place}") for place in range(len(sizes)))), sizes


def with_sizes(function: PrimFunc, values: Mapping[Var, Expr]) -> PrimFunc:
    """The function with other names for its sizes, or with numbers in their place, for a kernel of just these."""

    def change(node: Expr) -> Expr | None:
        return replace(node, buffer=of_buffer(node.buffer)) if isinstance(node, Load) else values.get(node)

    def of(expr: Expr) -> Expr:
        return transform(expr, change)

    def of_buffer(buffer: Buffer) -> Buffer:
        return replace(buffer, shape=tuple(map(of, buffer.shape)))

    def of_statement(stmt: Stmt) -> Stmt | None:
        match stmt:
            case For():
                return replace(stmt, extent=of(stmt.extent))
            case If():
                return replace(stmt, condition=of(stmt.condition))
            case Allocate():
                return replace(stmt, buffer=of_buffer(stmt.buffer))
            case Block():
                axes = tuple(replace(axis, extent=of(axis.extent), binding=of(axis.binding)) for axis in stmt.axes)
                return replace(
                    stmt, axes=axes, buffer=of_buffer(stmt.buffer), indices=tuple(map(of, stmt.indices)),
                    value=of(stmt.value), init=stmt.init and of(stmt.init), predicate=of(stmt.predicate),
                )  # fmt: skip
        return None

    sizes = tuple(size for old in function.sizes if isinstance(size := values.get(old, old), Var))
    buffers = tuple(map(of_buffer, function.buffers))
    return PrimFunc(function.name, sizes, buffers, transform_statement(function.body, of_statement))
