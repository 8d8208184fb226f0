"""Whether a tensor program keeps the rules that `statement.py` states, so that passes may rely on them.

Names, scopes and dtypes are checked by reading the program. Where elements lie is checked in two steps: what
`arith.py` proves is accepted; for the rest the loops are executed for a few small sizes (`counterexample.py`), and an
index that is outside, an element that two iterations write, or two dependent iterations of a parallel loop are
reported with their numbers. What is neither proved nor refuted is accepted: indices that depend on data are of this
kind. LLVM's verifier and TVM's `VerifyWellFormed` check names and types; the rest is left to each pass there.
"""

import keyword
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from sysai.compiler import tir
from sysai.compiler.errors import InvalidProgram
from sysai.compiler.tir.accesses import Access, accesses, guards_of, nests
from sysai.compiler.tir.arith import Ranges, affine, proves, size_ranges
from sysai.compiler.tir.counterexample import find_counterexample

RESERVED = {
    *tir.MATH,
    *tir.EXTREMES,
    *tir.DTYPES,
    "select",
    "cast",
    "init",
    "combine",
    "where",
    "spatial",
    "reduce",
    "size",
}
"""Names that are words of the text form, and so cannot name a variable or a buffer."""


@lru_cache(maxsize=256)
def verify_function(function: tir.PrimFunc) -> None:
    """Check a function, once for functions that are equal.

    Raises:
        InvalidProgram: a rule is broken; the message says where, and by which numbers if they are known.
    """
    _Names(function).check()
    if not _all_proved(function):
        counterexample = find_counterexample(function)
        _require(counterexample is None, f"{function.name}: {counterexample}")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidProgram(message)


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
        _require(
            re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) is not None and not keyword.iskeyword(name),
            f"{name!r} is no identifier: use letters, digits and _",
        )
        _require(name not in RESERVED, f"{name} has a meaning of its own in programs: choose another name")
        _require(name not in taken, f"{name} names two things: rename one of them")

    def buffer(self, buffer: tir.Buffer, inner: tuple[tir.Var, ...]) -> None:
        self.name(buffer.name, {*self.buffers, *(size.name for size in self.sizes), *(var.name for var in inner)})
        _require(
            buffer.dtype in tir.DTYPES, f"{buffer.name} has dtype {buffer.dtype}: use one of {', '.join(tir.DTYPES)}"
        )
        for extent in buffer.shape:
            self.index(extent, (*self.sizes, *inner), f"the shape of {buffer.name}")
        self.buffers[buffer.name] = buffer

    def statement(self, stmt: tir.Stmt, variables: tuple[tir.Var, ...], visible: Mapping[str, tir.Buffer]) -> None:
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

    def block(self, block: tir.Block, variables: tuple[tir.Var, ...], visible: Mapping[str, tir.Buffer]) -> None:
        where = f"block {block.name}"
        _require(block.name not in self.blocks, f"two blocks are named {block.name}: rename one of them")
        self.blocks.add(block.name)
        own = [axis.var for axis in block.axes]
        for axis in block.axes:
            taken = [*self.buffers, *(v.name for v in variables), *(v.name for v in own if v is not axis.var)]
            self.name(axis.var.name, taken)
            _require(axis.kind in (tir.SPATIAL, tir.REDUCE), f"{where}: axis {axis.var} is {axis.kind}")
            self.index(axis.extent, tuple(self.sizes), f"{where}: the extent of axis {axis.var}")
            self.index(axis.binding, variables, f"{where}: the binding of axis {axis.var}", visible)
        # Bindings and the predicate see the loops, and all that follows only the block's own axes.
        self.expr(block.predicate, variables, visible, f"{where}: the predicate")
        _require(block.predicate.dtype == "bool", f"{where}: the predicate {block.predicate} is no condition")
        inside = (*self.sizes, *own)
        for index in block.indices:
            self.index(index, inside, where, visible)
        self.expr(block.target, inside, visible, where)
        self.expr(block.value, inside, visible, where)
        dtype = block.buffer.dtype
        _require(
            block.value.dtype == dtype, f"{where} stores {block.value.dtype} in {block.buffer.name}: cast it to {dtype}"
        )
        reducing = {axis.var for axis in block.axes if axis.kind == tir.REDUCE}
        _require(
            block.combine in (None, *tir.COMBINERS),
            f"{where} combines by {block.combine}: use {', '.join(tir.COMBINERS)}",
        )
        _require(
            block.reduces or not reducing,
            f"{where} has reduction axes, but does not combine: its iterations would overwrite each other",
        )
        for index in block.indices:
            _require(
                not reducing & set(tir.walk(index)), f"{where} writes where its reduction axes say: make them spatial"
            )
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

    def index(
        self,
        expr: tir.Expr,
        variables: tuple[tir.Var, ...],
        where: str,
        visible: Mapping[str, tir.Buffer] | None = None,
    ) -> None:
        self.expr(expr, variables, visible or {}, where)
        _require(expr.dtype == tir.INDEX, f"{where}: {expr} is {expr.dtype}, an index is {tir.INDEX}")

    def expr(
        self, expr: tir.Expr, variables: tuple[tir.Var, ...], visible: Mapping[str, tir.Buffer], where: str
    ) -> None:
        for node in tir.walk(expr):
            match node:
                case tir.Var(name):
                    _require(node in variables, f"{where} uses {name}, which is not defined there")
                case tir.Load(buffer, indices):
                    _require(
                        visible.get(buffer.name) == buffer,
                        f"{where} uses buffer {buffer.name}, not defined there as {buffer.dtype} of this shape",
                    )
                    _require(
                        len(indices) == len(buffer.shape),
                        f"{where}: {node} has {len(indices)} indices for {len(buffer.shape)} dimensions",
                    )
                    for index in indices:
                        _require(
                            index.dtype == tir.INDEX,
                            f"{where}: index {index} of {node} is {index.dtype}, not {tir.INDEX}",
                        )
                case tir.Binary(op, a, b):
                    _require(a.dtype == b.dtype, f"{where}: {node} has operands of {a.dtype} and {b.dtype}: cast one")
                    defined = op in tir.ARITHMETIC or op in tir.EXTREMES or node.dtype == "bool"
                    _require(defined, f"{where}: no operation {op}")
                    logical = op in tir.LOGIC
                    _require(not logical or a.dtype == "bool", f"{where}: {node} is logic on {a.dtype}")
                    arithmetic = op in tir.ARITHMETIC
                    _require(not arithmetic or a.dtype != "bool", f"{where}: {node} calculates with truth values")
                case tir.Call(function, _):
                    _require(function in tir.MATH, f"{where}: no function {function}")
                case tir.Select(condition, a, b):
                    _require(condition.dtype == "bool", f"{where}: {condition} is no condition")
                    _require(a.dtype == b.dtype, f"{where}: {node} is {a.dtype} or {b.dtype}: cast one")
                case tir.Cast(dtype, _) | tir.Const(_, dtype):
                    _require(dtype in tir.DTYPES, f"{where}: no dtype {dtype}")


