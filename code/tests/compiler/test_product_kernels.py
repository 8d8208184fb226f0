"""Products of few and of many rows, packed and as they are stored, for wide and for narrow vectors."""

import re

import pytest
import torch
from lowered_graphs import interpreted
from sysai.compiler import cpu
from sysai.compiler.codegen.c import generate_c
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.pipeline import compile_graph, compile_module, make_plan
from sysai.compiler.schedule.default import default_schedule
from sysai.compiler.tir.expr import Var

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")

GATHERED = re.compile(r"\{x1\[")  # lane by lane from the right operand


@pytest.fixture(params=[64, 32], ids=["AVX-512", "AVX2"])
def width(request, monkeypatch):
    """Bytes of the vectors that schedules are made for; any compiler lowers them to what the machine has."""
    monkeypatch.setattr(cpu, "vector_bytes", lambda: request.param)
    return request.param


def product(a, b, transpose_b, constant=False):
    """The graph of a product of tensors of these shapes, and the tensors that it takes."""
    left, right = (Value(name, as_shape(x.shape), "float32") for name, x in (("a", a), ("b", b)))
    builder = Builder(("a", "b"))
    output = builder.emit("matmul", left, right, transpose_b=transpose_b)
    inputs, constants = ((left,), {"b": b}) if constant else ((left, right), {})
    return Graph("product", (), inputs, constants, tuple(builder.nodes), (output,)), (a,) if constant else (a, b)


def operands(batch, M, K, N, transpose_b, batch_b=None):
    generator = torch.Generator().manual_seed(M * K + N)
    matrix = (N, K) if transpose_b else (K, N)
    shapes = (*batch, M, K), (*(batch if batch_b is None else batch_b), *matrix)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def kernel_source(graph, width):
    (schedule,) = make_plan(graph).schedules
    return generate_c(schedule.function, width)


SHAPES = [
    # batch, M, K, N, transpose_b, batch of b
    ((), 1, 40, 19, True, None),  # along the sum, with a rest of it and of the columns
    ((), 5, 33, 9, True, None),
    ((3,), 1, 64, 37, True, None),
    ((2, 3), 4, 17, 8, True, (2, 1)),
    ((3,), 2, 5, 64, False, None),  # along columns, as it is stored
    ((5,), 1, 18, 128, False, None),
    ((), 17, 3, 288, False, None),  # packed at run time
    ((2,), 17, 5, 33, True, None),
    ((2,), 3, 7, 1, True, None),  # vectors
    ((), 6, 50, 1, False, None),
    ((), 1, 1, 1, True, None),
    ((2,), 3, 0, 32, True, None),  # nothing to add up
    ((2,), 0, 16, 32, True, None),
    ((0,), 1, 16, 32, False, None),
]


@pytest.mark.parametrize(("batch", "M", "K", "N", "transpose_b", "batch_b"), SHAPES)
def test_products_of_all_shapes(width, batch, M, K, N, transpose_b, batch_b):
    a, b = operands(batch, M, K, N, transpose_b, batch_b)
    expected = a.double() @ (b.mT if transpose_b else b).double()
    graph, inputs = product(a, b, transpose_b)
    for run in (interpreted(graph, default_schedule), compile_graph(graph)):
        (found,) = run(*inputs)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("M", "N"), [(1, 1536), (1, 33), (2, 768), (3, 1537), (8, 96)])
def test_packed_weights_and_few_rows(width, M, N):
    a, b = operands((), M, 3, N, True)
    graph, inputs = product(a, b, True, constant=True)
    for run in (interpreted(graph, default_schedule), compile_graph(graph)):
        (found,) = run(*inputs)
        torch.testing.assert_close(found.double(), a.double() @ b.mT.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("M", "columns"), [(1, {64: 64, 32: 64}), (2, {64: 64, 32: 32}), (8, {64: 32, 32: 16})])
def test_of_few_rows_several_panels_are_read_at_once(width, M, columns):
    """As many as leave 24 tiles and more, for the cores to share out."""
    source = kernel_source(product(*operands((), M, 576, 1536, True), True, constant=True)[0], width)
    loaded = set(re.findall(r"load_f32x\d+\(x1 \+ .*?\)(?=[,;]|, acc)", source))
    assert len(loaded) == columns[width] * 4 // width
    assert not GATHERED.search(source)


