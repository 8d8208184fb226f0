"""Loop nests: one loop for each axis, blocks inside, each with an axis of its own for every loop."""

from collections.abc import Sequence
from dataclasses import dataclass

from sysai.compiler.graph.sizes import same
from sysai.compiler.tir.expr import ZERO, Buffer, Expr, Var
from sysai.compiler.tir.statement import REDUCE, SPATIAL, Allocate, Axis, Block, For, Stmt

LETTERS = "ijklmnopqrst"


@dataclass(frozen=True)
class Loop:
    """The description of a loop before it is made; a loop of extent 1 is not made, and its index is 0."""

    name: str
    extent: Expr
    reduces: bool = False

    @property
    def index(self) -> Expr:
        """The index that the loop contributes to a block: its axis, or 0."""
        return ZERO if same(self.extent, 1) else Var(f"v{self.name}")

    def axis(self, combines: bool) -> Axis:
        """The axis that this loop gives to a block; it reduces only in one that combines."""
        kind = REDUCE if self.reduces and combines else SPATIAL
        return Axis(Var(f"v{self.name}"), self.extent, kind, Var(self.name))


def spatial(domain: Sequence[Expr]) -> list[Loop]:
    """A loop for each axis of a domain: i, j, k, ..."""
    return [Loop(LETTERS[axis], size) for axis, size in enumerate(domain)]


def indices(loops: Sequence[Loop]) -> tuple[Expr, ...]:
    """The indices of loops, in order."""
    return tuple(loop.index for loop in loops)


def block(
    name: str,
    loops: Sequence[Loop],
    buffer: Buffer,
    at: Sequence[Expr],
    value: Expr,
    combine: str | None = None,
    init: Expr | None = None,
) -> Block:
    """A block with an axis for each of the loops around it."""
    axes = tuple(loop.axis(combine is not None) for loop in loops if not same(loop.extent, 1) or loop.reduces)
    return Block(name, axes, buffer, tuple(at) or (ZERO,), value, init, combine)


def wrap_in_loops(loops: Sequence[Loop], body: Stmt) -> Stmt:
    """A statement inside loops, of which the first is outermost."""
    for loop in reversed(loops):
        if not same(loop.extent, 1) or loop.reduces:
            body = For(Var(loop.name), loop.extent, body)
    return body


def allocate(buffers: Sequence[Buffer], body: Stmt) -> Stmt:
    """A statement inside the allocations of buffers."""
    for buffer in reversed(buffers):
        body = Allocate(buffer, body)
    return body
