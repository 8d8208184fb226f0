"""Identities that hold for every float, as rewriting rules."""

from sysai.compiler.graph.text import parse_graph, print_graph
from sysai.compiler.passes.elimination import eliminate_dead_code
from sysai.compiler.passes.rewrite import Rule, rewrite


def rules() -> list[Rule]:
    """Return the rules: Rule(pattern, replacement, where), all three of them text.

    For example, Rule("max(max(x, y), y)", "max(x, y)"), or
    Rule("permute(x, order=p)", "x", "list(p) == sorted(p)").

    Helpers that may be of use: dtype(x), shape(x), and swaps_last(p), which is
    whether the order p exchanges the last two axes and nothing else. A number
    in the graph is a node full(value=c, shape=(), dtype='float32').
    """
    raise NotImplementedError


def optimize(text: str) -> str:
    """Return a graph after rewriting.

    Args:
        text: a graph as `print_graph` writes it, all of its values float32 but
            for conditions, which are bool.

    Returns:
        The text of a graph with the same inputs and outputs, and fewer nodes.
    """
    graph = rewrite(parse_graph(text), rules()).graph
    return print_graph(eliminate_dead_code(graph))