@pytest.mark.parametrize("sizes", [(8, 1), (1, 8), (2, 4)])
def test_sequences_and_their_positions_are_rows_of_one_product(width, sizes):
    a, b = operands(sizes[:1], sizes[1], 40, 64, True, ())
    graph, inputs = product(a, b, True, constant=True)
    (schedule,) = make_plan(graph).schedules
    assert [str(size) for size in schedule.function.buffers[0].shape] == ["8", "40"]
    torch.testing.assert_close(
        compile_graph(graph)(*inputs)[0].double(), a.double() @ b.mT.double(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("transpose_b", [True, False])
def test_a_step_of_attention_reads_the_cache_as_it_is(width, transpose_b):
    source = kernel_source(product(*operands((9,), 1, 64, 256, transpose_b), transpose_b)[0], width)
    assert "panels" not in source
    assert not GATHERED.search(source)
    assert not re.search(r"float acc\w*\[", source)  # accumulators are variables, halves of which are added up


def test_wide_operands_are_packed_for_many_rows_only(width):
    for rows, packs in ((8, False), (64, True)):
        source = kernel_source(product(*operands((), rows, 64, 1024, False), False)[0], width)
        assert ("panels" in source) is packs


@pytest.mark.parametrize(("rows", "packed"), [(1, False), (5, False), (40, True)])
def test_a_table_of_embeddings_that_is_the_head_too_is_not_kept_twice_for_few_rows(rows, packed):
    table, x, tokens = torch.randn(90, 32), torch.randn(rows, 32), torch.tensor([3, 89])
    values = [Value(n, as_shape(t.shape), str(t.dtype)[6:]) for n, t in (("x", x), ("i", tokens), ("table", table))]
    builder = Builder(("x", "i", "table"))
    outputs = (
        builder.emit("matmul", values[0], values[2], transpose_b=True),
        builder.emit("gather", values[2], values[1], axis=0),
    )
    compiled = compile_graph(Graph("tied", (), tuple(values[:2]), {"table": table}, tuple(builder.nodes), outputs))
    assert set(compiled.plan.constants) == ({"table", "table.packed"} if packed else {"table"})
    logits, embeddings = compiled(x, tokens)
    torch.testing.assert_close(logits.double(), x.double() @ table.mT.double(), rtol=1e-5, atol=1e-5)
    assert torch.equal(embeddings, table[tokens])


def test_a_number_of_rows_that_only_the_run_time_knows(width):
    M, (_, b) = Var("M"), operands((), 1, 2, 1536, True)
    left, right = Value("a", as_shape((M, 2)), "float32"), Value("b", as_shape(b.shape), "float32")
    builder = Builder(("a", "b"))
    output = builder.emit("matmul", left, right, transpose_b=True)
    graph = Graph("product", (M,), (left,), {"b": b}, tuple(builder.nodes), (output,))
    slow, compiled = interpreted(graph, default_schedule), compile_graph(graph)
    for run, rows in ((slow, 0), (slow, 1), (compiled, 0), (compiled, 1), (compiled, 8)):
        a = torch.randn(rows, 2)
        torch.testing.assert_close(run(a)[0].double(), a.double() @ b.mT.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "groups", "size", "stride"),
    [(4, 4, (9, 37), (1, 1)), (4, 2, (5, 40), (2, 1)), (2, 2, (7, 33), (1, 2)), (2, 2, (3, 3), (1, 1))],
)
def test_grouped_convolutions_go_along_rows_of_the_image(width, channels, groups, size, stride):
    x, weight = torch.randn(2, channels, *size), torch.randn(2 * channels, channels // groups, 3, 3)
    values = [Value(name, as_shape(t.shape), "float32") for name, t in (("x", x), ("w", weight))]
    builder = Builder(("x", "w"))
    attributes = {"stride": stride, "padding": (1, 0), "dilation": (1, 1), "groups": groups}
    output = builder.emit("conv2d", *values, **attributes)
    graph = Graph("convolution", (), (values[0],), {"w": weight}, tuple(builder.nodes), (output,))
    expected = torch.nn.functional.conv2d(x.double(), weight.double(), None, **attributes)
    compiled = compile_graph(graph)
    torch.testing.assert_close(compiled(x)[0].double(), expected, rtol=1e-5, atol=1e-5)
    source = generate_c(compiled.schedules[-1].function, width)
    whole = stride[1] == 1 and size[1] - 2 >= width // 4
    assert (f"load_f32x{width // 4}(x0 +" in source) is whole


class Stored(torch.nn.Module):
    """A linear layer whose weights have fewer bits than its input."""

    def __init__(self, weight, scale):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale


@pytest.mark.parametrize(
    ("dtype", "rows"), [*((torch.int8, rows) for rows in (1, 4, 9, None)), (torch.float16, 4), (torch.bfloat16, 4)]
)
def test_narrow_weights_are_packed_as_they_are_and_widened_as_they_are_read(dtype, rows, width):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-128, 128, (37, 50), generator=generator).to(dtype)
    module, x = Stored(weight, torch.rand(37, generator=generator)), torch.randn(rows or 7, 50, generator=generator)
    compiled = compile_module(module, (x,), None if rows else {0: {0: "T"}}, freeze=True)
    (packed,) = (tensor for name, tensor in compiled.plan.constants.items() if name.endswith(".packed"))
    assert packed.dtype == dtype
    assert len(compiled.kernels) == 1
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-2)
    mark = {torch.int8: "widen_i8x", torch.float16: "load_f16x", torch.bfloat16: "load_bf16x"}[dtype]
    assert f"{mark}{width // 4}(" in compiled.kernels[0].source


@pytest.mark.parametrize("dtype", [torch.int8, torch.float16, torch.bfloat16])
def test_every_number_of_eight_or_sixteen_bits_is_widened_exactly(dtype):
    bits = torch.arange(-(2 ** (8 * dtype.itemsize - 1)), 2 ** (8 * dtype.itemsize - 1), dtype=torch.int64)
    numbers = bits.to(torch.int8 if dtype.itemsize == 1 else torch.int16).view(dtype)
    compiled = compile_module(Widened(), (numbers,))
    torch.testing.assert_close(compiled(numbers), numbers.float(), rtol=0, atol=0, equal_nan=True)


class Widened(torch.nn.Module):
    def forward(self, x):
        return x.float()
