"""Which part of a buffer a loop touches: every element lies in it, and the parts of known nests are exact."""

from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from random_programs import programs, sizes_of
from sysai.compiler.schedule.regions import touched
from sysai.compiler.schedule.tree import allocated, find_loop, with_unique_loops
from sysai.compiler.tir.accesses import evaluate, instances
from sysai.compiler.tir.statement import blocks
from sysai.compiler.tir.text import parse


@examples(60)
@given(programs(), st.data())
def test_parts_hold_what_is_touched(function, data):
    function = with_unique_loops(function)
    sizes = data.draw(sizes_of(function))
    buffers = (*function.buffers, *allocated(function.body))
    parts = {
        (buffer.name, written): touched(function.body, buffer, written) for buffer in buffers for written in (0, 1)
    }
    for instance in instances(function.body, sizes):
        for touch in instance.touches:
            for written in range(1 + touch.writes):
                for index, part in zip(touch.indices, parts[touch.buffer.name, written], strict=True):
                    if part is not None:
                        assert 0 <= index - evaluate(part.start, sizes) < evaluate(part.size, sizes)


def test_tile_of_a_stencil():
    function = parse(
        """
def stencil(N: size, A: float32[N], I: int64[N], B: float32[N]):
    for i in range(N // 8):
        for j in range(8):
            with block("B"):
                v = spatial(N, i * 8 + j)
                B[v] = A[v - 1] + A[v + 1] + A[I[v]]
            with block("C"):
                v = spatial(N, i * 8 + j)
                B[v] = select(0 < v, B[v - 1], float32(0.0))
""".lstrip()
    )
    a, indices, b = function.buffers
    body = find_loop(function, "i").body
    first = next(blocks(body))

    def part(stmt, buffer, written=False):
        (found,) = touched(stmt, buffer, written)
        return found and (str(found.start), str(found.size))

    assert part(body, b, written=True) == ("i * 8", "8")
    assert part(body, b) == ("i * 8 - 1", "9"), "the hull of what is read and what is written"
    assert part(body, indices) == ("i * 8", "8")
    assert part(body, a) is None, "an index that depends on data may be anywhere"
    assert part(first, indices) == ("i * 8 + j", "1")
