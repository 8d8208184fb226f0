"""What is around a compilation fails: compilers, caches, other processes, modules. It says so, and nothing breaks."""

import os
import stat
import subprocess
import sys

import pytest
import sysai.compiler
import torch
from sysai.compiler.errors import ToolchainError, UnsupportedOperator
from torch import nn

pytestmark = pytest.mark.usefixtures("cache")
X = torch.linspace(-2, 2, 35).reshape(5, 7)


class Curve(nn.Module):
    def forward(self, x):
        return torch.softmax(x * 2, -1) + x.sum(0)


def by_package():
    return sysai.compiler.compile(Curve(), (X,))(X)


def by_torch():
    torch._dynamo.reset()
    with torch.no_grad():
        return torch.compile(Curve(), backend="sysai")(X)


WAYS = {"package": by_package, "backend": by_torch}


@pytest.fixture(params=WAYS)
def compute(request):
    return WAYS[request.param]


def raises(compute, match):
    """The package raises the toolchain's error, Dynamo its own around it."""
    error = ToolchainError if compute is by_package else torch._dynamo.exc.BackendCompilerFailed
    return pytest.raises(error, match=match)


def test_without_a_compiler(compute, monkeypatch, tmp_path):
    with monkeypatch.context() as without:
        without.delenv("CC", raising=False)
        without.setenv("PATH", str(tmp_path))
        with raises(compute, "there is no C compiler .*apt install gcc"):
            compute()
    torch.testing.assert_close(compute(), Curve()(X))


def test_a_compiler_that_fails_leaves_no_library(compute, monkeypatch, tmp_path, cache):
    broken = tmp_path / "broken"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit 0\necho out of luck >&2\nexit 1\n')
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    with monkeypatch.context() as failing:
        failing.setenv("CC", str(broken))
        with raises(compute, "refused a kernel, which is kept as(.|\n)*out of luck"):
            compute()
    assert not [*cache.glob("*.so"), *cache.glob("compile-*")]
    torch.testing.assert_close(compute(), Curve()(X))


def test_a_cache_that_cannot_be_written_is_noted(compute, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("as root may write everywhere, this stands for a read-only folder")
    monkeypatch.setenv("SYSAI_CACHE", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.warns(UserWarning, match="can't be written; kernels go to"):
        found = compute()
    torch.testing.assert_close(found, Curve()(X))


def test_two_processes_compile_one_module_at_once(cache):
    code = (
        "import sys, torch, sysai.compiler; from torch import nn\n"
        "m, x = nn.Sequential(nn.Linear(8, 40), nn.GELU(), nn.Softmax(-1)), torch.ones(3, 8)\n"
        "compiled = sysai.compiler.compile(m.eval(), (x,))\n"
        "torch.testing.assert_close(compiled(x), m(x).detach()); print(len(compiled.kernels))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=120)[0].strip() for process in processes)
    assert first == second
    assert len(list(cache.glob("*.so"))) == int(first) + 1  # and the entry, once
    assert not [*cache.glob("compile-*"), *cache.glob("*.c")]


class Sorts(nn.Module):
    def forward(self, x):
        return x.sort(-1).values  # this line is named


def test_an_unknown_operator_is_named_with_its_line():
    line = Sorts.forward.__code__.co_firstlineno + 1
    with pytest.raises(UnsupportedOperator, match=rf"aten\.sort\.default at .*{__file__}:{line}"):
        sysai.compiler.compile(Sorts(), (X,))


class Branches(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x.exp()
        return x - 1


def test_control_flow_by_elements():
    line = Branches.forward.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=rf"{__file__}:{line}(.|\n)*depends on the elements"):
        sysai.compiler.compile(Branches(), (X,))
    torch._dynamo.reset()
    compiled = torch.compile(Branches(), backend="sysai")  # Dynamo breaks the graph there
    with torch.no_grad():
        for x in (X + 1, X - 1):
            torch.testing.assert_close(compiled(x), Branches()(x))


def test_other_inputs_than_it_was_compiled_for():
    compiled = sysai.compiler.compile(Curve(), (X,))
    for wrong, message in ((X.double(), "takes .* got"), (X[:3], "does not have the shape"), (X[0], "shape")):
        with pytest.raises(ValueError, match=message):
            compiled(wrong)
    torch.testing.assert_close(compiled(X), Curve()(X))  # as before
    torch._dynamo.reset()
    by_dynamo = torch.compile(Curve(), backend="sysai")  # it compiles for each
    with torch.no_grad():
        for other in (X, X.double(), X[:3]):
            torch.testing.assert_close(by_dynamo(other), Curve()(other))
