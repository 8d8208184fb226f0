"""Calling kernels: sizes from shapes, what is refused, dtypes in memory, NaN and infinities, empty and odd shapes."""

import ctypes
import math

import pytest
import torch
from schedule_programs import matmul
from sysai.compiler.codegen.c import generate_c
from sysai.compiler.codegen.kernel import build
from sysai.compiler.codegen.loop_partition import partition_loops
from sysai.compiler.codegen.toolchain import compile_c
from sysai.compiler.codegen.vector_header import HEADER_NAME, vector_header
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.expr import (
    DTYPES,
    FLOATS,
    Buffer,
    Call,
    Cast,
    Const,
    Select,
    Var,
    binary,
)
from sysai.compiler.tir.statement import SPATIAL, Axis, Block, For, If, PrimFunc, Seq, statements
from sysai.compiler.tir.text import parse

QUICK = ("-O1",)
N, M, I, J = Var("N"), Var("M"), Var("i"), Var("j")
INF, NAN = float("inf"), float("nan")
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.1, 1e-8, 1e30, -1e30, 65504.0, 3.0, INF, -INF, NAN, 7.0, -7.0, 0.5, 100.0]

pytestmark = pytest.mark.usefixtures("module_cache")


def elementwise(value, *dtypes: str, out: str = "float32", vectorized: int = 0) -> PrimFunc:
    """out[i] = value(inputs' elements) for i < N, in vectors of `vectorized`."""
    buffers = [Buffer(f"x{number}", (N,), dtype) for number, dtype in enumerate(dtypes)]
    v = Var("v")
    result = Buffer("out", (N,), out)
    block = Block("b", (Axis(v, N, SPATIAL, I),), result, (v,), value(*(buffer[v] for buffer in buffers)))
    function = PrimFunc("f", (N,), (*buffers, result), For(I, N, block))
    if not vectorized:
        return function
    schedule = Schedule(function)
    schedule.vectorize(schedule.split("i", vectorized)[1])
    return schedule.function


def evaluated(values: dict, outs: dict, lanes: int, *inputs: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """(name, what one kernel stores) of several values of dtypes `outs`, one by one and in vectors of `lanes`."""
    buffers = [Buffer(f"x{n}", (N,), str(x.dtype).removeprefix("torch.")) for n, x in enumerate(inputs)]
    results, nests = [], []
    for name, value in values.items():
        for way in (name, f"{name}_in_vectors"):
            v, loop, result = Var("v"), Var(f"i_{way}"), Buffer(f"out_{way}", (N,), outs[name])
            stored = value(*(buffer[v] for buffer in buffers))
            results.append(result)
            nests.append(For(loop, N, Block(way, (Axis(v, N, SPATIAL, loop),), result, (v,), stored)))
    schedule = Schedule(PrimFunc("f", (N,), (*buffers, *results), Seq(tuple(nests))))
    for name in values:
        schedule.vectorize(schedule.split(f"i_{name}_in_vectors", lanes)[1])
    tensors = [torch.zeros(len(inputs[0]), dtype=getattr(torch, result.dtype)) for result in results]
    build(schedule.function, QUICK)(*inputs, *tensors)
    return list(zip([name for name in values for _ in range(2)], tensors, strict=True))


def copy2d() -> PrimFunc:
    v, w = Var("v"), Var("w")
    x, y = Buffer("x", (N, M)), Buffer("y", (N, M))
    block = Block("b", (Axis(v, N, SPATIAL, I), Axis(w, M, SPATIAL, J)), y, (v, w), x[v, w] + 1.0)
    return PrimFunc("copy2d", (N, M), (x, y), For(I, N, For(J, M, block)))


def tensor(numbers: list[float], dtype: str) -> torch.Tensor:
    if dtype in FLOATS:
        return torch.tensor(numbers, dtype=torch.float64).to(getattr(torch, dtype))
    return torch.tensor([int(max(-100, min(100, n))) if math.isfinite(n) else 5 for n in numbers]).to(
        getattr(torch, dtype)
    )


@pytest.mark.parametrize("of", DTYPES)
def test_every_cast_is_torchs(of):
    numbers = [n for n in NUMBERS if math.isfinite(n) and abs(n) <= 100]
    x = tensor(NUMBERS * 3, of)
    small = tensor((numbers * 6)[: len(x)], of) if of in FLOATS else x  # what does not fit an integer is undefined in C
    values = {to: (lambda e, _, to=to: Cast(to, e)) for to in FLOATS}
    values |= {to: (lambda _, e, to=to: Cast(to, e)) for to in DTYPES if to not in FLOATS}
    for to, got in evaluated(values, {to: to for to in values}, 24, x, small):
        expected = (x if to in FLOATS else small).to(getattr(torch, to))
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("of", ["int32", "int64", "float64"])
def test_a_cast_of_a_large_whole_number_keeps_all_its_digits(of):
    x = torch.tensor([2**24 + 1, -(2**24) - 1, 2**31 - 1, -(2**31)] * 6, dtype=getattr(torch, of))
    targets = ["int32", "int64", "float64"]
    values = {to: (lambda e, to=to: Cast(to, e)) for to in targets}
    for to, got in evaluated(values, {to: to for to in targets}, 8, x):
        assert torch.equal(got, x.to(getattr(torch, to))), to


BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "min": torch.minimum, "max": torch.maximum,
    "lt": torch.lt, "le": torch.le, "eq": torch.eq, "ne": torch.ne, "div": torch.div,
    "floordiv": torch.floor_divide, "mod": torch.remainder,
}  # fmt: skip
FUNCTIONS = {
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "tanh": torch.tanh, "erf": torch.erf,
    "sigmoid": torch.sigmoid, "sin": torch.sin, "cos": torch.cos, "abs": torch.abs, "floor": torch.floor,
    "pow2": torch.exp2,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int8"])
def test_operators_are_torchs_for_every_pair_of_numbers(dtype):
    a = tensor([n for n in NUMBERS for _ in NUMBERS], dtype)
    b = tensor(NUMBERS * len(NUMBERS), dtype)
    nonzero = b.where(b != 0, 3)
    names = [op for op in BINARY if op != "div" or dtype in FLOATS]
    values = {op: (lambda x, y, z, op=op: binary(op, x, z if op in ("floordiv", "mod") else y)) for op in names}
    outs = {op: "bool" if op in ("lt", "le", "eq", "ne") else dtype for op in names}
    for op, got in evaluated(values, outs, 24, a, b, nonzero):
        expected = BINARY[op](a, nonzero if op in ("floordiv", "mod") else b)
        if op in ("floordiv", "mod") and dtype in FLOATS:  # of infinities and of what is far apart, numpy's are others
            usual = torch.isfinite(a) & torch.isfinite(nonzero) & (a.abs() < 1e3) & (nonzero.abs() > 1e-3)
            got, expected = got[usual], expected[usual]
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True, msg=f"{op}: {got} {expected}")


