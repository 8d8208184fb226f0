"""Generated Triton kernels, interpreted, against torch and against the graph's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from examples import examples
from fused_groups import (
    T,
    bias_gelu,
    gelu_tanh,
    group,
    layer_norm,
    linear_gelu,
    product,
    rms_norm_residual,
    softmax,
)
from hypothesis import given
from random_groups import pointwise_groups, row_groups
from sysai.compiler.codegen import triton as backend
from sysai.compiler.codegen.triton import TritonKernel, build_triton, generate_triton, graph_of
from sysai.compiler.errors import UnsupportedGroup
from sysai.compiler.graph import Graph
from sysai.compiler.graph.from_export import from_module
from sysai.compiler.graph.interpret import bind_sizes, run_graph, run_node
from sysai.compiler.passes import optimize
from sysai.compiler.passes.fusion import fuse_operators
from torch import nn
from torch.nn import functional as F

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, for NaN and infinities

DTYPES = ("float32", "float64", "float16", "bfloat16")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "float16": 2e-3, "bfloat16": 2e-2}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path_factory.getbasetemp() / "triton-cache"))


def build(graph: Graph) -> TritonKernel:
    return build_triton(graph, interpret=True)


def check(graph: Graph, *inputs: torch.Tensor, tolerance: float = 2e-5) -> None:
    """Kernel and interpreter give the same, NaN and infinities included."""
    for got, expected in zip(build(graph)(*inputs), run_graph(graph, *inputs), strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def random(*shape: int, dtype: str = "float64") -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 3, 17])
def test_softmax_is_torchs(dtype, rows):
    x = random(rows, 33, dtype=dtype)
    (got,) = build(softmax((T, 33), dtype))(x)
    expected = x.double().softmax(-1)
    torch.testing.assert_close(got.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 20, 64])
def test_layer_norm_is_torchs(dtype, columns):
    x, weight, bias = random(5, columns, dtype=dtype), random(columns, dtype=dtype), random(columns, dtype=dtype)
    (got,) = build(layer_norm((T, columns), dtype))(x, weight, bias)
    expected = F.layer_norm(x.double(), (columns,), weight.double(), bias.double())
    torch.testing.assert_close(got.double(), expected, rtol=TOLERANCE[dtype], atol=2 * TOLERANCE[dtype])


def test_rms_norm_stores_the_sum_as_well():
    x, residual, weight = random(2, 3, 20), random(2, 3, 20), random(20)
    norm, total = build(rms_norm_residual((T, 3, 20), "float64"))(x, residual, weight)
    torch.testing.assert_close(total, x + residual)
    torch.testing.assert_close(norm, F.rms_norm(x + residual, (20,), weight, eps=1e-6))


@pytest.mark.parametrize("columns", [1, 100, 2048, 2049])
def test_rows_that_do_not_fit_are_walked(columns, monkeypatch):
    monkeypatch.setattr("sysai.compiler.codegen.triton_kernels.RESIDENT_COLUMNS", 64)
    monkeypatch.setattr("sysai.compiler.codegen.triton_kernels.LOOP_BLOCK", 128)
    graph = layer_norm((2, columns))
    x, weight, bias = (random(*shape, dtype="float32") for shape in ((2, columns), (columns,), (columns,)))
    kernel = build(graph)
    assert kernel.source.count("for start in range") == (3 if columns > 64 else 0)
    torch.testing.assert_close(kernel(x, weight, bias)[0], F.layer_norm(x, (columns,), weight, bias))


def test_long_rows_of_unknown_length_choose_at_the_launch():
    kernel = build(softmax((2, T)))
    assert kernel.module.launch(8192)[0].__name__ == "softmax_kernel"
    function, grid, constants = kernel.module.launch(8193)
    assert (function.__name__, grid, constants["BLOCK_C"]) == ("softmax_looped_kernel", (2,), 2048)
    x = random(2, 40, dtype="float32")
    looped = torch.empty_like(x)
    kernel.module.softmax_looped_kernel[(2,)](x, looped, 40, WIDE=True, BLOCK_R=1, BLOCK_C=16)
    torch.testing.assert_close(looped, x.softmax(-1))


def test_a_mask_broadcasts_into_softmax():
    def masked(g, scores, mask):
        hidden = g.emit("select", mask, scores, g.full(float("-inf"), "float32"))
        top = g.emit("reduce", hidden, combine="max", axes=(3,), keepdim=True)
        weights = g.emit("exp", g.emit("sub", hidden, top))
        return g.emit("div", weights, g.emit("reduce", weights, combine="add", axes=(3,), keepdim=True))

    graph = group("masked", {"scores": ((2, 3, T, T), "float32"), "mask": ((T, T), "bool")}, masked)
    scores, mask = random(2, 3, 7, 7, dtype="float32"), torch.ones(7, 7, dtype=torch.bool).tril()
    (got,) = build(graph)(scores, mask)
    torch.testing.assert_close(got, scores.masked_fill(~mask, float("-inf")).softmax(-1))


@pytest.mark.parametrize("gelu", ["erf", "tanh"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_is_torchs(gelu, dtype):
    graph = bias_gelu((T, 3, 5), dtype, gelu_tanh) if gelu == "tanh" else bias_gelu((T, 3, 5), dtype)
    x, bias = 4 * random(7, 3, 5, dtype=dtype), random(5, dtype=dtype)
    (got,) = build(graph)(x, bias)
    expected = F.gelu(x.double() + bias.double(), approximate="tanh" if gelu == "tanh" else "none")
    torch.testing.assert_close(got.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("M", "K", "N"), [(1, 1, 1), (5, 40, 21), (33, 17, 1), (130, 70, 140)])
def test_linear_with_epilogue_is_torchs(dtype, M, K, N):
    x, weight, bias = random(M, K, dtype=dtype), random(N, K, dtype=dtype) / K**0.5, random(N, dtype=dtype)
    (got,) = build(linear_gelu((T,), K, N, dtype))(x, weight, bias)
    expected = F.gelu(F.linear(x.double(), weight.double(), bias.double()), approximate="tanh")
    torch.testing.assert_close(got.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_rows_are_flattened_for_the_product_and_no_division_reaches_it():
    graph = linear_gelu((T, 3), 20, 10, "float64")
    x, weight, bias = random(4, 3, 20), random(10, 20), random(10)
    torch.testing.assert_close(build(graph)(x, weight, bias)[0], F.gelu(F.linear(x, weight, bias), approximate="tanh"))
    body = generate_triton(graph).split("tile_n = ")[1].split("def launch")[0].split("tanh_square")[0]
    assert " % " not in body
    assert " // " not in body.removeprefix("within // group_m")


@pytest.mark.parametrize("shapes", [((3, T, 5), (3, 5, 9)), ((T, 5), (2, 3, 5, 9)), ((2, 1, T, 1), (3, 1, 4))])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_batches_broadcast(shapes, transpose_b):
    a, b = shapes
    b = (*b[:-2], b[-1], b[-2]) if transpose_b else b
    inputs = [random(*(6 if size is T else size for size in shape)) for shape in (a, b)]
    check(product(a, b, transpose_b, "float64"), *inputs, tolerance=1e-12)


def test_many_tiles_in_groups_cover_the_product():
    graph = product((T, 16), (16, 300), dtype="float32")
    kernel = build(graph)
    a, b = random(200, 16, dtype="float32"), random(16, 300, dtype="float32")
    out = torch.full((200, 300), torch.nan)
    constants = {"BLOCK_M": 16, "BLOCK_N": 32, "BLOCK_K": 16, "GROUP_M": 3, "WIDE": True}
    kernel.module.product_kernel[(13 * 10,)](a, b, out, 200, **constants)
    torch.testing.assert_close(out, a @ b)


def test_work_on_an_operand_goes_into_the_product():
    def scaled(g, a, scale, b):
        return g.emit("matmul", g.emit("mul", g.emit("exp", a), scale), b, transpose_b=False)

    inputs = {"a": ((T, 7), "float64"), "scale": ((7,), "float64"), "b": ((7, 5), "float64")}
    check(group("scaled", inputs, scaled), random(4, 7), random(7), random(7, 5), tolerance=1e-12)


class Block(nn.Module):
    """Embedding, attention with a causal mask, MLP: four heads of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(50, 32), nn.RMSNorm(32)
        self.qkv, self.out = nn.Linear(32, 96, bias=False), nn.Linear(32, 32, bias=False)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        q, k, v = self.qkv(self.norm(x)).view(*tokens.shape, 3, 4, 8).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(x.shape))
        return x + self.mlp(x)


