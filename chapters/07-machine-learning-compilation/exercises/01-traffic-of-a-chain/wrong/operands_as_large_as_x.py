"""Counts a broadcast operand as if it had the shape of x."""

from math import prod


def eager_bytes(shapes, chain, element_bytes):
    full = element_bytes * prod(shapes["x"])
    return sum(full * (2 + len(set(operands))) for operands in chain)


def fused_bytes(shapes, chain, element_bytes):
    full = element_bytes * prod(shapes["x"])
    return full * (1 + len({"x", *(name for operands in chain for name in operands)}))


def speed_up(shapes, chain, element_bytes, flops, bandwidth, peak):
    return eager_bytes(shapes, chain, element_bytes) / fused_bytes(shapes, chain, element_bytes)
