"""A model on a device as the roofline sees it: what a decode step costs, and how many requests can be in it."""

from bisect import bisect_right
from dataclasses import dataclass

from sysai.explorables.calls import ModelCall, decode
from sysai.explorables.controls import CHIPS
from sysai.explorables.kv_cache import bytes_held
from sysai.explorables.roofline import SHOWN
from sysai.hardware.roofline import Roofline

LAPTOP = "laptop"
# Two cores with AVX2, measured: products in fp32, whatever the weights are stored in, and a stream of reads. 8 GB of
# its memory are taken to be free.
LAPTOP_ROOFLINE, LAPTOP_MEMORY = Roofline(198e9, 30e9, "two-core laptop"), 8e9


@dataclass(frozen=True)
class Service:
    """A model on a device: what a decode step of any batch costs, and the batches that are possible."""

    roof: Roofline
    memory: float  # bytes
    model: str
    weights: str
    cache: str
    context: int

    def step(self, batch: int) -> ModelCall:
        """One decode step, weights and cache each in its own format."""
        weights, cache = (decode(SHOWN[self.model], batch, self.context, name) for name in (self.weights, self.cache))
        return ModelCall(weights.flops, weights.weights, cache.cache, batch)

    def tpot(self, batch: int) -> float:
        """The least seconds from one token of a request to the next."""
        step = self.step(batch)
        return self.roof.time(step.flops, step.bytes)

    @property
    def held(self) -> tuple[float, float]:
        """Bytes of all weights, and of one request's cache."""
        config = SHOWN[self.model]
        weights, cache = (bytes_held(config, 1, self.context, name) for name in (self.weights, self.cache))
        return weights[0], cache[1]

    @property
    def fits(self) -> int:
        """The requests whose caches have room beside the weights."""
        weights, one = self.held
        return max(0, int((self.memory - weights) // one))

    def within(self, seconds: float) -> int:
        """The most requests that have room and a TPOT of at most `seconds`."""
        return bisect_right(range(1, self.fits + 1), seconds, key=self.tpot)


def service(model: str, device: str, weights: str, cache: str, context: int) -> Service:
    """The model on a device of `CHIPS`, or on the laptop."""
    if device == LAPTOP:
        return Service(LAPTOP_ROOFLINE, LAPTOP_MEMORY, model, weights, cache, context)
    chip = CHIPS[device]
    roofline = chip.roofline("bf16" if weights == "fp32" else weights)  # no table has fp32's peak, which is lower
    return Service(roofline, chip.memory, model, weights, cache, context)
