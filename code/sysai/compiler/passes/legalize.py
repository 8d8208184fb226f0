"""Legalization: give operators the one form that the lowering knows.

A convolution reads its image at every window; with padding it would ask at every element whether it is inside. So the
padding becomes an operator of its own, which is done once:

    conv2d(x, w, padding)  ->  conv2d(pad(x), w, 0)
"""

from dataclasses import replace

from sysai.compiler.graph.builder import Builder
from sysai.compiler.graph.graph import Graph, Node
from sysai.compiler.graph.sizes import as_shape


def legalize(graph: Graph) -> Graph:
    """The same graph in which no convolution pads."""
    builder = Builder({*graph.constants, *(value.name for value in graph.values())})
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "conv2d" and any(node.attributes["padding"]):
            padding = as_shape((0, 0, *node.attributes["padding"]))
            builder.origin = node.origin
            padded = builder.emit("pad", node.inputs[0], before=padding, after=padding, value=0.0)
            nodes.append(builder.nodes[-1])
            attributes = {**node.attributes, "padding": (0, 0)}
            node = replace(node, inputs=(padded, node.inputs[1]), attributes=attributes)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
