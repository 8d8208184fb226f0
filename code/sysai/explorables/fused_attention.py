"""Attention as a graph of the compiler, in boxes of a few operators, fused edge by edge.

`explain` says which boxes may be one kernel, `traffic` counts the bytes. Edges are tried in a fixed order, each with
all that its ends were fused with before, as a greedy search does; what goes over a refused edge is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sysai.compiler.graph import Graph
from sysai.compiler.graph.text import parse_graph
from sysai.compiler.passes.fusion import explain, traffic
from sysai.compiler.passes.groups import Context, Group, classify

ATTENTION = """
graph attention(q: float32[{H}, {T}, {D}], k: float32[{H}, {T}, {D}], v: float32[{H}, {T}, {D}]):
    scores: float32[{H}, {T}, {T}] = matmul(q, k, transpose_b=True)
    factor: float32[] = full(value={scale}, shape=(), dtype="float32")
    scaled: float32[{H}, {T}, {T}] = mul(scores, factor)
    row: int64[{T}, 1] = iota(axis=0, shape=({T}, 1))
    column: int64[1, {T}] = iota(axis=1, shape=(1, {T}))
    seen: bool[{T}, {T}] = le(column, row)
    hidden: float32[] = full(value=-inf, shape=(), dtype="float32")
    masked: float32[{H}, {T}, {T}] = select(seen, scaled, hidden)
    highest: float32[{H}, {T}, 1] = reduce(masked, combine="max", axes=(2,), keepdim=True)
    shifted: float32[{H}, {T}, {T}] = sub(masked, highest)
    exp: float32[{H}, {T}, {T}] = exp(shifted)
    sum: float32[{H}, {T}, 1] = reduce(exp, combine="add", axes=(2,), keepdim=True)
    softmax: float32[{H}, {T}, {T}] = div(exp, sum)
    result: float32[{H}, {T}, {D}] = matmul(softmax, v, transpose_b=False)
    return result
"""
BOXES = {
    "scores": ("scores",),
    "mask": ("factor", "scaled", "row", "column", "seen", "hidden", "masked"),
    "exp": ("highest", "shifted", "exp"),
    "sum": ("sum",),
    "div": ("softmax",),
    "product": ("result",),
}
"""Names of the nodes in each box of the figure; the last one is what other boxes read."""
EDGES = (("scores", "mask"), ("mask", "exp"), ("exp", "sum"), ("sum", "div"), ("exp", "div"), ("div", "product"))
"""In the order in which the wishes to fuse are tried; each has a setting, `mask_exp`."""


@dataclass(frozen=True)
class FusionPlan:
    """Boxes that share a kernel, in the order in which kernels run, and why the compiler refused an edge."""

    kernels: tuple[tuple[str, ...], ...]
    refused: Mapping[tuple[str, str], str]

    def kernel_of(self, box: str) -> int:
        """The number of a box's kernel, from 0."""
        return next(number for number, boxes in enumerate(self.kernels) if box in boxes)


@lru_cache(maxsize=256)
def graph(positions: int, heads: int, size: int) -> Graph:
    """The layer for one sequence, its sizes known."""
    return parse_graph(ATTENTION.format(H=heads, T=positions, D=size, scale=size**-0.5))


def plan(layer: Graph, wishes: Mapping[str, str]) -> FusionPlan:
    """Fuse edge after edge where that is wished and legal."""
    kernels = [{box} for box in BOXES]
    refused = {}
    for edge in EDGES:
        a, b = (next(kernel for kernel in kernels if box in kernel) for box in edge)
        if a is b or wishes["_".join(edge)] == "store":
            continue
        verdict = explain(layer, _nodes(a), _nodes(b))
        if verdict:
            a |= b
            kernels.remove(b)
        else:
            refused[edge] = verdict.reason
    return FusionPlan(tuple(tuple(box for box in BOXES if box in kernel) for kernel in kernels), refused)


def _nodes(boxes: set[str] | tuple[str, ...]) -> list[str]:
    return [name for box in boxes for name in BOXES[box]]


def bytes_moved(layer: Graph, kernels: tuple[tuple[str, ...], ...]) -> list[int]:
    """Bytes that each kernel moves."""
    context = Context(layer)
    return [part.fused for part in traffic(classify(context, _nodes(boxes)) for boxes in kernels)]


def least(layer: Graph) -> int:
    """Bytes of what comes from outside and goes there, which no kernel can save."""
    (whole,) = traffic([Group("whole", layer.nodes, layer.inputs, layer.outputs, ())])
    return whole.fused


def bytes_of(layer: Graph, box: str) -> int:
    """Bytes of the value that others read from a box: half of what a kernel that copies it moves."""
    value = layer.producers()[BOXES[box][-1]].output
    (copy,) = traffic([Group("elementwise", (), (value,), (value,), value.shape)])
    return copy.fused // 2
