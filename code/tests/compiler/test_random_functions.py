"""`torch.compile(backend="sysai")` against eager mode on random functions; faults that it had are found again."""

import random

import pytest
import torch
from random_functions import draw, failures, fault
from sysai.compiler import backend
from sysai.compiler.codegen import toolchain
from sysai.compiler.runtime import executable, plan
from sysai.compiler.runtime.results import Results

SEEDS = range(24)


@pytest.mark.parametrize("start", SEEDS[::8])
def test_random_functions_are_as_in_eager_mode(start):
    for _, function, difference in failures(range(start, start + 8)):
        pytest.fail(f"{function}\n{difference}")


def aliases(monkeypatch):
    """Results of torch's operators stay where they are, also in the arena."""

    def run_call(node, operands, sizes):
        outputs = original(node, operands, sizes)
        is_view = str(node.attributes["target"]).endswith("view.dtype")
        return [operands[0].view(outputs[0].dtype)] if is_view else outputs

    original = executable.run_call
    monkeypatch.setattr(executable, "run_call", run_call)


def constants(monkeypatch):
    """Constants and inputs are handed out as results."""
    original = executable.Executable.__init__

    def init(self, *arguments):
        original(self, *arguments)
        self._copied = []

    monkeypatch.setattr(executable.Executable, "__init__", init)


def checks(monkeypatch):
    """Indices outside and divisions by zero are not reported."""
    monkeypatch.setattr(plan, "raise_failure", lambda failed, name: None)


def contraction(monkeypatch):
    """A product that is computed at two places is rounded at one of them."""
    flags = tuple(flag.replace("-ffp-contract=off", "-ffp-contract=fast") for flag in toolchain.FLAGS)
    monkeypatch.setattr(toolchain, "FLAGS", flags)


def stale_weights(monkeypatch):
    """Weights are constants unless torch counts their changes."""
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: original(*a, **k, options={"freeze": True}))


def views(monkeypatch):
    """Views among the results have the strides of contiguous tensors, from which torch makes aliases of inputs."""
    original = backend.Results
    monkeypatch.setattr(backend, "Results", lambda module, views: original(module))


def sizes(monkeypatch):
    """A number among the results is that of the first call."""
    monkeypatch.setattr(
        Results, "_formula", lambda self, number: lambda *_: number.node.hint if hasattr(number, "node") else number
    )


PLANTED = {aliases: 3, constants: 3, checks: 3, contraction: 2, stale_weights: 49, views: 4, sizes: 2}


@pytest.mark.parametrize(("plant", "seed"), PLANTED.items(), ids=[plant.__name__ for plant in PLANTED])
def test_old_faults_are_found_again(plant, seed, monkeypatch):
    function = draw(random.Random(seed))
    plant(monkeypatch)
    assert fault(function, seed)
