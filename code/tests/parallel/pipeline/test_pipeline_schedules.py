"""Every schedule that can be asked for is right; what cannot be is refused with a remedy."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_cases import schedules
from sysai.parallel.pipeline.memory import held_after_each, peak_held
from sysai.parallel.pipeline.schedules import (
    BW,
    GENERATORS,
    B,
    F,
    Operation,
    W,
    gpipe,
    interleaved_1f1b,
    one_f_one_b,
    zb_h1,
    zb_h2,
    zb_v,
)
from sysai.parallel.pipeline.validate import validate


def shorthand(order):
    return " ".join(f"{kind}{j}" for kind, _, j in order)


def test_orders_as_drawn_in_the_papers():
    assert shorthand(gpipe(2, 3).orders[0]) == "F0 F1 F2 BW2 BW1 BW0"
    assert [shorthand(order) for order in one_f_one_b(3, 4).orders] == [
        "F0 F1 F2 BW0 F3 BW1 BW2 BW3",
        "F0 F1 BW0 F2 BW1 F3 BW2 BW3",
        "F0 BW0 F1 BW1 F2 BW2 F3 BW3",
    ]
    assert shorthand(zb_h1(3, 4).orders[0]) == "F0 F1 F2 B0 W0 F3 B1 W1 B2 W2 B3 W3"
    assert shorthand(zb_h1(3, 4).orders[2]) == "F0 B0 F1 B1 F2 B2 W0 F3 B3 W1 W2 W3"
    assert shorthand(zb_h2(2, 4).orders[0]) == "F0 F1 F2 B0 W0 F3 B1 W1 B2 W2 B3 W3"
    assert shorthand(zb_h2(2, 4).orders[1]) == "F0 B0 F1 B1 F2 B2 W0 F3 B3 W1 W2 W3"


def test_interleaving_takes_rounds_of_p_through_a_devices_chunks():
    forwards = [(o.stage, o.microbatch) for o in interleaved_1f1b(2, 4, 2).orders[0] if o.kind == F]
    backwards = [(o.stage, o.microbatch) for o in interleaved_1f1b(2, 4, 2).orders[0] if o.kind == BW]
    assert forwards == [(0, 0), (0, 1), (2, 0), (2, 1), (0, 2), (0, 3), (2, 2), (2, 3)]
    assert backwards == [(2, 0), (2, 1), (0, 0), (0, 1), (2, 2), (2, 3), (0, 2), (0, 3)]


def test_zb_v_warms_up_and_alternates_as_its_paper_says():
    p, m = 4, 12
    for d, order in enumerate(zb_v(p, m).orders):
        warmup = Counter(o.stage for o in order[: 2 * p - 1])
        assert warmup == Counter({d: 2 * p - 1 - d, 2 * p - 1 - d: d})
        assert {o.kind for o in order[: 2 * p - 1]} == {F}
        groups = [order[i : i + 3] for i in range(2 * p - 1, 2 * p - 1 + 3 * m, 3)]
        assert all([o.kind for o in group] == [F, B, W] for group in groups)
        chunks = ["second" if group[1].stage >= p else "first" for group in groups]
        assert chunks[: p - 1 - d] == ["second"] * (p - 1 - d)
        assert chunks[p - 1 - d :] == (["second", "first"] * m)[: m - (p - 1 - d)]


@settings(deadline=None)
@given(schedules())
def test_any_schedule_is_right_and_each_pass_stands_once(schedule):
    assert Counter(validate(schedule)) == Counter(o for order in schedule.orders for o in order)
    split = B in {o.kind for order in schedule.orders for o in order}
    kinds = (F, B, W) if split else (F, BW)
    assert Counter(validate(schedule)) == Counter(
        Operation(kind, s, j) for kind in kinds for s in range(schedule.stages) for j in range(schedule.microbatches)
    )


@settings(deadline=None)
@given(schedules())
def test_memory_comes_back_to_nothing(schedule):
    for order in schedule.orders:
        held = list(held_after_each(order))
        assert min(min(h) for h in held) == 0
        assert held[-1] == (0, 0)


@settings(deadline=None)
@given(p=st.integers(1, 8), extra=st.integers(0, 9), share=st.floats(0, 1))
def test_peak_memory_is_that_of_the_papers(p, extra, share):
    m = 2 * p - 1 + extra
    assert peak_held(gpipe(p, m), share) == [m] * p
    assert peak_held(one_f_one_b(p, m), share) == [p - d for d in range(p)]
    assert peak_held(zb_h1(p, m), share) == pytest.approx([p - d + d * share for d in range(p)])
    assert peak_held(zb_h2(p, m), share) == pytest.approx([2 * (p - d) - 1 + 2 * d * share for d in range(p)])
    assert peak_held(zb_v(p, m)) == [2 * p] * p  # of half stages: p micro-batches


@settings(max_examples=30, deadline=None)
@given(p=st.integers(1, 6), rounds=st.integers(3, 5), v=st.integers(2, 4))
def test_interleaving_holds_p_minus_one_chunks_more_than_1f1b(p, rounds, v):
    assert peak_held(interleaved_1f1b(p, rounds * p, v))[0] == v * p + p - 1


@pytest.mark.parametrize("generate", [gpipe, one_f_one_b, zb_h1, zb_h2, zb_v, lambda p, m: interleaved_1f1b(p, m, 2)])
@pytest.mark.parametrize(("p", "m"), [(0, 1), (1, 0), (-1, 3)])
def test_a_pipeline_needs_a_device_and_a_microbatch(generate, p, m):
    with pytest.raises(ValueError, match="at least one device and one micro-batch"):
        generate(p, m)


@settings(deadline=None)
@given(p=st.integers(2, 8), m=st.integers(1, 40))
def test_interleaving_refuses_an_unfinished_round(p, m):
    if m % p:
        with pytest.raises(ValueError, match="a multiple of p"):
            interleaved_1f1b(p, m, 2)


def test_interleaving_refuses_one_chunk():
    with pytest.raises(ValueError, match="use one_f_one_b"):
        interleaved_1f1b(2, 4, 1)


def test_all_generators_have_names():
    assert set(GENERATORS.values()) == {gpipe, one_f_one_b, interleaved_1f1b, zb_h1, zb_h2, zb_v}
