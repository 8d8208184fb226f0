"""Random modules, from torch.export to kernels, give what torch computes in float64.

Sizes from 0 on, NaN and infinities, integers and truth values, inputs that are not contiguous.
"""

import pytest
import sysai.compiler
import torch
from examples import examples
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from lowered_graphs import interpreted
from random_modules import inputs_for, modules
from sysai.compiler.graph.from_export import import_module
from sysai.compiler.schedule.default import default_schedule

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")

SIZES = {number: {0: "B", 1: "T"} for number in range(3)}
EXAMPLE = inputs_for(3, 4)
FEW = {"suppress_health_check": list(HealthCheck), "phases": (Phase.explicit, Phase.generate)}


def check(run, module, data, dynamic) -> None:
    """Compare at two sizes; one that torch itself refuses, or that the module was specialized against, is left out."""
    for _ in range(2):
        B, T = (data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))) if dynamic else (3, 4)
        special, moved = data.draw(st.booleans()), data.draw(st.booleans())
        x, *others = inputs_for(B, T, data.draw(st.integers(0, 99)), special, moved)
        try:
            with torch.no_grad():
                dtypes = [result.dtype for result in module(x, *others)]
                expected = module.double()(x.double(), *others)
        except (RuntimeError, IndexError):
            continue
        finally:
            module.float()
        try:
            found = run(x, *others)
        except ValueError as error:
            if "was compiled for sizes with" not in str(error):
                raise
            continue
        for got, dtype, exact in zip(found, dtypes, expected, strict=True):
            torch.testing.assert_close(got, exact.to(dtype), rtol=5e-4, atol=5e-4, equal_nan=True)


def imported(module, dynamic):
    """The graph, or None where torch.export says that a size cannot be free."""
    try:
        return import_module(module, EXAMPLE, SIZES if dynamic else None, freeze=True).graph
    except ValueError as error:
        if not dynamic:
            raise AssertionError from error
        return None


@examples(20, **FEW)
@given(modules(), st.booleans(), st.data())
def test_interpreted_kernels_of_random_modules(module, dynamic, data):
    graph = imported(module, dynamic)
    if graph is not None:
        check(interpreted(graph, default_schedule), module, data, dynamic)


@examples(4, **FEW)
@given(modules(most=4), st.booleans(), st.data())
def test_compiled_random_modules(module, dynamic, data):
    if imported(module, dynamic) is not None:
        check(sysai.compiler.compile(module, EXAMPLE, SIZES if dynamic else None), module, data, dynamic)


class Reductions(torch.nn.Module):
    """Over the dynamic axes, alone and together, in every form that is lowered in a way of its own."""

    def forward(self, x, i, m):
        products = x.transpose(0, 2) @ x.transpose(0, 2).transpose(1, 2), torch.einsum("btk,btl->kl", x, x)
        return (*products, x.sum(0), x.sum((0, 1)), x.mean(1), x.cumsum(0).sum(0), i.sum(), m.any(0), m.all(1))


def test_reductions_over_nothing_are_those_of_torch():
    compiled, module = sysai.compiler.compile(Reductions(), EXAMPLE, SIZES), Reductions()
    for B, T in ((0, 3), (3, 0), (0, 0), (2, 5)):
        inputs = inputs_for(B, T)
        for got, expected in zip(compiled(*inputs), module(*inputs), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
