"""Which iterations of a loop touch the same element, the question of reordering, vectorizing and parallelizing.

Two accesses to one buffer, one of them a write, conflict where their indices are equal. An index determines a loop's
variable if it takes different values in different iterations, whatever the loops inside do: 8 i + j determines i, and
j too, where j < 8; of i + j one knows neither; f // 8 and f % 8 together determine f. If all accesses to a buffer
determine the variable in the same manner, no two iterations conflict in that buffer.

This is a sufficient test, as compilers before integer programming used (Allen and Kennedy, chapter 3: GCD and
Banerjee tests are of the kind). It may refuse a legal schedule whose indices it cannot read; it accepts no wrong one.
"""

import math
from collections.abc import Iterable, Sequence

from sysai.compiler.schedule.tree import allocated, loops, ranges_of
from sysai.compiler.tir.accesses import Access, accesses
from sysai.compiler.tir.arith import Ranges, proves, simplify
from sysai.compiler.tir.expr import Binary, Expr, Var, as_expr, depends_on_data, variables
from sysai.compiler.tir.polynomial import Polynomial, expression, polynomial
from sysai.compiler.tir.statement import REDUCE, Block, For, PrimFunc, Stmt, blocks


def touching(stmt: Stmt, buffer: str) -> list[tuple[Block, Access]]:
    """The blocks inside that touch the buffer, with their accesses; a reduction's own element counts as its write."""
    touches = []
    for block in blocks(stmt):
        *others, write = accesses(block)
        own = (*(others[:-1] if block.reduces else others), write)
        touches += [(block, access) for access in own if access.buffer.name == buffer]
    return touches


def between_iterations(function: PrimFunc, loop: For) -> str | None:
    """Why the iterations of `loop` are not independent of each other, or None where they are."""
    for buffer in _shared(loop.body):
        users = touching(loop.body, buffer)
        if loop.var in determined([access.indices for _, access in users], [loop, *loops(loop.body)]):
            continue
        for block, access in users:
            if block.reduces and access.writes and _reduces_over(block, loop.var):
                return (
                    f"it is a reduction axis of block {block.name}: its iterations add up in one element of "
                    f"{buffer}; rfactor the block over {loop.var.name} first, or choose a spatial loop"
                )
        writer, written = next(user for user in users if user[1].writes)
        others = [(block, access) for block, access in users if block.name != writer.name]
        used = [f", block {block.name} uses {_show(access)}" for block, access in others[:1]]
        return (
            f"an iteration may touch elements of {buffer} that another one writes "
            f"(block {writer.name} writes {_show(written)}{''.join(used)})"
        )
    return None


def against_order(function: PrimFunc, old: Sequence[For], new: Sequence[For]) -> str | None:
    """Why the perfect nest `old` may not run in the order `new`, or None where it may."""
    body = old[-1].body
    for buffer in _shared(body):
        users = touching(body, buffer)
        if len(users) == 1 and _commutes(users[0][0]):
            continue
        fixed = determined([access.indices for _, access in users], [*old, *loops(body)])
        carrying = [loop.var.name for loop in old if loop.var not in fixed]
        after = [loop.var.name for loop in new if loop.var not in fixed]
        if carrying != after:
            names = sorted({block.name for block, _ in users})
            return (
                f"reordering {', '.join(carrying)} into {', '.join(after)} may change which comes first of two "
                f"iterations that touch the same element of {buffer}, one of them writing it "
                f"(block{'s' if len(names) > 1 else ''} {', '.join(names)}: "
                f"{' and '.join(sorted({_show(access) for _, access in users}))})"
            )
    return None


def determined(elements: Iterable[Sequence[Expr]], inside: Sequence[For]) -> set[Var]:
    """The variables of the loops `inside` that have the same values wherever two of the elements are the same.

    Args:
        elements: their indices, in terms of loop variables.
    """
    ranges = ranges_of(inside)
    common = set.intersection(*(_facts(indices, ranges) for indices in elements))
    sums = [terms for *_, terms in common]
    fixed: set[Expr] = {loop.var for loop in inside if proves(loop.extent <= 1, {})}
    while True:
        before = len(fixed)
        for terms in sums:
            unknown = [term for term, _ in terms if term not in fixed]
            if len(unknown) == 1:
                fixed.add(unknown[0])
        if len(fixed) == before:
            return {var for var in ranges if var in fixed}
        for term in list(fixed):
            match term:  # remainder and quotient by the same divisor give the number
                case Binary("mod", number, divisor) if not variables(divisor) & set(ranges):
                    quotient = polynomial(simplify(number // divisor, ranges)).atoms
                    if all(atom in fixed or not variables(atom) & set(ranges) for atom in quotient):
                        sums += [terms for *_, terms in _digits(polynomial(number), ranges)]


Fact = tuple
"""(dimension, divisor, fixed part, constant, terms): (index - fixed part) // divisor - constant is the sum of terms."""


def _facts(indices: Sequence[Expr], ranges: Ranges) -> set[Fact]:
    return {
        (dimension, *digits)
        for dimension, index in enumerate(indices)
        for digits in _digits(polynomial(simplify(index, ranges)), ranges)
    }


def _digits(index: Polynomial, ranges: Ranges) -> Iterable[Fact]:
    """The facts that the value of an index tells: for every divisor that cuts it between two terms, the upper part.

    24 a + 8 b + c with b < 3 and c < 8 tells all of it, 3 a + b (divided by 8) and a (divided by 24).
    """
    terms = [(m, c) for m, c in index.terms.items() if m]
    moving = [(m, c) for m, c in terms if any(variables(atom) & set(ranges) or depends_on_data(atom) for atom in m)]
    if any(len(monomial) > 1 or depends_on_data(monomial[0]) for monomial, _ in moving):
        return
    fixed = frozenset(term for term in terms if term not in moving)
    moving.sort(key=lambda term: (-abs(term[1]), str(term[0][0])))
    for cut in range(len(moving), 0, -1):
        upper, lower = moving[:cut], moving[cut:]
        divisor = math.gcd(*(coefficient for _, coefficient in upper))
        quotient, remainder = divmod(index.offset, divisor)
        rest = expression(Polynomial({**dict(lower), (): remainder} if remainder else dict(lower)))
        if proves(as_expr(0) <= rest, ranges) and proves(rest < as_expr(divisor), ranges):
            yield divisor, fixed, quotient, frozenset((m[0], coefficient // divisor) for m, coefficient in upper)


def _shared(stmt: Stmt) -> list[str]:
    """The buffers that are written inside and live on outside."""
    private = {buffer.name for buffer in allocated(stmt)}
    return list(dict.fromkeys(b.buffer.name for b in blocks(stmt) if b.buffer.name not in private))


def _reduces_over(block: Block, var: Var) -> bool:
    return any(var in variables(axis.binding) for axis in block.axes if axis.kind == REDUCE)


def _commutes(block: Block) -> bool:
    """Whether a reduction's iterations may run in any order of its loops.

    The first iteration of an element initializes it and must stay the first: that with all reduction loops at 0.
    After fusing a reduction loop with a spatial one it need not be, since other elements begin in between.
    """
    used = {var for index in block.indices for var in variables(index)}
    spatial = {var for axis in block.axes if axis.var in used for var in variables(axis.binding)}
    over = {var for axis in block.axes if axis.kind == REDUCE for var in variables(axis.binding)}
    return block.reduces and (block.init is None or not spatial & over)


def _show(access: Access) -> str:
    return f"{access.buffer.name}[{', '.join(map(str, access.indices))}]"
