"""Dependences: which iterations touch the same element, and the order that blocks must keep when one of them moves.

Two accesses to one buffer, one of them a write, conflict where their indices are equal. An index determines a loop's
variable if it takes different values in different iterations, whatever the loops inside do: 8 i + j determines i, and
j too, where j < 8; of i + j one knows neither; f // 8 and f % 8 together determine f. If all accesses to a buffer
determine the variable in the same manner, no two iterations conflict in that buffer.

A block that moves runs before its consumers, and after the blocks that make its inputs; what it reads must not be
overwritten on the way. Only blocks between the old place and the new one can be in conflict.

This is a sufficient test, as compilers before integer programming used (Allen and Kennedy, chapter 3: GCD and
Banerjee tests are of the kind). It may refuse a legal schedule whose indices it cannot read; it accepts no wrong one.
"""

import math
from collections.abc import Iterable, Sequence

from sysai.compiler import tir
from sysai.compiler.errors import IllegalSchedule
from sysai.compiler.schedule import tree
from sysai.compiler.tir.accesses import Access, accesses
from sysai.compiler.tir.arith import Ranges, proves, simplify
from sysai.compiler.tir.polynomial import Polynomial, expression, polynomial


def touching(stmt: tir.Stmt, buffer: str) -> list[tuple[tir.Block, Access]]:
    """The blocks inside that touch the buffer, with their accesses; a reduction's own element counts as its write."""
    touches = []
    for block in tir.blocks(stmt):
        *others, write = accesses(block)
        own = (*(others[:-1] if block.reduces else others), write)
        touches += [(block, access) for access in own if access.buffer.name == buffer]
    return touches


def between_iterations(loop: tir.For) -> str | None:
    """Why the iterations of `loop` are not independent of each other, or None where they are."""
    for buffer in _shared(loop.body):
        users = touching(loop.body, buffer)
        if loop.var in determined([access.indices for _, access in users], [loop, *tree.loops(loop.body)]):
            continue
        for block, access in users:
            if block.reduces and access.writes and loop.var in tree.reduction_loops(block):
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


def against_order(old: Sequence[tir.For], new: Sequence[tir.For]) -> str | None:
    """Why the perfect nest `old` may not run in the order `new`, or None where it may."""
    body = old[-1].body
    for buffer in _shared(body):
        users = touching(body, buffer)
        if len(users) == 1 and _commutes(users[0][0]):
            continue
        fixed = determined([access.indices for _, access in users], [*old, *tree.loops(body)])
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


