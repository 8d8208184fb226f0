"""What must stay before what, when a block moves: checks that primitives of placement share.

A producer runs before its consumers, and after that which makes its inputs; what is read must not be overwritten on the
way. Blocks between the old place and the new one are all that can be in conflict.
"""

from collections.abc import Sequence

from sysai.compiler.program.statement import VECTORIZED, Block, For, Function, Stmt, blocks
from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.tree import (
    readers,
    reads,
    touches,
    writers,
)


def require_movable(function: Function, producer: Block, what: str) -> list[Block]:
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


def _order(function: Function) -> list[str]:
    return [block.name for block in blocks(function.body)]


def last_block(body: Stmt) -> str:
    """The name of the block that is executed last."""
    return list(blocks(body))[-1].name


def require_loop_for_blocks(target: For) -> None:
    """The loop can take in other loops."""
    if target.kind == VECTORIZED:
        raise IllegalSchedule(
            f"loop {target.var.name} is vectorized already, and can take in no loops: move blocks first"
        )


def require_order(function: Function, producer: Block, consumers: Sequence[Block]) -> None:
    """No consumer runs before the producer."""
    order = _order(function)
    for consumer in consumers:
        if order.index(consumer.name) < order.index(producer.name):
            raise IllegalSchedule(
                f"block {consumer.name} reads {producer.buffer.name} and has run before {producer.name}"
            )


def require_unchanged(function: Function, producer: Block, until: str) -> None:
    """What `producer` reads must not be written between its place and block `until`."""
    order = _order(function)
    between = set(order[order.index(producer.name) + 1 : order.index(until) + 1])
    inputs = {load.buffer.name for load in reads(producer)}
    for block in blocks(function.body):
        if block.name in between and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {producer.name} reads {block.buffer.name}, which block {block.name} writes after it: "
                "computed later, it would read other values"
            )


def require_after(function: Function, consumer: Block, target: For) -> None:
    """Nothing from the loop `target` up to the consumer may touch what it writes, or write what it reads."""
    order = _order(function)
    first, last = next(blocks(target.body)).name, last_block(target.body)
    if order.index(consumer.name) < order.index(first):
        raise IllegalSchedule(f"block {consumer.name} runs before loop {target.var.name}")
    inside = {block.name for block in blocks(target.body)}
    up_to = set(order[order.index(first) : order.index(consumer.name)])
    behind = set(order[order.index(last) + 1 : order.index(consumer.name)])
    inputs = {load.buffer.name for load in reads(consumer)}
    for block in blocks(function.body):
        if block.name in up_to and touches(block, consumer.buffer.name):
            raise IllegalSchedule(
                f"block {block.name} uses {consumer.buffer.name}, which {consumer.name} writes, and runs before it"
            )
        if block.name in behind and block.buffer.name in inputs:
            raise IllegalSchedule(
                f"block {consumer.name} needs {block.buffer.name} too, which block {block.name} writes after loop "
                f"{target.var.name}: move that block there first"
            )
    assert inside
