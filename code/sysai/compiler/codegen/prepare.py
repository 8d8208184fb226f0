"""From a scheduled function to one that C can print: no axes, no unrolled loops, conditions only where they matter.

    blocks      axes become what loops bind them to; `init` becomes a block, on the condition that a reduction starts
    unrolling   a loop of constant extent becomes its iterations, one behind the other
    partition   where a condition holds for all but some iterations of a loop, the loop is cut in up to three: in the
                main part the condition is gone

A condition 0 <= c v + r, where v is the loop's variable and inner loops move r down to m, is sure for v >= -m / c
(or, with a negative c, for v <= m / -c), so that `16 i_0 + i_1 < N` vanishes for i_0 < N // 16. The result is again a
PrimFunc: what the interpreter makes of it must be the same. Halide and TVM partition loops in this way; LLVM peels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sysai.compiler.codegen.plain_blocks import NOTHING, Ranges, simplified, when, without_axes
from sysai.compiler.tir.arith import affine, bounds, proves, simplify, size_ranges
from sysai.compiler.tir.conditions import conjunction, conjuncts
from sysai.compiler.tir.expr import FALSE, INDEX, ONE, ZERO, Binary, Const, Expr, Var, binary, walk
from sysai.compiler.tir.statement import (
    PARALLEL,
    SERIAL,
    UNROLLED,
    VECTORIZED,
    Allocate,
    Block,
    For,
    If,
    PrimFunc,
    Seq,
    Stmt,
    blocks,
    sequence,
    substitute_loops,
    transform_statement,
)

DEEPEST = 2  # how often a part that is not the main one is cut again: each time there may be three of it


def prepare(function: PrimFunc) -> PrimFunc:
    """The function without axes, predicates and unrolled loops; what it computes is the same.

    A vectorized loop of the result has a constant extent, and no condition inside depends on its variable.
    """
    ranges: Ranges = dict(size_ranges(function.sizes))
    body = simplified(transform_statement(function.body, without_axes), ranges)
    body = _Partition().visit(body, ranges, 0)
    return replace(function, body=transform_statement(body, _cleaned))


@dataclass(frozen=True)
class _Cuts:
    """From `low` to `high`, `known` says of conditions whether they hold; elsewhere they have to be looked at."""

    low: Expr
    high: Expr
    known: Mapping[Expr, bool]


class _Partition:
    """Unrolls and cuts loops from the outermost, with the ranges of the variables around."""

    def visit(self, stmt: Stmt, ranges: Ranges, depth: int) -> Stmt:
        match stmt:
            case For():
                return self.loop(stmt, ranges, depth)
            case If(condition, body):
                condition = simplify(condition, ranges)
                left = tuple(part for part in conjuncts(condition) if not proves(part, ranges))
                if FALSE in left:
                    return NOTHING
                return when(conjunction(*left), self.visit(body, ranges, depth))
            case Seq(parts):
                return Seq(tuple(self.visit(part, ranges, depth) for part in parts))
            case Allocate():
                return replace(stmt, body=self.visit(stmt.body, ranges, depth))
        return stmt

    def loop(self, loop: For, ranges: Ranges, depth: int) -> Stmt:
        extent = simplify(loop.extent, ranges)
        if isinstance(extent, Const) and extent.value <= 0:
            return NOTHING
        if (loop.kind == UNROLLED and isinstance(extent, Const)) or extent == ONE:
            copies = (substitute_loops(loop.body, {loop.var: value}) for value in range(extent.value))
            return Seq(tuple(self.visit(copy, ranges, depth) for copy in copies))
        inside: Ranges = {**ranges, loop.var: (0, extent)}
        cuts = self.cuts(loop, extent, ranges) if depth <= DEEPEST else None
        if cuts is None:
            return self.finished(replace(loop, extent=extent), inside, depth)
        main = _decided(loop.body, cuts.known)
        if loop.kind == PARALLEL:
            return self.branches(replace(loop, extent=extent), main, cuts, inside, depth)
        parts = (
            (ZERO, cuts.low, loop.body, depth + 1),
            (cuts.low, cuts.high, main, depth),
            (cuts.high, extent, loop.body, depth + 1),
        )
        return Seq(tuple(self.part(loop, *part, ranges) for part in parts if part[0] != part[1]))

    def part(self, loop: For, start: Expr, stop: Expr, body: Stmt, depth: int, ranges: Ranges) -> Stmt:
        """The iterations of a loop from `start` to `stop`."""
        length = simplify(stop - start, ranges)
        if isinstance(length, Const) and length.value <= 0:
            return NOTHING
        if start != ZERO:
            body = substitute_loops(body, {loop.var: loop.var + start})
        kind = SERIAL if loop.kind == VECTORIZED and not isinstance(length, Const) else loop.kind
        cut = For(loop.var, length, body, kind)
        if length == ONE:
            return self.visit(substitute_loops(body, {loop.var: 0}), ranges, depth)
        inside: Ranges = {**ranges, loop.var: (0, length)}
        return self.finished(cut, inside, depth)

    def finished(self, loop: For, inside: Ranges, depth: int) -> Stmt:
        body = self.visit(loop.body, inside, depth)
        if loop.kind == VECTORIZED and any(_divides(block, loop.var) for block in blocks(body)):
            body = simplified(body, inside)  # (16 + lane) // 32 is 0, now that it is not (16 i + lane) // 32 any more
        return replace(loop, body=body)

    def branches(self, loop: For, main: Stmt, cuts: _Cuts, inside: Ranges, depth: int) -> Stmt:
        """A parallel loop stays one, so that all its iterations are shared out; each asks which part it is of."""
        above, below = cuts.low <= loop.var, loop.var < cuts.high
        within = tuple(part for part in (above, below) if not proves(part, inside))
        outside = tuple(
            condition
            for condition, needed in ((loop.var < cuts.low, above in within), (cuts.high <= loop.var, below in within))
            if needed
        )
        either = outside[0] if len(outside) == 1 else binary("or", *outside) if outside else FALSE
        parts = (
            when(conjunction(*within), self.visit(main, inside, depth)),
            when(either, self.visit(loop.body, inside, depth + 1)) if outside else NOTHING,
        )
        return replace(loop, body=Seq(parts))

    def cuts(self, loop: For, extent: Expr, ranges: Ranges) -> _Cuts | None:
        """Where to cut the loop; None where no condition inside is decided by its variable."""
        inside: Ranges = {**ranges, loop.var: (0, extent)}  # says too that the loop runs, which its borders can't know
        low, high, known, unknown = ZERO, extent, {}, set()
        seen: set[object] = set()
        for condition, around in _conditions(loop.body, {}):
            moving = {var: range_ for var, range_ in around.items() if var in walk(condition)}
            occurrence = condition, tuple(moving.items())  # loops of one name may have different extents
            if occurrence in seen or loop.var not in walk(condition):
                continue
            seen.add(occurrence)
            if proves(condition, {**inside, **moving}):
                known[condition] = True
                continue
            border = _border(condition, loop.var, moving, inside)
            if border is None:
                unknown.add(condition)
                continue
            kind, place = border
            known[condition] = kind != "fails from"
            if kind == "holds below":
                high = _least(high, _greatest(place, low, ranges), ranges)
            else:
                low = _least(_greatest(place, low, ranges), high, ranges)
        known = {condition: holds for condition, holds in known.items() if condition not in unknown}
        empty = simplify(low - high, ranges) == ZERO
        return _Cuts(low, high, known) if known and not empty else None


def _divides(block: Block, var: Var) -> bool:
    """Whether a quotient or a remainder of the variable occurs in a block."""
    nodes = (node for expr in (*block.indices, block.value) for node in walk(expr))
    return any(isinstance(node, Binary) and node.op in ("floordiv", "mod") and var in walk(node) for node in nodes)


def _conditions(stmt: Stmt, moving: Ranges) -> Iterator[tuple[Expr, Ranges]]:
    """The conditions inside, each with the ranges of the loops between."""
    match stmt:
        case If(condition, body):
            for part in conjuncts(condition):
                yield part, moving
            yield from _conditions(body, moving)
        case For(var, extent, body):
            yield from _conditions(body, {**moving, var: (0, extent)})
        case Allocate(_, body):
            yield from _conditions(body, moving)
        case Seq(parts):
            for part in parts:
                yield from _conditions(part, moving)


def _border(condition: Expr, var: Var, moving: Ranges, inside: Ranges) -> tuple[str, Expr] | None:
    """("holds below" | "holds from" | "fails from", value of the variable), whatever the inner loops do."""
    match condition:
        case Binary("lt" | "le", a, b) if a.dtype == INDEX:
            margin = b - a - 1 if condition.op == "lt" else b - a
        case Binary("eq", a, b) if a.dtype == INDEX:
            margin = a - b
        case _:
            return None
    split = affine(margin, [var])
    if split is None or not isinstance(split[0].get(var), Const):
        return None
    factor, rest = split[0][var].value, split[1]
    least = bounds(rest, moving)[0] if moving else rest
    if least is None or any(inner in walk(least) for inner in moving):
        return None
    if condition.op == "eq":
        never_below = factor > 0 and proves(rest >= 0, {**inside, **moving})
        return ("fails from", ONE) if never_below else None
    if factor > 0:
        return "holds from", (0 - least + (factor - 1)) // factor
    return "holds below", least // -factor + 1


def _least(a: Expr, b: Expr, ranges: Ranges) -> Expr:
    return a if proves(a <= b, ranges) else b if proves(b <= a, ranges) else binary("min", a, b)


def _greatest(a: Expr, b: Expr, ranges: Ranges) -> Expr:
    a = simplify(a, ranges)
    return a if proves(b <= a, ranges) else b if proves(a <= b, ranges) else binary("max", a, b)


def _decided(stmt: Stmt, known: Mapping[Expr, bool]) -> Stmt:
    """The statement where some conditions are known to hold, or not to."""

    def change(inner: Stmt) -> Stmt | None:
        if not isinstance(inner, If):
            return None
        parts = conjuncts(inner.condition)
        if any(known.get(part) is False for part in parts):
            return NOTHING
        return when(conjunction(*(part for part in parts if part not in known)), inner.body)

    return transform_statement(stmt, change)


def _cleaned(stmt: Stmt) -> Stmt | None:
    """Without what is empty, with conditions outside of loops that they don't depend on."""
    match stmt:
        case Seq(parts):
            return sequence(*parts)
        case For(_, _, body) | If(_, body) | Allocate(_, body) if body == NOTHING:
            return NOTHING
        case For(var, _, If(condition, body)) if var not in walk(condition) and stmt.kind != PARALLEL:
            return If(condition, replace(stmt, body=body))
        case For(var, _, _, "vectorized") if _varies(stmt.body, var) or not isinstance(stmt.extent, Const):
            return replace(stmt, kind=SERIAL)
    return None


def _varies(stmt: Stmt, var: Var) -> bool:
    """Whether what is executed inside depends on the variable."""
    if any(var in walk(condition) for condition, _ in _conditions(stmt, {})):
        return True
    return any(var in walk(extent) for extent in _extents(stmt))


def _extents(stmt: Stmt) -> Iterator[Expr]:
    match stmt:
        case For(_, extent, body):
            yield extent
            yield from _extents(body)
        case If(_, body) | Allocate(_, body):
            yield from _extents(body)
        case Seq(parts):
            for part in parts:
                yield from _extents(part)