@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_of_every_float(dtype):
    x = tensor(NUMBERS * 3, dtype)
    values = {name: (lambda e, name=name: Call(name, e)) for name in FUNCTIONS}
    rtol = {"float32": 4e-7, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    for name, got in evaluated(values, dict.fromkeys(FUNCTIONS, dtype), 40, x):
        expected = FUNCTIONS[name](x.double()).to(x.dtype)  # torch's erf is 0 at 1e-8
        torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-40, equal_nan=True, msg=f"{name} {got} {expected}")


@pytest.mark.parametrize("vectorized", [0, 16])
def test_logic_and_selection_with_masks_of_bool(vectorized):
    a, b = torch.rand(37) > 0.5, torch.rand(37) > 0.5
    x = torch.randn(37)
    out, chosen = torch.zeros(37, dtype=torch.bool), torch.zeros(37)
    either = elementwise(
        lambda p, q: binary("or", binary("and", p, q), binary("lt", p, q)),
        "bool",
        "bool",
        out="bool",
        vectorized=vectorized,
    )
    build(either, QUICK)(a, b, out)
    assert torch.equal(out, (a & b) | (~a & b))
    build(elementwise(lambda p, e: Select(p, e, e * -2.0), "bool", "float32", vectorized=vectorized), QUICK)(
        a, x, chosen
    )
    assert torch.equal(chosen, torch.where(a, x, x * -2))


def test_a_select_does_not_load_what_it_does_not_choose():
    v = Var("v")
    x, y = Buffer("x", (N,)), Buffer("y", (N + 2,))
    value = Select(binary("and", v >= 1, v <= N), x[v - 1], Const(0.0, "float32"))
    block = Block("pad", (Axis(v, N + 2, SPATIAL, I),), y, (v,), value)
    schedule = Schedule(PrimFunc("pad", (N,), (x, y), For(I, N + 2, block)))
    schedule.vectorize(schedule.split("i", 16)[1])
    text = generate_c(schedule.function)
    assert "load_f32" not in text  # nothing proves that lanes 0 to 15 of x[v - 1] are inside
    for n in (0, 1, 14, 15, 33):
        x, y = torch.randn(n), torch.zeros(n + 2)
        build(schedule.function, QUICK)(x, y)
        assert torch.equal(y, torch.nn.functional.pad(x, (1, 1)))


