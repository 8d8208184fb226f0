import pytest
from sysai.hardware.roofline import Roofline


def test_two_limits_meet_at_the_ridge():
    roof = Roofline(peak_flops=1000.0, bandwidth=10.0)
    assert roof.ridge == 100.0
    assert roof.attainable(roof.ridge) == roof.peak_flops
    assert (roof.attainable(1), roof.attainable(1e6)) == (10.0, 1000.0)
    assert (roof.bound(99), roof.bound(101)) == ("memory", "compute")
    assert roof.time(2000, 10) == 2.0
    assert roof.time(10, 100) == 10.0


@pytest.mark.parametrize("rates", [(0, 1), (1, -1)])
def test_rates_must_be_positive(rates):
    with pytest.raises(ValueError, match="positive"):
        Roofline(*rates)
