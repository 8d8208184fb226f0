"""Our schedules beside those of torch.distributed.pipelining."""

import pytest
from sysai.parallel.pipeline.schedules import (
    BW,
    B,
    F,
    Operation,
    Schedule,
    W,
    gpipe,
    interleaved_1f1b,
    one_f_one_b,
    zb_v,
)
from sysai.parallel.pipeline.simulate import PassTimes, simulate

visualizer = pytest.importorskip("torch.distributed.pipelining._schedule_visualizer")
KINDS = {"FORWARD": F, "FULL_BACKWARD": BW, "BACKWARD_INPUT": B, "BACKWARD_WEIGHT": W}


def theirs(ours, name, chunks=None):
    """torch's schedule of that name, in our form."""
    ranks = visualizer.get_schedule_ops(name, ours.devices, ours.microbatches, chunks)
    if chunks is None:  # torch numbers the one stage of each rank of a mock 0
        ranks = [[a and a._replace(stage_index=rank) for a in actions] for rank, actions in enumerate(ranks)]
    orders = tuple(
        tuple(
            Operation(KINDS[a.computation_type.name], a.stage_index, a.microbatch_index)
            for a in actions
            if a is not None and a.computation_type.name in KINDS
        )
        for actions in ranks
    )
    return Schedule(name, ours.microbatches, orders, ours.device_of)


@pytest.mark.parametrize(("p", "m"), [(2, 2), (2, 5), (4, 4), (4, 8), (5, 12)])
def test_1f1b_is_torchs(p, m):
    ours = one_f_one_b(p, m)
    torchs = theirs(ours, "1F1B")
    assert ours.orders[:-1] == torchs.orders[:-1]
    # torch 2.13 runs what we run, but its listing numbers the last rank's forwards from 1
    assert [o.kind for o in ours.orders[-1]] == [o.kind for o in torchs.orders[-1]]


@pytest.mark.parametrize(("p", "m", "v"), [(2, 2, 2), (2, 6, 3), (4, 4, 2), (4, 12, 2), (3, 9, 4)])
def test_interleaving_is_torchs(p, m, v):
    ours = interleaved_1f1b(p, m, v)
    assert ours.orders == theirs(ours, "Interleaved1F1B", v).orders


@pytest.mark.parametrize(("p", "m"), [(2, 5), (4, 8)])
def test_gpipe_costs_what_torchs_costs(p, m):
    """torch takes the backwards in the order of the forwards, the paper's figure the other way round."""
    ours = gpipe(p, m)
    times = PassTimes.equal(p, 2, 3, 1)
    assert simulate(ours, times).cost == simulate(theirs(ours, "GPipe"), times).cost


@pytest.mark.parametrize(("p", "m"), [(1, 1), (2, 3), (2, 6), (3, 5), (4, 7), (4, 12)])
def test_zb_v_has_torchs_passes_and_no_bubble_either(p, m):
    ours = zb_v(p, m)
    torchs = theirs(ours, "ZBVZeroBubble", 2)
    assert [sorted(order) for order in ours.orders] == [sorted(order) for order in torchs.orders]
    times = PassTimes.equal(2 * p, 1, 1, 1)
    assert simulate(ours, times).cost == simulate(torchs, times).cost == 6 * m
