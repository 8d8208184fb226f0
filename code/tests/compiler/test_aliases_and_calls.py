"""What torch runs inside a compiled graph: views, calls of several results, order, dtypes; and who owns the results."""

import os
import re
import subprocess
import sys

import pytest
import sysai.compiler
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sysai.compiler import backend
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.interpret import run_graph
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.pipeline import compile_graph
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")

VIEWS = {  # an operator of ATen that gives a view of x [4, 4] (or of two numbers each, complex), and its arguments
    "_conj": (), "_neg_view": (), "_reshape_alias": ([2, 8], [8, 1]), "_test_autograd_multiple_dispatch_view": (),
    "_unsafe_view": ([16],), "adjoint": (), "alias": (), "as_strided": ([4, 2], [4, 1]), "broadcast_to": ([4, 4],),
    "chunk": (2,), "conj": (), "contiguous": (), "cpu": (), "detach": (), "diagonal": (), "dsplit.int": (2,),
    "dsplit.array": ([1],), "expand": ([4, 4],), "expand_as": ("%0",), "flatten.using_ints": (), "hsplit.int": (2,),
    "hsplit.array": ([1],), "imag": (), "lift_fresh": (), "linalg_diagonal": (), "mH": (), "mT": (), "matrix_H": (),
    "movedim.int": (0, 1), "movedim.intlist": ([0, 1], [1, 0]), "moveaxis.int": (0, 1),
    "moveaxis.intlist": ([0], [1]), "narrow": (0, 1, 2), "numpy_T": (), "permute": ([1, 0],), "positive": (),
    "ravel": (), "real": (), "reshape": ([2, 8],), "reshape_as": ("%0",), "resolve_conj": (), "resolve_neg": (),
    "select.int": (0, 1), "slice.Tensor": (0, 1, 3), "split.Tensor": (2,), "split.sizes": ([1, 3],),
    "split_with_sizes": ([1, 3],), "squeeze": (), "squeeze.dim": (0,), "squeeze.dims": ([0, 1],),
    "swapaxes": (0, 1), "swapdims": (0, 1), "t": (), "tensor_split.indices": ([1],), "tensor_split.sections": (2,),
    "to.dtype": (torch.float32,), "to.dtype_layout": (), "to.other": ("%0",), "transpose.int": (0, 1),
    "unbind.int": (), "unflatten.int": (0, [2, 2]), "unfold": (0, 2, 1), "unsqueeze": (0,), "view": ([2, 8],),
    "view.dtype": (torch.int32,), "view_as": ("%0",), "view_as_complex": (), "view_as_real": (), "vsplit.int": (2,),
    "vsplit.array": ([1],),
}  # fmt: skip
OF_COMPLEX = {"_conj", "conj", "imag", "real", "view_as_real", "adjoint", "mH", "matrix_H", "resolve_conj"}
NOT_DENSE = (  # views of sparse and nested tensors, of other devices, of scripts, or with operands of their own
    "coalesce|indices|values|nested|_sparse|cuda|pin_memory|as_tensor|autocast|dual|_fw_primal|_grad_sum|ncf|"
    "slice_inverse|narrow.Tensor|to.device|prim_|tensor_indices|__getitem__|select.t$|\\.a$|split$"
)


def calls(builder, target, *operands, results=1, arguments=None, dtype="float32", shape=(4, 4), random=False):
    """Nodes of one call of an operator of ATen."""
    call = builder.fresh("call")
    arguments = tuple(f"%{k}" for k in range(len(operands))) if arguments is None else arguments
    shared = {"target": f"aten.{target}", "arguments": arguments, "keywords": (), "call": call, "random": random}
    emit = [
        builder.emit("fallback", *operands, result=k, shape=as_shape(shape), dtype=dtype, **shared)
        for k in range(results)
    ]
    return emit[0] if results == 1 else emit


def attribute(argument):
    """As `fallback` writes arguments."""
    if isinstance(argument, list):
        return tuple(argument)
    return str(argument) if isinstance(argument, torch.dtype) else argument


def resolved(name):
    target = name if "." in name else f"{name}.default"
    operator, overload = target.split(".")
    return target, getattr(getattr(torch.ops.aten, operator), overload)


