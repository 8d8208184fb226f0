"""Primitives that put a copy between a block and memory: cache_read and cache_write.

    cache_read     copy[...] = a[...], and the block reads `copy`, in another layout if wished, packed for a kernel
    cache_write    the block writes `copy`, and then a[...] = copy[...]

The copy is of everything at first. compute_at and reverse_compute_at move it to the loop where it pays, and shrink it
to the part that is used there: accumulators in registers, a panel of B in the cache in the order in which it is read
(Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 2008, section 4).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sysai.compiler import tir
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import tree
from sysai.compiler.schedule.regions import require_scopes, settled_scope


@dataclass(frozen=True)
class LayoutDimension:
    """A dimension of a layout: dimension `of` of the original, or its quotient ("//") or remainder ("%") by `tile`."""

    of: int
    op: str | None = None
    tile: int = 1

    def index(self, original: Sequence[tir.Expr]) -> tir.Expr:
        """The index of an element in this dimension, from its index in the original."""
        index = original[self.of]
        return {None: index, "//": index // self.tile, "%": index % self.tile}[self.op]

    def length(self, shape: Sequence[tir.Expr]) -> tir.Expr:
        """The length of this dimension."""
        if self.op == "//":
            return tir.ceildiv(shape[self.of], self.tile)
        return tir.Const(self.tile, tir.INDEX) if self.op else shape[self.of]


def cache_read(
    function: tir.PrimFunc, block: str, buffer: str, scope: str = "local", layout: str | None = None
) -> tuple[tir.PrimFunc, str]:
    """Let `block` read a copy of `buffer`.

    Args:
        scope: where the copy lives; "local" comes true when compute_at has made it small enough.
        layout: the copy's dimensions in terms of the original's: "d1 // 16, d0, d1 % 16" is one panel of 16 columns
            after the other, with a row of 16 consecutive in memory. Tiles at the border are filled up with zeros.

    Returns:
        The function, and the copying block's name.
    """
    consumer, source = tree.find_block(function, block), tree.find_buffer(function, buffer)
    if not any(load.buffer.name == buffer for load in tree.reads(consumer)):
        raise IllegalSchedule(f"block {block} does not read {buffer}")
    if consumer.buffer.name == buffer:
        raise IllegalSchedule(f"block {block} writes {buffer} too: a copy made before would not see what it writes")
    dimensions = parse_layout(layout, len(source.shape))
    name = tree.fresh(function, f"{buffer}_{'packed' if layout else scope}")
    shape = tuple(dim.length(source.shape) for dim in dimensions)
    copy = tir.Buffer(name, shape, source.dtype, settled_scope(shape, source.dtype, scope))
    consumer_nest = _outermost_without_writes(function, consumer, buffer)
    copying = tree.fresh(function, f"copy_{name}", name)
    nest = _copy(function, copying, copy, source, dimensions)

    def copied(load: tir.Load) -> tir.Load:
        return copy[tuple(dim.index(load.indices) for dim in dimensions)]

    def use(inner: tir.Block) -> tir.Block:
        return tree.change_accesses(inner, buffer, copied) if inner.name == block else inner

    new = tir.Allocate(copy, tir.sequence(nest, tree.change_blocks(consumer_nest, use)))
    function = replace(function, body=tree.replace_statement(function.body, consumer_nest, new))
    return require_scopes(function, f"copy {buffer} for {block}"), copying


def cache_write(function: tir.PrimFunc, block: str, scope: str = "local") -> tuple[tir.PrimFunc, str]:
    """Let `block` write a copy of its buffer, which is copied to the buffer when all of it is done.

    Returns:
        The function, and the copying block's name.
    """
    writer = tree.find_block(function, block)
    buffer = writer.buffer
    others = [other.name for other in tree.writers(function.body, buffer.name) if other.name != block]
    if others:
        raise IllegalSchedule(f"block {others[0]} writes {buffer.name} too: cache it before decomposing the reduction")
    if any(load.buffer.name == buffer.name for load in tree.reads(writer)) or (writer.reduces and writer.init is None):
        raise IllegalSchedule(f"block {block} goes on from what is in {buffer.name}, which a new copy would not hold")
    extents = {axis.var: axis.extent for axis in writer.axes if axis.kind == tir.SPATIAL}
    if len(set(writer.indices)) < len(writer.indices) or [extents.get(i) for i in writer.indices] != list(buffer.shape):
        raise IllegalSchedule(f"block {block} does not write all of {buffer.name}, but all of the copy would be copied")
    conditions = [stmt for stmt in tree.path_to_block(function.body, block) if isinstance(stmt, tir.If)]
    if conditions:
        raise IllegalSchedule(f"block {block} is under the condition {conditions[0].condition}: the copy would not be")
    name = tree.fresh(function, f"{buffer.name}_{scope}")
    copy = replace(buffer, name=name, scope=settled_scope(buffer.shape, buffer.dtype, scope))
    writer_nest = _outermost_alone(function, writer)
    copying = tree.fresh(function, f"copy_{name}", name)
    dimensions = parse_layout(None, len(buffer.shape))
    nest = _copy(function, copying, buffer, copy, dimensions)
    inside = tree.change_blocks(writer_nest, lambda old: replace(old, buffer=copy) if old.name == block else old)
    new = tir.Allocate(copy, tir.sequence(inside, nest))
    return replace(function, body=tree.replace_statement(function.body, writer_nest, new)), copying


def parse_layout(layout: str | None, rank: int) -> list[LayoutDimension]:
    """The dimensions of a layout such as "d1 // 16, d0, d1 % 16"; None is the original's own.

    Raises:
        IllegalSchedule: it cannot be read, or does not hold every element exactly once.
    """
    if layout is None:
        return [LayoutDimension(dimension) for dimension in range(rank)]
    dimensions = []
    for text in layout.split(","):
        match = re.fullmatch(r"\s*d(\d+)\s*(?:(//|%)\s*(\d+))?\s*", text)
        if not match:
            raise IllegalSchedule(f"layout {layout!r}: {text.strip()!r} is neither d0, nor d0 // 16, nor d0 % 16")
        dimensions.append(LayoutDimension(int(match[1]), match[2], int(match[3] or 1)))
    for dimension in range(max(rank, 1 + max(dim.of for dim in dimensions))):
        held = sorted((dim.op or "", dim.tile) for dim in dimensions if dim.of == dimension)
        tiles = {tile for _, tile in held}
        whole = [op for op, _ in held] == [""]
        tiled = [op for op, _ in held] == ["%", "//"] and len(tiles) == 1 and tiles.pop() > 0
        if dimension >= rank or not (whole or tiled):
            raise IllegalSchedule(
                f"layout {layout!r} must hold each of d0 to d{rank - 1} once, or by // and by % of the same tile"
            )
    return dimensions


def _copy(
    function: tir.PrimFunc, name: str, to: tir.Buffer, source: tir.Buffer, dimensions: Sequence[LayoutDimension]
) -> tir.Stmt:
    """Loops over the `dimensions` of `to`, with a block that copies an element of `source`."""
    axes: list[tir.Axis] = []
    for dimension, length in enumerate(to.shape):
        var = tree.fresh_axis(function, f"d{dimension}", (axis.var for axis in axes))
        loop = tir.Var(tree.fresh(function, f"{name}_d{dimension}"))
        axes.append(tir.Axis(var, length, tir.SPATIAL, loop))
    inside: tir.Expr = tir.TRUE
    indices: list[tir.Expr] = []
    for dimension, length in enumerate(source.shape):
        index: tir.Expr = tir.ZERO
        tiles = [(axis.var, dim) for axis, dim in zip(axes, dimensions, strict=True) if dim.of == dimension]
        for var, dim in tiles:
            index = index + (var * dim.tile if dim.op == "//" else var)
        indices.append(index)
        padded = math.prod(dim.tile for _, dim in tiles)
        if padded > 1 and not (isinstance(length, tir.Const) and length.value % tiles[0][1].tile == 0):
            inside = tir.conjunction(inside, index < length)
    value: tir.Expr = tir.Load(source, tuple(indices))
    if inside != tir.TRUE:
        value = tir.Select(inside, value, tir.Const(0.0 if to.dtype in tir.FLOATS else 0, to.dtype))
    block = tir.Block(name, tuple(axes), to, tuple(axis.var for axis in axes), value)
    return tir.in_loops([tir.For(axis.binding, axis.extent, block) for axis in axes], block)


def _outermost_without_writes(function: tir.PrimFunc, consumer: tir.Block, buffer: str) -> tir.Stmt:
    """The outermost loop around the consumer, or itself, in which no block writes the buffer."""
    path = tree.path_to_block(function.body, consumer.name)
    for stmt in path:
        if isinstance(stmt, tir.For) and tree.writers(stmt, buffer):
            raise IllegalSchedule(
                f"block {tree.writers(stmt, buffer)[0].name} writes {buffer} in loop {stmt.var.name}, which is around "
                f"{consumer.name} too: a copy of all of it would be made when only a part is there; cache it before"
            )
    return next(stmt for stmt in path if isinstance(stmt, tir.For | tir.Block))


def _outermost_alone(function: tir.PrimFunc, writer: tir.Block) -> tir.Stmt:
    """The outermost loop around the writer, or itself."""
    path = tree.path_to_block(function.body, writer.name)
    nest = next(stmt for stmt in path if isinstance(stmt, tir.For | tir.Block))
    for block in tir.blocks(nest):
        if block.name != writer.name and tree.touches(block, writer.buffer.name):
            raise IllegalSchedule(
                f"block {block.name} uses {writer.buffer.name} in a loop that is around {writer.name} too, before all "
                "of it would be copied; cache it before moving blocks together"
            )
    return nest
