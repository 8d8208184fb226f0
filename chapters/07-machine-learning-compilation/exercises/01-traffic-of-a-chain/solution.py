"""Bytes of a chain of operators, one kernel each and fused into one."""

from math import prod


def eager_bytes(shapes: dict[str, tuple[int, int]], chain: list[list[str]], element_bytes: int) -> int:
    """Return the bytes read and written if each operator is a kernel."""
    return sum(_kernel_bytes(shapes, chain, element_bytes))


def _kernel_bytes(shapes: dict[str, tuple[int, int]], chain: list[list[str]], element_bytes: int) -> list[int]:
    """Bytes of each operator's kernel: the running tensor, the operands, the result."""
    sizes = {name: element_bytes * prod(shape) for name, shape in shapes.items()}
    sizes["running"] = sizes["x"]
    return [
        sum(sizes[name] for name in {"running" if k else "x", *operands}) + sizes["x"]
        for k, operands in enumerate(chain)
    ]


def fused_bytes(shapes: dict[str, tuple[int, int]], chain: list[list[str]], element_bytes: int) -> int:
    """Return the bytes read and written if the whole chain is one kernel."""
    read = {"x", *(name for operands in chain for name in operands)}
    return element_bytes * (sum(prod(shapes[name]) for name in read) + prod(shapes["x"]))


def speed_up(
    shapes: dict[str, tuple[int, int]],
    chain: list[list[str]],
    element_bytes: int,
    flops: list[int],
    bandwidth: float,
    peak: float,
) -> float:
    """Return the time of all kernels over the time of the fused one."""
    elements = prod(shapes["x"])
    kernels = zip(_kernel_bytes(shapes, chain, element_bytes), flops, strict=True)
    eager = sum(max(moved / bandwidth, count * elements / peak) for moved, count in kernels)
    fused = max(fused_bytes(shapes, chain, element_bytes) / bandwidth, sum(flops) * elements / peak)
    return eager / fused
