"""Index expressions before the program runs: simpler forms, bounds, and proofs of conditions.

A condition a <= b holds if b - a has a least value that is not negative. That value is found by replacing atoms one
after the other, inner loop variables first, by the end of their range that makes the polynomial (`polynomial.py`)
smallest: in N - 8 i - j, with j < 8 and i < N // 8, first j by 7, then i by N // 8 - 1, then 8 (N // 8) by N.

`ranges` maps a variable to (low, high), low included and high not; both may contain other variables, and are None
where there is no bound. Proofs hold for integers that don't overflow and for expressions that are defined: a divisor
is not 0. The method is interval arithmetic with symbols, as in Halide's and TVM's simplifiers; it is sound and
incomplete: `proves` says False where it does not know. Presburger solvers (isl, Z3) decide the linear part fully.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from threading import local

from sysai.compiler import tir
from sysai.compiler.tir.polynomial import Polynomial, divide_by_constant, exact_quotient, expression, polynomial

Range = tuple[tir.Operand | None, tir.Operand | None]
Ranges = Mapping[tir.Var, Range]

STEPS = 400  # replacements that a proof may try; those that succeed take a few dozen
REMEMBERED = 256  # sets of ranges, with all that was asked about them: unrolled loops ask the same again and again


def size_ranges(sizes: Iterable[tir.Var], least: int = 0) -> dict[tir.Var, Range]:
    """Ranges of sizes that are known at run time only: `least` or more."""
    return dict.fromkeys(sizes, (least, None))


def simplify(expr: tir.Expr, ranges: Ranges | None = None) -> tir.Expr:
    """An expression of the same value wherever the variables are in their ranges; equal sums become the same tree.

    Integers, conditions and what depends on them are simplified; arithmetic on floats stays as it is.
    """
    return _knowledge(ranges or {}).simplify(expr)


def bounds(expr: tir.Expr, ranges: Ranges) -> tuple[tir.Expr | None, tir.Expr | None]:
    """(low, high) that all values of an integer expression lie in, low included and high not.

    Variables with a range on both sides are eliminated; sizes and other unbounded variables stay in the bounds.
    None stands for a bound that is not found.
    """
    knowledge = _knowledge(ranges)
    value = polynomial(knowledge.simplify(expr))
    knowledge.steps = STEPS
    low = next((bound for bound in knowledge.least(value, keep=True) if bound.integral), None)
    high = next((bound * -1 + 1 for bound in knowledge.least(value * -1, keep=True) if bound.integral), None)
    return tuple(None if bound is None else knowledge.simplify(expression(bound)) for bound in (low, high))


def proves(condition: tir.Expr, ranges: Ranges, assuming: Sequence[tir.Expr] = ()) -> bool:
    """Whether the condition certainly holds for all values in the ranges for which those of `assuming` hold."""
    return _knowledge(ranges, assuming).proves(condition)


def _knowledge(ranges: Ranges, assuming: Sequence[tir.Expr] = ()) -> "_Knowledge":
    return _remembered(tuple(ranges.items()), tuple(assuming))


def affine(expr: tir.Expr, variables: Iterable[tir.Var]) -> tuple[dict[tir.Var, tir.Expr], tir.Expr] | None:
    """(coefficients, rest) of a sum of coefficients times `variables` and a rest, both free of them; None if not so.

    A coefficient is an expression in other variables: 4 for i in 4 * i + j * N, and N for j. Absent ones are 0.
    """
    rest = polynomial(simplify(expr))
    variables = tuple(variables)
    coefficients = {}
    for variable in variables:
        factor, rest = rest.factor(variable)
        if factor.terms:
            coefficients[variable] = expression(factor)
    terms = (*coefficients.values(), expression(rest))
    if any(variable in tir.walk(term) for term in terms for variable in variables):
        return None
    return coefficients, terms[-1]


class _Knowledge(local):
    """Ranges and assumptions, with the results of all questions that were asked about them; each thread has its own.

    Attributes:
        steps: that remain for the search in hand.
    """

    def __init__(self, ranges: Iterable[tuple[tir.Var, Range]], assuming: Sequence[tir.Expr]):
        self.simple: dict[tir.Expr, tir.Expr] = {}
        self.proved: dict[tir.Expr, bool] = {}
        ends = {var: tuple(None if end is None else tir.as_expr(end) for end in range_) for var, range_ in ranges}
        self.low = {var: polynomial(low) for var, (low, _) in ends.items() if low is not None}
        self.last = {var: polynomial(high) - 1 for var, (_, high) in ends.items() if high is not None}
        self.ranged = self.low.keys() & self.last.keys()
        self.conditions = [self.simplify(condition) for condition in assuming]
        self.facts = [fact for condition in self.conditions for fact in _facts(condition)]
        for var in (var for var in self.low if var in self.ranged):
            extent = self.last[var] - self.low[var]
            if extent.constant is None:
                self.facts.append(extent)  # a loop that runs is not empty

    def simplify(self, expr: tir.Expr) -> tir.Expr:
        simplified = self.simple.get(expr)
        if simplified is None:
            operands = tir.children(expr)
            simple = tuple(map(self.simplify, operands))
            node = expr if simple == operands else tir.rebuild(expr, simple)
            self.steps = STEPS
            simplified = self.simple[expr] = self._simplified(node) or node
        return simplified

    def proves(self, condition: tir.Expr) -> bool:
        if condition not in self.proved:
            self.proved[condition] = self._holds(condition)
        return self.proved[condition]

    def _holds(self, condition: tir.Expr) -> bool:
        condition = self.simplify(condition)
        self.steps = STEPS
        if condition == tir.TRUE or condition in self.conditions:
            return True
        match condition:
            case tir.Binary("and", a, b):
                return self.proves(a) and self.proves(b)
            case tir.Binary("or", a, b):
                return self.proves(a) or self.proves(b)
            case tir.Binary("le" | "lt" | "eq" | "ne" as op, a, b) if a.dtype == tir.INDEX:
                difference = polynomial(b) - polynomial(a)
                if op == "eq":
                    return self._with_facts(difference) and self._with_facts(difference * -1)
                if op == "ne":
                    return self._with_facts(difference - 1) or self._with_facts(difference * -1 - 1)
                return self._with_facts(difference - (op == "lt"))
        return False

    def _with_facts(self, value: Polynomial) -> bool:
        """Whether the value, or what remains of it after taking away a fact (itself not negative), is not negative."""
        if self.nonnegative(value):
            return True
        for fact in self.facts:
            ratios = {Fraction(value.terms.get(m, 0)) / c for m, c in fact.terms.items() if m}
            if any(self.nonnegative(value - fact * ratio) for ratio in ratios if ratio > 0):
                return True
        return False

    def nonnegative(self, value: Polynomial) -> bool:
        """Whether no value is below 0; an integer is not where it is above -1."""
        if value.constant is not None:
            return value.constant >= 0
        constants = (bound.constant for bound in self.least(value) if bound.constant is not None)
        return any(bound > -1 if value.integral else bound >= 0 for bound in constants)

    def least(self, value: Polynomial, keep: bool = False) -> Iterator[Polynomial]:
        """Lower bounds of the value: constants; with `keep`, polynomials of variables that have no upper bound."""
        atom = self._next(value, keep)
        if atom is None:
            yield value
            return
        self.steps -= 1
        if self.steps < 0:
            return
        factor, rest = value.factor(atom)
        if self.nonnegative(factor):
            sign = 1
        elif self.nonnegative(factor * -1):
            sign = -1
        else:
            return
        match atom:
            case tir.Binary("min" | "max" as op, a, b):
                cases = [polynomial(a), polynomial(b)]
                if (op == "max") == (sign == 1):
                    for case in cases:
                        yield from self.least(factor * case + rest, keep)
                else:
                    yield from self._smaller(*(factor * case + rest for case in cases), keep)
            case tir.Select(_, a, b):
                yield from self._smaller(factor * polynomial(a) + rest, factor * polynomial(b) + rest, keep)
            case _:
                for end in self._ends(atom, sign, keep):
                    yield from self.least(factor * end + rest, keep)

    def _smaller(self, a: Polynomial, b: Polynomial, keep: bool) -> Iterator[Polynomial]:
        for left, right in itertools.product(self.least(a, keep), list(self.least(b, keep))):
            if (left - right).constant is not None:
                yield left if (left - right).constant <= 0 else right

    def _ends(self, atom: tir.Expr, sign: int, keep: bool) -> Iterator[Polynomial]:
        """Bounds of the atom: it is never below them (sign 1), or never above them (sign -1)."""
        match atom:
            case tir.Var():
                end = (self.low if sign == 1 else self.last).get(atom)
                if end is not None:
                    yield end
            case tir.Binary("floordiv", a, b) if self.nonnegative(divisor := polynomial(b)):
                number = polynomial(a)
                if keep or self._moves(a):
                    for end in self.least(number * sign, keep=True):
                        if end.integral and end != number * sign:
                            yield self.divide(end * sign, divisor)[0]
                if divisor.constant:
                    slack = divisor.constant - 1 if sign == 1 else 0
                    yield (number - slack) * Fraction(1, divisor.constant)
            case tir.Binary("mod", a, b) if self.nonnegative(divisor := polynomial(b)):
                if sign == 1:
                    yield Polynomial({})
                else:
                    yield divisor - 1
                    if self.nonnegative(polynomial(a)):
                        yield polynomial(a)
            case tir.Binary("within", _, length):
                yield Polynomial({}) if sign == 1 else polynomial(length) - 1

    def _next(self, value: Polynomial, keep: bool) -> tir.Expr | None:
        """An atom to replace: one that no other atom contains and no other's range depends on."""
        atoms = value.atoms
        if keep:
            atoms = [atom for atom in atoms if self._moves(atom)]
        for atom in atoms:
            others = [other for other in atoms if other != atom]
            if not any(self._depends(other, atom) for other in others):
                return atom
        return atoms[0] if atoms else None

    def _moves(self, atom: tir.Expr) -> bool:
        """Whether it contains a variable that has a range on both sides, or anything but sizes."""
        of_sizes = tir.Var | tir.Binary | tir.Const
        return any(node in self.ranged or not isinstance(node, of_sizes) for node in tir.walk(atom))

    def _depends(self, expr: tir.Expr, atom: tir.Expr) -> bool:
        ends = (end.get(var) for var in tir.variables(expr) for end in (self.low, self.last))
        return atom in tir.walk(expr) or any(atom in tir.walk(inner) for end in ends if end for inner in end.atoms)

    def _simplified(self, node: tir.Expr) -> tir.Expr | None:
        """A simpler form of a node whose operands are simple, or None."""
        match node:
            case tir.Binary("le" | "lt" | "eq" | "ne", a, b) if a.dtype == tir.INDEX:
                return self._comparison(node)
            case tir.Binary("and" | "or" as op, a, b):
                neutral = tir.TRUE if op == "and" else tir.FALSE
                if a in (neutral, b):
                    return b
                return a if b == neutral or a in (tir.TRUE, tir.FALSE) else b if b in (tir.TRUE, tir.FALSE) else None
            case tir.Select(condition, a, b):
                return a if condition == tir.TRUE or a == b else b if condition == tir.FALSE else None
            case tir.Binary("min" | "max" as op, a, b) if a.dtype == tir.INDEX:
                difference = polynomial(b) - polynomial(a)
                if self.nonnegative(difference):
                    return a if op == "min" else b
                return (b if op == "min" else a) if self.nonnegative(difference * -1) else None
            case tir.Binary("within", a, length):
                number = polynomial(a)
                return a if self.nonnegative(number) and self.nonnegative(polynomial(length) - number - 1) else None
            case tir.Binary("floordiv" | "mod" as op, a, b) if a.dtype == tir.INDEX:
                if polynomial(b).constant == 0:
                    return None
                return expression(self._joined(self.divide(polynomial(a), polynomial(b))[op == "mod"]))
            case tir.Binary("add" | "sub" | "mul", a, b) if a.dtype == tir.INDEX:
                return expression(self._joined(polynomial(node)))
        return None

    def _comparison(self, node: tir.Binary) -> tir.Expr:
        difference = polynomial(node.b) - polynomial(node.a)
        least = {"lt": 1, "le": 0}.get(node.op)
        if least is not None:
            if self.nonnegative(difference - least):
                return tir.TRUE
            return tir.FALSE if self.nonnegative(difference * -1 - (1 - least)) else node
        if not difference.terms:
            return tir.Const(node.op == "eq", "bool")
        if self.nonnegative(difference - 1) or self.nonnegative(difference * -1 - 1):
            return tir.Const(node.op == "ne", "bool")
        return node

    def divide(self, number: Polynomial, divisor: Polynomial) -> tuple[Polynomial, Polynomial]:
        """(quotient, remainder), as simple as they are known to be."""
        quotient, rest = exact_quotient(number, divisor)
        if not rest.terms:
            return quotient, rest
        least = divisor - 1 if self.nonnegative(divisor) else Polynomial({})  # not 0, so 1 or more
        for whole in (0, -1):
            remainder = rest - divisor * whole
            ends = remainder, divisor - remainder - 1
            if all(self.nonnegative(end) or self.nonnegative(end - least) for end in ends):
                return quotient + whole, remainder
        if divisor.constant is not None and divisor.constant > 0:
            inner, remainder = divide_by_constant(rest, divisor.constant)
            return quotient + inner, remainder
        operands = expression(rest), expression(divisor)
        inner, remainder = (Polynomial({(tir.binary(op, *operands),): 1}) for op in ("floordiv", "mod"))
        return quotient + inner, remainder

    def _joined(self, value: Polynomial) -> Polynomial:
        """The value with c (x // c) + x % c put together to x."""
        for atom in value.atoms:
            match atom:
                case tir.Binary("mod", a, b):
                    number, divisor = polynomial(a), polynomial(b)
                    quotient = self.divide(number, divisor)[0]
                    factor, rest = value.factor(atom)
                    joined = rest + factor * (number - quotient * divisor)
                    cancelled = quotient.atom and quotient.atom not in joined.atoms
                    if cancelled or (quotient.terms and len(joined.terms) < len(value.terms)):
                        return self._joined(joined)
        return value


_remembered = lru_cache(maxsize=REMEMBERED)(_Knowledge)


def _facts(condition: tir.Expr) -> Iterator[Polynomial]:
    """Polynomials that are not negative where the condition holds."""
    for part in tir.conjuncts(condition):
        match part:
            case tir.Binary("le" | "lt" | "eq" as op, a, b) if a.dtype == tir.INDEX:
                difference = polynomial(b) - polynomial(a)
                yield difference - (op == "lt")
                if op == "eq":
                    yield difference * -1
