"""From a scheduled function to one that C can print: no axes, no unrolled loops, conditions only where they matter.

    blocks      axes become what loops bind them to; `init` becomes a block, on the condition that a reduction starts
    unrolling   a loop of constant extent becomes its iterations, one after another
    partition   where a condition holds for all but some iterations of a loop, the loop is cut in up to three: in the
                main part the condition is gone

A condition 0 <= c v + r, where v is the loop's variable and inner loops move r down to m, is sure for v >= -m / c
(or, with a negative c, for v <= m / -c), so that `16 i_0 + i_1 < N` vanishes for i_0 < N // 16. The result is again a
PrimFunc, for which the interpreter must give the same. Halide and TVM partition loops in this way; LLVM peels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sysai.compiler import tir
from sysai.compiler.tir.arith import affine, bounds, proves, simplify, size_ranges

Ranges = dict[tir.Var, tuple[tir.Operand, tir.Operand]]
NOTHING = tir.Seq(())
DEEPEST = 2  # how often a part that is not the main one is cut again: each time there may be three of it


def partition_loops(function: tir.PrimFunc) -> tir.PrimFunc:
    """The function without axes, predicates and unrolled loops; what it computes is the same.

    A vectorized loop of the result has a constant extent, and no condition inside depends on its variable.
    """
    ranges: Ranges = dict(size_ranges(function.sizes))
    body = simplified(tir.transform_statement(function.body, without_axes), ranges)
    body = _Partition().visit(body, ranges, 0)
    return replace(function, body=tir.transform_statement(body, _cleaned))


@dataclass(frozen=True)
class _Cuts:
    """Between `low` and `high`, `decided` says of conditions whether they hold; elsewhere they are evaluated."""

    low: tir.Expr
    high: tir.Expr
    decided: Mapping[tir.Expr, bool]


class _Partition:
    """Unrolls and cuts loops from the outermost, with the ranges of the variables around."""

    def visit(self, stmt: tir.Stmt, ranges: Ranges, depth: int) -> tir.Stmt:
        match stmt:
            case tir.For():
                return self.loop(stmt, ranges, depth)
            case tir.If(condition, body):
                condition = simplify(condition, ranges)
                remaining = tuple(conjunct for conjunct in tir.conjuncts(condition) if not proves(conjunct, ranges))
                if tir.FALSE in remaining:
                    return NOTHING
                return when(tir.conjunction(*remaining), self.visit(body, ranges, depth))
        return tir.map_substatements(stmt, lambda child: self.visit(child, ranges, depth))

    def loop(self, loop: tir.For, ranges: Ranges, depth: int) -> tir.Stmt:
        extent = simplify(loop.extent, ranges)
        if isinstance(extent, tir.Const) and extent.value <= 0:
            return NOTHING
        if (loop.kind == tir.UNROLLED and isinstance(extent, tir.Const)) or extent == tir.ONE:
            copies = (tir.substitute_loops(loop.body, {loop.var: value}) for value in range(extent.value))
            return tir.Seq(tuple(self.visit(copy, ranges, depth) for copy in copies))
        inside: Ranges = {**ranges, loop.var: (0, extent)}
        cuts = self.cuts(loop, extent, ranges) if depth <= DEEPEST else None
        if cuts is None:
            return self.finished(replace(loop, extent=extent), inside, depth)
        main = _decided(loop.body, cuts.decided)
        if loop.kind == tir.PARALLEL:
            return self.branches(replace(loop, extent=extent), main, cuts, inside, depth)
        segments = (
            (tir.ZERO, cuts.low, loop.body, depth + 1),
            (cuts.low, cuts.high, main, depth),
            (cuts.high, extent, loop.body, depth + 1),
        )
        return tir.Seq(tuple(self.segment(loop, *segment, ranges) for segment in segments if segment[0] != segment[1]))

    def segment(
        self, loop: tir.For, start: tir.Expr, stop: tir.Expr, body: tir.Stmt, depth: int, ranges: Ranges
    ) -> tir.Stmt:
        """The iterations of a loop from `start` to `stop`."""
        length = simplify(stop - start, ranges)
        if isinstance(length, tir.Const) and length.value <= 0:
            return NOTHING
        if start != tir.ZERO:
            body = tir.substitute_loops(body, {loop.var: loop.var + start})
        kind = tir.SERIAL if loop.kind == tir.VECTORIZED and not isinstance(length, tir.Const) else loop.kind
        cut = tir.For(loop.var, length, body, kind)
        if length == tir.ONE:
            return self.visit(tir.substitute_loops(body, {loop.var: 0}), ranges, depth)
        inside: Ranges = {**ranges, loop.var: (0, length)}
        return self.finished(cut, inside, depth)

    def finished(self, loop: tir.For, inside: Ranges, depth: int) -> tir.Stmt:
        body = self.visit(loop.body, inside, depth)
        if loop.kind == tir.VECTORIZED and any(_divides(block, loop.var) for block in tir.blocks(body)):
            body = simplified(body, inside)  # (16 + lane) // 32 is 0, now that it is not (16 i + lane) // 32 any more
        return replace(loop, body=body)

    def branches(self, loop: tir.For, main: tir.Stmt, cuts: _Cuts, inside: Ranges, depth: int) -> tir.Stmt:
        """A parallel loop stays one, so that all its iterations are shared out; each asks which segment it is in."""
        above, below = cuts.low <= loop.var, loop.var < cuts.high
        within = tuple(condition for condition in (above, below) if not proves(condition, inside))
        outside = tuple(map(tir.opposite, within))
        either = outside[0] if len(outside) == 1 else tir.binary("or", *outside) if outside else tir.FALSE
        main = when(tir.conjunction(*within), self.visit(main, inside, depth))
        rest = when(either, self.visit(loop.body, inside, depth + 1)) if outside else NOTHING
        return replace(loop, body=tir.Seq((main, rest)))

    def cuts(self, loop: tir.For, extent: tir.Expr, ranges: Ranges) -> _Cuts | None:
        """Where to cut the loop; None where no condition inside is decided by its variable."""
        inside: Ranges = {**ranges, loop.var: (0, extent)}  # says too that the loop runs, which its borders can't know
        low, high, decided, unknown = tir.ZERO, extent, {}, set()
        seen: set[object] = set()
        for condition, inner_ranges in _conditions(loop.body, {}):
            moving = {var: range_ for var, range_ in inner_ranges.items() if var in tir.walk(condition)}
            occurrence = condition, tuple(moving.items())  # loops of one name may have different extents
            if occurrence in seen or loop.var not in tir.walk(condition):
                continue
            seen.add(occurrence)
            if proves(condition, {**inside, **moving}):
                decided[condition] = True
                continue
            border = _border(condition, loop.var, moving, inside)
            if border is None:
                unknown.add(condition)
                continue
            kind, position = border
            decided[condition] = kind != "fails from"
            if kind == "holds below":
                high = _least(high, _greatest(position, low, ranges), ranges)
            else:
                low = _least(_greatest(position, low, ranges), high, ranges)
        decided = {condition: holds for condition, holds in decided.items() if condition not in unknown}
        empty = simplify(low - high, ranges) == tir.ZERO
        return _Cuts(low, high, decided) if decided and not empty else None


def _divides(block: tir.Block, var: tir.Var) -> bool:
    """Whether a quotient or a remainder of the variable occurs in a block."""
    nodes = (node for expr in (*block.indices, block.value) for node in tir.walk(expr))
    return any(getattr(node, "op", "") in ("floordiv", "mod") and var in tir.walk(node) for node in nodes)


def _conditions(stmt: tir.Stmt, moving: Ranges) -> Iterator[tuple[tir.Expr, Ranges]]:
    """The conditions inside, each with the ranges of the loops between."""
    match stmt:
        case tir.If(condition, body):
            for conjunct in tir.conjuncts(condition):
                yield conjunct, moving
            yield from _conditions(body, moving)
        case tir.For(var, extent, body):
            yield from _conditions(body, {**moving, var: (0, extent)})
        case _:
            for child in tir.substatements(stmt):
                yield from _conditions(child, moving)


def _border(condition: tir.Expr, var: tir.Var, moving: Ranges, inside: Ranges) -> tuple[str, tir.Expr] | None:
    """("holds below" | "holds from" | "fails from", value of the variable), whatever the inner loops do."""
    match condition:
        case tir.Binary("lt" | "le", a, b) if a.dtype == tir.INDEX:
            margin = b - a - 1 if condition.op == "lt" else b - a
        case tir.Binary("eq", a, b) if a.dtype == tir.INDEX:
            margin = a - b
        case _:
            return None
    split = affine(margin, [var])
    if split is None or not isinstance(split[0].get(var), tir.Const):
        return None
    factor, rest = split[0][var].value, split[1]
    least = bounds(rest, moving)[0] if moving else rest
    if least is None or any(inner in tir.walk(least) for inner in moving):
        return None
    if condition.op == "eq":
        never_below = factor > 0 and proves(rest >= 0, {**inside, **moving})
        return ("fails from", tir.ONE) if never_below else None
    if factor > 0:
        return "holds from", (0 - least + (factor - 1)) // factor
    return "holds below", least // -factor + 1


def _least(a: tir.Expr, b: tir.Expr, ranges: Ranges) -> tir.Expr:
    return a if proves(a <= b, ranges) else b if proves(b <= a, ranges) else tir.binary("min", a, b)


def _greatest(a: tir.Expr, b: tir.Expr, ranges: Ranges) -> tir.Expr:
    a = simplify(a, ranges)
    return a if proves(b <= a, ranges) else b if proves(a <= b, ranges) else tir.binary("max", a, b)


def _decided(stmt: tir.Stmt, decided: Mapping[tir.Expr, bool]) -> tir.Stmt:
    """The statement after some of its conditions are decided."""

    def change(inner: tir.Stmt) -> tir.Stmt | None:
        if not isinstance(inner, tir.If):
            return None
        conditions = tir.conjuncts(inner.condition)
        if any(decided.get(condition) is False for condition in conditions):
            return NOTHING
        return when(tir.conjunction(*(condition for condition in conditions if condition not in decided)), inner.body)

    return tir.transform_statement(stmt, change)


def _cleaned(stmt: tir.Stmt) -> tir.Stmt | None:
    """The statement without empty parts, and with conditions outside of loops that they don't depend on."""
    match stmt:
        case tir.Seq(stmts):
            return tir.sequence(*stmts)
        case tir.For(_, _, body) | tir.If(_, body) | tir.Allocate(_, body) if body == NOTHING:
            return NOTHING
        case tir.For(var, _, tir.If(condition, body)) if var not in tir.walk(condition) and stmt.kind != tir.PARALLEL:
            return tir.If(condition, replace(stmt, body=body))
        case tir.For(var, _, _, "vectorized") if _varies(stmt.body, var) or not isinstance(stmt.extent, tir.Const):
            return replace(stmt, kind=tir.SERIAL)
    return None


