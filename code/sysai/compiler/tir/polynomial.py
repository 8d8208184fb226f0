"""Integer expressions as polynomials: a sum of coefficients times products of atoms.

Two index expressions that differ only in how their sums and products are written have the same polynomial, so that
comparing and cancelling need no rules: (i + 1) * 4 - 4 * i is 4. What is neither a sum nor a product (a variable, a
quotient, a remainder, a load) is an atom. Integers are taken not to overflow.

Symbolic sizes make the products necessary: i * N + j is not linear in the variables. Production compilers keep
similar canonical forms (TVM's `arith::CanonicalSimplifier`, MLIR's affine maps with symbols, LLVM's SCEV).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from sysai.compiler.tir.expr import INDEX, Binary, Const, Expr, binary, print_expr

Monomial = tuple[Expr, ...]
Coefficient = int | Fraction

key = lru_cache(maxsize=1 << 16)(print_expr)


@dataclass(frozen=True)
class Polynomial:
    """`terms` maps a product of atoms (ordered by how they print; empty for the constant) to its coefficient, not 0."""

    terms: Mapping[Monomial, Coefficient]

    def __add__(self, other: "Polynomial | Coefficient") -> "Polynomial":
        return _sum(self.terms, _polynomial(other).terms.items())

    def __sub__(self, other: "Polynomial | Coefficient") -> "Polynomial":
        return _sum(self.terms, [(monomial, -c) for monomial, c in _polynomial(other).terms.items()])

    def __mul__(self, other: "Polynomial | Coefficient") -> "Polynomial":
        if not isinstance(other, Polynomial):
            return Polynomial({m: c * other for m, c in self.terms.items()} if other else {})
        pairs = ((left, right) for left in self.terms.items() for right in other.terms.items())
        return _sum({}, [(tuple(sorted(m + n, key=key)) if m and n else m or n, a * b) for (m, a), (n, b) in pairs])

    @property
    def offset(self) -> Coefficient:
        """The constant term."""
        return self.terms.get((), 0)

    @property
    def constant(self) -> Coefficient | None:
        """The value of a polynomial without atoms, else None."""
        return (0, self.terms.get(()))[len(self.terms)] if len(self.terms) < 2 else None

    @property
    def integral(self) -> bool:
        """Whether all coefficients are integers."""
        return all(coefficient.denominator == 1 for coefficient in self.terms.values())

    @property
    def atoms(self) -> tuple[Expr, ...]:
        """The atoms, each once, in the order of the terms."""
        return tuple(dict.fromkeys(atom for monomial in self.terms for atom in monomial))

    @property
    def atom(self) -> Expr | None:
        """The atom that the polynomial is, if it is nothing else."""
        match list(self.terms.items()):
            case [((atom,), 1)]:
                return atom
        return None

    def factor(self, atom: Expr) -> tuple["Polynomial", "Polynomial"]:
        """(a, b) with self = a * atom + b, b free of the atom (a is not, where the atom's square occurs)."""
        inside, outside = {}, {}
        for monomial, coefficient in self.terms.items():
            if atom in monomial:
                position = monomial.index(atom)
                inside[monomial[:position] + monomial[position + 1 :]] = coefficient
            else:
                outside[monomial] = coefficient
        return Polynomial(inside), Polynomial(outside)


@lru_cache(maxsize=1 << 16)
def polynomial(expr: Expr) -> Polynomial:
    """The polynomial of an integer expression, whose atoms stay as they are."""
    match expr:
        case Const(value):
            return _polynomial(value)
        case Binary("add", a, b):
            return polynomial(a) + polynomial(b)
        case Binary("sub", a, b):
            return polynomial(a) - polynomial(b)
        case Binary("mul", a, b):
            return polynomial(a) * polynomial(b)
    return Polynomial({(expr,): 1})


def expression(value: Polynomial) -> Expr:
    """The expression of a polynomial, equal for equal ones: positive terms, high degrees first, constants last."""

    def rank(item: tuple[Monomial, Coefficient]) -> tuple:
        monomial, coefficient = item
        return not monomial, coefficient < 0, -len(monomial), -abs(coefficient), [key(atom) for atom in monomial]

    terms = sorted(value.terms.items(), key=rank)
    if terms and terms[-1][0] == () and terms[0][1] < 0 < terms[-1][1]:
        terms.insert(0, terms.pop())  # 7 - i rather than 0 - i + 7
    total: Expr = Const(0, INDEX)
    for monomial, coefficient in terms:
        term: Expr = Const(1, INDEX)
        for atom in monomial:
            term = binary("mul", term, atom)
        term = binary("mul", term, Const(abs(int(coefficient)), INDEX))
        total = binary("add" if coefficient > 0 else "sub", total, term)
    return total


def exact_quotient(number: Polynomial, divisor: Polynomial) -> tuple[Polynomial, Polynomial]:
    """(q, r) with number = q * divisor + r, where q is made of the terms that are multiples of the divisor."""
    if divisor.constant is not None:
        size = divisor.constant
        quotient = {m: c // size for m, c in number.terms.items() if not m or c % size == 0}
    elif len(divisor.terms) == 1:
        ((product, size),) = divisor.terms.items()
        quotient = {}
        for monomial, coefficient in number.terms.items():
            rest = list(monomial)
            for atom in product:
                if atom in rest:
                    rest.remove(atom)
            if coefficient % size == 0 and len(rest) == len(monomial) - len(product):
                quotient[tuple(rest)] = coefficient // size
    else:
        quotient = {(): 1} if number == divisor else {}
    whole = Polynomial({monomial: coefficient for monomial, coefficient in quotient.items() if coefficient})
    return whole, number - whole * divisor


def divide_by_constant(number: Polynomial, size: int) -> tuple[Polynomial, Polynomial]:
    """(quotient, remainder), where common factors are taken out and quotients and remainders do not nest."""
    common = math.gcd(size, *(c for m, c in number.terms.items() if m))
    if common > 1:
        upper = Polynomial({m: c // common for m, c in number.terms.items() if c // common})
        if size == common:
            return upper, Polynomial({}) + number.offset % common
        quotient, remainder = divide_by_constant(upper, size // common)
        return quotient, remainder * common + number.offset % common
    quotient = remainder = None
    moving = number - number.offset
    match moving.atom:
        case Binary("floordiv", a, Const(inner)) if inner > 0:
            quotient, _ = divide_by_constant(polynomial(a) + number.offset * inner, inner * size)
        case Binary("mod", a, Const(inner)) if inner > 0 and inner % size == 0:
            _, remainder = divide_by_constant(polynomial(a) + number.offset, size)
            if number.offset == 0:
                _, quotient = divide_by_constant(divide_by_constant(polynomial(a), size)[0], inner // size)
    operands = expression(number), Const(size, INDEX)
    plain_quotient, plain_remainder = (Polynomial({(binary(op, *operands),): 1}) for op in ("floordiv", "mod"))
    return quotient or plain_quotient, remainder or plain_remainder


def _polynomial(value: "Polynomial | Coefficient") -> Polynomial:
    if isinstance(value, Polynomial):
        return value
    return Polynomial({(): value} if value else {})


def _sum(terms: Mapping[Monomial, Coefficient], more: Iterable[tuple[Monomial, Coefficient]]) -> Polynomial:
    total = dict(terms)
    for monomial, coefficient in more:
        coefficient += total.get(monomial, 0)
        if coefficient:
            total[monomial] = coefficient
        else:
            del total[monomial]
    return Polynomial(total)
