"""A graph as text, which `parser.py` reads back.

    graph MLP[B](x: float32[B, 64]):
        where B <= 128
        constant weight: float32[32, 64]
        y: float32[B, 32] = matmul(x, weight, transpose_b=True)
        zero: float32[] = full(value=0.0, shape=(), dtype='float32')
        z: float32[B, 32] = max(y, zero)
        return z

Every line is Python's syntax but for the first words, so that one node is one assignment. The operators `and`, `or`
and `not` are written with a `_` behind, as in rules. Constants are named; their elements are kept beside the text.
"""

from sysai.compiler.graph.graph import Attribute, Graph, Node
from sysai.compiler.graph.verify import constant_value
from sysai.compiler.tir.expr import Expr, print_expr

PYTHON_WORDS = ("and", "or", "not")


def print_graph(graph: Graph, origins: bool = False) -> str:
    """The text of a graph.

    Args:
        origins: whether each node says where in the user's program it comes from.
    """
    sizes = f"[{', '.join(size.name for size in graph.sizes)}]" if graph.sizes else ""
    lines = [f"graph {graph.name}{sizes}({', '.join(map(str, graph.inputs))}):"]
    lines += [f"    where {print_expr(condition)}" for condition in graph.conditions]
    lines += [f"    constant {constant_value(graph, name)}" for name in graph.constants]
    lines += [f"    {print_node(node, origins)}" for node in graph.nodes]
    lines.append(f"    return {', '.join(value.name for value in graph.outputs)}")
    return "\n".join(lines)


def print_node(node: Node, origins: bool = False) -> str:
    """`name: dtype[shape] = op(operands, attribute=value)`, with its origin behind `#` where wanted and known."""
    op = f"{node.op}_" if node.op in PYTHON_WORDS else node.op
    parts = [value.name for value in node.inputs]
    parts += [f"{name}={print_attribute(value)}" for name, value in node.attributes.items()]
    origin = f"  # {node.origin}" if origins and node.origin else ""
    return f"{node.output} = {op}({', '.join(parts)}){origin}"


def print_attribute(value: Attribute) -> str:
    """Python's syntax; `inf` and `nan` stand for the numbers."""
    if isinstance(value, tuple):
        return f"({', '.join(map(print_attribute, value))}{',' if len(value) == 1 else ''})"
    return print_expr(value) if isinstance(value, Expr) else repr(value)
