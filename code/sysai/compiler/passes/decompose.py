"""The forms that fusion and lowering know: composite operators become core ones, and some core ones another.

`decompose` goes by the rules in the table of operators. Operators that torch computes in float32 whatever the
operands' precision do so here by casts: in half precision softmax, attention, norms, means and activations are
wrapped, and only then taken apart.

`legalize` comes after all other passes:

    conv2d(x, w, padding)          ->  conv2d(pad(x), w, 0)         a convolution reads each image element at many
                                                                    windows, and would ask each time if it is inside
    reshape(matmul(a, w), [.., N]) ->  matmul(reshape(a, [.., K]), w)   rows that a library wants merged stay apart,
                                                                    so that what follows fuses with the product
"""

from collections.abc import Callable
from dataclasses import replace

from sysai.compiler.graph import Graph, Node, Value
from sysai.compiler.graph.operators import OPERATORS, Builder, Operator
from sysai.compiler.graph.sizes import as_shape, same, same_shape
from sysai.compiler.passes.rewrite import HALF, Rewritten, Rule, rewrite


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


def legalize(graph: Graph) -> Graph:
    """The same graph in which no convolution pads, and no product by a matrix is reshaped in its rows only."""
    return _rewrite(_rewrite(graph, _unmerge_rows), _separate_padding)


Legalization = Callable[[Node, dict[str, Node], Builder], Value | None]


def _rewrite(graph: Graph, legalization: Legalization) -> Graph:
    """Each node for which the legalization gives another value is replaced by that."""
    builder = Builder({*graph.constants, *(value.name for value in graph.values())})
    producers: dict[str, Node] = {}  # of what has been emitted
    replaced: dict[str, Value] = {}
    for node in graph.nodes:
        producers |= {emitted.output.name: emitted for emitted in builder.nodes[len(producers) :]}
        node = replace(node, inputs=tuple(replaced.get(value.name, value) for value in node.inputs))
        builder.origin = node.origin
        replacement = legalization(node, producers, builder)
        if replacement is None:
            builder.nodes.append(node)
        else:
            replaced[node.output.name] = replacement
    outputs = tuple(replaced.get(value.name, value) for value in graph.outputs)
    return replace(graph, nodes=tuple(builder.nodes), outputs=outputs)


def _separate_padding(node: Node, _: dict[str, Node], builder: Builder) -> Value | None:
    if node.op != "conv2d" or not any(node.attributes["padding"]):
        return None
    padding = as_shape((0, 0, *node.attributes["padding"]))
    padded = builder.emit("pad", node.inputs[0], before=padding, after=padding, value=0.0)
    return builder.emit("conv2d", padded, node.inputs[1], **{**node.attributes, "padding": (0, 0)})


def _unmerge_rows(node: Node, producers: dict[str, Node], builder: Builder) -> Value | None:
    matmul = producers.get(node.inputs[0].name) if node.op == "reshape" else None
    if matmul is None or matmul.op != "matmul" or len(matmul.inputs[1].shape) != 2:
        return None
    shape, columns = node.output.shape, matmul.output.shape[-1]
    if len(shape) < 2 or not same(shape[-1], columns):
        return None
    a, w = matmul.inputs
    rows_shape = (*shape[:-1], a.shape[-1])
    source = producers.get(a.name)
    if source is not None and source.op == "reshape" and same_shape(source.inputs[0].shape, rows_shape):
        rows = source.inputs[0]
    else:
        rows = a if same_shape(a.shape, rows_shape) else builder.reshape(a, rows_shape)
    return builder.emit("matmul", rows, w, transpose_b=matmul.attributes["transpose_b"])
