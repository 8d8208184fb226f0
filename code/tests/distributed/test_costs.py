"""The formulas against their textbook forms; that counted traffic equals them is in test_collectives."""

import pytest
from sysai.distributed import costs
from sysai.distributed.ring import SEGMENT_BYTES


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 64])
def test_equal_chunks_give_the_textbook_formulas(n):
    numel, itemsize = 128 * n, 4
    total = numel * itemsize
    alpha, beta = 1e-5, 1e-9
    for all_reduce in (costs.ring_all_reduce_cost, costs.shared_memory_all_reduce_cost):
        for rank in range(n):
            assert all_reduce(numel, itemsize, n, rank).bytes == 2 * (n - 1) * total // n
    ring = costs.ring_all_reduce_cost(numel, itemsize, n, 0)
    assert (ring.steps, ring.messages) == (2 * (n - 1), 2 * (n - 1))
    assert ring.time(alpha, beta) == pytest.approx(2 * (n - 1) * alpha + 2 * (n - 1) / n * total * beta)
    shared = costs.shared_memory_all_reduce_cost(numel, itemsize, n, 0)
    assert shared.steps == 2 * (n > 1)
    assert shared.path_bytes == ring.path_bytes


@pytest.mark.parametrize(("n", "segments"), [(2, 1), (4, 1), (4, 8)])
def test_a_broadcast_fills_the_chain_and_then_flows(n, segments):
    cost = costs.ring_broadcast_cost(segments * SEGMENT_BYTES // 4, 4, n, rank=0, source=0)
    assert cost.time(1e-5, 1e-9) == pytest.approx((n - 2 + segments) * (1e-5 + SEGMENT_BYTES * 1e-9))
    last = costs.ring_broadcast_cost(segments * SEGMENT_BYTES // 4, 4, n, rank=n - 1, source=0)
    assert (cost.messages, last.messages, last.bytes) == (segments, 0, 0)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_broadcast_of_less_than_a_segment_is_passed_on_whole(n):
    cost = costs.ring_broadcast_cost(SEGMENT_BYTES // 8, 4, n, rank=0, source=0)
    assert (cost.steps, cost.messages, cost.path_bytes) == (n - 1, 1, (n - 1) * SEGMENT_BYTES // 2)


def test_bytes_sent_by_all_ranks_of_uneven_chunks():
    sizes = [5, 0, 11, 2]
    everything = 3 * sum(sizes) * 8  # each chunk is sent by all ranks but one
    for cost in (
        costs.ring_reduce_scatter_cost,
        costs.ring_all_gather_cost,
        costs.shared_memory_reduce_scatter_cost,
        costs.shared_memory_all_gather_cost,
    ):
        assert sum(cost(sizes, 8, rank).bytes for rank in range(4)) == everything
