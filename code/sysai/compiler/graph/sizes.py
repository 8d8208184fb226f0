"""Arithmetic on sizes: two ways to write one size become the same expression.

A size is an integer expression of the graph's size variables. Its canonical form is that of `arith.simplify`, a
polynomial over variables and over what no polynomial expresses (`floordiv`, `mod`, `min`, `max`):

    4 * (T + 2) - 8  ->  T * 4          (T - 2) // 2 + 1  ->  T // 2
    (B * T * 8) // (T * 8)  ->  B, as a size that is divided by is not 0

Production systems ask a computer algebra system (torch: SymPy) and a solver, which know more identities.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from sysai.compiler.tir import accesses
from sysai.compiler.tir.arith import simplify
from sysai.compiler.tir.expr import INDEX, Const, Expr, Operand, as_expr, variables


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
