"""Dead code elimination: nodes and constants that no output needs go."""

from dataclasses import replace

from sysai.compiler.graph.graph import Graph


def eliminate_dead_code(graph: Graph) -> Graph:
    """The graph without what no output depends on; inputs stay, as callers pass them. One walk backwards."""
    needed = {value.name for value in graph.outputs}
    nodes = []
    for node in reversed(graph.nodes):
        if node.output.name in needed:
            needed.update(value.name for value in node.inputs)
            nodes.append(node)
    constants = {name: tensor for name, tensor in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(nodes)), constants=constants)
