"""Compiled modules give what torch gives: models, dynamic sizes down to 0 and 1, NaN, fallbacks, refusals."""

import pytest
import sysai.compiler
import torch
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from lowered_graphs import interpreted
from random_graphs import graphs, inputs_for
from sysai.compiler.graph.from_export import from_module
from sysai.compiler.pipeline import compile_graph
from sysai.models.config import ModelConfig
from sysai.models.transformer import Transformer
from test_lowering import assert_close, expected
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")


class Chain(nn.Module):
    """Bias, GELU, residual, LayerNorm."""

    def __init__(self, size=40):
        super().__init__()
        self.bias, self.norm = nn.Parameter(torch.randn(size)), nn.LayerNorm(size)

    def forward(self, x, residual):
        return self.norm(F.gelu(x + self.bias) + residual)


class CNN(nn.Module):
    """Convolutions (one of them depthwise), batch norm, pooling, a head."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1, stride=2), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 12, 3, groups=6), nn.Linear(12, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.first(x))), 3, 2, 1)
        return F.log_softmax(self.head(F.relu(self.second(x)).mean((2, 3))), -1)


def mlp():
    return nn.Sequential(nn.Linear(24, 70), nn.GELU(approximate="tanh"), nn.Linear(70, 9))


BATCH = {0: {0: "B"}}
MODELS = {
    "mlp": (mlp, lambda B: (torch.randn(B, 24),), BATCH),
    "chain": (Chain, lambda B: (torch.randn(B, 40), torch.randn(B, 40)), {0: {0: "B"}, 1: {0: "B"}}),
    "cnn": (CNN, lambda B: (torch.randn(B, 3, 11, 11),), BATCH),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_with_a_dynamic_batch(name):
    torch.manual_seed(0)
    make, inputs, dynamic = MODELS[name]
    module = make().eval()
    compiled = sysai.compiler.compile(module, inputs(4), dynamic)
    slow = interpreted(from_module(module, inputs(4), dynamic))
    for batch in (4, 1, 17, 0):
        arguments = inputs(batch)
        with torch.no_grad():
            wanted = module(*arguments)
        torch.testing.assert_close(compiled(*arguments), wanted, rtol=1e-4, atol=1e-5)
        if batch == 1:
            torch.testing.assert_close(slow(*arguments)[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    config = ModelConfig(
        name="tiny",
        vocab_size=50,
        d_model=32,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        head_dim=8,
        d_ff=48,
        max_positions=64,
    )
    module = Transformer(config).eval()
    tokens = torch.randint(0, 50, (2, 6))
    return module, sysai.compiler.compile(module, (tokens,), {0: {0: "B", 1: "T"}})


@pytest.mark.parametrize(("batch", "length"), [(2, 6), (1, 2), (1, 33), (2, 17)])
def test_the_book_transformer(transformer, batch, length):
    module, compiled = transformer
    tokens = torch.randint(0, 50, (batch, length))
    with torch.no_grad():
        torch.testing.assert_close(compiled(tokens), module(tokens), rtol=1e-4, atol=1e-5)


def test_a_size_for_which_the_module_branches_is_refused(transformer):
    with pytest.raises(ValueError, match="T != 1"):
        transformer[1](torch.zeros(1, 1, dtype=torch.int64))


def test_the_arena_is_used_again_and_sound(transformer):
    plan = transformer[1].executable.memory({"B": 2, "T": 6})
    plan.check_invariants()
    assert plan.peak < plan.total / 2
    assert "bytes (lower bound" in transformer[1].report({"B": 2, "T": 6})


def test_layers_share_kernels(transformer):
    compiled = transformer[1]
    assert len(compiled.kernels) < len(compiled.plan.steps)


class Skip(nn.Module):
    """A value goes into a product, and past it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        a = F.relu(x + 1)
        product = self.linear(a)
        past = a * 2
        return past + product


class Padded(nn.Module):
    """Rows end just where a vector does, or one before."""

    def forward(self, x):
        return tuple(F.pad(x[:, :width].exp(), (0, 64 - width)) for width in (7, 8, 15, 16, 23, 31))