def determined(elements: Iterable[Sequence[tir.Expr]], inside: Sequence[tir.For]) -> set[tir.Var]:
    """The variables of the loops `inside` that have the same values wherever two of the elements are the same.

    Args:
        elements: their indices, in terms of loop variables.
    """
    ranges = tree.ranges_of(inside)
    common = set.intersection(*(_facts(indices, ranges) for indices in elements))
    sums = [terms for *_, terms in common]
    fixed: set[tir.Expr] = {loop.var for loop in inside if proves(loop.extent <= 1, {})}
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
                case tir.Binary("mod", number, divisor) if not tir.variables(divisor) & set(ranges):
                    quotient = polynomial(simplify(number // divisor, ranges)).atoms
                    if all(atom in fixed or not tir.variables(atom) & set(ranges) for atom in quotient):
                        sums += [terms for *_, terms in _digits(polynomial(number), ranges)]


Fact = tuple
"""(dimension, divisor, fixed part, constant, terms): (index - fixed part) // divisor - constant is the sum of terms."""


def _facts(indices: Sequence[tir.Expr], ranges: Ranges) -> set[Fact]:
    known = enumerate(_digits(polynomial(simplify(index, ranges)), ranges) for index in indices)
    return {(dimension, *digits) for dimension, facts in known for digits in facts}


def _digits(index: Polynomial, ranges: Ranges) -> Iterable[Fact]:
    """The facts that the value of an index tells: for every divisor that cuts it between two terms, the upper part.

    24 a + 8 b + c with b < 3 and c < 8 tells all of it, 3 a + b (divided by 8) and a (divided by 24).
    """
    terms = [(m, c) for m, c in index.terms.items() if m]
    moving = [(m, c) for m, c in terms if tir.variables(*m) & set(ranges) or any(map(tir.depends_on_data, m))]
    if any(len(monomial) > 1 or tir.depends_on_data(monomial[0]) for monomial, _ in moving):
        return
    fixed = frozenset(term for term in terms if term not in moving)
    moving.sort(key=lambda term: (-abs(term[1]), str(term[0][0])))
    for cut in range(len(moving), 0, -1):
        upper, lower = moving[:cut], moving[cut:]
        divisor = math.gcd(*(coefficient for _, coefficient in upper))
        quotient, remainder = divmod(index.offset, divisor)
        rest = expression(Polynomial({**dict(lower), (): remainder} if remainder else dict(lower)))
        if proves(rest >= 0, ranges) and proves(rest < divisor, ranges):
            yield divisor, fixed, quotient, frozenset((m[0], coefficient // divisor) for m, coefficient in upper)


def _shared(stmt: tir.Stmt) -> list[str]:
    """The buffers that are written inside and live on outside."""
    private = {buffer.name for buffer in tree.allocated(stmt)}
    return list(dict.fromkeys(b.buffer.name for b in tir.blocks(stmt) if b.buffer.name not in private))


def _commutes(block: tir.Block) -> bool:
    """Whether a reduction's iterations may run in any order of its loops.

    The first iteration of an element initializes it and must stay the first: that with all reduction loops at 0.
    After fusing a reduction loop with a spatial one it need not be, since other elements begin in between.
    """
    return block.reduces and (block.init is None or not tree.spatial_loops(block) & tree.reduction_loops(block))


def _show(access: Access) -> str:
    return f"{access.buffer.name}[{', '.join(map(str, access.indices))}]"


def require_independent_axes(function: tir.PrimFunc, block: tir.Block) -> None:
    """No axis may follow from the others, as those do that index a buffer which has shrunk (`regions.py`)."""
    enclosing = tree.loops_around(function.body, block.name)
    for axis in block.axes:
        others = tuple(other.binding for other in block.axes if other is not axis)
        own = {loop.var for loop in enclosing if not proves(loop.extent <= 1, {})} & tir.variables(axis.binding)
        if own and own <= determined([others], enclosing):
            raise IllegalSchedule(
                f"block {block.name} uses a buffer that has shrunk to a part for the loops around it: move the block "
                "before the buffers that it uses"
            )


def require_movable(function: tir.PrimFunc, producer: tir.Block, action: str) -> list[tir.Block]:
    """The consumers of a block's buffer, in order, if no other block and no caller can see that buffer."""
    buffer = producer.buffer.name
    if buffer in {parameter.name for parameter in function.buffers}:
        raise IllegalSchedule(f"cannot {action}: {buffer} is an output of the function, and must be complete")
    others = [block.name for block in tree.writers(function.body, buffer) if block.name != producer.name]
    if others:
        raise IllegalSchedule(f"cannot {action}: block {others[0]} writes {buffer} too")
    consumers = tree.readers(function.body, buffer)
    if producer.name in {consumer.name for consumer in consumers}:
        raise IllegalSchedule(f"cannot {action}: the block reads its own buffer {buffer}")
    if not consumers:
        raise IllegalSchedule(f"cannot {action}: no block reads {buffer}")
    if producer.reduces and producer.init is None:
        raise IllegalSchedule(f"cannot {action}: the block does not initialize {buffer}")
    return consumers


def _apart(function: tir.PrimFunc, name: str, block: str) -> tir.Stmt:
    """The outermost statement around the loop or block `name` that does not contain `block`."""
    path = tree.path_to_loop(function.body, name) or tree.path_to_block(function.body, name)
    return next(stmt for stmt in path if not tree.path_to_block(stmt, block))


def require_no_condition(function: tir.PrimFunc, block: str, loop: str, action: str) -> None:
    """No `if` is around one of the two only: the block would run where it should not, or not where it should."""
    paths = tree.path_to_block(function.body, block), tree.path_to_loop(function.body, loop)
    for path, other in (paths, reversed(paths)):
        for stmt in path:
            if isinstance(stmt, tir.If) and stmt not in other:
                raise IllegalSchedule(f"cannot {action}: it would enter or leave the condition {stmt.condition}")


def require_loop_for_blocks(function: tir.PrimFunc, target: tir.For) -> None:
    """The loop can take in other loops."""
    for outer in tree.path_to_loop(function.body, target.var.name):
        if isinstance(outer, tir.For) and outer.kind == tir.VECTORIZED:
            raise IllegalSchedule(f"loop {outer.var.name} is vectorized already, and can take in no loops: move first")


def require_order(function: tir.PrimFunc, producer: tir.Block, consumers: Sequence[tir.Block]) -> None:
    """No consumer runs before the producer."""
    order = list(tir.blocks(function.body))
    for consumer in consumers:
        if order.index(consumer) < order.index(producer):
            raise IllegalSchedule(f"block {consumer.name} reads {producer.buffer.name} and runs before {producer.name}")


def require_unchanged(function: tir.PrimFunc, producer: tir.Block, destination: str) -> None:
    """The inputs of `producer` are not written after it, up to the end of the loops around `destination`."""
    order = list(tir.blocks(function.body))
    *_, last = tir.blocks(_apart(function, destination, producer.name))
    inputs = {load.buffer.name for load in tree.reads(producer)}
    for block in order[order.index(producer) + 1 : order.index(last) + 1]:
        if block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {producer.name} reads {block.buffer.name}, which block {block.name} writes after it: "
                "computed later, it would read other values"
            )


def require_after(function: tir.PrimFunc, consumer: tir.Block, target: tir.For) -> None:
    """Between the loops around `target` and the consumer, no block touches its output or writes its inputs."""
    order = list(tir.blocks(function.body))
    first = order.index(next(tir.blocks(_apart(function, target.var.name, consumer.name))))
    if order.index(consumer) < first:
        raise IllegalSchedule(f"block {consumer.name} runs before loop {target.var.name}")
    inside = list(tir.blocks(target.body))
    inputs = {load.buffer.name for load in tree.reads(consumer)}
    for block in order[first : order.index(consumer)]:
        if tree.touches(block, consumer.buffer.name):
            raise IllegalSchedule(
                f"block {block.name} uses {consumer.buffer.name}, which {consumer.name} writes, and runs before it"
            )
        if block not in inside and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {consumer.name} needs {block.buffer.name} too, which block {block.name} writes outside loop "
                f"{target.var.name}: move that block there first"
            )