def _varies(stmt: tir.Stmt, var: tir.Var) -> bool:
    """Whether what is executed inside depends on the variable."""
    if any(var in tir.walk(condition) for condition, _ in _conditions(stmt, {})):
        return True
    return any(var in tir.walk(loop.extent) for loop in tir.statements(stmt) if isinstance(loop, tir.For))


def without_axes(stmt: tir.Stmt) -> tir.Stmt | None:
    """A block without axes, init and combiner: it stores, inside an `if` for its predicate."""
    if not isinstance(stmt, tir.Block):
        return None
    values = {axis.var: axis.binding for axis in stmt.axes}
    indices = tuple(tir.substitute(index, values) for index in stmt.indices)
    plain = replace(stmt, axes=(), indices=indices, init=None, combine=None, predicate=tir.TRUE)
    body: tir.Stmt = replace(plain, value=tir.substitute(stmt.update, values))
    if stmt.init is not None:
        starts = tuple(tir.binary("eq", axis.binding, 0) for axis in stmt.axes if axis.kind == tir.REDUCE)
        body = tir.Seq((when(tir.conjunction(*starts), replace(plain, value=stmt.init)), body))
    return when(stmt.predicate, body)


def simplified(stmt: tir.Stmt, ranges: Ranges) -> tir.Stmt:
    """The statement with simple indices and conditions; before unrolling, as then there are many more of them."""
    match stmt:
        case tir.For():
            extent = simplify(stmt.extent, ranges)
            return replace(stmt, extent=extent, body=simplified(stmt.body, {**ranges, stmt.var: (0, extent)}))
        case tir.If(condition, body):
            return when(simplify(condition, ranges), simplified(body, ranges))
        case tir.Block():
            indices = tuple(simplify(index, ranges) for index in stmt.indices)
            return replace(stmt, indices=indices, value=simplify(stmt.value, ranges))
    return tir.map_substatements(stmt, lambda child: simplified(child, ranges))


def when(condition: tir.Expr, body: tir.Stmt) -> tir.Stmt:
    """The statement under a condition, if there is one."""
    return body if condition == tir.TRUE else NOTHING if condition == tir.FALSE else tir.If(condition, body)