def test_a_comparison_of_indices_is_a_mask_of_lanes():
    v, w = Var("v"), Var("w")
    x, y = Buffer("x", (N, M)), Buffer("y", (N, M))
    block = Block(
        "mask", (Axis(v, N, SPATIAL, I), Axis(w, M, SPATIAL, J)), y, (v, w),
        Select(w <= v, x[v, w], Const(-INF, "float32")),
    )  # fmt: skip
    schedule = Schedule(PrimFunc("causal", (N, M), (x, y), For(I, N, For(J, M, block))))
    schedule.vectorize(schedule.split("j", 16)[1])
    assert "select_f32x" in generate_c(schedule.function, 64)
    for n, m in ((5, 5), (1, 40), (40, 33), (3, 0)):
        x, y = torch.randn(n, m), torch.zeros(n, m)
        build(schedule.function, QUICK)(x, y)
        expected = x.masked_fill(torch.ones(n, m).triu(1).bool(), -INF)
        assert torch.equal(y, expected)


@pytest.mark.parametrize(("half", "selects"), [(16, 0), (24, 1)])
def test_a_condition_that_is_the_same_in_all_lanes_chooses_between_vectors(half, selects):
    function = parse(f"""
def concat(N: size, x: float32[N, {half}], y: float32[N, {half}], out: float32[N, {2 * half}]):
    for i in range(N * {2 * half // 16}):
        for j in vectorized(16):
            with block("out"):
                vi = spatial(N, i // {2 * half // 16})
                vj = spatial({2 * half}, i % {2 * half // 16} * 16 + j)
                out[vi, vj] = select(vj < {half}, x[vi, vj], y[vi, vj - {half}])
""")
    text = generate_c(function, 64)
    assert text.count("load_f32x16(") == (0 if selects else 2)
    x, y = torch.randn(5, half), torch.randn(5, half)
    out = torch.zeros(5, 2 * half)
    build(function, QUICK)(x, y, out)
    assert torch.equal(out, torch.cat([x, y], 1))


def test_quotients_by_sizes_are_those_of_c():
    function = parse("""
def transpose(B: size, T: size, x: float32[B, T, 4], y: float32[B, 4, T]):
    for i in parallel(B * 4 * T):
        with block("y"):
            vb = spatial(B, i // T // 4)
            vc = spatial(4, i // T % 4)
            vt = spatial(T, i % T)
            y[vb, vc, vt] = x[vb, (vc * T + vt) % T, (vc * T + vt) // T]
""")
    assert "_i64" not in generate_c(function)
    kernel = build(function, QUICK)
    for shape in ((2, 3, 4), (1, 1, 4), (0, 3, 4), (3, 0, 4)):
        x = torch.randn(shape)
        y = torch.zeros(shape[0], 4, shape[1])
        kernel(x, y)
        assert torch.equal(y, x.transpose(1, 2))


@pytest.mark.parametrize("width", [16, 32, 64])
def test_a_main_part_has_no_conditions_and_whole_vectors(width):
    schedule = Schedule(copy2d())
    schedule.vectorize(schedule.split("j", width // 4)[1])
    schedule.parallel("i")
    assert not any(isinstance(stmt, If) for stmt in statements(partition_loops(schedule.function).body))
    text = generate_c(schedule.function, width)
    assert text.count(f"store_f32x{width // 4}(") == 1
    assert "if (" not in text
    assert text.count("#pragma omp parallel for") == 1


def test_a_register_tile_becomes_variables():
    schedule = Schedule(matmul())
    schedule.cache_write("matmul")
    i_0, j_0, i_1, j_1 = schedule.tile(["i", "j"], [6, 16])
    schedule.reorder(i_0, j_0, "k", i_1, j_1)
    schedule.reverse_compute_at("copy_c_local", j_0)
    init = schedule.decompose_reduction("matmul", "k")
    for name in ("matmul", init, "copy_c_local"):
        *_, rows, columns = schedule.loops_of(name)
        schedule.unroll(rows)
        schedule.vectorize(columns)
    text = generate_c(schedule.function, 32)
    assert text.count("f32x8 c_local") >= 12
    assert "c_local[" not in text.split("for (int64_t i_0")[1].split("c_local_8")[0]
    kernel = build(schedule.function, QUICK)
    for m, n, k in ((12, 32, 7), (13, 35, 5), (1, 1, 1), (5, 3, 9), (0, 3, 2), (6, 16, 0)):
        a, b, c = torch.randn(m, k), torch.randn(k, n), torch.full((m, n), 9.0)
        kernel(a, b, c)
        torch.testing.assert_close(c, a @ b)


@pytest.mark.parametrize("width", [16, 32])
def test_narrower_vectors_than_this_machines_may_be_asked_for(width):
    schedule = Schedule(copy2d())
    schedule.vectorize(schedule.split("j", 24)[1])
    library = compile_c(generate_c(schedule.function, width), {HEADER_NAME: vector_header(width)}, QUICK)
    x, y = torch.randn(3, 55), torch.zeros(3, 55)
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (x, y))
    assert ctypes.CDLL(str(library)).copy2d(*pointers, ctypes.c_int64(3), ctypes.c_int64(55), 1) == 0
    assert torch.equal(y, x + 1)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (7, 33), (2, 64), (3, 65)])
