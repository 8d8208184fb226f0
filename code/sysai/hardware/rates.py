"""A device's two rates, measured with the operators that a language model uses.

    FLOP/s     a product of two large matrices
    bytes/s    a sum over a long array; a matrix-vector product, as a decode step does it

They stand below a data sheet's, which no program reaches. Production tools (Nsight Compute, Intel Advisor) measure
one rate for every level of cache and for every unit.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from sysai.core.benchmark import measure
from sysai.core.device import select_device


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
    rows: int = 1,
) -> float:
    """Bytes/s at which ``F.linear`` with `rows` rows reads weights, as a decode step of so many sequences does.

    Many matrices of `shape` [outputs, inputs], by default that of SmolLM2's MLP, together far larger than the
    caches, are each read once a pass. On a CPU the rate depends on the shape, since a library may run the product
    on one core and pays for every row.
    """
    device = select_device(device)
    count = max(1, megabytes * 2**20 // (shape[0] * shape[1] * dtype.itemsize))
    weights = torch.ones(count, *shape, device=device, dtype=dtype).unbind()
    x = torch.ones(rows, shape[1], device=device, dtype=dtype)

    def one_pass() -> list[Tensor]:
        return [F.linear(x, weight) for weight in weights]

    seconds = measure(one_pass, repeats=5, warmup=1, device=device).minimum
    return sum(weight.nbytes for weight in weights) / seconds
