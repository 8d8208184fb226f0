"""Reductions as compiled: over the last axes, over others, over axes that are short, empty or known at run time."""

import pytest
import sysai.compiler
import torch
from sysai.compiler import cpu
from sysai.compiler.tir.statement import PARALLEL, VECTORIZED, For, blocks, statements
from torch import nn

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")


class Statistics(nn.Module):
    """Sums that need each other, and one that does not."""

    def __init__(self, axes):
        super().__init__()
        self.axes = axes

    def forward(self, x):
        mean = x.mean(self.axes, keepdim=True)
        return ((x - mean) * (x - mean)).sum(self.axes), x.amax(self.axes).sqrt()


class Sum(Statistics):
    def forward(self, x):
        return x.sum(self.axes)


def assert_as_torchs(module, x, **options):
    found = sysai.compiler.compile(module, (x,), **options)
    torch.testing.assert_close(found(x), module(x), rtol=2e-5, atol=2e-5, equal_nan=True)
    return found


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((50, 300), (0,)), ((3, 40, 130), (1,)), ((2, 3, 5, 17), (1, 2)), ((2, 3, 5, 17), (0, 2)), ((7, 1), (0,)),
        ((5, 7, 1), (1,)), ((9, 3), (0,)), ((4, 5, 6), (0, 2)), ((300, 128), (0,)), ((6, 50), (1,)),
        ((3, 4, 5), (1, 2)), ((2, 3, 4), (0, 1, 2)),
    ],
)  # fmt: skip
def test_reductions_over_any_axes(shape, axes):
    x = torch.randn(shape)
    x.view(-1)[0], x.view(-1)[-1] = float("nan"), float("inf")
    assert_as_torchs(Statistics(axes), x)


@pytest.mark.parametrize("shape", [(0, 5), (0, 200), (5, 0), (3, 0, 200), (3, 0, 1)])
def test_the_sum_over_an_empty_axis_is_zero(shape):
    axis = shape.index(0)
    assert_as_torchs(Sum((axis,)), torch.randn(shape))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sizes_of_the_run_time(axis):
    module, x = Statistics((axis,)), torch.randn(3, 20, 150)
    compiled = assert_as_torchs(module, x, dynamic={0: {0: "A", 1: "B", 2: "C"}})
    for shape in ((2, 17, 129), (5, 2, 3), (2, 129, 128)):
        x = torch.randn(shape)
        torch.testing.assert_close(compiled(x), module(x), rtol=2e-5, atol=2e-5, equal_nan=True)


def test_columns_are_added_up_side_by_side():
    """A row of the sum over axis 0 lies apart in memory: vectors go across rows, and none is gathered."""
    compiled = assert_as_torchs(Sum((0,)), torch.randn(200, 512))
    (kernel,), (schedule,) = compiled.kernels, compiled.schedules
    loops = [stmt for stmt in statements(schedule.function.body) if isinstance(stmt, For)]
    (last,) = (block for block in blocks(schedule.function.body) if block.reduces)
    assert schedule.loops_of(last.name)[-1] in {loop.var.name for loop in loops if loop.kind == VECTORIZED}
    assert loops[0].kind == PARALLEL
    assert "[0]" not in kernel.source
    assert "load_f32x" in kernel.source


@pytest.mark.parametrize("vector_bytes", [16, 32])
@pytest.mark.parametrize("axis", [0, 1])
def test_machines_with_shorter_vectors(vector_bytes, axis, monkeypatch):
    monkeypatch.setattr(cpu, "vector_bytes", lambda: vector_bytes)
    assert_as_torchs(Statistics((axis,)), torch.randn(45, 150))


MOVES = {
    "other rows": lambda z: z.flip(0),
    "other places of its row": lambda z: z.flip(1),
    "other rows, changed": lambda z: (z * 2).flip(0) + z,
    "places a step before": lambda z: nn.functional.pad(z, (1, 0))[:, :-1],
    "columns": lambda z: z.t() * 3,
    "cut and joined": lambda z: torch.cat([z[1:], z[:1]]),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("reduced", [lambda z: z.var(1, correction=0), lambda z: z.softmax(1)])
def test_a_stored_row_is_read_at_the_elements_that_are_asked_for(name, reduced):
    class Module(nn.Module):
        def forward(self, x):
            z = torch.exp(x.clamp(max=1))
            return z, reduced(z), MOVES[name](z)

    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sysai.compiler.compile(Module(), (x,))(x), Module()(x))
