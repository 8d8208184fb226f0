"""Models become graphs that compute what the models compute, for all sizes; what cannot become one says why."""

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sysai.compiler.errors import UnsupportedOperator
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.from_export import from_module, import_module
from sysai.compiler.graph.from_fx import from_graph_module
from sysai.compiler.graph.interpret import run_graph
from sysai.compiler.graph.operators import CORE, TRANSLATIONS, Builder
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.graph.text import parse_graph, print_graph
from sysai.compiler.graph.verify import verify
from sysai.compiler.passes import optimize
from sysai.models.config import ModelConfig
from sysai.models.presets import SMOLLM2_135M
from sysai.models.transformer import Transformer
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

TOKENS = {0: {0: "B", 1: "T"}}


class Apply(nn.Module):
    """A function as a module."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def check(graph, module, inputs, keywords=None, **tolerance) -> None:
    """The graph, optimized or not, gives what the module gives."""
    verify(graph)
    with torch.no_grad():
        expected = module(*inputs, **(keywords or {}))
    expected = expected if isinstance(expected, torch.Tensor) else expected[0]
    rounding = 2e-2 if expected.dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(run_graph(graph, *inputs)[0], expected, rtol=rounding, atol=rounding, equal_nan=True)
    optimized = optimize(graph)
    assert {node.op for node in optimized.nodes} <= set(CORE) - {"fallback"}
    tolerance = tolerance or {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(run_graph(optimized, *inputs)[0], expected, equal_nan=True, **tolerance)


def tiny(**changes) -> ModelConfig:
    sizes = {"vocab_size": 50, "d_model": 32, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "d_ff": 48}
    return ModelConfig(name="tiny", max_positions=64, **{**sizes, **changes})


GPT = {"norm": "layer", "activation": "gelu", "positions": "learned", "bias": True, "tie_embeddings": True}


@pytest.mark.parametrize("changes", [{}, GPT, {"qk_norm": True, "n_kv_heads": 4}], ids=["llama", "gpt", "qwen"])
def test_transformer_of_the_book(changes):
    torch.manual_seed(0)
    model = Transformer(tiny(**changes)).eval()
    graph = from_module(model, (torch.zeros(2, 7, dtype=torch.int64),), TOKENS)
    assert [size.name for size in graph.sizes] == ["B", "T"]
    for batch, length in ((1, 2), (3, 64), (5, 33)):
        check(graph, model, (torch.randint(0, 50, (batch, length)),))


def test_shape_of_smollm2():
    torch.manual_seed(0)
    config = ModelConfig(**{**vars(SMOLLM2_135M), "n_layers": 1, "vocab_size": 1000, "max_positions": 256})
    model = Transformer(config).eval()
    graph = from_module(model, (torch.zeros(2, 7, dtype=torch.int64),), TOKENS)
    for batch, length in ((1, 19), (2, 8)):
        check(graph, model, (torch.randint(0, 1000, (batch, length)),), rtol=1e-3, atol=1e-4)


def test_conditions_say_where_the_graph_holds():
    graph = from_module(Transformer(tiny()).eval(), (torch.zeros(2, 7, dtype=torch.int64),), TOKENS)
    assert set(map(str, graph.conditions)) == {"T <= 64", "T != 1"}
    with pytest.raises(ValueError, match=r"compiled for sizes with T <= 64, not for B = 1, T = 65"):
        run_graph(graph, torch.zeros(1, 65, dtype=torch.int64))
    with pytest.raises(ValueError, match="T != 1"):
        run_graph(graph, torch.zeros(1, 1, dtype=torch.int64))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_unmodified_llama_of_transformers(attention):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation=attention,
    )
    model = LlamaForCausalLM(config).eval()
    keywords = {"use_cache": False}
    graph = from_module(model, (torch.zeros(2, 7, dtype=torch.int64),), {"input_ids": TOKENS[0]}, keywords=keywords)
    for batch, length in ((2, 2), (3, 7), (4, 65)):
        check(graph, model, (torch.randint(0, 50, (batch, length)),), keywords)


def test_mlp():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3), nn.Softmax(-1))
    graph = from_module(model, (torch.randn(2, 4),), {0: {0: "B"}})
    assert graph.conditions == ()
    for batch in (0, 1, 2, 9):
        check(graph, model, (torch.randn(batch, 4),))


def test_cnn():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3, stride=2),
        nn.SiLU(), nn.AvgPool2d(2, padding=1, count_include_pad=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 10), nn.LogSoftmax(-1),
    )  # fmt: skip
    model(torch.randn(8, 1, 28, 28))  # so that the running statistics are not 0 and 1
    model.eval()
    graph = from_module(model, (torch.randn(2, 1, 28, 28),), {0: {0: "B", 2: "H", 3: "W"}})
    for shape in ((1, 1, 28, 28), (3, 1, 31, 24), (2, 1, 16, 17)):
        check(graph, model, (torch.randn(shape),))


def test_results_keep_their_names_and_lines():
    graph = from_module(Apply(lambda x: x.exp() + 1), (torch.randn(3),))
    assert all(node.origin.split(":")[0].endswith("test_graph_import.py") for node in graph.nodes)
    assert parse_graph(print_graph(graph, origins=True)) == graph


def test_structure_of_arguments_and_results():
    imported = import_module(
        Apply(lambda x, pair: {"sum": x + pair[0], "too": pair[1]}), (torch.ones(2), (torch.ones(2),) * 2), freeze=True
    )
    assert [value.name for value in imported.graph.outputs] == ["add", imported.graph.inputs[2].name]
    assert imported.exported.call_spec.out_spec.unflatten(["a", "b"]) == {"sum": "a", "too": "b"}


FUNCTIONS = {
    "promotion": lambda x, i, b: (i / 2 + x) * b - 3 * i + (x > i) + i // 2 + i % 3,
    "powers": lambda x, i, b: x**2 + x**3 - x**0 + (x.abs() + 1) ** -0.5 + (x.abs() + 1) ** -1 + (x.abs() + 1) ** -2,
    "clamps": lambda x, i, b: x.clamp(-0.5, 0.5) + x.clamp_min(0) + F.relu6(x) + F.leaky_relu(x) + F.hardtanh(x),
    "attention": lambda x, i, b: F.scaled_dot_product_attention(*[x.view(1, 1, -1, 6)] * 3, is_causal=True),
    "where": lambda x, i, b: torch.where(b, x, 0.0).masked_fill(~b, -1) + (b & (x > 0)) + (b | b.logical_not()),
    "special": lambda x, i, b: torch.isnan(x / 0) + torch.isinf(x / 0) + torch.rsqrt(x.abs()) + x.floor() + i.exp(),
    "slices": lambda x, i, b: x[:, 1:] + x[:, :-1] - x[:, -3:-2] * x[:1, 1, None] + x[..., 0:1],
    "strided": lambda x, i, b: x[:, ::2].sum() + x[:, 1::3].sum(),
    "joins": lambda x, i, b: torch.cat([x, torch.stack([x, x], 1).flatten(1)], -1) * x.repeat(2, 1, 3)[1],
    "pads": lambda x, i, b: F.pad(x, (1, 2, 0, 1), value=7.0),
    "parts": lambda x, i, b: torch.cat(x.chunk(3, -1)[::-1], -1) + sum(x.unbind(1))[:, None],
    "split": lambda x, i, b: x.split([2, 4], 1)[1][:, :1] + x.split(4, 1)[1],
    "flipped": lambda x, i, b: x.flip(0, 1) + x.mT.mT + x.T.permute(1, 0) + x.unsqueeze(1).squeeze(1),
    "reduced": lambda x, i, b: x.sum() + x.amax(1) + x.amin(0).max() + x.mean(0).min() + i.sum(1) + (x * 0.5).prod(1),
    "spread": lambda x, i, b: x.var(1) + x.std(1, correction=0) + torch.var_mean(x, 1)[1] + b.any(1) + b.all(1),
    "scans": lambda x, i, b: x.cumsum(0) + i.cumsum(1) + b.cumsum(0),
    "triangles": lambda x, i, b: (x @ x.mT).triu(1).tril(3) @ x,
    "created": lambda x, i, b: x + torch.arange(6) + torch.zeros_like(x) + x.new_ones(()) + torch.arange(3, 9, 1),
    "sizes": lambda x, i, b: x * x.shape[0] + torch.full((x.shape[0], 1), 2.0) / (x.shape[0] + 1),
    "indexed": lambda x, i, b: x[i.clamp(-1, 0)[:, 0]] + x[:, i[0].clamp(-6, 5)] + x.index_select(1, i[0].clamp(0, 5)),
    "pairs": lambda x, i, b: x[i.clamp(-1, 0), i.clamp(-6, 5)],
    "counting": lambda x, i, b: x[torch.arange(x.shape[0])[:, None], torch.arange(6)[None]] * 2,
    "norms": lambda x, i, b: F.layer_norm(x, (6,)) + F.rms_norm(x, (6,)) + F.softmax(x, 0) + F.log_softmax(x, 1),
    "products": lambda x, i, b: x @ x[0] + F.linear(x[0], x[:1]).sum() + torch.mm(x, x.T).sum(1),
    "contracted": lambda x, i, b: torch.einsum("ij,ij->i", x, x) + torch.addmm(x[:, 0], x, x.T, beta=2, alpha=0.5),
    "activations": lambda x, i, b: F.gelu(x) + F.gelu(x, approximate="tanh") + F.silu(x) + F.relu(x) + x.erf(),
    "copied": lambda x, i, b: x.clone().contiguous().detach().double().float().to(torch.float64) + i.type_as(x),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_tensors(name):
    torch.manual_seed(0)
    module = Apply(FUNCTIONS[name])
    axes = {0: "B"}

    def inputs(batch):
        return torch.randn(batch, 6), torch.randint(-9, 9, (batch, 6)), torch.rand(batch, 6) < 0.5

    module_inputs = {0: axes, 1: axes, 2: axes}
    graph = from_module(_Named(module.function), inputs(4), module_inputs)
    assert all(node.op != "fallback" for node in graph.nodes)
    for batch in (4, 2, 7):
        check(graph, module, inputs(batch))


class _Named(Apply):
    """Three inputs that have names."""

    def forward(self, x, i, b):
        return self.function(x, i, b)


@examples(40)
@given(st.data())
def test_attention(data):
    B, N, G, T, S, K = (data.draw(st.integers(1, 4)) for _ in range(6))
    kind = data.draw(st.sampled_from(["none", "causal", "bool", "float"]))
    mask = {"bool": torch.rand(B, 1, T, S) < 0.6, "float": torch.randn(T, S)}.get(kind)
    if kind == "bool":
        mask[0, 0, 0] = False
    operands = torch.randn(B, N * G, T, K), torch.randn(B, N, S, K), torch.randn(B, N, S, K + 1)
    operands = operands if mask is None else (*operands, mask)
    builder, scale = Builder("qkvm"), data.draw(st.sampled_from([0.3, K**-0.5]))
    dtypes = {torch.float32: "float32", torch.bool: "bool"}
    values = [Value(name, as_shape(x.shape), dtypes[x.dtype]) for name, x in zip("qkvm", operands, strict=False)]
    output = builder.emit("scaled_dot_product_attention", *values, is_causal=kind == "causal", scale=scale)
    graph = Graph("attention", (), tuple(values), {}, tuple(builder.nodes), (output,))

    def attend(*inputs):
        keywords = {"is_causal": kind == "causal", "enable_gqa": True, "scale": scale}
        return F.scaled_dot_product_attention(*inputs, **keywords)

    check(graph, attend, operands)


@pytest.mark.parametrize(
    "name", ["softmax", "layer_norm", "rms_norm", "silu", "sum", "amax", "maximum", "sigmoid", "mean"]
)
def test_nan_and_infinities_as_torch(name):
    functions = {
        "softmax": lambda x: x.softmax(-1),
        "layer_norm": lambda x: F.layer_norm(x, (4,)),
        "rms_norm": lambda x: F.rms_norm(x, (4,)),
        "maximum": lambda x: torch.maximum(x, x.flip(0)),
        "silu": F.silu,
    }
    function = functions.get(name) or (lambda x: getattr(x, name)(*[-1] * (name not in ("sigmoid",))))
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([[1, inf, 2, 3], [-inf, 0, 1, -1], [nan, 1, 2, 3], [-inf] * 4, [inf] * 4, [1e30, -1e30, 0, -0.0]])
    check(from_module(Apply(function), (x,)), Apply(function), (x,))


def test_half_precision():
    model = nn.Sequential(nn.Linear(16, 32), nn.RMSNorm(32), nn.SiLU(), nn.Linear(32, 8), nn.Softmax(-1)).bfloat16()
    graph = from_module(model, (torch.randn(2, 16, dtype=torch.bfloat16),), {0: {0: "B"}})
    check(graph, model, (torch.randn(5, 16, dtype=torch.bfloat16),), rtol=0.02, atol=0.02)


def test_unsupported_operator_is_named_with_its_line():
    class Sort(nn.Module):
        def forward(self, x):
            y = x + 1
            return y.sort(-1)[0]

    line = Sort.forward.__code__.co_firstlineno + 2
    with pytest.raises(UnsupportedOperator, match=rf"aten\.sort\.default at .*test_graph_import\.py:{line}: "):
        from_module(Sort(), (torch.randn(2, 3),))


def test_unsupported_operators_fall_back_when_asked():
    module = Apply(lambda x: torch.cat([*x.sort(-1)[:1], x.cumprod(1), torch.atan2(x, x.roll(1, 0))]).exp())
    graph = from_module(_Single(module.function), (torch.randn(4, 3),), {0: {0: "B"}}, fallback=True)
    assert {node.attributes["target"] for node in graph.nodes if node.op == "fallback"} >= {"aten.sort.default"}
    assert parse_graph(print_graph(graph, origins=True)) == graph
    for batch in (4, 2):
        x = torch.randn(batch, 3)
        torch.testing.assert_close(run_graph(optimize(graph), x)[0], module(x))


def test_random_operators_are_called_each_time():
    module = _Single(lambda x: torch.rand_like(x) - torch.rand_like(x))
    graph = optimize(from_module(module, (torch.randn(50),), fallback=True))
    assert [node.op for node in graph.nodes] == ["fallback", "fallback", "sub"]
    assert run_graph(graph, torch.randn(50))[0].abs().max() > 0


def test_operators_that_change_operands_are_refused():
    traced = make_fx(lambda x: x.add_(1), tracing_mode="fake")(torch.ones(2))
    with pytest.raises(UnsupportedOperator, match=r"aten\.add_\.Tensor at .*changes its operands"):
        from_graph_module(traced, fallback=True)


class _Single(Apply):
    def forward(self, x):
        return self.function(x)


def test_data_dependent_control_flow_is_refused():
    def branch(x):
        return x.exp() if x.sum() > 0 else x

    with pytest.raises(ValueError, match=r"test_graph_import\.py:\d+.*\n?.*depends on the elements"):
        from_module(Apply(branch), (torch.randn(3),))


def test_data_dependent_shapes_are_refused():
    with pytest.raises(ValueError, match=r"depend|no such operator|boolean"):
        from_module(Apply(lambda x: x[x > 0]), (torch.randn(3),))


@pytest.mark.parametrize(
    ("module", "inputs", "dynamic", "message"),
    [
        (Apply(lambda x: x + 1), (torch.randn(3, dtype=torch.complex64),), None, "complex64"),
        (Apply(lambda x: x.to(torch.float8_e5m2).float()), (torch.randn(3),), None, "float8_e5m2"),
        (nn.Sequential(nn.Dropout(0.5)).train(), (torch.randn(3),), None, "eval"),
        (nn.BatchNorm1d(3).train(), (torch.randn(4, 3),), None, "eval"),
        (nn.Linear(3, 3), (torch.randn(2, 3),), {0: {1: "K"}}, "fixed by the module"),
        (nn.Linear(3, 3), (torch.randn(2, 3),), {1: {0: "B"}}, "the inputs are"),
        (nn.Linear(3, 3), (torch.randn(2, 3),), {0: {5: "B"}}, "axis 5|5"),
        (nn.Linear(3, 3), (torch.randn(2, 3),), {0: {0: "a b"}}, "identifier"),
        (nn.Linear(3, 3), (torch.randn(2, 3), 1), None, "does not take"),
        (nn.Linear(3, 3), (torch.randn(2, 4),), None, "reduction dim"),
    ],
    ids=["complex", "float8", "dropout", "batch_norm", "fixed", "input", "axis", "name", "arity", "shape"],
)  # fmt: skip
def test_what_cannot_be_imported_says_why(module, inputs, dynamic, message):
    with pytest.raises(ValueError, match=message):
        from_module(module, inputs, dynamic)


def test_wrong_inputs_of_a_graph_are_refused():
    graph = from_module(nn.Linear(3, 2), (torch.randn(2, 3),), {0: {0: "B"}})
    for wrong in (torch.randn(2, 4), torch.randn(3)):
        with pytest.raises(ValueError, match="does not have the shape"):
            run_graph(graph, wrong)
    with pytest.raises(ValueError, match=r"cannot be torch\.int64"):
        run_graph(graph, torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="takes 1 inputs, not 2"):
        run_graph(graph, torch.randn(2, 3), torch.randn(2, 3))


def test_one_name_is_one_size():
    graph = from_module(Apply(lambda x, y: x.sum() + y.sum()), (torch.randn(4), torch.randn(4)))
    assert graph.sizes == ()

    class Two(nn.Module):
        def forward(self, x, y):
            return x.sum() + y.sum()

    graph = from_module(Two(), (torch.randn(4), torch.randn(4)), {"x": {0: "N"}, "y": {0: "N"}})
    assert [str(value.shape[0]) for value in graph.inputs] == ["N", "N"]
    with pytest.raises(ValueError, match="with N = 2"):
        run_graph(graph, torch.randn(2), torch.randn(3))


@pytest.mark.parametrize("dynamic", [False, True])
def test_graphs_of_torch_compile(dynamic):
    """AOTAutograd's graphs, with other operators than export's, and sizes among the inputs."""
    from torch._functorch.aot_autograd import aot_module_simplified

    seen = []

    def compiler(module, _):
        graph = from_graph_module(module)
        verify(graph)
        with unset_fake_temporarily():  # backends are called while tensors are faked; constants are real
            optimized = optimize(graph)
        seen.append(optimized)
        return lambda *inputs: run_graph(optimized, *(value for value in inputs if isinstance(value, torch.Tensor)))

    def backend(module, inputs):
        from functorch.compile import make_boxed_func

        def boxed(module, inputs):
            return make_boxed_func(compiler(module, inputs))

        return aot_module_simplified(module, inputs, fw_compiler=boxed)

    torch._dynamo.reset()
    torch.manual_seed(0)
    model = Transformer(tiny()).eval()
    compiled = torch.compile(model, backend=backend, dynamic=dynamic)
    with torch.no_grad():
        for shape in ((2, 7), (3, 9)):
            tokens = torch.randint(0, 50, shape)
            torch.testing.assert_close(compiled(tokens), model(tokens), rtol=1e-4, atol=1e-5)
    assert len(seen) == (1 if dynamic else 2)
    assert not any(node.op == "fallback" for graph in seen for node in graph.nodes)
    assert bool(seen[0].sizes) == dynamic


def test_every_translation_names_an_operator_of_torch():
    for target in TRANSLATIONS:
        namespace, name, overload = target.split(".")
        assert hasattr(getattr(getattr(torch.ops, namespace), name), overload), target
