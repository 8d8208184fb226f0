"""What gcc compiles elsewhere in these tests, clang compiles too: vectors, every dtype, OpenMP, a model."""

import shutil

import pytest
import sysai.compiler
import torch
from schedule_programs import CHAIN
from sysai.compiler.codegen.kernel import build
from sysai.compiler.codegen.toolchain import compile_c, find_compiler
from sysai.compiler.errors import ToolchainError
from sysai.compiler.schedule.schedule import Schedule
from sysai.compiler.tir.expr import DTYPES, FLOATS, Call, Cast
from sysai.compiler.tir.text import parse
from test_compiled import CNN, Chain, Softmax, mlp
from test_kernel_calls import FUNCTIONS, NUMBERS, copy2d, evaluated, tensor

pytestmark = pytest.mark.skipif(
    not shutil.which("clang"), reason="clang is not installed (Debian: apt install clang libomp-dev)"
)


@pytest.fixture(autouse=True, scope="module")
def _clang(module_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", "clang")
        assert "clang" in find_compiler().version
        yield


@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_and_casts(dtype):
    x = tensor(NUMBERS * 3, dtype)
    values = {name: (lambda e, name=name: Call(name, e)) for name in FUNCTIONS}
    values |= {to: (lambda e, to=to: Cast(to, e)) for to in FLOATS}
    rtol = {"float32": 4e-7, "float64": 1e-14, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    for name, got in evaluated(values, {**dict.fromkeys(FUNCTIONS, dtype), **{to: to for to in FLOATS}}, 40, x):
        expected = FUNCTIONS[name](x.double()).to(x.dtype) if name in FUNCTIONS else x.to(getattr(torch, name))
        torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-40, equal_nan=True, msg=name)


def test_integers():
    for dtype in DTYPES:
        if dtype not in (*FLOATS, "bool"):
            x = tensor(NUMBERS * 3, dtype)
            for name, got in evaluated({"sum": lambda e: e + e * e}, {"sum": dtype}, 24, x):
                torch.testing.assert_close(got, x + x * x, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 1), (7, 33), (300, 65)])
def test_parallel_loops_of_vectors(shape):
    schedule = Schedule(copy2d())
    schedule.vectorize(schedule.split("j", 16)[1])
    schedule.parallel("i")
    x, y = torch.randn(shape), torch.full(shape, 9.0)
    build(schedule.function)(x, y)
    assert torch.equal(y, x + 1)


def test_a_function_without_a_schedule():
    x, bias, skip, w, b = torch.randn(5, 37), torch.randn(37), torch.randn(5, 37), torch.randn(37), torch.randn(37)
    y = torch.zeros(5, 37)
    build(parse(CHAIN))(x, bias, skip, w, b, y)
    h = (x + bias).double()
    h = h * (1 + torch.erf(h * 0.7)) + skip
    expected = (h - h.mean(1, keepdim=True)) * torch.rsqrt(h.var(1, unbiased=False, keepdim=True) + 1e-5) * w + b
    torch.testing.assert_close(y, expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (mlp, [(33, 24)]),
        (Chain, [(17, 40), (17, 40)]),
        (CNN, [(3, 3, 11, 11)]),
        (Softmax, [(6, 1000)]),
    ],
    ids=["mlp", "chain", "cnn", "softmax"],
)
def test_models(make, shapes):
    torch.manual_seed(0)
    module, inputs = make().eval(), tuple(map(torch.randn, shapes))
    with torch.no_grad():
        torch.testing.assert_close(
            sysai.compiler.compile(module, inputs)(*inputs), module(*inputs), rtol=1e-4, atol=1e-5
        )


def test_what_clang_refuses_is_told():
    with pytest.raises(ToolchainError, match="clang refused a kernel"):
        compile_c("int f( {")
