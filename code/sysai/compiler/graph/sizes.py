"""Arithmetic on sizes and indices.

A size is an integer expression of the graph's size variables. Its canonical form, in which two ways to write one size
become equal, is that of `arith.simplify`: a polynomial over variables and over what no polynomial expresses
(`floordiv`, `mod`, `min`, `max`).

    4 * (T + 2) - 8  ->  T * 4          (T - 2) // 2 + 1  ->  T // 2
    (B * T * 8) // (T * 8)  ->  B, as a size that is divided by is not 0

Production systems ask a computer algebra system (torch: SymPy) and a solver, which know more identities.

An element of a movement's result is an element of its operand elsewhere. Composed along a chain of movements, the
index says at once where in memory the element lies, so that no step of the chain need be carried out. Of a reshape,
groups of axes that have the same number of elements on both sides are matched first: [B, T, 12, 64] as [B, T, 768]
reads index (b, t, h, d) at (b, t, 64 h + d), and only where axes are split is there a division.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from sysai.compiler.graph import Node, Value
from sysai.compiler.tir import accesses
from sysai.compiler.tir.arith import simplify
from sysai.compiler.tir.expr import INDEX, ZERO, Binary, Const, Expr, Operand, Var, as_expr, row_major, variables, walk

Indices = tuple[Expr, ...]
TYPICAL_SIZE = 97  # of a size that is known at run time only, where one must guess which of two products is larger


@lru_cache(maxsize=4096)
def canonical(size: Expr) -> Expr:
    """The one form of all expressions that are the same polynomial."""
    return simplify(size)


def same(a: Operand, b: Operand) -> bool:
    """Whether two sizes are equal whatever the variables are (as far as canonical forms tell)."""
    return a == b or canonical(as_expr(a)) == canonical(as_expr(b))


def same_shape(a: Iterable[Operand], b: Iterable[Operand]) -> bool:
    """Whether two shapes are equal, size by size."""
    a, b = tuple(a), tuple(b)
    return len(a) == len(b) and all(map(same, a, b))


def product(sizes: Iterable[Operand]) -> Expr:
    """The number of elements of a shape; 1 for a scalar's."""
    result: Expr = Const(1, INDEX)
    for size in sizes:
        result = result * size
    return canonical(result)


def as_shape(sizes: Iterable[Operand]) -> tuple[Expr, ...]:
    """Canonical expressions of integers and expressions."""
    return tuple(canonical(as_expr(size)) for size in sizes)


def evaluate(size: Operand, sizes: Mapping[str, int]) -> int:
    """The number that an expression stands for, or the truth of a condition on sizes.

    Raises:
        ValueError: it has a variable without a value.
    """
    if not isinstance(size, Expr):
        return size
    if missing := [var.name for var in variables(size) if var.name not in sizes]:
        raise ValueError(f"size {min(missing)} has no value: no input's shape binds it")
    return accesses.evaluate(size, sizes)


def typical(shape: Sequence[Expr]) -> int:
    """The number of elements, with a guess for sizes that only the run time knows."""
    count = product(shape)
    return evaluate(count, {var.name: TYPICAL_SIZE for var in variables(count)})


def broadcast_indices(shape: Sequence[Expr], indices: Indices) -> Indices:
    """The index of an operand of `shape` that numpy's rules pair with `indices`."""
    aligned = indices[len(indices) - len(shape) :]
    return tuple(ZERO if same(size, 1) else index for size, index in zip(shape, aligned, strict=True))


def moved_indices(node: Node, indices: Indices) -> Indices:
    """The index of the operand that a reshape, permute, expand or slice reads for its own index `indices`."""
    (source,), attributes = node.inputs, node.attributes
    match node.op:
        case "reshape":
            return reshape_indices(node.output.shape, source.shape, indices)
        case "permute":
            return tuple(indices[attributes["order"].index(axis)] for axis in range(len(indices)))
        case "expand":
            return broadcast_indices(source.shape, indices)
        case "slice":
            axis = attributes["axis"]
            moved = indices[axis] * attributes["step"] + attributes["start"]
            return (*indices[:axis], moved, *indices[axis + 1 :])
    raise ValueError(f"{node.op} does not only move elements")


def reshape_indices(shape: Sequence[Expr], source: Sequence[Expr], indices: Indices) -> Indices:
    """The index in `source` of the element that stands at `indices` in `shape`; both have as many elements."""
    result: list[Expr] = []
    wide = [(size, index) for size, index in zip(shape, indices, strict=True) if not same(size, 1)]
    source_sizes = [size for size in source if not same(size, 1)]
    while source_sizes:
        # The shortest run of axes on each side with as many elements: the side with fewer takes in its next axis.
        axes, sizes = [wide.pop(0)], [source_sizes.pop(0)]
        while True:
            count, source_count = product(size for size, _ in axes), product(sizes)
            if same(count, source_count) or not (wide or source_sizes):
                break
            if source_sizes and (not wide or typical([source_count]) <= typical([count])):
                sizes.append(source_sizes.pop(0))
            else:
                axes.append(wide.pop(0))
        result += _unravel(row_major([index for _, index in axes], [size for size, _ in axes]), sizes)
    wide_indices = iter(result)
    return tuple(ZERO if same(size, 1) else next(wide_indices) for size in source)


def _unravel(offset: Expr, sizes: Sequence[Expr]) -> list[Expr]:
    """The index of the element at `offset` in row-major order."""
    if len(sizes) == 1:
        return [offset]
    *outer, last = sizes
    return [*_unravel(offset // last, outer), offset % last]


def is_affine(indices: Indices, axes: Sequence[Var]) -> bool:
    """Whether addresses grow evenly along the axes: no division, remainder or extreme of them."""
    return not any(
        isinstance(term, Binary) and term.op not in ("add", "sub", "mul") and set(axes) & set(walk(term))
        for index in indices
        for term in walk(index)
    )


def axis_variables(value: Value, prefix: str = "i") -> tuple[Var, ...]:
    """A variable for each axis of a value."""
    return tuple(Var(f"{prefix}{axis}") for axis in range(len(value.shape)))
