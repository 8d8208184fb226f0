"""Compares the eager kernels with the roofline together instead of one by one."""

from math import prod


def eager_bytes(shapes, chain, element_bytes):
    sizes = {name: element_bytes * prod(shape) for name, shape in shapes.items()}
    sizes["running"] = sizes["x"]
    return sum(sizes["x"] + sum(sizes[n] for n in {"running" if k else "x", *step}) for k, step in enumerate(chain))


def fused_bytes(shapes, chain, element_bytes):
    read = {"x", *(name for operands in chain for name in operands)}
    return element_bytes * (sum(prod(shapes[name]) for name in read) + prod(shapes["x"]))


def speed_up(shapes, chain, element_bytes, flops, bandwidth, peak):
    compute = sum(flops) * prod(shapes["x"]) / peak
    eager = max(eager_bytes(shapes, chain, element_bytes) / bandwidth, compute)
    return eager / max(fused_bytes(shapes, chain, element_bytes) / bandwidth, compute)
