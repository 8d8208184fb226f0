"""Tensor programs: loops around blocks, each of which computes one element of a buffer.

A block says what is computed, apart from when: an element of `buffer` at `indices`, as a function of the block's own
axes. An axis is spatial (its iterations are independent) or reduces; a loop nest binds axes to expressions of loop
variables. With reducing axes the element is

    buffer[indices] = init                               where all reducing axes are at their start
    buffer[indices] = combine(buffer[indices], value)    at each iteration

Separating the block from the loops is the idea of TensorIR (Feng et al., arXiv 2207.04296): a schedule may
change loops and bindings at will as long as every iteration of the block's domain is executed as its axes allow.
TensorIR's blocks nest, declare their regions, and can be opaque (a tensor core's instruction); these are leaves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from sysai.compiler.tir.expr import TRUE, Buffer, Const, Expr, Load, Operand, Var, binary, substitute, transform, walk

SERIAL, PARALLEL, VECTORIZED, UNROLLED = "serial", "parallel", "vectorized", "unrolled"
LOOP_KINDS = (SERIAL, PARALLEL, VECTORIZED, UNROLLED)
SPATIAL, REDUCE = "spatial", "reduce"
COMBINERS = ("add", "mul", "min", "max")
_IDENTITY = {"add": 0, "mul": 1, "max": float("-inf"), "min": float("inf")}
_INTEGER_IDENTITY = {"max": lambda bits: -(2 ** (bits - 1)), "min": lambda bits: 2 ** (bits - 1) - 1}


class Stmt:
    """Base of all statements."""


@dataclass(frozen=True)
class Axis:
    """An axis of a block: `var` ranges over 0 to `extent`; `binding` says its value in terms of loop variables."""

    var: Var
    extent: Expr
    kind: str
    binding: Expr


@dataclass(frozen=True)
class Block(Stmt):
    """One element, as a function of the axes.

    Attributes:
        name: unique in its function; primitives name blocks by it.
        axes: the domain, and its bindings to the loops around.
        buffer, indices, value: what is stored where, in terms of the axes' variables and of sizes.
        init: the initial value of a reduction, in the buffer's dtype; None where the block does not initialize.
        combine: one of COMBINERS, or None where the value is just stored.
        predicate: the block is executed where it holds (in terms of loop variables); a split whose factor does not
            divide the extent adds one.
    """

    name: str
    axes: tuple[Axis, ...]
    buffer: Buffer
    indices: tuple[Expr, ...]
    value: Expr
    init: Expr | None = None
    combine: str | None = None
    predicate: Expr = TRUE

    @property
    def reduces(self) -> bool:
        """Whether the block combines its value with the element in its buffer."""
        return self.combine is not None

    @property
    def target(self) -> Load:
        """The element that is written."""
        return Load(self.buffer, self.indices)

    @property
    def update(self) -> Expr:
        """The value that is stored at each iteration, the init aside."""
        return binary(self.combine, self.target, self.value) if self.combine else self.value


@dataclass(frozen=True)
class For(Stmt):
    """`for var in range(extent)`: serial, parallel, vectorized or unrolled, as `kind` says."""

    var: Var
    extent: Expr
    body: Stmt
    kind: str = SERIAL


@dataclass(frozen=True)
class Seq(Stmt):
    """Statements in order."""

    statements: tuple[Stmt, ...]


@dataclass(frozen=True)
class If(Stmt):
    """`body` where `condition` holds."""

    condition: Expr
    body: Stmt


@dataclass(frozen=True)
class Allocate(Stmt):
    """A buffer that lives while `body` runs; its content is undefined at first."""

    buffer: Buffer
    body: Stmt


@dataclass(frozen=True)
class PrimFunc:
    """A tensor program.

    Attributes:
        name: a C identifier.
        sizes: variables that are known at run time only; every shape is made of them and of constants.
        buffers: the arrays that the caller passes, in order. Outputs are those that some block writes.
        body: the statements.
    """

    name: str
    sizes: tuple[Var, ...]
    buffers: tuple[Buffer, ...]
    body: Stmt

    @property
    def outputs(self) -> tuple[Buffer, ...]:
        """The buffers among the parameters that are written."""
        written = {block.buffer.name for block in blocks(self.body)}
        return tuple(buffer for buffer in self.buffers if buffer.name in written)


def identity(combine: str, dtype: str) -> Const:
    """The identity element of a combiner: combining it with a number gives that number."""
    if not dtype.startswith("int"):
        return Const(float(_IDENTITY[combine]), dtype)
    extreme = _INTEGER_IDENTITY.get(combine)
    return Const(extreme(int(dtype.removeprefix("int"))) if extreme else _IDENTITY[combine], dtype)


def substatements(stmt: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside."""
    match stmt:
        case For() | If() | Allocate():
            return (stmt.body,)
        case Seq(stmts):
            return stmts
    return ()


