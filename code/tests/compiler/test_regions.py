"""Regions: every element that is touched lies in its region; the regions of known nests are exact."""

from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import programs, sizes_of
from sysai.compiler.program.accesses import evaluate, instances
from sysai.compiler.program.arith import size_ranges
from sysai.compiler.program.expr import Var
from sysai.compiler.program.parser import parse
from sysai.compiler.program.regions import regions


@settings(max_examples=100, deadline=None)
@given(programs(), st.data())
def test_regions_hold_what_is_touched(function, data):
    sizes = data.draw(sizes_of(function))
    found = regions(function.body, size_ranges(function.sizes))
    for instance in instances(function.body, sizes):
        for touch in instance.touches:
            region = found[touch.writes][touch.buffer.name]
            for index, (low, high) in zip(touch.indices, region.intervals, strict=True):
                assert evaluate(low, sizes) <= index < evaluate(high, sizes)


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
    i, N = Var("i"), Var("N")
    read, written = regions(function.body.body, {i: (0, N // 8), N: (0, None)})
    assert str(written["B"]) == "B[i * 8:i * 8 + 8]"
    assert str(read["I"]) == "I[i * 8:i * 8 + 8]"
    assert str(read["B"]) == "B[i * 8 - 1:i * 8 + 7]"
    assert [str(extent) for extent in written["B"].extents] == ["8"]
    assert read["A"].intervals[0][0].op == "min", "an index that depends on data takes the whole array"
