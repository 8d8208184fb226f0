from sysai.hardware.rates import measure_matmul_rate, measure_matvec_bandwidth, measure_read_bandwidth


def test_measured_rates_are_those_of_a_machine():
    # Wide bounds: what is checked is the unit (bytes, not elements or megabytes), not the machine.
    assert 1e9 < measure_matmul_rate(size=512) < 1e15
    assert 1e8 < measure_read_bandwidth(megabytes=64) < 1e14
    assert 1e8 < measure_matvec_bandwidth(megabytes=64) < 1e14
    assert 1e7 < measure_matvec_bandwidth(megabytes=64, rows=8) < 1e14
