"""Lets the fused kernel read a tensor once for every operator that takes it."""

from math import prod


def _kernels(shapes, chain, element_bytes):
    sizes = {name: element_bytes * prod(shape) for name, shape in shapes.items()}
    sizes["running"] = sizes["x"]
    return [sizes["x"] + sum(sizes[n] for n in {"running" if k else "x", *step}) for k, step in enumerate(chain)]


def eager_bytes(shapes, chain, element_bytes):
    return sum(_kernels(shapes, chain, element_bytes))


def fused_bytes(shapes, chain, element_bytes):
    operands = sum(prod(shapes[name]) for step in chain for name in step)
    return element_bytes * (2 * prod(shapes["x"]) + operands)


def speed_up(shapes, chain, element_bytes, flops, bandwidth, peak):
    elements = prod(shapes["x"])
    kernels = zip(_kernels(shapes, chain, element_bytes), flops, strict=True)
    eager = sum(max(moved / bandwidth, count * elements / peak) for moved, count in kernels)
    return eager / max(fused_bytes(shapes, chain, element_bytes) / bandwidth, sum(flops) * elements / peak)
