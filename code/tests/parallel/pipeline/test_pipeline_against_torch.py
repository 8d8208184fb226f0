"""Our schedules beside those of torch.distributed.pipelining."""

import pytest
import torch
from sysai.distributed.launch import run
from sysai.parallel.pipeline.runtime import Pipeline
from sysai.parallel.pipeline.schedules import (
    BW,
    B,
    F,
    Operation,
    PipelineSchedule,
    W,
    gpipe,
    interleaved_1f1b,
    one_f_one_b,
    zb_v,
)
from sysai.parallel.pipeline.simulate import PassTimes, simulate
from sysai.parallel.pipeline.stages import sequential_stages
from torch import nn
from torch.nn.functional import mse_loss

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
    return PipelineSchedule(name, ours.microbatches, orders, ours.device_of)


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


def both_runtimes(world, schedule, torchs_name):
    """Gradients of the same stages after a step of ours, and after a step of torch's."""
    from torch.distributed.pipelining import PipelineStage
    from torch.distributed.pipelining.schedules import PipelineScheduleMulti, get_schedule_class

    def own_stages():
        torch.manual_seed(0)
        layers = [module for _ in range(4) for module in (nn.Linear(6, 6), nn.GELU())]
        stages = sequential_stages(nn.Sequential(*layers), [8 // schedule.stages] * schedule.stages)
        return {stage: stages[stage] for stage in schedule.stages_on(world.rank)}

    axis, x, y = world["world"], torch.randn(12, 6), torch.randn(12, 6)
    ours, theirs = own_stages(), own_stages()
    Pipeline(schedule, ours, axis, mse_loss).step(x, y)
    wrapped = [PipelineStage(m, s, schedule.stages, axis.device, group=axis.group) for s, m in theirs.items()]
    kind = get_schedule_class(torchs_name)
    torchs = kind(
        wrapped if issubclass(kind, PipelineScheduleMulti) else wrapped[0], schedule.microbatches, loss_fn=mse_loss
    )
    targets = {"target": y, "losses": []} if schedule.stages - 1 in theirs else {}
    torchs.step(*([x] if 0 in theirs else []), **targets)
    return [[p.grad for m in modules.values() for p in m.parameters()] for modules in (ours, theirs)]


@pytest.mark.parametrize(
    ("schedule", "torchs_name"),
    [
        (gpipe(2, 4), "GPipe"),
        (one_f_one_b(4, 4), "1F1B"),
        (interleaved_1f1b(2, 4, 2), "Interleaved1F1B"),
        (zb_v(2, 4), "ZBVZeroBubble"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_both_runtimes_give_the_same_gradients(schedule, torchs_name):
    for ours, theirs in run(both_runtimes, schedule.devices, schedule, torchs_name, timeout=120):
        assert len(ours) == len(theirs) == 8 // schedule.devices
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
