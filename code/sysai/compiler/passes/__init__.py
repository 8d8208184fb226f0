"""Passes: functions from a graph to a graph that computes the same with less.

    decompose            composite operators to core ones
    then, until nothing changes any more:
    constant_folding     what depends on constants only is computed now
    simplify             algebra that is exact
    cse                  common subexpressions: what is computed twice is computed once
    dce                  dead code: what no output needs goes

Each makes work for the others: a folded constant may be a 1 to multiply by. None of the last four adds a node to
compute, so that the loop ends. The verifier runs after every pass. Fusion and memory planning come after.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import wrap

from sysai.compiler.graph import Graph
from sysai.compiler.graph.verify import verify
from sysai.compiler.passes.constant_folding import fold_constants
from sysai.compiler.passes.decompose import decompose
from sysai.compiler.passes.elimination import eliminate_common_subexpressions, eliminate_dead_code
from sysai.compiler.passes.rewrite import Rewritten
from sysai.compiler.passes.simplify import simplify_graph

Pass = Callable[[Graph], Graph | Rewritten]
PASSES: dict[str, Pass] = {
    "decompose": decompose,
    "constant_folding": fold_constants,
    "simplify": simplify_graph,
    "cse": eliminate_common_subexpressions,
    "dce": eliminate_dead_code,
}
WIDTH = 92  # of a report's lines
UNTIL_STABLE = ("constant_folding", "simplify", "cse", "dce")


@dataclass
class Report:
    """A record of each pass, (pass, nodes before, nodes after), in order; and how often each rule was applied."""

    steps: list[tuple[str, int, int]] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [f"{name:16} {before:6} -> {after:6} nodes" for name, before, after in self.steps]
        for rule, count in self.rules.most_common():
            lines += wrap(f"{count} x {rule}", WIDTH, initial_indent="    ", subsequent_indent=" " * 8)
        return "\n".join(lines)


def optimize(graph: Graph, report: Report | None = None) -> Graph:
    """The graph in core operators, with as few of them as these passes reach.

    Args:
        graph: any valid graph.
        report: where to note what was done.

    Raises:
        InvalidGraph: the graph is not valid, or a pass made it so.
    """
    report = Report() if report is None else report
    verify(graph)
    graph = run_pass("decompose", graph, report)
    while True:
        before = graph
        for name in UNTIL_STABLE:
            graph = run_pass(name, graph, report)
        if graph.nodes == before.nodes and graph.outputs == before.outputs:
            return graph


def run_pass(name: str, graph: Graph, report: Report) -> Graph:
    """Run one pass by its name, verify what it gives, and note what it did."""
    result = PASSES[name](graph)
    if isinstance(result, Rewritten):
        report.rules.update(result.applied)
        result = result.graph
    verify(result)
    report.steps.append((name, len(graph.nodes), len(result.nodes)))
    return result
