"""Random sequences of primitives on random programs either refuse or keep every value to the bit."""

import numpy as np
import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from random_programs import arrays_for, programs, sizes_of
from schedule_programs import decomposed, in_another_order
from sysai.compiler.errors import EmptyReduction, IllegalSchedule
from sysai.compiler.schedule.schedule import PRIMITIVES, Schedule, Trace, replay
from sysai.compiler.schedule.tree import allocated, find_block, loops, readers, reads
from sysai.compiler.tir.interpret import interpret
from sysai.compiler.tir.statement import Block, PrimFunc, blocks
from sysai.compiler.tir.text import parse, print_function
from sysai.compiler.tir.verify import verify_function


def draw_call(draw: st.DrawFn, schedule: Schedule, primitive: str) -> tuple[tuple, dict]:
    """Arguments that fit the primitive's kind, legal or not."""
    body = schedule.function.body
    loop_names = [loop.var.name for loop in loops(body)]
    block_names = [block.name for block in blocks(body)]
    buffers = [buffer.name for buffer in (*schedule.function.buffers, *allocated(body))]
    likely = [block.name for block in blocks(body) if _likely(schedule, block, primitive)]
    block = draw(st.sampled_from(likely if likely and draw(st.integers(0, 4)) else block_names))
    around = list(schedule.loops_of(block))
    loop = draw(st.sampled_from(around or loop_names or ["none"]))
    match primitive:
        case "split":
            return (loop, draw(st.sampled_from((2, 3, 4, [None, 2, 2], [2, None])))), {}
        case "fuse":
            start = draw(st.integers(0, max(len(around) - 2, 0)))
            return tuple(around[start : start + draw(st.integers(2, 3))]), {}
        case "reorder":
            return tuple(draw(st.permutations(around))), {}
        case "tile":
            chosen = around[-2:]
            return (chosen, [draw(st.sampled_from((2, 3))) for _ in chosen]), {}
        case "vectorize":
            return (around[-1] if around else loop,), {}
        case "parallel" | "unroll":
            return (loop,), {}
        case "compute_at" | "reverse_compute_at":
            buffer = find_block(schedule.function, block).buffer.name
            users = readers(body, buffer) if primitive == "compute_at" else _producers(schedule, block)
            near = [name for user in users for name in schedule.loops_of(user.name) if name not in around]
            return (block, draw(st.sampled_from(near or loop_names or ["none"]))), {}
        case "compute_inline" | "cache_write":
            return (block,), {}
        case "cache_read":
            read = sorted({load.buffer.name for load in reads(find_block(schedule.function, block))}) or buffers
            name = draw(st.sampled_from(read))
            rank = len(next(b for b in (*schedule.function.buffers, *allocated(body)) if b.name == name).shape)
            layouts = [None, ", ".join(f"d{d}" for d in reversed(range(rank))) or None]
            if rank:
                layouts.append(
                    ", ".join([f"d{rank - 1} // 2", *(f"d{d}" for d in range(rank - 1)), f"d{rank - 1} % 2"])
                )
            return (block, name), {"layout": draw(st.sampled_from(layouts))}
        case "rfactor" | "decompose_reduction":
            return (block, loop), {}
    raise AssertionError(primitive)


def _likely(schedule: Schedule, block: Block, primitive: str) -> bool:
    """Whether the primitive has a chance to be legal for the block."""
    match primitive:
        case "compute_at" | "compute_inline":
            return block.buffer in allocated(schedule.function.body)
        case "reverse_compute_at":
            own = set(schedule.loops_of(block.name))
            return any(set(schedule.loops_of(other.name)) - own for other in _producers(schedule, block.name))
        case "rfactor" | "decompose_reduction":
            return block.reduces
    return True


def _producers(schedule: Schedule, block: str) -> list[Block]:
    read = {load.buffer.name for load in reads(find_block(schedule.function, block))}
    return [producer for producer in blocks(schedule.function.body) if producer.buffer.name in read]


def apply(draw: st.DrawFn, schedule: Schedule, primitive: str) -> bool:
    """Whether the primitive was legal; a refused one leaves the schedule as it was."""
    before = schedule.function, len(schedule.trace)
    arguments, named = draw_call(draw, schedule, primitive)
    try:
        getattr(schedule, primitive)(*arguments, **named)
    except IllegalSchedule:
        assert (schedule.function, len(schedule.trace)) == before
        return False
    return True


def check(schedule: Schedule, function: PrimFunc, sizes: dict[str, int]) -> None:
    """The schedule's function is sound, its text and trace make it again, and it keeps every value to the bit.

    Where an axis is empty it may be refused: if a reduction begins in the first iteration of an empty loop.
    """
    text = f"{print_function(function)}\n{schedule.trace}\n\n{print_function(schedule.function)}"
    assert replay(Trace.from_json(schedule.trace.to_json()), function).function == schedule.function
    assert parse(print_function(schedule.function)) == schedule.function
    expected = arrays_for(function, sizes)
    interpret(decomposed(function), expected, sizes)
    try:
        verify_function(schedule.function)
        for variant in (schedule.function, in_another_order(schedule.function)):
            got = arrays_for(function, sizes)
            interpret(variant, got, sizes)
            for buffer in function.buffers:
                np.testing.assert_array_equal(got[buffer.name], expected[buffer.name], err_msg=text)
    except EmptyReduction:
        assert 0 in sizes.values(), text
    except ValueError as error:
        raise AssertionError(f"{error}\n\n{text}") from error


@pytest.mark.parametrize("primitive", sorted(PRIMITIVES))
def test_a_primitive_among_others_is_refused_or_keeps_the_values(primitive):
    reduces = primitive in ("rfactor", "decompose_reduction")
    moves = primitive in ("compute_at", "reverse_compute_at", "compute_inline")
    legal = 0

    @examples(40, suppress_health_check=list(HealthCheck))
    @given(programs(dtypes=("int32", "int64"), min_blocks=2 if moves else 1, reduces=reduces), st.data())
    def run(function, data):
        nonlocal legal
        schedule = Schedule(function)
        for _ in range(data.draw(st.integers(1, 6))):
            name = primitive if data.draw(st.booleans()) else data.draw(st.sampled_from(sorted(PRIMITIVES)))
            legal += apply(data.draw, schedule, name) and name == primitive
        check(schedule, function, data.draw(sizes_of(function, least=0)))

    run()
    assert legal > 5, "it was rarely legal: draw its arguments with more care"
