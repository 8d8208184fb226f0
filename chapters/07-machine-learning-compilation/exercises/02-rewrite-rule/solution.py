"""Identities that hold for every float, as rewriting rules."""

from sysai.compiler.graph.text import parse_graph, print_graph
from sysai.compiler.passes.elimination import eliminate_dead_code
from sysai.compiler.passes.rewrite import Rule, rewrite


def rules() -> list[Rule]:
    """Return the rules: Rule(pattern, replacement, where), all three of them text."""
    return [
        Rule(
            "permute(matmul(a, b, transpose_b=True), order=p)",
            "matmul(b, a, transpose_b=True)",
            "swaps_last(p)",
        ),
        Rule("mul(abs(x), abs(x))", "mul(x, x)"),
        Rule(
            "max(mul(x, full(value=c)), mul(y, full(value=c)))",
            "mul(max(x, y), full(value=c, shape=(), dtype=dtype(x)))",
            "0 < c < 1e999",
        ),
        Rule("select(p, exp(x), exp(y))", "exp(select(p, x, y))"),
        Rule("abs(mul(x, x))", "mul(x, x)"),
    ]


def optimize(text: str) -> str:
    """Return a graph after rewriting."""
    graph = rewrite(parse_graph(text), rules()).graph
    return print_graph(eliminate_dead_code(graph))
