"""Decomposition: composite operators become core ones, by the rules of their rows in the table of operators.

Operators that torch computes in float32 whatever the operands' precision do so here by casts: in half precision
softmax, attention, norms, means and activations are wrapped, and only then taken apart.
"""

from sysai.compiler.graph.graph import Graph
from sysai.compiler.graph.operators import OPERATORS, Operator
from sysai.compiler.passes.helpers import HALF
from sysai.compiler.passes.rewrite import Rewritten, Rule, rewrite


def _in_float32(operator: Operator) -> list[Rule]:
    """A composite of half precision, computed in float32: one rule for each number of operands."""
    rules = []
    least, most = operator.arity
    attributes = [f"{attribute}={attribute}" for attribute in operator.attributes]
    for number in range(least, most + 1):
        operands = [f"x{k}" for k in range(number)]
        casts = [f"cast({x}, dtype='bool' if dtype({x}) == 'bool' else 'float32')" for x in operands]
        pattern, wide = (f"{operator.name}({', '.join(terms + attributes)})" for terms in (operands, casts))
        rules.append(Rule(pattern, f"cast({wide}, dtype=dtype(x0))", f"dtype(x0) in {HALF}", exact=False))
    return rules


DECOMPOSITIONS = (
    *(rule for operator in OPERATORS.values() if operator.in_float32 for rule in _in_float32(operator)),
    *(Rule(*rule) for operator in OPERATORS.values() for rule in operator.decompositions),
)


def decompose(graph: Graph) -> Rewritten:
    """The graph in core operators."""
    return rewrite(graph, DECOMPOSITIONS)
