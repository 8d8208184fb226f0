"""Latencies and percentiles: against NumPy, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sysai.serving.simulation.latency import SLO, RequestTiming, percentiles, summarize


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=50), percent=st.floats(0, 100))
def test_percentiles_are_numpys(values, percent):
    assert percentiles(values, [percent])[percent] == pytest.approx(np.percentile(values, percent), rel=1e-9, abs=1e-9)


def test_a_report_by_hand():
    fast = RequestTiming(arrival=1.0, token_times=(1.5, 1.6, 1.7))
    slow = RequestTiming(arrival=2.0, token_times=(6.0, 7.0))
    single = RequestTiming(arrival=0.0, token_times=(0.5,))
    left = RequestTiming(arrival=3.0, token_times=(9.0,), completed=False)
    report = summarize([fast, slow, single, left], SLO(ttft=1.0, tpot=0.2), percents=[50, 100])
    assert (report.requests, report.completed, report.output_tokens, report.seconds) == (4, 3, 7, 9.0)
    assert report.ttft == {50: 0.5, 100: 4.0}
    assert report.tpot == {50: pytest.approx(0.55), 100: 1.0}, "a single token has no pace"
    assert report.gap == {50: pytest.approx(0.1), 100: 1.0}
    assert report.attainment == 0.5, "who has left was not served"
    for slo, share in ((SLO(), 0.75), (SLO(ttft=1.0), 0.5), (SLO(tpot=0.2), 0.5)):
        assert summarize([fast, slow, single, left], slo).attainment == share
    assert report.goodput == pytest.approx(2 / 9)
    assert report.throughput == pytest.approx(7 / 9)


def test_one_stall_shows_in_the_gaps_and_hides_in_the_mean():
    timing = RequestTiming(0.0, (1.0, 1.1, 1.2, 3.2))
    assert timing.tpot == pytest.approx(2.2 / 3)
    assert max(timing.gaps) == pytest.approx(2.0)


def test_wrong_timings_are_refused():
    with pytest.raises(ValueError, match="in order"):
        RequestTiming(1.0, (0.5,))
    with pytest.raises(ValueError, match="at least one"):
        RequestTiming(1.0, ())
    with pytest.raises(ValueError, match="nothing to summarize"):
        summarize([RequestTiming(0.0, (), completed=False)])
