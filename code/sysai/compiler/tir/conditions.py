"""Conditions: conjunctions and their parts, and the opposite of a condition."""

from functools import reduce

from sysai.compiler.tir.expr import TRUE, Binary, Const, Expr, binary


def both(a: Expr, b: Expr) -> Expr:
    """`a and b`, without what holds anyway."""
    if TRUE in (a, b):
        return b if a == TRUE else a
    return a if a == b else binary("and", a, b)


def conjunction(*parts: Expr) -> Expr:
    """All of them; TRUE if there are none."""
    return reduce(both, parts, TRUE)


def conjuncts(condition: Expr) -> tuple[Expr, ...]:
    """The parts of a conjunction."""
    match condition:
        case Binary("and", a, b):
            return *conjuncts(a), *conjuncts(b)
    return () if condition == TRUE else (condition,)


def opposite(condition: Expr) -> Expr | None:
    """The condition that holds where this one does not; None where it cannot be written."""
    match condition:
        case Const(value, "bool"):
            return Const(not value, "bool")
        case Binary("lt" | "le" as op, a, b) if a.dtype.startswith("int"):
            return binary("le" if op == "lt" else "lt", b, a)
        case Binary("eq" | "ne" as op, a, b):
            return binary("ne" if op == "eq" else "eq", a, b)
        case Binary("and" | "or" as op, a, b):
            left, right = opposite(a), opposite(b)
            return None if left is None or right is None else binary("or" if op == "and" else "and", left, right)
    return None
