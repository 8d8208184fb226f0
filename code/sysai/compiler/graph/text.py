"""A graph as text, printed and parsed; what one writes, the other reads back.

    graph MLP[B](x: float32[B, 64]):
        where B <= 128
        constant weight: float32[32, 64]
        y: float32[B, 32] = matmul(x, weight, transpose_b=True)
        zero: float32[] = full(value=0.0, shape=(), dtype='float32')
        z: float32[B, 32] = max(y, zero)
        return z

Every line is Python's syntax but for the first words, so that one node is one assignment. The operators `and`, `or`
and `not` are written `and_`, `or_`, `not_`, as in rules. Constants are named; their elements are kept beside the text.
"""

import ast
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Attribute, Graph, Node, Value
from sysai.compiler.graph.operators import make_node
from sysai.compiler.graph.operators.operator import require
from sysai.compiler.graph.sizes import canonical
from sysai.compiler.graph.verify import constant_value
from sysai.compiler.tir.expr import Expr, Var, print_expr
from sysai.compiler.tir.text import parse_expr

if TYPE_CHECKING:
    from torch import Tensor

PYTHON_WORDS = ("and", "or", "not")
_NODE = "`name: dtype[shape] = op(operands, attributes)`"


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
    """`name: dtype[shape] = op(operands, attribute=value)`, with its origin after a `#` where wanted and known."""
    op = f"{node.op}_" if node.op in PYTHON_WORDS else node.op
    arguments = [value.name for value in node.inputs]
    arguments += [f"{name}={print_attribute(value)}" for name, value in node.attributes.items()]
    origin = f"  # {node.origin}" if origins and node.origin else ""
    return f"{node.output} = {op}({', '.join(arguments)}){origin}"


def print_attribute(value: Attribute) -> str:
    """Python's syntax; `inf` and `nan` stand for the numbers."""
    if isinstance(value, tuple):
        return f"({', '.join(map(print_attribute, value))}{',' if len(value) == 1 else ''})"
    return print_expr(value) if isinstance(value, Expr) else repr(value)


def parse_graph(text: str, constants: "Mapping[str, Tensor] | None" = None) -> Graph:
    """The graph that a text describes.

    Args:
        text: as `print_graph` writes it.
        constants: the tensors of the constants that the text names.

    Raises:
        InvalidGraph: a line that cannot be read, an unknown name, or a node that cannot be; the message says which
            line. `verify` checks the rest.
    """
    reader = _Reader(constants or {})
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                reader.read(line.strip().replace("[]", "[()]"))
            except (InvalidGraph, SyntaxError, ValueError, TypeError, KeyError, AttributeError) as error:
                reason = str(error).removeprefix("line 1: ")  # of an expression
                raise InvalidGraph(f"line {number}, {line.strip()!r}: {reason}") from None
    require(reader.outputs is not None, "the text does not end with `return`")
    sizes, inputs, nodes = tuple(reader.sizes.values()), tuple(reader.inputs), tuple(reader.nodes)
    return Graph(reader.name, sizes, inputs, reader.constants, nodes, reader.outputs, tuple(reader.conditions))


class _Reader:
    """The parts of a graph that the lines so far have given; `values` are those that a line may name."""

    def __init__(self, tensors: "Mapping[str, Tensor]") -> None:
        self.tensors = tensors
        self.name = ""
        self.sizes: dict[str, Var] = {}
        self.inputs: list[Value] = []
        self.constants: dict[str, Tensor] = {}
        self.conditions: list[Expr] = []
        self.nodes: list[Node] = []
        self.outputs: tuple[Value, ...] | None = None
        self.values: dict[str, Value] = {}

    def read(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "graph":
                self._head(rest)
            case "where":
                self.conditions.append(parse_expr(ast.parse(rest, mode="eval").body, self.sizes))
            case "constant":
                value, _ = self._declaration(rest)
                require(value.name in self.tensors, f"the tensor of constant {value.name} is not given")
                self.constants[value.name] = self.tensors[value.name]
            case "return":
                self.outputs = tuple(self.values[name.strip()] for name in rest.split(",") if name.strip())
            case _:
                self._node(*line.partition("  # ")[::2])

    def _head(self, rest: str) -> None:
        name, _, arguments = rest.removesuffix(":").partition("(")
        self.name, _, sizes = name.partition("[")
        for size in filter(None, (name.strip() for name in sizes.removesuffix("]").split(","))):
            self.sizes[size] = Var(size)
        function = ast.parse(f"def f({arguments}: pass").body[0]
        self.inputs = [self._value(argument.arg, argument.annotation) for argument in function.args.args]

    def _declaration(self, line: str) -> tuple[Value, ast.expr | None]:
        """The value that a line declares, and the call after `=`."""
        statement = ast.parse(line).body[0]
        require(isinstance(statement, ast.AnnAssign), f"expected {_NODE}")
        return self._value(statement.target.id, statement.annotation), statement.value

    def _value(self, name: str, annotation: ast.expr) -> Value:
        """A value from `name: dtype[sizes]`; `float32[]` is not Python's, and comes as `float32[()]`."""
        inside = annotation.slice
        sizes = inside.elts if isinstance(inside, ast.Tuple) else [inside]
        shape = tuple(canonical(parse_expr(size, self.sizes)) for size in sizes)
        self.values[name] = Value(name, shape, annotation.value.id)
        return self.values[name]

    def _node(self, line: str, origin: str) -> None:
        declared, call = self._declaration(line)
        require(isinstance(call, ast.Call), f"expected {_NODE}")
        op = call.func.id.removesuffix("_")
        operands = [self.values[operand.id] for operand in call.args]
        attributes = {keyword.arg: self._attribute(keyword.value) for keyword in call.keywords}
        node = make_node(op, operands, attributes, name=declared.name, origin=origin)
        require(node.output == declared, f"is said to give {declared}, gives {node.output}")
        self.nodes.append(node)

    def _attribute(self, term: ast.expr) -> Attribute:
        match term:
            case ast.Tuple(items):
                return tuple(map(self._attribute, items))
            case ast.Constant(value):
                return value
            case ast.Name("inf" | "nan" as word):
                return math.inf if word == "inf" else math.nan
            case ast.UnaryOp(ast.USub(), operand) if not isinstance(self._attribute(operand), Expr):
                return -self._attribute(operand)
        return parse_expr(term, self.sizes)
