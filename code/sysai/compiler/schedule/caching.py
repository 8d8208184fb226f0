"""Primitives that put a copy between a block and memory: cache_read and cache_write.

    cache_read     copy[...] = a[...], and the block reads `copy`, in another layout if wished, packed for a kernel
    cache_write    the block writes `copy`, and then a[...] = copy[...]

The copy is of everything at first. compute_at and reverse_compute_at move it to the loop where it pays, and shrink it
to what is used there: accumulators in registers, a panel of B in the cache in the order in which it is read (Goto and
van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008, section 4).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.storage import require_scopes, settled_scope
from sysai.compiler.schedule.tree import (
    change_accesses,
    change_blocks,
    find_block,
    find_buffer,
    fresh,
    fresh_axis,
    path_to_block,
    reads,
    replace_statement,
    touches,
    writers,
)
from sysai.compiler.tir.conditions import both
from sysai.compiler.tir.expr import FLOATS, INDEX, TRUE, Buffer, Const, Expr, Load, Select, Var, as_expr
from sysai.compiler.tir.statement import (
    SPATIAL,
    Allocate,
    Axis,
    Block,
    For,
    If,
    PrimFunc,
    Seq,
    Stmt,
    blocks,
    sequence,
)

SCOPES = ("global", "local", "shared")


@dataclass(frozen=True)
class Piece:
    """A dimension of a layout: dimension `of` of the original, or its quotient ("//") or remainder ("%") by `tile`."""

    of: int
    op: str | None = None
    tile: int = 1

    def index(self, original: Sequence[Expr]) -> Expr:
        """Where an element is in this dimension."""
        index = original[self.of]
        return index // as_expr(self.tile) if self.op == "//" else index % as_expr(self.tile) if self.op else index

    def length(self, shape: Sequence[Expr]) -> Expr:
        """How long this dimension is."""
        if self.op == "//":
            return (shape[self.of] + (self.tile - 1)) // as_expr(self.tile)
        return Const(self.tile, INDEX) if self.op else shape[self.of]


def cache_read(function: PrimFunc, block: str, buffer: str, scope: str, layout: str | None) -> tuple[PrimFunc, str]:
    """Let `block` read a copy of `buffer`.

    Args:
        scope: where the copy lives; "local" comes true when compute_at has made it small enough.
        layout: the copy's dimensions in terms of the original's: "d1 // 16, d0, d1 % 16" is one panel of 16 columns
            behind the other, with a row of 16 consecutive in memory. Tiles at the border are filled up with zeros.

    Returns:
        The function, and the copying block's name.
    """
    consumer, source = find_block(function, block), find_buffer(function, buffer)
    if not any(load.buffer.name == buffer for load in reads(consumer)):
        raise IllegalSchedule(f"block {block} does not read {buffer}")
    if consumer.buffer.name == buffer:
        raise IllegalSchedule(f"block {block} writes {buffer} too: a copy made before would not see what it writes")
    pieces = parse_layout(layout, len(source.shape))
    name = fresh(function, f"{buffer}_{'packed' if layout else scope}")
    shape = tuple(piece.length(source.shape) for piece in pieces)
    copy = Buffer(name, shape, source.dtype, _scope(scope, shape, source.dtype))
    place = _last_place(function, consumer, buffer)
    copying = fresh(function, f"copy_{name}", name)
    nest = _copy(function, copying, copy, source, pieces)

    def use(inner: Block) -> Block:
        if inner.name != block:
            return inner
        return change_accesses(inner, buffer, lambda load: Load(copy, tuple(p.index(load.indices) for p in pieces)))

    new = Allocate(copy, sequence(nest, change_blocks(place, use)))
    function = replace(function, body=replace_statement(function.body, place, new))
    return require_scopes(function, f"copy {buffer} for {block}"), copying


def cache_write(function: PrimFunc, block: str, scope: str) -> tuple[PrimFunc, str]:
    """Let `block` write a copy of its buffer, which is copied to the buffer when all of it is done.

    Returns:
        The function, and the copying block's name.
    """
    writer = find_block(function, block)
    buffer = writer.buffer
    others = [other.name for other in writers(function.body, buffer.name) if other.name != block]
    if others:
        raise IllegalSchedule(
            f"block {others[0]} writes {buffer.name} too: cache it before it is decomposed or written twice"
        )
    if any(load.buffer.name == buffer.name for load in reads(writer)) or (writer.reduces and writer.init is None):
        raise IllegalSchedule(f"block {block} goes on from what is in {buffer.name}, which a new copy would not hold")
    extents = {axis.var: axis.extent for axis in writer.axes if axis.kind == SPATIAL}
    if len(set(writer.indices)) < len(writer.indices) or [extents.get(i) for i in writer.indices] != list(buffer.shape):
        raise IllegalSchedule(
            f"block {block} does not write all of {buffer.name}, but the copy would be copied as a whole"
        )
    conditions = [stmt for stmt in path_to_block(function.body, block) if isinstance(stmt, If)]
    if conditions:
        raise IllegalSchedule(f"block {block} is under the condition {conditions[0].condition}: the copy would not be")
    name = fresh(function, f"{buffer.name}_{scope}")
    copy = replace(buffer, name=name, scope=_scope(scope, buffer.shape, buffer.dtype))
    place = _alone(function, writer)
    copying = fresh(function, f"copy_{name}", name)
    pieces = parse_layout(None, len(buffer.shape))
    nest = _copy(function, copying, buffer, copy, pieces)
    inside = change_blocks(place, lambda inner: replace(inner, buffer=copy) if inner.name == block else inner)
    new = Allocate(copy, sequence(inside, nest))
    return replace(function, body=replace_statement(function.body, place, new)), copying


def parse_layout(layout: str | None, rank: int) -> list[Piece]:
    """The pieces of a layout such as "d1 // 16, d0, d1 % 16"; None is the original's own.

    Raises:
        IllegalSchedule: it cannot be read, or does not hold every element exactly once.
    """
    if layout is None:
        return [Piece(dimension) for dimension in range(rank)]
    pieces = []
    for text in layout.split(","):
        match = re.fullmatch(r"\s*d(\d+)\s*(?:(//|%)\s*(\d+))?\s*", text)
        if not match:
            raise IllegalSchedule(f"layout {layout!r}: {text.strip()!r} is neither d0, nor d0 // 16, nor d0 % 16")
        pieces.append(Piece(int(match[1]), match[2], int(match[3] or 1)))
    for dimension in range(max(rank, 1 + max(piece.of for piece in pieces))):
        held = sorted((piece.op or "", piece.tile) for piece in pieces if piece.of == dimension)
        tiles = {tile for _, tile in held}
        whole = [op for op, _ in held] == [""]
        tiled = [op for op, _ in held] == ["%", "//"] and len(tiles) == 1 and tiles.pop() > 0
        if dimension >= rank or not (whole or tiled):
            raise IllegalSchedule(
                f"layout {layout!r} must hold each of d0 to d{rank - 1} once, or by // and by % of the same tile"
            )
    return pieces


def _copy(function: PrimFunc, name: str, to: Buffer, source: Buffer, pieces: Sequence[Piece]) -> Stmt:
    """Loops over `to`, of the layout `pieces`, with a block that copies an element of `source`."""
    axes, nest = [], []
    for dimension, length in enumerate(to.shape):
        var = fresh_axis(function, f"d{dimension}", (axis.var for axis in axes))
        loop = Var(fresh(function, f"{name}_d{dimension}"))
        axes.append(Axis(var, length, SPATIAL, loop))
        nest.append(For(loop, length, Seq(())))
    inside: Expr = TRUE
    indices: list[Expr] = []
    for dimension, length in enumerate(source.shape):
        index: Expr = Const(0, INDEX)
        tiles = [(axis.var, piece) for axis, piece in zip(axes, pieces, strict=True) if piece.of == dimension]
        for var, piece in tiles:
            index = index + (var * piece.tile if piece.op == "//" else var)
        indices.append(index)
        padded = math.prod(piece.tile for _, piece in tiles)
        if padded > 1 and not (isinstance(length, Const) and length.value % tiles[0][1].tile == 0):
            inside = both(inside, index < length)
    value: Expr = Load(source, tuple(indices))
    if inside != TRUE:
        value = Select(inside, value, Const(0.0 if to.dtype in FLOATS else 0, to.dtype))
    stmt: Stmt = Block(name, tuple(axes), to, tuple(axis.var for axis in axes), value)
    for loop in reversed(nest):
        stmt = replace(loop, body=stmt)
    return stmt


def _scope(scope: str, shape: Sequence[Expr], dtype: str) -> str:
    if scope not in SCOPES:
        raise IllegalSchedule(f"no scope {scope!r}: one of {', '.join(SCOPES)}")
    return settled_scope(shape, dtype, scope)


def _last_place(function: PrimFunc, consumer: Block, buffer: str) -> Stmt:
    """The outermost loop around the consumer, or itself, in which nobody writes the buffer."""
    way = path_to_block(function.body, consumer.name)
    for stmt in way:
        if isinstance(stmt, For) and writers(stmt, buffer):
            raise IllegalSchedule(
                f"block {writers(stmt, buffer)[0].name} writes {buffer} in loop {stmt.var.name}, which is around "
                f"{consumer.name} too: a copy of all of it would be made when only a part is there; cache it before"
            )
    return next(stmt for stmt in way if isinstance(stmt, For | Block))


def _alone(function: PrimFunc, writer: Block) -> Stmt:
    """The outermost loop around the writer, or itself."""
    place = next(stmt for stmt in path_to_block(function.body, writer.name) if isinstance(stmt, For | Block))
    for block in blocks(place):
        if block.name != writer.name and touches(block, writer.buffer.name):
            raise IllegalSchedule(
                f"block {block.name} uses {writer.buffer.name} in a loop that is around {writer.name} too, before all "
                "of it would be copied; cache it before moving blocks together"
            )
    return place