@pytest.mark.parametrize(("module", "shape"), [(Skip(), (5, 8)), (Padded(), (3, 31))], ids=["skip", "padded"])
def test_small_modules_are_torchs(module, shape):
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(sysai.compiler.compile(module.eval(), (x,))(x), module(x), rtol=1e-5, atol=1e-6)


class TwoLengths(nn.Module):
    def forward(self, x, y):
        return F.softmax(x, -1), F.softmax(y, -1)


def test_a_kernel_serves_sizes_of_any_name():
    x, y = torch.randn(3, 5), torch.randn(2, 70)
    compiled = sysai.compiler.compile(TwoLengths(), (x, y), {0: {0: "A", 1: "S"}, 1: {0: "B", 1: "T"}})
    assert len(compiled.kernels) == 1
    for arguments in ((x, y), (y, x), (torch.randn(1, 9), torch.randn(4, 1))):
        torch.testing.assert_close(compiled(*arguments), TwoLengths()(*arguments))


@examples(8, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_graphs_compiled_to_c(data):
    graph = data.draw(graphs(steps=6))
    inputs = inputs_for(data.draw, graph, finite=True)
    wanted = expected(graph, inputs)
    assert_close(compile_graph(graph)(*inputs), wanted)


def test_nan_and_infinity_go_the_way_they_go_in_torch():
    x = torch.randn(6, 40)
    x[0, 3], x[1, 5], x[2, 7], x[3] = float("nan"), float("inf"), float("-inf"), float("-inf")
    for module in (Softmax(), Chain().eval()):
        arguments = (x,) if isinstance(module, Softmax) else (x, torch.zeros(6, 40))
        with torch.no_grad():
            wanted = module(*arguments)
        found = sysai.compiler.compile(module, arguments)(*arguments)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


class Softmax(nn.Module):
    def forward(self, x):
        return F.softmax(x, -1), F.relu(x), x.amax(0), torch.maximum(x, x.flip(0) if False else x * 2)


class Sorted(nn.Module):
    """An operator that the compiler lacks between two that it has."""

    def forward(self, x):
        return (x.exp() + 1).sort(-1).values * 2


def test_torch_runs_what_the_compiler_lacks():
    x = torch.randn(5, 7)
    compiled = sysai.compiler.compile(Sorted(), (x,), fallback=True)
    assert compiled.fallbacks == ("aten.sort.default",)
    torch.testing.assert_close(compiled(x), Sorted()(x))


class Structured(nn.Module):
    def forward(self, x, pair, scale=None):
        return {"sum": x + pair[0], "same": x, "both": (pair[1], x * scale)}


def test_arguments_and_results_keep_their_structure():
    x, y, z, scale = (torch.randn(3, 4) for _ in range(4))
    compiled = sysai.compiler.compile(Structured(), (x, (y, z)), keywords={"scale": scale})
    found = compiled(x, (y, z), scale=scale)
    torch.testing.assert_close(found["sum"], x + y)
    torch.testing.assert_close(found["both"][1], x * scale)
    assert found["same"].data_ptr() == x.data_ptr()
    with pytest.raises(ValueError, match="structure"):
        compiled((x, y), z, scale=scale)


def test_inputs_that_do_not_fit_are_refused():
    compiled = sysai.compiler.compile(mlp().eval(), (torch.randn(4, 24),), BATCH)
    with pytest.raises(ValueError, match="float64"):
        compiled(torch.randn(4, 24, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"does not have the shape \[4, 23\]"):
        compiled(torch.randn(4, 23))
    with pytest.raises(ValueError, match="takes"):
        compiled.executable(torch.randn(4, 24), torch.randn(4, 24))


def test_results_are_not_written_by_later_calls():
    compiled = sysai.compiler.compile(mlp().eval(), (torch.randn(4, 24),), BATCH)
    first = compiled(torch.ones(4, 24))
    copy = first.clone()
    compiled(torch.zeros(4, 24))
    assert torch.equal(first, copy)


def test_inputs_that_are_not_contiguous():
    module = mlp().eval()
    x = torch.randn(24, 4).T
    compiled = sysai.compiler.compile(module, (x,), BATCH)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-5)