def test_all_views_of_dense_tensors_are_tried():
    names = set()
    for schema in torch._C._jit_get_all_schemas():
        views = any(result.alias_info is not None for result in schema.returns) and not schema.is_mutable
        if schema.name.startswith("aten::") and views and str(schema.arguments[0].type) == "Tensor":
            names.add(".".join(filter(None, (schema.name.removeprefix("aten::"), schema.overload_name))))
    assert {name for name in names if not re.search(NOT_DENSE, name)} <= set(VIEWS)


def round_of_kernels(builder, x):
    """Kernels that use the memory of the arena again and again."""
    for _ in range(2):
        x = builder.emit("matmul", builder.emit("exp", builder.emit("sin", x)), x, transpose_b=False)
        x = builder.emit("sin", x)
    return x


def test_views_of_intermediates_keep_their_values():
    builder, x = Builder(("x",)), Value("x", as_shape((4, 4)), "float32")
    h = builder.emit("add", x, builder.full(1.0, "float32"))  # exact, as bits are compared
    numbers = torch.rand(4, 4)
    outputs, sample = [], numbers + 1
    for name, arguments in VIEWS.items():
        target, operator = resolved(name)
        operand, value = h, sample
        if name == "view_as_complex" or name in OF_COMPLEX or name.startswith("dsplit"):
            value = sample.view(4, 2, 2)
            operand = calls(builder, "view.default", h, arguments=("%0", (4, 2, 2)), shape=(4, 2, 2))
        if name in OF_COMPLEX:
            value = torch.view_as_complex(value)
            operand = calls(builder, "view_as_complex.default", operand, shape=(4, 2), dtype="complex64")
        found = operator(value, *(value if argument == "%0" else argument for argument in arguments))
        found = found if isinstance(found, tuple | list) else [found]
        encoded = ("%0", *map(attribute, arguments))
        shared = {"target": f"aten.{target}", "arguments": encoded, "keywords": (), "random": False, "call": name}
        for index, result in enumerate(found):
            outputs.append(
                builder.emit(
                    "fallback",
                    operand,
                    result=index,
                    shape=as_shape(result.shape),
                    dtype=str(result.dtype)[6:],
                    **shared,
                )
            )
    last = outputs[-1]
    again = calls(
        builder, "view.default", last, arguments=("%0", tuple(int(str(s)) for s in last.shape)), shape=last.shape
    )
    kernel = round_of_kernels(builder, h)
    outputs += [again, builder.reshape(again, (1, *again.shape)), builder.emit("exp", last), kernel]
    graph = Graph("views", (), (x,), {}, tuple(builder.nodes), tuple(outputs))
    compiled = compile_graph(graph)
    wanted = run_graph(graph, numbers)
    first = compiled(numbers)
    compiled(torch.zeros(4, 4))  # uses the arena again
    storages = {tensor.untyped_storage().data_ptr() for tensor in first}
    assert len(storages) == len(first)
    for found, expected in zip(first, wanted, strict=True):
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_the_bits_of_an_intermediate_by_torch_compile():
    def bits(x):
        h = x.exp() + 1
        s = h
        for _ in range(2):
            s = torch.softmax(s, -1) @ h
        return h.view(torch.int32), s

    torch._dynamo.reset()
    compiled, x = torch.compile(bits, backend="sysai"), torch.randn(16, 16)
    with torch.no_grad():
        for _ in range(3):
            found, wanted = compiled(x), bits(x)
            assert (found[0] - wanted[0]).abs().max() <= 64
            torch.testing.assert_close(found[1], wanted[1])


