"""What must stay before what, when a block moves: checks that primitives of placement share.

A producer runs before its consumers, and after that which makes its inputs; what is read must not be overwritten on the
way. Blocks between the old place and the new one are all that can be in conflict.
"""

from collections.abc import Sequence

from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.tree import (
    path_to_block,
    path_to_loop,
    readers,
    reads,
    touches,
    writers,
)
from sysai.compiler.tir.statement import VECTORIZED, Block, For, If, PrimFunc, Stmt, blocks


def require_movable(function: PrimFunc, producer: Block, what: str) -> list[Block]:
    """The consumers of a block's buffer, in order, if nobody else can see that buffer."""
    buffer = producer.buffer.name
    if buffer in {parameter.name for parameter in function.buffers}:
        raise IllegalSchedule(f"cannot {what}: {buffer} is an output of the function, and must be complete")
    others = [block.name for block in writers(function.body, buffer) if block.name != producer.name]
    if others:
        raise IllegalSchedule(f"cannot {what}: block {others[0]} writes {buffer} too")
    consumers = readers(function.body, buffer)
    if producer.name in {consumer.name for consumer in consumers}:
        raise IllegalSchedule(f"cannot {what}: the block reads its own buffer {buffer}")
    if not consumers:
        raise IllegalSchedule(f"cannot {what}: no block reads {buffer}")
    if producer.reduces and producer.init is None:
        raise IllegalSchedule(f"cannot {what}: the block does not initialize {buffer}")
    return consumers


def _order(stmt: Stmt) -> list[str]:
    return [block.name for block in blocks(stmt)]


def apart(function: PrimFunc, name: str, block: str) -> Stmt:
    """The outermost statement around the loop or block `name` that does not contain `block`."""
    way = path_to_loop(function.body, name) or path_to_block(function.body, name)
    return next(stmt for stmt in way if not path_to_block(stmt, block))


def require_no_condition(function: PrimFunc, block: str, loop: str, what: str) -> None:
    """No `if` is around one of the two only: the block would run where it should not, or not where it should."""
    ways = path_to_block(function.body, block), path_to_loop(function.body, loop)
    for way, other in (ways, reversed(ways)):
        for stmt in way:
            if isinstance(stmt, If) and stmt not in other:
                raise IllegalSchedule(f"cannot {what}: it would enter or leave the condition {stmt.condition}")


def require_loop_for_blocks(function: PrimFunc, target: For) -> None:
    """The loop can take in other loops."""
    for outer in path_to_loop(function.body, target.var.name):
        if isinstance(outer, For) and outer.kind == VECTORIZED:
            raise IllegalSchedule(f"loop {outer.var.name} is vectorized already, and can take in no loops: move first")


def require_order(function: PrimFunc, producer: Block, consumers: Sequence[Block]) -> None:
    """No consumer runs before the producer."""
    order = _order(function.body)
    for consumer in consumers:
        if order.index(consumer.name) < order.index(producer.name):
            raise IllegalSchedule(
                f"block {consumer.name} reads {producer.buffer.name} and has run before {producer.name}"
            )


def require_unchanged(function: PrimFunc, producer: Block, place: str) -> None:
    """What `producer` reads must not be written behind it, up to the end of all loops around `place` only."""
    order = _order(function.body)
    until = _order(apart(function, place, producer.name))[-1]
    between = set(order[order.index(producer.name) + 1 : order.index(until) + 1])
    inputs = {load.buffer.name for load in reads(producer)}
    for block in blocks(function.body):
        if block.name in between and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {producer.name} reads {block.buffer.name}, which block {block.name} writes after it: "
                "computed later, it would read other values"
            )


def require_after(function: PrimFunc, consumer: Block, target: For) -> None:
    """From the loops around `target` only to the consumer, nobody touches what it writes or writes what it reads."""
    order = _order(function.body)
    outside = apart(function, target.var.name, consumer.name)
    if order.index(consumer.name) < order.index(_order(outside)[0]):
        raise IllegalSchedule(f"block {consumer.name} runs before loop {target.var.name}")
    up_to = set(order[order.index(_order(outside)[0]) : order.index(consumer.name)])
    inside = set(_order(target.body))
    inputs = {load.buffer.name for load in reads(consumer)}
    for block in blocks(function.body):
        if block.name in up_to and touches(block, consumer.buffer.name):
            raise IllegalSchedule(
                f"block {block.name} uses {consumer.buffer.name}, which {consumer.name} writes, and runs before it"
            )
        if block.name in up_to - inside and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {consumer.name} needs {block.buffer.name} too, which block {block.name} writes outside loop "
                f"{target.var.name}: move that block there first"
            )