def test_odd_and_empty_shapes(shape):
    schedule = Schedule(copy2d())
    schedule.vectorize(schedule.split("j", 16)[1])
    schedule.parallel("i")
    x, y = torch.randn(shape), torch.full(shape, 9.0)
    build(schedule.function, QUICK)(x, y)
    assert torch.equal(y, x + 1)


def test_a_reduction_over_nothing_is_refused_unless_it_begins_by_itself():
    a, b, c = torch.zeros(2, 0), torch.zeros(0, 3), torch.full((2, 3), 9.0)
    with pytest.raises(ValueError, match="block matmul reduces over an empty axis"):
        build(matmul(), QUICK)(a, b, c)
    schedule = Schedule(matmul())
    schedule.decompose_reduction("matmul", "k")
    build(schedule.function, QUICK)(a, b, c)
    assert not c.any()


def test_arguments_that_do_not_fit_are_refused():
    kernel = build(copy2d(), QUICK)
    x, y = torch.zeros(3, 4), torch.zeros(3, 4)
    with pytest.raises(ValueError, match="takes 2 tensors"):
        kernel(x)
    with pytest.raises(ValueError, match="y should have shape"):
        kernel(x, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"x is torch\.float64, but should be float32"):
        kernel(x.double(), y)
    with pytest.raises(ValueError, match="x is not contiguous"):
        kernel(torch.zeros(4, 3).T, y)
    with pytest.raises(ValueError, match="y is on meta"):
        kernel(x, torch.zeros(3, 4, device="meta"))
    with pytest.raises(ValueError, match="y overlaps x"):
        kernel(x, x)
    memory = torch.zeros(20)
    with pytest.raises(ValueError, match="y overlaps x"):
        kernel(memory[:12].view(3, 4), memory[8:].view(3, 4))
    kernel(torch.zeros(24)[:12].view(3, 4), y)
    assert torch.equal(y, torch.ones(3, 4))


def test_a_bound_call_works_on_the_tensors_as_they_are_then():
    kernel = build(copy2d(), QUICK)
    x, y = torch.zeros(3, 4), torch.zeros(3, 4)
    call = kernel.bind(x, y)
    x += 5
    call()
    assert torch.equal(y, torch.full((3, 4), 6.0))


def test_buffers_of_the_function_are_of_each_thread():
    function = parse("""
def f(R: size, N: size, x: float32[R, N], y: float32[R, N]):
    for i in range(R):
        with allocate(float32[N], "global") as t:
            for j in range(N):
                with block("t"):
                    vi = spatial(R, i)
                    vj = spatial(N, j)
                    t[vj] = x[vi, vj] * float32(2.0)
            for l in range(N):
                with block("y"):
                    wi = spatial(R, i)
                    wj = spatial(N, l)
                    y[wi, wj] = t[(N - 1) - wj]
""")
    schedule = Schedule(function)
    schedule.parallel("i")
    x, y = torch.randn(50, 321), torch.zeros(50, 321)
    build(schedule.function, QUICK)(x, y)
    assert torch.equal(y, x.flip(1) * 2)
    assert "omp_get_thread_num()" in generate_c(schedule.function)


def test_names_that_c_has_taken_are_changed():
    v = Var("v")
    x, y = Buffer("float", (N,)), Buffer("threads", (N,))
    block = Block("b", (Axis(v, N, SPATIAL, Var("exp")),), y, (v,), Call("exp", x[v]))
    kernel = build(PrimFunc("f", (N,), (x, y), For(Var("exp"), N, block)), QUICK)
    a, b = torch.randn(5), torch.zeros(5)
    kernel(a, b)
    torch.testing.assert_close(b, a.exp())
