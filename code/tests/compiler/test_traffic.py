"""Counts against an enumeration, and the model of a cache against a simulator of one.

The simulator is fully associative with LRU. The model is to be no lower than it, but for its rounding of lines, and
exact where all fits, where everything is reloaded, and where rows are whole lines and an array streams through.
"""

from collections import Counter

import pytest
from cache_simulator import simulate
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from random_programs import programs, sizes_of
from sysai.compiler.tir.accesses import instances
from sysai.compiler.tir.text import parse
from sysai.compiler.tir.traffic import count, moved

LINE = 64


def matmul(n, order, tile=None):
    """C += A B of n x n matrices, the loops in this order, tiled or not."""
    if tile:
        loops = [(f"{v}_0", -(-n // tile)) for v in order] + [(f"{v}_1", tile) for v in order]
        index = {v: f"{v}_0 * {tile} + {v}_1" for v in order}
    else:
        loops, index = [(v, n) for v in order], {v: v for v in order}
    lines = [f"def matmul({', '.join(f'{name}: float32[{n}, {n}]' for name in 'ABC')}):"]
    lines += ["    " * (depth + 1) + f"for {v} in range({extent}):" for depth, (v, extent) in enumerate(loops)]
    inside = "    " * (len(loops) + 1)
    lines += [inside + 'with block("C"):']
    lines += [f"{inside}    v{v} = {'reduce' if v == 'k' else 'spatial'}({n}, {index[v]})" for v in "ijk"]
    if tile and n % tile:
        lines += [f"{inside}    where({' and '.join(f'{index[v]} < {n}' for v in 'ijk')})"]
    lines += [inside + "    C[vi, vj] = init(float32(0.0))", inside + "    C[vi, vj] += A[vi, vk] * B[vk, vj]"]
    return parse("\n".join(lines) + "\n")


def lines_of(function, capacity, sizes=None):
    return {name: bytes_.loaded // LINE for name, bytes_ in moved(function, sizes, capacity, LINE).items()}


@examples(40)
@given(programs(), st.data())
def test_counts_are_exact(function, data):
    sizes = data.draw(sizes_of(function, least=0))
    loads, stores = Counter(), Counter()
    for instance in instances(function.body, sizes):
        for touch in instance.touches:
            (stores if touch.writes else loads)[touch.buffer.name] += 1
    counted = count(function, sizes)
    assert {name: (c.loads, c.stores) for name, c in counted.items()} == {n: (loads[n], stores[n]) for n in counted}


@pytest.mark.parametrize("order", ["ijk", "kij"])
def test_counts_of_tiles_that_do_not_divide(order):
    counted = count(matmul(10, order, 4))
    assert (counted["A"].loads, counted["B"].loads, counted["C"].stores) == (1000, 1000, 1000)


def test_large_counts_are_multiplied():
    assert count(matmul(4096, "ijk", 64))["A"].loads == 4096**3
    assert count(matmul(1000, "ijk", 64))["A"].loads == 1000**3


@pytest.mark.parametrize("order", ["ijk", "ikj", "kij"])
@pytest.mark.parametrize(("n", "tile"), [(16, None), (16, 4), (24, 8)])
@pytest.mark.parametrize("capacity", [512, 1024, 2048])
def test_matmul_against_simulator(n, tile, order, capacity):
    """Never below LRU by more than a fifth (rounding of lines), nor above it by more than three quarters in total."""
    function = matmul(n, order, tile)
    loaded, _ = simulate(function, {}, capacity, LINE)
    total, modelled = sum(loaded.values()), sum(lines_of(function, capacity).values())
    assert 0.8 * total <= modelled <= 1.75 * total, (dict(loaded), lines_of(function, capacity))


@pytest.mark.parametrize("n", [8, 16])
def test_exact_where_all_fits(n):
    function = matmul(n, "ijk")
    loaded, stored = simulate(function, {}, 1 << 20, LINE)
    model = moved(function, {}, 1 << 20, LINE)
    assert {name: bytes_.loaded for name, bytes_ in model.items()} == {n: LINE * k for n, k in loaded.items()}
    assert model["C"].stored == LINE * stored["C"]
    assert model["A"].stored == 0
    assert model["C"].total == model["C"].loaded + model["C"].stored


def test_three_operators_cost_three_times_the_traffic_of_one():
    """Each of three nests streams its operand through the cache; fused, what they pass on stays there."""
    nest = """
        for i in range(4096):
            with block("{0}"):
                v = spatial(4096, i)
                {0}[v] = {1}[v] * float32(2.0)
"""
    head = "def three(A: float32[4096], T: float32[4096], U: float32[4096], B: float32[4096]):"
    apart = parse(head + "".join(nest.format(*pair) for pair in ("TA", "UT", "BU")).replace("\n        ", "\n    "))
    blocks = "".join(nest.format(*pair).split("range(4096):", 1)[1] for pair in ("TA", "UT", "BU"))
    fused = parse(head + "\n    for i in range(4096):" + blocks.replace("\n            ", "\n        "))
    capacity, array = 2048, 4096 * 4
    assert {k: m.loaded for k, m in moved(apart, {}, capacity).items()} == {
        "A": array, "T": 2 * array, "U": 2 * array, "B": array
    }  # fmt: skip
    assert {k: m.stored for k, m in moved(apart, {}, capacity).items()} == {"A": 0, "T": array, "U": array, "B": array}
    assert {m.loaded for m in moved(fused, {}, capacity).values()} == {array}
    for function in (apart, fused):
        loaded, stored = simulate(function, {}, capacity, LINE)
        model = moved(function, {}, capacity)
        assert loaded == {name: bytes_.loaded // LINE for name, bytes_ in model.items()}
        assert {name: stored[name] for name in model} == {name: bytes_.stored // LINE for name, bytes_ in model.items()}


@examples(30)
@given(programs(dtypes=("float32",)), st.sampled_from((8, 16)), st.data())
def test_random_programs_are_compulsory_when_all_fits(function, line, data):
    """Hulls may hold lines that are not touched, or be rounded up; never fewer lines than are touched, by a third."""
    sizes = data.draw(sizes_of(function))
    loaded, _ = simulate(function, sizes, 1 << 20, line)
    model = {name: bytes_.loaded // line for name, bytes_ in moved(function, sizes, 1 << 20, line).items()}
    assert model.keys() >= loaded.keys()
    assert all(loaded[name] * 2 <= model[name] * 3 for name in loaded), (loaded, model)


def test_refuses():
    with pytest.raises(ValueError, match="no line"):
        moved(matmul(8, "ijk"), {}, 32)
    function = parse(
        "def f(N: size, A: float32[N]):\n    for i in range(N):\n        with block('A'):\n"
        "            v = spatial(N, i)\n            A[v] = float32(0.0)\n"
    )
    with pytest.raises(ValueError, match="size N has no value"):
        moved(function, {}, 1024)
