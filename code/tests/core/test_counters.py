import pytest
import torch
from sysai.core.counters import OpCounter, SavedTensors
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode


def count(program):
    with OpCounter() as counter:
        program()
    return counter


def test_matrix_product_flops_and_bytes_by_hand():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    counter = count(lambda: a @ b)
    assert counter.flops == 2 * 3 * 5 * 7
    assert (counter.bytes_read, counter.bytes_written) == (4 * (15 + 35), 4 * 21)
    assert counter.intensity == pytest.approx(210 / 284)
    assert counter.by_op["mm"].calls == 1


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    "program",
    [
        lambda: F.linear(torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5)),
        lambda: torch.randn(2, 3, 4) @ torch.randn(2, 4, 5),
        lambda: torch.einsum("bij,bjk->bik", torch.randn(2, 3, 4), torch.randn(2, 4, 5)),
        lambda: F.conv2d(torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3)),
    ],
)
def test_flops_equal_torchs_counter(program, inference):
    with torch.inference_mode(inference):
        with FlopCounterMode(display=False) as theirs:
            program()
        assert count(program).flops == theirs.get_total_flops() > 0


def test_backward_flops_are_counted_too():
    layer, x = nn.Linear(8, 16), torch.randn(4, 8, requires_grad=True)
    with FlopCounterMode(display=False) as theirs:
        layer(x).sum().backward()
    assert count(lambda: layer(x).sum().backward()).flops == theirs.get_total_flops() == 3 * 2 * 4 * 8 * 16


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("kv_heads", "causal"), [(12, False), (12, True), (4, False)])
def test_fused_attention_on_a_cpu_counts_as_on_a_gpu(kv_heads, causal, backward):
    q = torch.randn(1, 12, 64, 64, requires_grad=backward)
    k = torch.randn(1, kv_heads, 64, 64)

    def attend():
        y = F.scaled_dot_product_attention(q, k, k, is_causal=causal, enable_gqa=kv_heads < 12)
        if backward:
            y.sum().backward()

    products = 2 + 5 * backward  # backward: the scores again, and two for each product of the forward pass
    assert count(attend).flops == products * 2 * 12 * 64**3


@pytest.mark.parametrize(
    ("program", "multiply_adds"),
    [
        (lambda: torch.ones(4, 5) @ torch.ones(5), 20),
        (lambda: torch.addmv(torch.ones(4), torch.ones(4, 5), torch.ones(5)), 20),
        (lambda: torch.ones(5) @ torch.ones(5), 5),
        (lambda: torch._int_mm(torch.ones(32, 8, dtype=torch.int8), torch.ones(8, 8, dtype=torch.int8)), 32 * 64),
    ],
)
def test_products_that_torchs_counter_leaves_out(program, multiply_adds):
    assert count(program).flops == 2 * multiply_adds


@pytest.mark.parametrize(
    ("layer", "parts", "flops"),
    [
        (
            nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
            "mha",
            2 * 16 * (16 * 64 + 16 * 64) + 4 * 2 * 8 * 8 * 16,
        ),
        (nn.LSTM(16, 16, batch_first=True), "mkldnn", 2 * 16 * 2 * 64 * 16),
    ],
)
@torch.no_grad()
def test_fused_layers_are_refused_and_their_parts_counted(layer, parts, flops):
    layer, x = layer.eval(), torch.randn(2, 8, 16)
    with pytest.raises(NotImplementedError, match=f"switch it off by torch.backends.{parts}"):
        count(lambda: layer(x))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.mkldnn.flags(enabled=False):
            assert count(lambda: layer(x)).flops == flops
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def test_views_cost_nothing():
    x = torch.randn(4, 6)
    assert count(lambda: (x.T, x.view(2, 12), x[1:], x.expand(3, 4, 6), x.detach(), x.unbind())).bytes == 0


@pytest.mark.parametrize(
    ("program", "read", "written"),
    [
        (lambda x, y: x + y, 2 * 96, 96),
        (lambda x, y: x.add_(y), 2 * 96, 96),
        (lambda x, y: x.copy_(y), 96, 96),
        (lambda x, y: x.zero_(), 0, 96),
        (lambda x, y: torch.empty_like(x), 0, 0),
        (lambda x, y: x + y[0], 96 + 24, 96),  # a broadcast row is read once
        (lambda x, y: x.expand(5, 4, 6).sum(), 96, 4),
    ],
)
def test_bytes_of_elementwise_operators(program, read, written):
    x, y = torch.randn(4, 6), torch.randn(4, 6)
    counter = count(lambda: program(x, y))
    assert (counter.bytes_read, counter.bytes_written) == (read, written)


def test_a_gather_reads_only_the_rows_it_takes():
    table, index = torch.randn(1000, 8), torch.tensor([3, 5])
    for program in (lambda: F.embedding(index, table), lambda: table.index_select(0, index)):
        counter = count(program)
        assert (counter.bytes_read, counter.bytes_written) == (2 * 8 + 2 * 32, 2 * 32)


def test_table_is_sorted_by_bytes_and_totals():
    x = torch.randn(64, 64)
    lines = count(lambda: (x @ x).relu()).table().splitlines()
    assert [line.split()[0] for line in lines] == ["operator", "mm", "relu", "total"]
    assert len({len(line) for line in lines}) == 1


def test_saved_tensors_counts_a_storage_once_and_no_parameters():
    layer, x = nn.Linear(8, 16, bias=False), torch.randn(4, 8, requires_grad=True)
    with SavedTensors(layer) as saved:
        h = layer(x)  # keeps x
        (h.view(8, 8) * h.view(8, 8)).sum().backward()  # keeps h, twice, as views
    assert saved.bytes == 4 * (4 * 8 + 4 * 16)
    with SavedTensors() as everything:
        layer(x)
    assert everything.bytes == 4 * (4 * 8 + 8 * 16)


def test_saved_tensors_counts_the_whole_storage_of_a_view():
    """The sigmoid keeps its result; the product keeps that and a third of a row, and with it all that x @ w is."""
    x, w = torch.randn(4, 8), nn.Parameter(torch.randn(8, 96))
    with SavedTensors(nn.ParameterList([w])) as saved:
        q, k, _ = (x @ w).chunk(3, -1)
        q.sigmoid() * k
    assert saved.bytes == 4 * (4 * 8 + 4 * 96 + 4 * 32) == 2176


def test_saved_tensors_keeps_nothing_under_no_grad():
    layer = nn.Linear(8, 16)
    with SavedTensors(layer) as saved, torch.no_grad():
        layer(torch.randn(4, 8)).exp()
    assert saved.bytes == 0
    assert dict(saved.by_shape) == {}
