"""Functions that the texts of rules may call on values and attributes."""

import math
from collections.abc import Sequence

from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph.graph import Value
from sysai.compiler.graph.operators.operator import broadcast
from sysai.compiler.graph.sizes import as_shape, canonical, product, same, same_shape
from sysai.compiler.tir.expr import FLOATS, Const, Expr, Operand, as_expr, binary

INTEGERS = ("int64", "int32", "int8")
HALF = ("float16", "bfloat16")

__all__ = [
    "FLOATS", "HALF", "INTEGERS", "broadcasts_to", "casts_exactly", "channels", "compose", "count",
    "dtype", "grouped", "is_reciprocal_exact", "moves_only_ones", "one_more_axis", "plus", "rank", "same",
    "same_shape", "scores", "shape", "swaps_last", "triangle",
]  # fmt: skip


def shape(x: Value) -> tuple[Expr, ...]:
    """The sizes of a value."""
    return x.shape


def dtype(x: Value) -> str:
    """The dtype of a value."""
    return x.dtype


def rank(x: Value) -> int:
    """How many axes a value has."""
    return len(x.shape)


def count(x: Value, axes: Sequence[int], less: int = 0) -> float | Expr:
    """How many elements lie along the axes, minus a number (but not below 0)."""
    size = canonical(binary("max", product(x.shape[axis] for axis in axes) - less, 0))
    return float(size.value) if isinstance(size, Const) else size


def compose(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that two orders, one after the other, give."""
    return tuple(first[axis] for axis in second)


def moves_only_ones(x: Value, order: Sequence[int]) -> bool:
    """Whether the axes that are longer than 1 stay in their order, so that no element moves in memory."""
    long = [axis for axis in order if not same(x.shape[axis], 1)]
    return long == sorted(long)


def broadcasts_to(x: Value, y: Value, result: Value) -> bool:
    """Whether the two have the result's shape together, so that neither need be expanded."""
    try:
        return same_shape(broadcast(x.shape, y.shape), result.shape)
    except InvalidGraph:
        return False


def plus(a: Operand, b: Operand) -> Expr:
    """The sum of two sizes."""
    return canonical(as_expr(a) + as_expr(b))


def swaps_last(order: Sequence[int]) -> bool:
    """Whether an order of axes exchanges the last two and nothing else."""
    first = len(order) - 2
    return first >= 0 and tuple(order) == (*range(first), first + 1, first)


def channels(x: Value) -> tuple[Expr, ...]:
    """The shape with which one number for each channel (axis 1) broadcasts to x."""
    return as_shape((x.shape[1], *[1] * (rank(x) - 2)))


def one_more_axis(x: Value, axis: int) -> tuple[Expr, ...]:
    """The shape of x with an axis of size 1 after `axis`."""
    return as_shape((*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))


def triangle(x: Value, axis: int) -> tuple[Expr, ...]:
    """[n, n, 1, ...]: n the size of x along the axis, as many ones as axes follow."""
    return as_shape((x.shape[axis], x.shape[axis], *[1] * (rank(x) - axis - 1)))


def scores(q: Value, k: Value) -> tuple[Expr, ...]:
    """[B, H, T, S] of queries [B, H, T, K] and keys [B, N, S, K]."""
    return (*q.shape[:3], k.shape[2])


def grouped(q: Value, k: Value, width: Expr) -> tuple[Expr, ...]:
    """[B, N, H / N * T, width]: the query heads that share a key-value head as rows of one matrix."""
    B, H, T = q.shape[:3]
    N = k.shape[1]
    return as_shape((B, N, H // N * T, width))


_WIDER = {
    "bool": ("int8", "int32", "int64", *FLOATS),
    "int8": ("int32", "int64", *FLOATS),
    "int32": ("int64", "float64"),
    "bfloat16": ("float32", "float64"),
    "float16": ("float32", "float64"),
    "float32": ("float64",),
}


def casts_exactly(source: str, target: str) -> bool:
    """Whether every value of the source dtype is one of the target dtype."""
    return source == target or target in _WIDER.get(source, ())


def is_reciprocal_exact(number: float | Expr, of: str) -> bool:
    """Whether 1 / number has no rounding error in the dtype: plus or minus a power of two, away from its limits."""
    if isinstance(number, Expr) or of not in FLOATS or not math.isfinite(number) or number == 0:
        return False
    exponent = math.frexp(number)[1]
    return abs(math.frexp(number)[0]) == 0.5 and abs(exponent) < 14
