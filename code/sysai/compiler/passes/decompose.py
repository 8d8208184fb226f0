"""The forms that fusion and lowering know: composite operators become core ones, and some core ones another.

`decompose` goes by the rules in the table of operators. Operators that torch computes in float32 whatever the
operands' precision do so here by casts: in half precision softmax, attention, norms, means and activations are
wrapped, and only then taken apart.

`legalize` comes after all other passes:

    a convolution that pads   reads each image element at many windows, and would ask each time whether it is inside
    a product of merged rows  as a library wants it: rows stay apart, so that what follows fuses with the product
"""

from sysai.compiler.graph import Graph
from sysai.compiler.graph.operators import OPERATORS
from sysai.compiler.graph.operators.operator import Operator
from sysai.compiler.passes.rewrite import HALF, Rewritten, Rule, rewrite
from sysai.compiler.passes.simplify import RESHAPES


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


LEGALIZATIONS = (
    Rule(
        "conv2d(x, w, stride=s, padding=p, dilation=d, groups=g)",
        "conv2d(pad(x, before=(0, 0, *p), after=(0, 0, *p), value=0.0), w,"
        " stride=s, padding=(0, 0), dilation=d, groups=g)",
        "any(p)",
    ),
    Rule(
        "reshape(matmul(a, w, transpose_b=t), shape=s)",
        "matmul(reshape(a, shape=(*s[:-1], shape(a)[-1])), w, transpose_b=t)",
        "rank(w) == 2 and len(s) > 1 and same(s[-1], shape(w)[0 if t else 1])",
    ),
    *RESHAPES,
)


def legalize(graph: Graph) -> Graph:
    """The same graph in which no convolution pads, and no product by a matrix is reshaped in its rows only."""
    return rewrite(graph, LEGALIZATIONS).graph
