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


# As announced and printed on the data sheets: dense TFLOP/s in bf16, GB, TB/s.
PRINTED = {
    "NVIDIA A100 SXM 80GB": (312, 80, 2.039),
    "NVIDIA H100 SXM": (989, 80, 3.35),
    "NVIDIA H200 SXM": (989, 141, 4.8),
    "NVIDIA B200": (2250, 180, 8.0),
    "AMD MI300X": (1307.4, 192, 5.3),
    "Google TPU v5e": (197, 16, 0.819),
    "Google TPU v5p": (459, 95, 2.765),
    "Huawei Ascend 910B": (353.9, 64, 1.6),
}


def test_figures_are_those_of_the_data_sheets():
    figures = {name: (d.peak_flops["bf16"] / 1e12, d.memory / 1e9, d.bandwidth / 1e12) for name, d in DEVICES.items()}
    assert figures == {name: pytest.approx(printed) for name, printed in PRINTED.items()}
    assert round(DEVICES["NVIDIA H100 SXM"].roofline().ridge) == 295


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


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "int32", "FP8", ""])
def test_a_peak_that_is_not_known_is_not_taken_for_that_of_bf16(precision):
    with pytest.raises(ValueError, match=f"no peak in '{precision}'; there is one in bf16, "):
        DEVICES["NVIDIA A100 SXM 80GB"].roofline(precision)


def test_devices_are_checked_when_made():
    with pytest.raises(ValueError, match="peak in bf16"):
        Device("x", {"fp8": 1.0}, 1.0, 1.0, SOURCE)
    with pytest.raises(ValueError, match="must be positive"):
        Device("x", {"bf16": 1.0}, 1.0, 0.0, SOURCE)
