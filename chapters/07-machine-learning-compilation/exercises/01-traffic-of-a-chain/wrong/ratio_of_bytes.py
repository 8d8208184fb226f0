"""Takes the ratio of bytes for the speed-up, whatever the arithmetic costs."""

from math import prod


def eager_bytes(shapes, chain, element_bytes):
    sizes = {name: element_bytes * prod(shape) for name, shape in shapes.items()}
    sizes["running"] = sizes["x"]
    return sum(sizes["x"] + sum(sizes[n] for n in {"running" if k else "x", *step}) for k, step in enumerate(chain))


def fused_bytes(shapes, chain, element_bytes):
    read = {"x", *(name for operands in chain for name in operands)}
    return element_bytes * (sum(prod(shapes[name]) for name in read) + prod(shapes["x"]))


def speed_up(shapes, chain, element_bytes, flops, bandwidth, peak):
    return eager_bytes(shapes, chain, element_bytes) / fused_bytes(shapes, chain, element_bytes)
