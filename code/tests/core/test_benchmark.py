from time import sleep

import pytest
from sysai.core.benchmark import Comparison, RepeatedTiming, compare, measure


def test_measure_calls_warmup_and_repeats_and_keeps_every_sample():
    calls = []
    timing = measure(lambda: calls.append(sleep(0.002)), repeats=3, warmup=2)
    assert len(calls) == 5
    assert len(timing.samples) == 3
    assert 0.002 <= timing.minimum <= timing.median


def test_compare_interleaves_ours_theirs_theirs_ours():
    order = []
    compare({"ours": lambda: order.append("o"), "theirs": lambda: order.append("t")}, rounds=2, warmup=0)
    assert "".join(order) == "ottootto"


def test_ratio_is_first_over_second():
    result = compare({"slow": lambda: sleep(0.01), "fast": lambda: sleep(0.001)}, rounds=3)
    assert 2 < result.ratio_low <= result.ratio <= result.ratio_high
    assert len(result.timings["slow"].samples) == 6
    assert "slow/fast" in str(result)
    assert "\n" not in str(result)


def test_ratio_is_the_median_of_rounds_not_of_samples():
    timings = {"ours": RepeatedTiming((1.0, 1.0)), "theirs": RepeatedTiming((1.0, 1.0))}
    result = Comparison(timings, (0.5, 1.0, 4.0))
    assert (result.ratio, result.ratio_low, result.ratio_high) == (1.0, 0.5, 4.0)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="two programs"):
        compare({"ours": print})
    with pytest.raises(ValueError, match="repeats"):
        measure(print, repeats=0)
