"""Random sequences of primitives on random programs either refuse or keep every value to the bit."""

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import arrays_for, programs, sizes_of
from schedule_programs import in_another_order
from sysai.compiler.program.interpret import interpret
from sysai.compiler.program.parser import parse
from sysai.compiler.program.printer import print_function
from sysai.compiler.program.statement import Block, blocks
from sysai.compiler.program.verify import verify
from sysai.compiler.schedule.illegal import IllegalSchedule
from sysai.compiler.schedule.schedule import PRIMITIVES, Schedule, replay
from sysai.compiler.schedule.trace import Trace
from sysai.compiler.schedule.tree import allocated, find_block, loops, readers, reads


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


def test_any_sequence_of_primitives_is_refused_or_keeps_the_values():
    applied: Counter[str] = Counter()

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(programs(dtypes=("int32", "int64")), st.data())
    def check(function, data):
        schedule = Schedule(function)
        for _ in range(data.draw(st.integers(1, 8))):
            primitive = data.draw(st.sampled_from(sorted(PRIMITIVES)))
            before = schedule.function, len(schedule.trace)
            arguments, named = draw_call(data.draw, schedule, primitive)
            try:
                getattr(schedule, primitive)(*arguments, **named)
                applied[primitive] += 1
            except IllegalSchedule:
                assert (schedule.function, len(schedule.trace)) == before
        text = f"{print_function(function)}\n{schedule.trace}\n\n{print_function(schedule.function)}"
        try:
            verify(schedule.function)
            sizes = data.draw(sizes_of(function))
            expected, got, shuffled = (arrays_for(function, sizes) for _ in range(3))
            interpret(function, expected, sizes)
            interpret(schedule.function, got, sizes)
            interpret(in_another_order(schedule.function), shuffled, sizes)
        except ValueError as error:
            raise AssertionError(f"{error}\n\n{text}") from error
        for buffer in function.buffers:
            np.testing.assert_array_equal(got[buffer.name], expected[buffer.name], err_msg=text)
            np.testing.assert_array_equal(shuffled[buffer.name], expected[buffer.name], err_msg=text)
        assert replay(Trace.from_json(schedule.trace.to_json()), function).function == schedule.function
        assert parse(print_function(schedule.function)) == schedule.function

    check()
    assert set(applied) == PRIMITIVES, "some primitives were never legal: draw their arguments with more care"
