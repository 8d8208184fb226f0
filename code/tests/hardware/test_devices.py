from datetime import date
from urllib.parse import urlparse

import pytest
from sysai.hardware.devices import DEVICES, Device, Source

SOURCE = Source("a data sheet", "https://example.org")


def test_names_are_keys_and_the_asked_for_devices_are_there():
    assert all(device.name == name for name, device in DEVICES.items())
    for name in ("A100", "H100", "H200", "B200", "MI300X", "TPU v5e", "TPU v5p", "Ascend"):
        assert any(name in key for key in DEVICES), name


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_figures_are_plausible_and_have_a_source(device):
    assert 150e12 < device.peak_flops["bf16"] < 3e15
    assert 16e9 <= device.memory <= 300e9
    assert 0.8e12 < device.bandwidth <= 8e12
    assert 100 < device.roofline().ridge < 300  # FLOP/byte: hardware of one decade is balanced alike
    if "fp8" in device.peak_flops:
        # half the bits, twice the rate; also catches a sparse peak beside a dense one
        assert device.peak_flops["fp8"] == pytest.approx(2 * device.peak_flops["bf16"], rel=0.002)
    assert device.source.document
    assert urlparse(device.source.url).scheme == "https"
    assert date(2026, 1, 1) < date.fromisoformat(device.source.read)


def test_the_chapters_figures_of_the_h100():
    h100 = DEVICES["NVIDIA H100 SXM"]
    assert (h100.peak_flops["bf16"], h100.bandwidth, h100.memory) == (989e12, 3.35e12, 80e9)
    assert round(h100.roofline().ridge) == 295


def test_generations_share_what_they_share():
    h100, h200 = DEVICES["NVIDIA H100 SXM"], DEVICES["NVIDIA H200 SXM"]
    assert h100.peak_flops == h200.peak_flops
    assert h200.bandwidth / h100.bandwidth == pytest.approx(1.43, abs=0.01)  # as announced with the H200
    assert h200.memory > h100.memory


def test_a_format_that_a_device_lacks_is_multiplied_in_bf16():
    a100, h100 = DEVICES["NVIDIA A100 SXM 80GB"], DEVICES["NVIDIA H100 SXM"]
    assert (a100.computes_in("fp8"), h100.computes_in("fp8"), h100.computes_in("int4")) == ("bf16", "fp8", "bf16")
    assert h100.roofline("fp8").peak_flops == h100.peak_flops["fp8"]
    assert a100.roofline("fp8").peak_flops == a100.peak_flops["bf16"]


def test_devices_are_checked_when_made():
    with pytest.raises(ValueError, match="peak in bf16"):
        Device("x", {"fp8": 1.0}, 1.0, 1.0, SOURCE)
    with pytest.raises(ValueError, match="must be positive"):
        Device("x", {"bf16": 1.0}, 1.0, 0.0, SOURCE)
