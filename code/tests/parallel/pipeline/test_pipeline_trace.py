"""The trace has the fields of the format, says what the timeline says, and nests as viewers require."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_cases import schedules
from sysai.parallel.pipeline.schedules import zb_h1
from sysai.parallel.pipeline.simulate import PassTimes, simulate
from sysai.parallel.pipeline.trace import trace, write_trace


def test_complete_events_carry_the_timeline(tmp_path):
    timeline = simulate(zb_h1(2, 3), PassTimes.equal(2, 1e-3, 2e-3, 0.5e-3, message=1e-4))
    events = json.loads(write_trace(timeline, tmp_path / "trace.json").read_text())["traceEvents"]
    complete = [e for e in events if e["ph"] == "X"]
    intervals = [i for d in timeline.devices for i in d]
    assert len(complete) == len(intervals) == 18
    for event, interval in zip(complete, intervals, strict=True):
        kind, stage, microbatch = interval.operation
        assert set(event) == {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"}
        assert event["name"] == f"{kind} {microbatch}"
        assert event["args"] == {"stage": stage, "micro-batch": microbatch}
        assert event["tid"] == interval.device
        assert event["ts"] == pytest.approx(interval.start * 1e6)
        assert event["dur"] == pytest.approx((interval.end - interval.start) * 1e6)


def test_rows_have_names_and_counters_the_memory():
    timeline = simulate(zb_h1(3, 4), PassTimes.equal(3, 1, 1, 1))
    events = trace(timeline)["traceEvents"]
    names = [(e["name"], e["args"]["name"]) for e in events if e["ph"] == "M"]
    assert names == [("process_name", "ZB-H1"), *(("thread_name", f"device {d}") for d in range(3))]
    for device in range(3):
        counts = [e["args"] for e in events if e["ph"] == "C" and e["tid"] == device]
        assert max(sum(c.values()) for c in counts) == 3
        assert counts[-1] == {"for_backward": 0, "for_weights": 0}


@settings(max_examples=30, deadline=None)
@given(schedules(), st.floats(1e-6, 1.0), st.floats(1e-6, 1.0), st.floats(1e-6, 1.0))
def test_passes_of_a_device_do_not_overlap(schedule, f, b, w):
    events = trace(simulate(schedule, PassTimes.equal(schedule.stages, f, b, w)))["traceEvents"]
    for device in range(schedule.devices):
        rows = [e for e in events if e["ph"] == "X" and e["tid"] == device]
        assert all(x["ts"] + x["dur"] <= y["ts"] + 1e-3 / 2 for x, y in pairwise(rows))
