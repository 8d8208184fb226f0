"""Planted faults: each is found, and the message names the operation."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pipeline_cases import schedules
from sysai.parallel.pipeline.schedules import BW, B, F, Operation, PipelineSchedule, W, one_f_one_b, zb_h1
from sysai.parallel.pipeline.validate import validate


def with_order(schedule, device, order):
    orders = list(schedule.orders)
    orders[device] = tuple(order)
    return replace(schedule, orders=tuple(orders))


@settings(deadline=None)
@given(schedules(), st.data())
def test_a_missing_or_doubled_operation_is_named(schedule, data):
    device = data.draw(st.integers(0, schedule.devices - 1))
    order = list(schedule.orders[device])
    victim = data.draw(st.sampled_from(order))
    with pytest.raises(ValueError, match="stands") as error:
        validate(with_order(schedule, device, [o for o in order if o != victim]))
    assert victim.kind == BW or str(victim) in str(error.value)
    with pytest.raises(ValueError, match="stands 2 times") as error:
        validate(with_order(schedule, device, [*order, victim]))
    assert str(victim) in str(error.value)


@settings(deadline=None)
@given(schedules(), st.data())
def test_any_exchange_is_refused_or_harmless(schedule, data):
    """Whatever two operations change places: what is accepted also runs when values are awaited one by one."""
    device = data.draw(st.integers(0, schedule.devices - 1))
    order = list(schedule.orders[device])
    i, j = data.draw(st.integers(0, len(order) - 1)), data.draw(st.integers(0, len(order) - 1))
    assume(i != j)
    order[i], order[j] = order[j], order[i]
    changed = with_order(schedule, device, order)
    try:
        ran = validate(changed)
    except ValueError:
        assert not runs_by_brute_force(changed)
    else:
        assert runs_by_brute_force(changed)
        assert len(ran) == sum(map(len, changed.orders))


def runs_by_brute_force(schedule: PipelineSchedule) -> bool:
    """Another way to execute: one global step at a time, dependencies written out anew."""
    done, orders = set(), [list(order) for order in schedule.orders]
    last = schedule.stages - 1
    while any(orders):
        ready = []
        for order in filter(None, orders):
            kind, s, j = order[0]
            next_is_done = s == last or (B, s + 1, j) in done or (BW, s + 1, j) in done
            if kind == F:
                runs = s == 0 or (F, s - 1, j) in done
            elif kind == W:
                runs = (B, s, j) in done
            else:
                runs = (F, s, j) in done and next_is_done
            if runs:
                ready.append(order)
        if not ready:
            return False
        done.update(order.pop(0) for order in ready)
    return True


def test_a_backward_before_its_forward_is_named():
    order = list(one_f_one_b(2, 3).orders[1])
    order[0], order[1] = order[1], order[0]
    with pytest.raises(ValueError, match=r"BW\(stage 1, micro-batch 0\) stands before F\(stage 1, micro-batch 0\)"):
        validate(with_order(one_f_one_b(2, 3), 1, order))


def test_weights_before_inputs_are_named():
    order = list(zb_h1(2, 2).orders[0])
    b, w = order.index(Operation(B, 0, 0)), order.index(Operation(W, 0, 0))
    order[b], order[w] = order[w], order[b]
    with pytest.raises(ValueError, match=r"W\(stage 0, micro-batch 0\) stands before B\(stage 0, micro-batch 0\)"):
        validate(with_order(zb_h1(2, 2), 0, order))


def test_a_circle_of_waiting_devices_is_told_in_full():
    schedule = one_f_one_b(2, 2)
    eager = [Operation(F, 0, 0), Operation(BW, 0, 0), Operation(F, 0, 1), Operation(BW, 0, 1)]
    late = [Operation(F, 1, 0), Operation(F, 1, 1), Operation(BW, 1, 0), Operation(BW, 1, 1)]
    with pytest.raises(ValueError, match="deadlock") as error:
        validate(with_order(with_order(schedule, 0, eager), 1, late))
    assert "device 0 waits in BW(stage 0, micro-batch 0) for BW(stage 1, micro-batch 0) of device 1" in str(error.value)
    assert "device 1 waits in F(stage 1, micro-batch 1) for F(stage 0, micro-batch 1) of device 0" in str(error.value)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Operation("X", 0, 0), "kinds are F, B, W, BW"),
        (Operation(F, 2, 0), "stages 0 to 1"),
        (Operation(F, 0, 2), "micro-batches 0 to 1"),
        (Operation(F, 1, 0), "stage 1 is held by device 1"),
    ],
)
def test_what_does_not_belong_here_is_named(operation, message):
    schedule = one_f_one_b(2, 2)
    with pytest.raises(ValueError, match=message) as error:
        validate(with_order(schedule, 0, [operation, *schedule.orders[0]]))
    assert str(operation) in str(error.value)