def test_a_transformer_block_group_by_group():
    block, tokens = Block().eval(), torch.randint(0, 50, (2, 7))
    graph = optimize(from_module(block, (tokens,), dynamic={"tokens": {0: "B", 1: "T"}}))
    sizes = bind_sizes(graph, (tokens,))
    tensors = {**graph.constants, graph.inputs[0].name: tokens}
    kinds = []
    for number, part in enumerate(fuse_operators(graph)):
        kinds.append(part.kind)
        if part.kind == "view":
            (node,) = part.nodes
            tensors[node.output.name] = run_node(node, [tensors[node.inputs[0].name]], sizes)
            continue
        kernel = build(graph_of(graph, part, f"group_{number}"))
        numbers = {size.name: sizes[size.name] for size in kernel.graph.sizes}
        outputs = kernel(*(tensors[value.name] for value in kernel.graph.inputs), sizes=numbers)
        tensors |= {value.name: output for value, output in zip(part.outputs, outputs, strict=True)}
    assert kinds.count("matmul") == 6
    torch.testing.assert_close(tensors[graph.outputs[0].name], block(tokens))


SPECIAL = [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 1e-30, 3.4e38, 100.0, -100.0, 0.3]


@pytest.mark.parametrize("op", ["exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sigmoid", "abs", "floor", "pow2", "sin"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_nan_infinities_and_zeros(op, dtype):
    graph = group("function", {"x": ((T,), dtype)}, lambda g, x: g.emit(op, x))
    check(graph, torch.tensor(SPECIAL, dtype=getattr(torch, dtype)), tolerance=TOLERANCE[dtype])


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "min", "max", "lt", "le", "eq", "ne", "mod", "floordiv"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8"])
def test_operations_of_all_pairs(op, dtype):
    if op == "div" and "int" in dtype:
        return
    values = SPECIAL if dtype.startswith("float") else [-7, -3, -2, -1, 1, 2, 3, 7]
    x = torch.tensor(values, dtype=getattr(torch, dtype))
    graph = group("pairs", {"a": ((T, 1), dtype), "b": ((T,), dtype)}, lambda g, a, b: g.emit(op, a, b))
    check(graph, x[:, None], x)


def test_nan_and_infinity_pass_through_reductions_as_in_torch():
    x = random(6, 9, dtype="float32")
    x[1, 3], x[2, 4], x[3, :], x[4, 0] = float("nan"), float("inf"), float("-inf"), float("-inf")
    check(softmax((T, 9)), x)

    def extremes(g, x):
        return tuple(
            g.emit("reduce", x, combine=combine, axes=(1,), keepdim=False) for combine in ("max", "min", "add")
        )

    check(group("extremes", {"x": ((T, 9), "float32")}, extremes), x)


def test_masked_columns_of_a_nan_row_stay_outside_the_product():
    a, b = random(3, 5), random(5, 4)
    a[1, 2], b[4, 3] = float("nan"), float("inf")
    check(product((T, 5), (5, 4), dtype="float64"), a, b)


@pytest.mark.parametrize("source", ["float32", "int64", "int32", "int8", "bool", "bfloat16"])
@pytest.mark.parametrize("target", ["float64", "float16", "int32", "int64", "bool"])
def test_casts(source, target):
    large = 100 if source == "int8" else 2**24 + 1  # of more digits than a float32 has
    values = torch.tensor([0.0, 1.0, 2.7, 100.3, large], dtype=torch.float64).to(getattr(torch, source))
    check(group("cast", {"x": ((T,), source)}, lambda g, x: g.emit("cast", x, dtype=target)), values, tolerance=0)


def test_a_cast_to_half_rounds_inside_a_kernel():
    def through_half(g, x):
        return g.cast(g.cast(x, "float16"), "float32")

    check(group("rounded", {"x": ((T,), "float32")}, through_half), torch.tensor([0.1, 1 / 3, 70000.0]), tolerance=0)


def test_constants_are_operands():
    graph = bias_gelu((T, 5))
    bias = torch.randn(5)
    graph = Graph(graph.name, graph.sizes, graph.inputs[:1], {"bias": bias}, graph.nodes, graph.outputs)
    x = random(3, 5, dtype="float32")
    torch.testing.assert_close(build(graph)(x)[0], F.gelu(x + bias))


def test_an_embedding_is_gathered():
    graph = group(
        "embedding",
        {"table": ((11, 6), "float32"), "tokens": ((2, T), "int64"), "position": ((T, 6), "float32")},
        lambda g, table, tokens, position: g.emit("add", g.emit("gather", table, tokens, axis=0), position),
    )
    table, tokens, position = torch.randn(11, 6), torch.randint(0, 11, (2, 5)), torch.randn(5, 6)
    torch.testing.assert_close(build(graph)(table, tokens, position)[0], table[tokens] + position)


def test_operands_that_are_not_contiguous():
    x = random(9, 4, dtype="float32").T
    check(softmax((T, 9)), x)


@pytest.mark.parametrize("rows", [0, 1])
def test_empty_tensors(rows):
    check(bias_gelu((T, 4)), torch.ones(rows, 4), torch.ones(4))
    check(softmax((T, 4)), torch.ones(rows, 4))
    check(product((T, 4), (4, 3)), torch.ones(rows, 4), torch.ones(4, 3))
    check(product((2, T), (T, 3)), torch.ones(2, rows), torch.ones(rows, 3))
    total = group(
        "total", {"x": ((2, T), "float32")}, lambda g, x: g.emit("reduce", x, combine="add", axes=(1,), keepdim=False)
    )
    check(total, torch.ones(2, rows))


@examples(80)
@given(pointwise_groups())
def test_random_pointwise_groups(case):
    graph, inputs = case
    check(graph, *inputs, tolerance=0)


@examples(50)
@given(row_groups())
def test_random_row_groups(case):
    graph, inputs = case
    check(graph, *inputs, tolerance=0)


def test_a_value_that_is_used_twice_is_computed_once():
    def doubled(g, x):
        for _ in range(40):
            x = g.emit("add", x, x)
        return x

    graph = group("doubled", {"x": ((T,), "float64")}, doubled)
    assert generate_triton(graph).count(" + ") < 60
    check(graph, torch.ones(3, dtype=torch.float64))


def test_groups_without_a_kernel_are_refused():
    def two_axes(g, x):
        rows = g.emit("reduce", x, combine="add", axes=(1,), keepdim=True)
        return g.emit("add", rows, g.emit("reduce", x, combine="add", axes=(0,), keepdim=True))

    def shifted(g, x):
        total = g.emit("reduce", x, combine="add", axes=(1,), keepdim=False)
        return g.emit("add", x, total)

    def two_products(g, x):
        return g.emit("matmul", g.emit("matmul", x, x, transpose_b=False), x, transpose_b=False)

    for build_group, message in ((two_axes, "other axes"), (shifted, "its own place"), (two_products, "split")):
        with pytest.raises(UnsupportedGroup, match=message):
            generate_triton(group("refused", {"x": ((4, 4), "float32")}, build_group))
    integers = product((4, 4), (4, 4), dtype="int64")
    with pytest.raises(UnsupportedGroup, match="int64"):
        generate_triton(integers)


def test_inputs_that_do_not_fit_are_refused():
    kernel = build(softmax((T, 4)))
    for wrong in (torch.ones(2, 5), torch.ones(2, 4, dtype=torch.float64), torch.ones(4)):
        with pytest.raises(ValueError, match="input x"):
            kernel(wrong)
    with pytest.raises(ValueError, match="takes 1"):
        kernel()


def test_without_triton_the_text_can_be_had_and_the_message_is_clear(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "@triton.jit" in generate_triton(softmax((T, 4)))
    with pytest.raises(RuntimeError, match="not installed"):
        build_triton(softmax((T, 4)))


def test_a_damaged_file_of_the_cache_is_written_anew():
    kernel = build(softmax((T, 4)))
    kernel.path.write_text("raise SystemExit")
    assert build(softmax((T, 4))).path == kernel.path
    assert kernel.path.read_text() == kernel.source


def test_a_cache_that_cannot_be_written_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SYSAI_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(backend.tempfile, "gettempdir", lambda: str(tmp_path))
    x = torch.randn(2, 4)
    kernel = build(softmax((T, 4)))
    assert kernel.path.is_relative_to(tmp_path)
    torch.testing.assert_close(kernel(x)[0], x.softmax(-1))


def test_interpreted_where_triton_was_imported_for_the_interpreter():
    """Elsewhere in this file it was imported for the compiler."""
    program = (
        "import triton, torch\n"
        "from fused_groups import T, softmax\n"
        "from sysai.compiler.codegen.triton import build_triton\n"
        "x = torch.randn(3, 5)\n"
        "torch.testing.assert_close(build_triton(softmax((T, 5)), interpret=True)(x)[0], x.softmax(-1))\n"
    )
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
