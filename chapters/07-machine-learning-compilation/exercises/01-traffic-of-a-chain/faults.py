"""Wrong answers that the check must refuse."""

from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "larger_time_of_the_sum",
        "Compares the eager kernels with the roofline together instead of one by one.",
        told="You took the larger of the two times once, for all kernels",
        text="""\
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
""",
    ),
    Fault(
        "operands_as_large_as_x",
        "Counts a broadcast operand as if it had the shape of x.",
        told="You counted every operand as if it had the shape of x. One",
        text="""\
from math import prod


def eager_bytes(shapes, chain, element_bytes):
    full = element_bytes * prod(shapes["x"])
    return sum(full * (2 + len(set(operands))) for operands in chain)


def fused_bytes(shapes, chain, element_bytes):
    full = element_bytes * prod(shapes["x"])
    return full * (1 + len({"x", *(name for operands in chain for name in operands)}))


def speed_up(shapes, chain, element_bytes, flops, bandwidth, peak):
    return eager_bytes(shapes, chain, element_bytes) / fused_bytes(shapes, chain, element_bytes)
""",
    ),
    Fault(
        "ratio_of_bytes",
        "Takes the ratio of bytes for the speed-up, whatever the arithmetic costs.",
        told="This is the ratio of bytes. It is the bound only where all",
        text="""\
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
""",
    ),
    Fault(
        "residual_read_again",
        "Lets the fused kernel read a tensor once for every operator that takes it.",
        told="A tensor that several operators take was counted each time.",
        text="""\
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
""",
    ),
]