class Handed(nn.Module):
    """Results that a compiler may be tempted to hand out of its own or of the caller's memory."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        y, mask = x.exp(), torch.arange(x.shape[1])[None]
        return (
            mask, torch.arange(x.shape[1]) + 1, torch.ones(3), torch.tensor([1.0, 2.0]), x.clone(),
            x + 0, x * 1, x.view(-1), y, y.view(-1), x.exp(), y.clone(), self.weight * 1, self.weight.T.contiguous(),
            self.weight.clone(), x.to(torch.float32, copy=True), torch.zeros(2, 2).expand(2, 2) + 0,
        )  # fmt: skip


@pytest.mark.parametrize("way", ["live", "frozen", "torch.compile"])
def test_the_caller_may_change_results(way):
    torch._dynamo.reset()
    module, x = Handed().eval(), torch.randn(3, 4)
    with torch.no_grad():
        if way == "torch.compile":
            compiled = torch.compile(module, backend="sysai")
        else:
            compiled = sysai.compiler.compile(module, (x,), freeze=way == "frozen")
        wanted = [result.clone() for result in module(x)]
        for _ in range(3):
            results, original = compiled(x), x.clone()
            for result, expected in zip(results, wanted, strict=True):
                torch.testing.assert_close(result, expected)
            for number, result in enumerate(results):
                if way != "torch.compile" or result.untyped_storage().data_ptr() != x.untyped_storage().data_ptr():
                    result.fill_(number)
            assert torch.equal(x, original)
            if way != "torch.compile":  # there, views share memory as in eager mode
                assert all((result == number).all() for number, result in enumerate(results))


class Same(nn.Module):
    def forward(self, x):
        y = x * 2
        return x, y, y, x


def test_one_tensor_returned_twice_is_one_tensor_and_an_argument_is_itself():
    x = torch.randn(4, 3).T
    first, second, third, fourth = sysai.compiler.compile(Same(), (x,))(x)
    assert first is x
    assert fourth is x
    assert second is third
    torch.testing.assert_close(second, x * 2)


def test_arguments_that_are_negated_lazily():
    torch._dynamo.reset()
    z = torch.randn(3, 4, dtype=torch.complex64)
    compiled = torch.compile(lambda x: x * 2 + 1, backend="sysai")
    with torch.no_grad():
        for x in (torch._neg_view(torch.randn(3, 4)), z.conj().imag):
            torch.testing.assert_close(compiled(x), x * 2 + 1)


@st.composite
def random_calls(draw):
    """Random numbers, kernels that read them, and what is returned, in any order; some is not returned."""
    builder = Builder(("x",))
    x = Value("x", as_shape((3, 4)), "float32")
    values = [x]
    for _ in range(draw(st.integers(2, 7))):
        value = draw(st.sampled_from(values))
        kind = draw(st.sampled_from(["rand", "dropout", "kernel", "sort"]))
        if kind == "rand":
            values.append(calls(builder, "rand_like.default", value, shape=(3, 4), random=True))
        elif kind == "dropout":
            arguments = ("%0", 0.5, True)
            values += calls(
                builder, "native_dropout.default", value, arguments=arguments, results=2, shape=(3, 4), random=True
            )[:1]
        elif kind == "sort":
            values.append(calls(builder, "sort.default", value, shape=(3, 4)))
        else:
            other = draw(st.sampled_from(values))
            values.append(builder.emit("add", builder.emit("mul", value, other), other))
    outputs = draw(st.permutations(draw(st.lists(st.sampled_from(values), min_size=1, max_size=5))))
    return Graph("random", (), (x,), {}, tuple(builder.nodes), tuple(outputs))


@examples(25)
@given(random_calls())
def test_random_numbers_are_drawn_in_the_order_of_the_graph(graph):
    x = torch.randn(3, 4)
    torch.manual_seed(1)
    wanted, after = run_graph(graph, x), torch.rand(2)
    compiled = compile_graph(graph)
    torch.manual_seed(1)
    for found, expected in zip(compiled(x), wanted, strict=True):
        torch.testing.assert_close(found, expected)
    assert torch.equal(torch.rand(2), after)  # those that nobody reads are drawn too


def test_dropouts_do_not_depend_on_the_hash_seed():
    code = (
        "import torch, warnings; from torch.nn import functional as F; warnings.simplefilter('ignore')\n"
        "def f(x): return F.dropout(x, 0.5), F.dropout(x + 1, 0.3), torch.rand(4), torch.native_dropout(x, 0.5, True)\n"
        "leaves = torch.utils._pytree.tree_leaves; x = torch.ones(4, 5)\n"
        "torch.manual_seed(3); wanted = leaves(f(x))\n"
        "with torch.no_grad():\n"
        "    torch.manual_seed(3); found = leaves(torch.compile(f, backend='sysai')(x))\n"
        "assert all(map(torch.equal, wanted, found))"
    )
    for seed in ("0", "1", "2"):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=os.environ | {"PYTHONHASHSEED": seed})


def test_an_operator_of_several_results_runs_once():
    ran = []

    class Counted(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
            ran.append(str(operator))
            return operator(*arguments, **(keywords or {}))

    def f(x):
        values, indices = (x * 2).sort(-1)
        u, s, v = torch.linalg.svd(x)
        return values + 1, indices, u, s, v

    torch._dynamo.reset()
    compiled, x = torch.compile(f, backend="sysai"), torch.randn(5, 5)
    with torch.no_grad():
        compiled(x)
        with Counted():
            found = backend.statistics.compiled[-1].executable(x)
    for result, wanted in zip(found, f(x), strict=True):
        torch.testing.assert_close(result, wanted)
    assert [ran.count(name) for name in ("aten.sort.default", "aten._linalg_svd.default")] == [1, 1]


def test_buffers_that_each_call_changes_do_not_compile_again():
    torch._dynamo.reset()
    backend.statistics.reset()
    module, eager = (nn.Sequential(nn.BatchNorm1d(6), nn.BatchNorm1d(6)) for _ in range(2))
    for freeze in (False, True):
        compiled = torch.compile(module, backend="sysai", options={"freeze": freeze})
        with torch.no_grad():
            for step in range(4):
                x = torch.randn(5, 6) + step
                torch.testing.assert_close(compiled(x), eager(x))
        torch.testing.assert_close(module.state_dict(), eager.state_dict())
    assert len(backend.statistics.compiled) == 2


FOREIGN = ["uint8", "int16", "uint16", "complex64", "complex128", "float8_e5m2", "float8_e4m3fn"]


@pytest.mark.parametrize("dtype", FOREIGN)
@pytest.mark.parametrize("place", ["argument", "inside", "result", "constant"])
def test_dtypes_that_the_compiler_lacks_go_to_torch(dtype, place):
    dtype = getattr(torch, dtype)
    other = torch.tensor([1, 2, 3]).to(dtype)

    def f(x):
        y = x.exp() if x.is_floating_point() and x.dtype == torch.float32 else x
        if place == "inside":
            y = y.to(dtype).to(torch.float32)
        elif place == "result":
            y = y.to(dtype)
        elif place == "constant":
            y = torch.tensor([1, 2, 3]).to(dtype).to(torch.float32) + other.to(torch.float32) + y
        else:
            y = y.to(torch.float32) * 2
        return y, x.reshape(1, -1), x.clone()

    torch._dynamo.reset()
    x = torch.tensor([1.0, -2.0, 7.0]).abs()
    x = x.to(dtype) if place == "argument" else x
    with torch.no_grad(), pytest.warns(UserWarning, match="torch runs"):
        found = torch.compile(f, backend="sysai")(x)
    for result, wanted in zip(found, f(x), strict=True):
        assert result.dtype == wanted.dtype
        torch.testing.assert_close(result.to(torch.complex128), wanted.to(torch.complex128))


def rotary(x, frequencies):
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * frequencies).flatten(-2).type_as(x) * 2


IMAGE = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
PROGRAMS = {
    "images": (lambda x: (x.float() / 255 - 0.5) * 2, (IMAGE,)),
    "integers": (lambda x: (x + x).to(torch.int16), (IMAGE,)),
    "rotary": (rotary, (torch.randn(2, 4, 8), torch.polar(torch.ones(4, 4), torch.randn(4, 4)))),
    "fourier": (lambda x: torch.fft.irfft(torch.fft.rfft(x * 2) * 3) + 1, (torch.randn(4, 6),)),
    "conjugate": (lambda x: torch.view_as_complex(x.exp()).conj().imag * 2, (torch.randn(3, 2),)),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_programs_of_other_dtypes(name, dynamic):
    function, arguments = PROGRAMS[name]
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="sysai", dynamic=dynamic)
    with torch.no_grad(), pytest.warns(UserWarning, match="torch runs"):
        torch.testing.assert_close(compiled(*arguments), function(*arguments))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * 2)[x > 0].exp(),
        lambda x: (x > 0).nonzero() * 2,
        lambda x: x * x.sum().item(),
        lambda x: torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,)),
        lambda x: x.to_sparse().to_dense() + 1,
    ],
    ids=["mask", "nonzero", "item", "cond", "sparse"],
)
def test_what_depends_on_elements_goes_to_torch_as_a_whole(function, monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "capture_dynamic_output_shape_ops", True)
    monkeypatch.setattr(torch._dynamo.config, "capture_scalar_outputs", True)
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="sysai")
    with torch.no_grad():
        for x in (torch.randn(3, 4), torch.randn(3, 4).abs(), -torch.ones(3, 4)):
            torch.testing.assert_close(compiled(x), function(x))


def numbers(x):
    rows, columns = x.shape
    return x * 2, rows * 2, rows - 1, rows**0.5, columns / rows, rows > 4, [None, rows // 2 + columns], x.sum(0)


def test_numbers_among_the_results():
    torch._dynamo.reset()
    compiled = torch.compile(numbers, backend="sysai")
    with torch.no_grad():
        for rows in (3, 5, 7, 2):
            x = torch.randn(rows, 4)
            torch.testing.assert_close(compiled(x), numbers(x))


def test_numbers_that_a_graph_break_leaves_between_two_graphs():
    def broken(x):
        count = x.shape[0] * 2
        torch._dynamo.graph_break()
        return x * count, F.pad(x, (0, 0, 0, count)).softmax(0)

    torch._dynamo.reset()
    compiled = torch.compile(broken, backend="sysai")
    with torch.no_grad():
        for rows in (3, 5, 7):
            x = torch.randn(rows, 4)
            torch.testing.assert_close(compiled(x), broken(x))


class Numbers(nn.Module):
    def forward(self, x):
        return {"twice": x * 2, "rows": x.shape[0], "more": (x.shape[0] * 3 + 1, None, 5)}


def test_numbers_among_the_results_of_a_compiled_module():
    compiled = sysai.compiler.compile(Numbers(), (torch.randn(3, 4),), {0: {0: "B"}})
    for rows in (3, 5, 0):
        x = torch.randn(rows, 4)
        torch.testing.assert_close(compiled(x), Numbers()(x))


VIEWS_OF_ARGUMENTS = {
    "expand": lambda x: [x.expand(2, *x.shape)],
    "slices": lambda x: [x[:, 1:], x.chunk(2, -1)[-1], x.t(), x[..., ::2]],
    "an intermediate and views of it": lambda x: [h := x.exp(), h[1:], h.t()[0]],
    "views of an intermediate": lambda x: [(h := x.exp())[1:], h.t()[0]],
    "views after a change": lambda x: [x.add_(1)[1:], x.t()[1:], x.split(2, 0)[1]],
    "views by which the argument is changed": lambda x: [x.t()[0].mul_(2)[1:], x.view_as(x)],
    "a diagonal": lambda x: [x.diagonal(), x.unfold(1, 2, 1)],
}


@pytest.mark.parametrize("name", VIEWS_OF_ARGUMENTS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_results_that_are_views_have_the_values_of_eager_mode(name, dynamic):
    torch._dynamo.reset()
    function = VIEWS_OF_ARGUMENTS[name]
    compiled = torch.compile(function, backend="sysai", dynamic=dynamic)
    for x in (torch.arange(24.0).reshape(4, 6) / 8, torch.arange(24.0).reshape(6, 4).t() / 8):
        ours, theirs = x.clone(), x.clone()
        with torch.no_grad():
            got, expected = compiled(ours), function(theirs)
        torch.testing.assert_close([ours, *got], [theirs, *expected])
        if name != "views of an intermediate":
            got[-1].fill_(7)
            expected[-1].fill_(7)
            torch.testing.assert_close([ours, *got], [theirs, *expected])
