"""Arithmetic on sizes: two ways to write one size become the same expression.

A size is an integer expression of the graph's size variables. Its canonical form is a polynomial, monomials in a
fixed order, over variables and over what no polynomial expresses (`floordiv`, `mod`, `min`, `max`):

    4 * (T + 2) - 8  ->  T * 4          (T - 2) // 2 + 1  ->  T // 2
    (B * T * 8) // (T * 8)  ->  B, as a size that is divided by is not 0

Production systems ask a computer algebra system (torch: SymPy) and a solver, which know more identities.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from sysai.compiler.program.expr import INDEX, Binary, Const, Expr, Operand, Var, as_expr, binary

Monomial = tuple[Expr, ...]
Polynomial = dict[Monomial, int]

ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv,
    "mod": operator.mod, "min": min, "max": max,
}  # fmt: skip

COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip


@lru_cache(maxsize=4096)
def canonical(size: Expr) -> Expr:
    """The one form of all expressions that are the same polynomial."""
    return _expression(_polynomial(size))


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
    """The number that an expression stands for.

    Raises:
        ValueError: it has a variable without a value.
    """
    match size:
        case Const(value):
            return value
        case Var(name):
            if name not in sizes:
                raise ValueError(f"size {name} has no value: no input's shape binds it")
            return sizes[name]
        case Binary(op, a, b):
            return ARITHMETIC[op](evaluate(a, sizes), evaluate(b, sizes))
    return size


def holds(condition: Operand, sizes: Mapping[str, int]) -> bool:
    """Whether a condition on sizes is true: comparisons of sizes, and `and`, `or` of such."""
    match condition:
        case Binary("and", a, b):
            return holds(a, sizes) and holds(b, sizes)
        case Binary("or", a, b):
            return holds(a, sizes) or holds(b, sizes)
        case Binary(op, a, b):
            return COMPARE[op](evaluate(a, sizes), evaluate(b, sizes))
        case Const(value):
            return bool(value)
    raise ValueError(f"not a condition on sizes: {condition}")


def variables(size: Operand) -> set[Var]:
    """The size variables of an expression."""
    match size:
        case Var():
            return {size}
        case Binary(_, a, b):
            return variables(a) | variables(b)
    return set()


def _polynomial(size: Expr) -> Polynomial:
    match size:
        case Const(value):
            return {(): value} if value else {}
        case Binary("add" | "sub" as op, a, b):
            return _sum(_polynomial(a), _polynomial(b), 1 if op == "add" else -1)
        case Binary("mul", a, b):
            return _product(_polynomial(a), _polynomial(b))
        case Binary("floordiv" | "mod" as op, a, b):
            dividend, divisor = _polynomial(a), _polynomial(b)
            quotient = _exact_quotient(dividend, divisor)
            if quotient is not None:
                return quotient if op == "floordiv" else {}
            whole, rest = _divide(dividend, divisor)
            part = _atom(binary(op, _expression(rest), _expression(divisor)))
            return _sum(whole, part, 1) if op == "floordiv" else part
        case Binary("min" | "max" as op, a, b):
            a, b = sorted((canonical(a), canonical(b)), key=str)
            difference = _sum(_polynomial(a), _polynomial(b), -1)
            if set(difference) <= {()}:
                a_is_less = difference.get((), 0) < 0
                return _polynomial(a if a_is_less == (op == "min") else b)
            return _atom(binary(op, a, b))
    return _atom(size)


def _atom(size: Expr) -> Polynomial:
    return {(size,): 1} if not isinstance(size, Const) else _polynomial(size)


def _sum(a: Polynomial, b: Polynomial, sign: int) -> Polynomial:
    result = dict(a)
    for monomial, coefficient in b.items():
        result[monomial] = result.get(monomial, 0) + sign * coefficient
    return {monomial: coefficient for monomial, coefficient in result.items() if coefficient}


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    result: Polynomial = {}
    for left, m in a.items():
        for right, n in b.items():
            result = _sum(result, {tuple(sorted(left + right, key=str)): m * n}, 1)
    return result


def _exact_quotient(dividend: Polynomial, divisor: Polynomial) -> Polynomial | None:
    """The polynomial that times `divisor`, one monomial, is `dividend`; None where there is none."""
    if len(divisor) != 1:
        one = {(): 1}
        return one if dividend == divisor and divisor else None
    ((factors, number),) = divisor.items()
    quotient: Polynomial = {}
    for monomial, coefficient in dividend.items():
        rest = list(monomial)
        for factor in factors:
            if factor not in rest:
                return None
            rest.remove(factor)
        if coefficient % number:
            return None
        quotient[tuple(rest)] = coefficient // number
    return quotient


def _divide(dividend: Polynomial, divisor: Polynomial) -> tuple[Polynomial, Polynomial]:
    """(q, r) with dividend = q * divisor + r, where the divisor is a number; r's coefficients lie below it."""
    if set(divisor) != {()}:
        return {}, dividend
    number = divisor[()]
    parts = {monomial: divmod(coefficient, number) for monomial, coefficient in dividend.items()}
    whole, rest = ({monomial: pair[k] for monomial, pair in parts.items() if pair[k]} for k in (0, 1))
    return whole, rest


def _expression(polynomial: Polynomial) -> Expr:
    result: Expr = Const(0, INDEX)
    for monomial in sorted(polynomial, key=lambda factors: (-len(factors), tuple(map(str, factors)))):
        coefficient = polynomial[monomial]
        term: Expr = Const(1, INDEX)
        for factor in monomial:
            term = term * factor
        term = term * abs(coefficient)
        result = result + term if coefficient > 0 else result - term
    return result
