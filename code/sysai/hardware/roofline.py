"""The roofline: a program is as fast as its arithmetic or its memory traffic allows, whichever is slower.

    time >= max(FLOPs / peak, bytes / bandwidth)        attainable(I) = min(peak, I * bandwidth)

I is the arithmetic intensity, FLOP/byte; the two bounds meet at the ridge, peak / bandwidth. Programs left of
it are bound by memory, right of it by compute. The rates are a data sheet's (`devices`) or measured (`rates`).
Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009.
Production tools (Nsight Compute, Intel Advisor) draw one roof for every level of cache and for every unit.
"""

from dataclasses import dataclass


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
        """The limit of a program of this intensity: "compute" or "memory"."""
        return "compute" if intensity >= self.ridge else "memory"