def map_substatements(stmt: Stmt, change: Callable[[Stmt], Stmt]) -> Stmt:
    """The statement with `change` of each statement directly inside."""
    match stmt:
        case For() | If() | Allocate():
            return replace(stmt, body=change(stmt.body))
        case Seq(stmts):
            return Seq(tuple(map(change, stmts)))
    return stmt


def statements(stmt: Stmt) -> Iterator[Stmt]:
    """The statement and all inside it, in the order of execution, itself first."""
    yield stmt
    for child in substatements(stmt):
        yield from statements(child)


def blocks(stmt: Stmt) -> Iterator[Block]:
    """The blocks inside, in the order of execution."""
    return (inner for inner in statements(stmt) if isinstance(inner, Block))


def transform_statement(stmt: Stmt, change: Callable[[Stmt], Stmt | None]) -> Stmt:
    """Rebuild from the leaves up; `change` gives a replacement for a statement whose parts are done, or None."""
    stmt = map_substatements(stmt, lambda child: transform_statement(child, change))
    replacement = change(stmt)
    return stmt if replacement is None else replacement


def substitute_loops(stmt: Stmt, values: Mapping[Var, Operand]) -> Stmt:
    """Replace loop variables in extents, conditions, bindings and predicates; in blocks without axes everywhere."""

    def change(inner: Stmt) -> Stmt | None:
        match inner:
            case For():
                return replace(inner, extent=substitute(inner.extent, values))
            case If():
                return replace(inner, condition=substitute(inner.condition, values))
            case Block(axes=()):
                indices = tuple(substitute(index, values) for index in inner.indices)
                value, predicate = substitute(inner.value, values), substitute(inner.predicate, values)
                return replace(inner, indices=indices, value=value, predicate=predicate)
            case Block():
                axes = tuple(replace(axis, binding=substitute(axis.binding, values)) for axis in inner.axes)
                return replace(inner, axes=axes, predicate=substitute(inner.predicate, values))
        return None

    return transform_statement(stmt, change)


def sequence(*statements: Stmt) -> Stmt:
    """The statements in order, without sequences inside sequences."""
    flat = [child for stmt in statements for child in (stmt.statements if isinstance(stmt, Seq) else (stmt,))]
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def in_loops(loops: Sequence[For], body: Stmt) -> Stmt:
    """The loops around `body` instead of their own bodies, the first one outermost."""
    for loop in reversed(loops):
        body = replace(loop, body=body)
    return body


def with_canonical_sizes(function: PrimFunc) -> tuple[PrimFunc, tuple[Var, ...]]:
    """The function with sizes called size0, size1, ... in the order of its shapes; and its own sizes in that order.

    Tracers give every tensor sizes of its own: the caches of thirty layers have thirty lengths, equal or not. The same
    program is made for each, and one kernel serves them all: it takes its sizes as arguments.
    """
    shapes = [size for buffer in function.buffers for size in buffer.shape]
    mentioned = [node for size in shapes for node in walk(size) if isinstance(node, Var)]
    sizes = tuple(dict.fromkeys((*mentioned, *function.sizes)))
    if not sizes:
        return function, ()
    renamed = with_sizes(function, {size: Var(f"size{position}") for position, size in enumerate(sizes)})
    return replace(renamed, sizes=tuple(Var(f"size{position}") for position in range(len(sizes)))), sizes


def with_sizes(function: PrimFunc, values: Mapping[Var, Expr]) -> PrimFunc:
    """The function with other names for its sizes, or with numbers in their place, for a kernel of just these."""

    def put(part: object) -> object:
        """The values in a statement, an axis, a buffer, an expression, or a tuple of them; names stay."""
        match part:
            case tuple():
                return tuple(map(put, part))
            case Expr():
                return transform(part, put_in_node)
            case Stmt() | Axis() | Buffer():
                return replace(part, **{field.name: put(getattr(part, field.name)) for field in fields(part)})
        return part

    def put_in_node(node: Expr) -> Expr | None:
        return replace(node, buffer=put(node.buffer)) if isinstance(node, Load) else values.get(node)

    sizes = tuple(size for old in function.sizes if isinstance(size := values.get(old, old), Var))
    return PrimFunc(function.name, sizes, put(function.buffers), put(function.body))
