"""Attention and softmax as compiled: how many kernels, how often they go over a row, and what torch gives."""

from functools import cache

import pytest
import sysai.compiler
import torch
from sysai.compiler.lowering import lower
from sysai.compiler.passes.groups import FULL
from sysai.compiler.tir.expr import Call, Load, walk
from sysai.compiler.tir.statement import For, blocks, statements
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

pytestmark = pytest.mark.usefixtures("nan_in_fresh_memory")

INF, NAN = float("inf"), float("nan")


class Attention(nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal = causal

    def forward(self, q, k, v, *mask):
        return F.scaled_dot_product_attention(q, k, v, *mask, is_causal=self.causal, enable_gqa=True)


PLAIN, CAUSAL = Attention(False), Attention(True)


class Softmax(nn.Module):
    def forward(self, x):
        return x.softmax(-1)


def operands(T, S, dtype=torch.float32):
    """Six query heads for two key-value heads."""
    generator = torch.Generator().manual_seed(T)
    shapes = (2, 6, T, 8), (2, 2, S, 8), (2, 2, S, 8)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


@cache
def compiled(module, *shapes_and_dtypes):
    return sysai.compiler.compile(module.eval(), tuple(torch.zeros(shape, dtype=d) for shape, d in shapes_and_dtypes))


def assert_as_torchs(module, inputs, backend=SDPBackend.MATH, **tolerance):
    found = compiled(module, *((x.shape, x.dtype) for x in inputs))
    with sdpa_kernel(backend):
        expected = module(*inputs)
    torch.testing.assert_close(found(*inputs), expected, equal_nan=True, **tolerance)
    return found


@pytest.mark.parametrize("module", [PLAIN, CAUSAL])
@pytest.mark.parametrize(("T", "S"), [(1, 40), (19, 19), (70, 33)])
def test_attention_is_three_kernels_and_divides_no_probability(T, S, module):
    groups = assert_as_torchs(module, operands(T, S)).groups
    assert [group.kind for group in groups if group.kind != "view"] == ["matmul", "reduction", "matmul"]
    (rows,) = (group for group in groups if group.kind == "reduction")
    divisions = [node.output.name for node in rows.nodes if node.op == "div"]
    assert len(divisions) == 1
    assert rows.roles[divisions[0]] != FULL


@pytest.mark.parametrize("module", [PLAIN, CAUSAL])
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e38])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite_goes_where_it_does_in_torch(which, value, module):
    inputs = operands(5, 7)
    inputs[which][0, 1, 2, 3] = value
    # torch's fast kernel loses a NaN of q, and its plain one adds the causal mask to the NaN of a key that it hides
    assert_as_torchs(module, inputs, SDPBackend.MATH if which == 0 else SDPBackend.FLASH_ATTENTION)


@pytest.mark.parametrize("hidden", [-INF, -3.4e38, INF, NAN])
def test_a_mask_of_numbers_may_hide_all_of_a_row(hidden):
    mask = torch.randn(5, 7)
    mask[1], mask[2, 3] = hidden, hidden
    assert_as_torchs(PLAIN, [*operands(5, 7), mask])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_attention_of_other_precisions_with_a_mask_that_hides_all_of_a_row(dtype):
    bound = {torch.bfloat16: 2e-2, torch.float16: 2e-3, torch.float64: 1e-12}[dtype]
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[1], mask[2, 3] = False, False
    assert_as_torchs(PLAIN, [*operands(5, 7, dtype), mask], rtol=bound, atol=bound)


def test_softmax_goes_over_a_row_three_times_and_takes_each_exponential_once():
    (group,) = sysai.compiler.compile(Softmax(), (torch.randn(64, 96),)).groups
    body = lower(group, "softmax").body
    passes = [stmt for stmt in statements(body) if isinstance(stmt, For) and stmt.var.name != "i"]
    made = [[block.name.split("_")[0] for block in blocks(stmt)] for stmt in passes]
    assert made == [["max"], ["exp", "add"], ["mul"]]
    values = [node for block in blocks(body) for node in walk(block.value)]
    assert sum(isinstance(node, Call) for node in values) == 1
    assert sum(isinstance(node, Load) and node.buffer.name == "x0" for node in values) == 2


@pytest.mark.parametrize("columns", [1, 3, 16, 31, 33, 65, 127, 200])
def test_rows_of_any_length_beside_the_vectors(columns):
    x = torch.randn(7, columns)
    x[0], x[1, -1], x[2, 0], x[3] = -INF, INF, NAN, 1e4
    found = sysai.compiler.compile(Softmax(), (x,))(x)
    exact = x.double().softmax(-1).float()
    torch.testing.assert_close(found, exact, rtol=2e-6, atol=0, equal_nan=True)
