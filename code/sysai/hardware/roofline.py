"""The roofline: a program is as fast as its arithmetic or its memory traffic allows, whichever is slower.

    time >= max(FLOPs / peak, bytes / bandwidth)        attainable(I) = min(peak, I * bandwidth)

I is the arithmetic intensity, FLOP/byte; the two bounds meet at the ridge, peak / bandwidth. Programs left of
it are bound by memory, right of it by compute. The rates are not a data sheet's but measured here, with the
operators that a language model uses. Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.
Production tools (Nsight Compute, Intel Advisor) draw one roof for every level of cache and for every unit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sysai.core.benchmark import measure
from sysai.core.device import select_device


@dataclass(frozen=True)
class Roofline:
    """A machine with two limits: `peak_flops` (FLOP/s) and `bandwidth` (bytes/s)."""

    peak_flops: float
    bandwidth: float
    name: str = ""

    def __post_init__(self) -> None:
        if not (self.peak_flops > 0 and self.bandwidth > 0):
            raise ValueError(f"rates must be positive, got {self.peak_flops} FLOP/s, {self.bandwidth} bytes/s")

    @property
    def ridge(self) -> float:
        """The intensity at which both limits are met, FLOP/byte."""
        return self.peak_flops / self.bandwidth

    def time(self, flops: float, bytes: float) -> float:
        """The least seconds for `flops` operations and `bytes` moved, if the two overlap perfectly."""
        return max(flops / self.peak_flops, bytes / self.bandwidth)

    def attainable(self, intensity: float) -> float:
        """The most FLOP/s at this intensity (FLOP/byte)."""
        return min(self.peak_flops, intensity * self.bandwidth)

    def bound(self, intensity: float) -> str:
        """What limits a program of this intensity: "compute" or "memory"."""
        return "compute" if intensity >= self.ridge else "memory"


def measure_matmul_rate(
    device: str | torch.device = "auto", dtype: torch.dtype = torch.float32, size: int = 2048
) -> float:
    """FLOP/s of a product of two [size, size] matrices, written into memory that is already there."""
    device = select_device(device)
    a, b, out = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(3))
    seconds = measure(lambda: torch.mm(a, b, out=out), repeats=5, warmup=2, device=device).minimum
    return 2 * size**3 / seconds


def measure_read_bandwidth(device: str | torch.device = "auto", megabytes: int = 512) -> float:
    """Bytes/s of a sum over an array far larger than the caches: one stream, read once."""
    device = select_device(device)
    array = torch.ones(megabytes * 2**20 // 4, device=device)
    seconds = measure(array.sum, repeats=5, warmup=2, device=device).minimum
    return array.nbytes / seconds


def measure_matvec_bandwidth(
    device: str | torch.device = "auto",
    dtype: torch.dtype = torch.float32,
    shape: tuple[int, int] = (1536, 576),
    megabytes: int = 512,
) -> float:
    """Bytes/s at which ``F.linear`` with one row reads weights, as a decode step does.

    Many matrices of `shape` [outputs, inputs], by default that of SmolLM2's MLP, together far larger than the
    caches, are each read once a pass. On a CPU the rate depends on the shape, since a library may run the product
    on one core and pays for every row.
    """
    device = select_device(device)
    count = max(1, megabytes * 2**20 // (shape[0] * shape[1] * dtype.itemsize))
    weights = torch.randn(count, *shape, device=device, dtype=dtype).unbind()
    x = torch.randn(1, shape[1], device=device, dtype=dtype)

    def one_pass() -> list[Tensor]:
        return [F.linear(x, weight) for weight in weights]

    seconds = measure(one_pass, repeats=5, warmup=1, device=device).minimum
    return sum(weight.nbytes for weight in weights) / seconds