def _all_proved(function: tir.PrimFunc) -> bool:
    """Whether every element that is touched lies inside, distinct for distinct iterations, where it has to.

    Of sums, and of what is allocated inside, nothing is proved: whether terms are added once, and whether elements are
    stored before they are read.
    """
    if any(isinstance(stmt, tir.Allocate) for stmt in tir.statements(function.body)):
        return False
    for block, enclosing in nests(function.body):
        loops = [stmt for stmt in enclosing if isinstance(stmt, tir.For)]
        ranges = {**size_ranges(function.sizes), **{loop.var: (0, loop.extent) for loop in loops}}
        holds = guards_of(block, enclosing)
        if block.reduces or not (_inside(block, ranges, holds) and _distinct(block)):
            return False
    parallel = [s for s in _loops(function.body) if s.kind in (tir.PARALLEL, tir.VECTORIZED)]
    return all(_independent(loop, function) for loop in parallel)


def _loops(stmt: tir.Stmt) -> list[tir.For]:
    return list(dict.fromkeys(s for _, enclosing in nests(stmt) for s in enclosing if isinstance(s, tir.For)))


def _inside(block: tir.Block, ranges: Ranges, holds: tuple[tir.Expr, ...]) -> bool:
    needed = [(axis.binding, axis.extent, ()) for axis in block.axes]
    for access in accesses(block):
        pairs = zip(access.indices, access.buffer.shape, strict=True)
        needed += [(index, extent, access.guards) for index, extent in pairs if not tir.depends_on_data(index)]
    return all(
        proves(tir.binary("and", tir.as_expr(0) <= index, index < extent), ranges, (*holds, *guards))
        for index, extent, guards in needed
    )


def _distinct(block: tir.Block) -> bool:
    """Whether every spatial axis is an index itself (or has one iteration only)."""
    return all(
        axis.var in block.indices or axis.extent == tir.Const(1, tir.INDEX)
        for axis in block.axes
        if axis.kind == tir.SPATIAL
    )


def _independent(loop: tir.For, function: tir.PrimFunc) -> bool:
    """Whether all elements that are touched determine the loop's iteration: by an index c * var + rest, rest < c."""
    inside = list(nests(loop.body))
    private = {s.buffer.name for _, enclosing in inside for s in enclosing if isinstance(s, tir.Allocate)}
    touched: dict[str, list[tuple[Access, Ranges]]] = {}
    for block, enclosing in inside:
        ranges = {**size_ranges(function.sizes), **{s.var: (0, s.extent) for s in enclosing if isinstance(s, tir.For)}}
        for access in accesses(block):
            touched.setdefault(access.buffer.name, []).append((access, ranges))
    shared = [all_ for name, all_ in touched.items() if name not in private and any(a.writes for a, _ in all_)]
    for uses in shared:
        dimensions = range(len(uses[0][0].indices))
        digits = [{_digit(access.indices[d], loop.var, ranges) for access, ranges in uses} for d in dimensions]
        if not any(len(alike) == 1 and None not in alike for alike in digits):
            return False
    return True


def _digit(index: tir.Expr, var: tir.Var, inner: Ranges) -> tuple[tir.Expr, tir.Expr] | None:
    """(c, fixed) with index = c * var + fixed + rest, where 0 <= rest < c and fixed does not change inside the loop."""
    moving = [v for v in inner if v in tir.walk(index) and inner[v][1] is not None]
    split = affine(index, [var, *moving])
    if split is None or var not in split[0] or tir.depends_on_data(split[1]):
        return None
    coefficient = split[0][var]
    rest = sum((split[0][v] * v for v in moving if v in split[0]), start=tir.as_expr(0))
    fits = proves(tir.binary("and", tir.as_expr(0) <= rest, rest < coefficient), inner)
    return (coefficient, split[1]) if fits else None
