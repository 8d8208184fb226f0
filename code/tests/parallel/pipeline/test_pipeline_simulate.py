"""The simulator against published rates, closed forms, and a schedule timed by hand."""

import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_cases import schedules
from sysai.parallel.pipeline.memory import peak_held
from sysai.parallel.pipeline.schedules import (
    GENERATORS,
    Operation,
    PipelineSchedule,
    gpipe,
    interleaved_1f1b,
    one_f_one_b,
    zb_h1,
    zb_h2,
    zb_v,
)
from sysai.parallel.pipeline.simulate import PassTimes, simulate

ORACLES = Path(__file__).parents[3] / "oracles"
ZERO_BUBBLE = tomllib.loads((ORACLES / "zero_bubble.toml").read_text())
GPIPE = tomllib.loads((ORACLES / "gpipe.toml").read_text())
ROWS = [dict(zip(ZERO_BUBBLE["columns"], row, strict=True)) for row in ZERO_BUBBLE["rows"]]


@pytest.mark.parametrize("name", ["1f1b", "zb_h1", "zb_h2"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['m']}")
def test_published_bubble_rates(row, name):
    times = PassTimes.equal(row["p"], row["f"], row["b"], row["w"], row["message"])
    rate = simulate(GENERATORS[name](row["p"], row["m"]), times).bubble_rate
    assert rate == pytest.approx(row[name], abs=ZERO_BUBBLE["tolerance"], rel=0)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model']}-{row['m']}")
def test_published_bubble_rates_of_interleaving(row):
    p, v = row["p"], row["chunks"]
    times = PassTimes.equal(p * v, row["f"] / v, row["b"] / v, row["w"] / v, row["message"])
    timeline = simulate(interleaved_1f1b(p, row["m"], v), times)
    assert timeline.bubble_rate == pytest.approx(row["interleaved_1f1b"], abs=ZERO_BUBBLE["interleaved_tolerance"])


@pytest.mark.parametrize(("devices", "measured"), GPIPE["speedup"].items())
def test_gpipes_speedups(devices, measured):
    k, m = int(devices), GPIPE["microbatches"]
    pipeline = simulate(gpipe(k, m), PassTimes.equal(k, 1.0, 1.0, 1.0)).makespan
    alone = simulate(gpipe(1, m), PassTimes.equal(1, k, k, k)).makespan
    assert alone / pipeline == pytest.approx(measured, rel=GPIPE["tolerance"])


@settings(deadline=None)
@given(
    p=st.integers(1, 9),
    extra=st.integers(0, 9),
    f=st.integers(0, 9),
    b=st.integers(0, 9),
    w=st.integers(0, 9),
)
def test_closed_forms_of_the_bubble(p, extra, f, b, w):
    """arXiv 2401.10241, table 2, where W is the shortest pass and the pipeline is full."""
    f, b = f + w, b + w
    m = 2 * p - 1 + extra

    def bubble(schedule, v=1):
        return simulate(schedule, PassTimes.equal(p * v, f, b, w)).cost - v * m * (f + b + w)

    assert bubble(gpipe(p, m)) == (p - 1) * (f + b + w)
    assert bubble(one_f_one_b(p, m)) == (p - 1) * (f + b + w)
    assert bubble(zb_h1(p, m)) == (p - 1) * (f + b - w)
    assert bubble(zb_h2(p, m)) == (p - 1) * (f + b - 2 * w)


@settings(deadline=None)
@given(p=st.integers(1, 9), extra=st.integers(0, 9), time=st.integers(1, 9))
def test_zb_v_has_no_bubble_where_all_passes_take_as_long(p, extra, time):
    m = 2 * p - 1 + extra
    assert simulate(zb_v(p, m), PassTimes.equal(2 * p, time, time, time)).cost == 2 * m * 3 * time


@settings(deadline=None)
@given(p=st.integers(1, 6), rounds=st.integers(1, 4), v=st.integers(2, 4), f=st.integers(0, 9), b=st.integers(0, 9))
def test_interleaving_divides_the_bubble_by_the_chunks(p, rounds, v, f, b):
    m = rounds * p
    cost = simulate(interleaved_1f1b(p, m, v), PassTimes.equal(p * v, f, b, 0)).cost
    assert cost - m * v * (f + b) == (p - 1) * (f + b)


@settings(deadline=None)
@given(schedules(), st.data())
def test_unequal_stages_conserve_work_and_obey_every_dependency(schedule, data):
    one_time = st.integers(0, 20)
    f, b, w = (tuple(data.draw(one_time) for _ in range(schedule.stages)) for _ in range(3))
    pairs = {(i, j): data.draw(one_time) for i in range(schedule.devices) for j in range(schedule.devices)}
    times = PassTimes(f, b, w, pairs)
    timeline = simulate(schedule, times)
    for device in range(schedule.devices):
        stages = schedule.stages_on(device)
        assert timeline.work(device) == schedule.microbatches * sum(f[s] + b[s] + w[s] for s in stages)
        intervals = timeline.devices[device]
        assert [i.operation for i in intervals] == list(schedule.orders[device])
        assert all(x.end <= y.start for x, y in pairwise(intervals))
        assert max(h.amount() for _, h in timeline.held(device)) == peak_held(schedule)[device]
    end = {schedule.gives(i.operation): (i.end, i.device) for d in timeline.devices for i in d}
    for interval in (i for d in timeline.devices for i in d):
        for value in schedule.needs(interval.operation):
            given_at, maker = end[value]
            arrives = given_at + (pairs[maker, interval.device] if maker != interval.device else 0)
            assert interval.start >= arrives
    assert timeline.cost <= timeline.makespan


def test_two_stages_timed_by_hand():
    """Stage 1 is slow and messages take 1: the second forward waits for the device, the first gradient for its way."""
    times = PassTimes((1, 3), (1, 2), (1, 1), message=1)
    first, second = simulate(one_f_one_b(2, 2), times).devices
    assert [(i.start, i.end) for i in second] == [(2, 5), (5, 8), (8, 11), (11, 14)]
    assert [(i.start, i.end) for i in first] == [(0, 1), (1, 2), (9, 11), (15, 17)]


def test_a_slow_link_counts_only_where_it_lies():
    links = {(0, 1): 0.0, (1, 0): 0.0, (1, 2): 5.0, (2, 1): 7.0}
    fast = simulate(one_f_one_b(3, 1), PassTimes.equal(3, 1, 1, 0))
    slow = simulate(one_f_one_b(3, 1), PassTimes((1,) * 3, (1,) * 3, (0,) * 3, links))
    assert slow.cost == fast.cost + 12
    assert slow.devices[1][0] == fast.devices[1][0]


def test_an_unforeseen_link_is_named():
    with pytest.raises(ValueError, match="from device 1 to 0"):
        simulate(one_f_one_b(2, 1), PassTimes((1, 1), (1, 1), (1, 1), {(0, 1): 1.0}))


def test_times_must_fit_the_schedule():
    with pytest.raises(ValueError, match="2 stages, the times are for 3"):
        simulate(one_f_one_b(2, 2), PassTimes.equal(3, 1, 1, 1))
    with pytest.raises(ValueError, match="none negative"):
        PassTimes.equal(2, 1, -1, 1)
    with pytest.raises(ValueError, match="each stage needs"):
        PassTimes((1, 1), (1,), (1, 1))


def test_a_wrong_schedule_is_not_timed():
    wrong = PipelineSchedule("wrong", 1, ((Operation("BW", 0, 0), Operation("F", 0, 0)),), (0,))
    with pytest.raises(ValueError, match="stands before"):
        simulate(wrong, PassTimes.equal(1, 1, 1, 1))


def test_the_standard_library_suffices():
    """In a reader's browser there is nothing else."""
    program = (
        "import sys; import sysai.parallel.pipeline.simulate, sysai.parallel.pipeline.trace; "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'numpy', 'psutil', 'cloudpickle')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
