"""Peak rate, memory and bandwidth by the data sheets of devices that models are trained and served on.

Peaks are those of dense matrix products on the units made for them; data sheets often print twice as much, for
matrices of which half the elements are zero by a pattern. Memory and bandwidth are in the data sheet's own decimal
units, although capacities are closer to binary ones: an H100's "80 GB" show up as 81,559 MiB, 85.5 GB. TPU figures
were read in Google's documentation and Ascend's in Huawei's simulator; those of NVIDIA and AMD were compared with
public transcriptions of the documents named here, all on the date of `Source.read`.
No program reaches these rates: `sysai.hardware.rates` measures what one does reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sysai.hardware.roofline import Roofline

FIT_IN_BF16 = ("fp8", "fp4", "int8", "int4")
"""Formats whose values bf16 holds, so that a device without units for them multiplies them in bf16."""


@dataclass(frozen=True)
class Source:
    """Where figures stand: the document's name, its address, and the day they were looked up."""

    document: str
    url: str
    read: str = "2026-11-22"


@dataclass(frozen=True)
class Device:
    """One accelerator by its data sheet.

    Attributes:
        peak_flops: FLOP/s of dense matrix products, by the format of the factors ("bf16", "fp8").
        memory: bytes.
        bandwidth: bytes/s between that memory and the chip.

    Raises:
        ValueError: a quantity that is not positive, or no peak in bf16.
    """

    name: str
    peak_flops: Mapping[str, float]
    memory: float
    bandwidth: float
    source: Source

    def __post_init__(self) -> None:
        if "bf16" not in self.peak_flops:
            raise ValueError(f"{self.name}: give the peak in bf16, which others are compared with")
        if min(self.memory, self.bandwidth, *self.peak_flops.values()) <= 0:
            raise ValueError(f"{self.name}: memory, bandwidth and peaks must be positive")

    def computes_in(self, precision: str) -> str:
        """The format of the products of values stored in `precision`: the same if the device has it, else bf16.

        Raises:
            ValueError: a format of which bf16 does not hold the values, such as fp32, or an unknown one.
        """
        if precision in self.peak_flops:
            return precision
        if precision not in FIT_IN_BF16:
            raise ValueError(
                f"{self.name}: no peak in {precision!r}; there is one in {', '.join(self.peak_flops)}, "
                f"and {', '.join(FIT_IN_BF16)} are multiplied in bf16"
            )
        return "bf16"

    def roofline(self, precision: str = "bf16") -> Roofline:
        """The two rates for values stored in `precision`."""
        return Roofline(self.peak_flops[self.computes_in(precision)], self.bandwidth, self.name)


_DEVICES = (
    Device(
        name="NVIDIA A100 SXM 80GB",
        peak_flops={"bf16": 312e12},
        memory=80e9,
        bandwidth=2_039e9,
        source=Source("NVIDIA A100 Tensor Core GPU, data sheet", "https://www.nvidia.com/en-us/data-center/a100/"),
    ),
    Device(
        name="NVIDIA H100 SXM",
        peak_flops={"bf16": 989e12, "fp8": 1_979e12},
        memory=80e9,
        bandwidth=3.35e12,
        source=Source("NVIDIA H100 Tensor Core GPU, data sheet", "https://www.nvidia.com/en-us/data-center/h100/"),
    ),
    Device(
        name="NVIDIA H200 SXM",
        peak_flops={"bf16": 989e12, "fp8": 1_979e12},
        memory=141e9,
        bandwidth=4.8e12,
        source=Source("NVIDIA H200 Tensor Core GPU, data sheet", "https://www.nvidia.com/en-us/data-center/h200/"),
    ),
    Device(
        name="NVIDIA B200",
        peak_flops={"bf16": 2_250e12, "fp8": 4_500e12},
        memory=180e9,
        bandwidth=8e12,
        source=Source("NVIDIA DGX B200, data sheet, an eighth", "https://www.nvidia.com/en-us/data-center/dgx-b200/"),
    ),
    Device(
        name="AMD MI300X",
        peak_flops={"bf16": 1_307.4e12, "fp8": 2_614.9e12},
        memory=192e9,
        bandwidth=5.3e12,
        source=Source(
            "AMD Instinct MI300X Accelerator, data sheet",
            "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html",
        ),
    ),
    Device(
        name="Google TPU v5e",
        peak_flops={"bf16": 197e12},
        memory=16e9,
        bandwidth=819e9,
        source=Source("Google Cloud documentation, TPU v5e", "https://docs.cloud.google.com/tpu/docs/v5e"),
    ),
    Device(
        name="Google TPU v5p",
        peak_flops={"bf16": 459e12},
        memory=95e9,
        bandwidth=2_765e9,
        source=Source("Google Cloud documentation, TPU v5p", "https://docs.cloud.google.com/tpu/docs/v5p"),
    ),
    Device(
        name="Huawei Ascend 910B",  # the fastest of its variants; others reach 294.9 and 245.8 TFLOP/s
        peak_flops={"bf16": 353.9e12},
        memory=64e9,
        bandwidth=1.6e12,
        source=Source(
            "Huawei MindStudio Modeling, tensor_cast/device.py, ATLAS_800_A2_376T_64G",
            "https://github.com/Ascend/msmodeling",
        ),
    ),
)

DEVICES: dict[str, Device] = {device.name: device for device in _DEVICES}
