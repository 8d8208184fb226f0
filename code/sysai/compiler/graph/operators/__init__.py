"""The operators of a graph: one table, in which each is a row of the file of its kind.

    core        what is left after decomposition, and what the lowering knows: about forty operators, of which most
                are elementwise and look alike
    composite   what models are written in (softmax, layer_norm, gelu, ...); a row says what it is made of, and a
                library would rather have it whole

Attributes, beside the operands in the order given:
    elementwise   the names of expr.py's ARITHMETIC, EXTREMES, COMPARISONS, LOGIC and MATH, without attributes;
                  select (condition, a, b); cast {dtype}; within {size}: int64 indices, which must lie in 0..size-1
    full          {value, shape, dtype}: value is a number, or a size (an expression of the graph's size variables)
    iota          {axis, shape}: int64, the index along the axis
    reduce        {combine: add | max | min | mul, axes, keepdim}
    matmul        {transpose_b}: [..., M, K] x [..., K, N], transposed [..., N, K]; the dimensions before are broadcast
    conv2d        {stride, padding, dilation, groups}: [B, C, H, W] with [O, C / groups, h, w]
    pool2d        {combine: max | add, kernel, stride, padding}: what is padded does not count
    reshape {shape}, permute {order}, expand {shape}, concat {axis}, gather {axis}: (table, int64 indices)
    slice         {axis, start, stop, step}: 0 <= start <= stop <= the axis's size, step > 0
    pad           {before, after, value}: for each axis
    fallback      {target, arguments, keywords, call, result, random, shape, dtype}: see `source.py`
"""

from collections.abc import Iterable, Mapping, Sequence
from keyword import iskeyword

from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Attribute, Node, Value
from sysai.compiler.graph.operators import composite, elementwise, movement, reduction, source
from sysai.compiler.graph.operators import operator as ops
from sysai.compiler.graph.operators.operator import COMPOSITE, ELEMENTWISE, INJECTIVE, MATMUL, OPAQUE, REDUCTION, SOURCE
from sysai.compiler.graph.sizes import as_shape, canonical
from sysai.compiler.tir.expr import DTYPES, Const, Expr, as_expr, representable

__all__ = [
    "CORE", "ELEMENTWISE", "INJECTIVE", "MATMUL", "OPAQUE", "OPERATORS", "REDUCTION", "SOURCE", "TRANSLATIONS",
    "Builder", "infer", "make_node", "operator_of",
]  # fmt: skip

_KINDS = (elementwise, source, movement, reduction, composite)
OPERATORS: dict[str, ops.Operator] = {operator.name: operator for kind in _KINDS for operator in kind.OPERATORS}
CORE = tuple(name for name, operator in OPERATORS.items() if operator.kind != COMPOSITE)
TRANSLATIONS: dict[str, ops.Translation] = {
    name if name.startswith("prims.") else f"aten.{name}": translate
    for kind in _KINDS
    for name, translate in (
        *((name, operator.translate) for operator in kind.OPERATORS for name in operator.aten),
        *kind.TRANSLATIONS.items(),
    )
}
"""How each operator of torch that the compiler knows becomes nodes, by its full name, "aten.add.Tensor"."""

SIZES = ("shape", "size", "start", "stop", "before", "after")
"""Attributes that are sizes, or tuples of such: they hold expressions, also where the number is known."""


def operator_of(node: Node) -> ops.Operator:
    """The operator of a node of a valid graph."""
    return OPERATORS[node.op]


def infer(op: str, inputs: Sequence[Value], attributes: Mapping[str, Attribute]) -> ops.Type:
    """(shape, dtype) of `op(inputs, attributes)`, sizes in canonical form.

    Raises:
        InvalidGraph: unknown operator, wrong number of operands, missing or unknown attributes, shapes or dtypes
            that do not go together.
    """
    ops.require(op in OPERATORS, lambda: f"no operator {op!r}: it is none of {', '.join(OPERATORS)}")
    operator, (least, most) = OPERATORS[op], OPERATORS[op].arity
    if not least <= len(inputs) <= most:
        expected = str(least) if least == most else f"{least} to {most}"
        raise InvalidGraph(f"{op} takes {expected} operands, not {len(inputs)}")
    if set(attributes) != set(operator.attributes):
        raise InvalidGraph(f"{op} has the attributes {list(operator.attributes)}, not {sorted(attributes)}")
    for value in inputs if op != "fallback" else ():
        ops.require(value.dtype in DTYPES, lambda value=value: f"{op}: only fallbacks take {value}, for its dtype")
    try:
        shape, dtype = operator.infer(*inputs, **attributes)
    except InvalidGraph as error:
        operands = ", ".join(map(str, inputs))
        raise InvalidGraph(f"{op}({operands}): {error}") from None
    return as_shape(shape), dtype


def make_node(
    op: str, inputs: Sequence[Value], attributes: Mapping[str, Attribute] | None = None, *, name: str, origin: str = ""
) -> Node:
    """A node whose output is called `name` and has the shape and dtype that the operator gives.

    Raises:
        InvalidGraph: as `infer`.
    """
    attributes = {name: _normal(name, value) for name, value in (attributes or {}).items()}
    if op == "full" and isinstance(value := attributes.get("value"), int | float):
        attributes["value"] = representable(value, attributes["dtype"])
    shape, dtype = infer(op, inputs, attributes)
    return Node(op, tuple(inputs), Value(name, shape, dtype), attributes, origin)


def _normal(name: str, value: Attribute) -> Attribute:
    """Sizes as canonical expressions in the attributes of SIZES, and as integers elsewhere, where they are known."""
    if isinstance(value, tuple):
        return tuple(_normal(name, item) for item in value)
    if name in SIZES:
        return canonical(as_expr(value))
    if isinstance(value, Expr):
        value = canonical(value)
    return value.value if isinstance(value, Const) else value


class Builder:
    """A graph in the making: nodes in the order in which they were emitted, with fresh names and inferred types.

    Names are unique among the nodes and those `taken`. The importer and the passes make nodes with it.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.nodes: list[Node] = []
        self.origin = ""
        self._taken = set(taken)

    def fresh(self, hint: str) -> str:
        """A name that no value has yet and that is no word of Python: the hint, or the hint and a number."""
        name, number = hint, 1
        while name in self._taken or iskeyword(name):
            name, number = f"{hint}_{number}", number + 1
        self._taken.add(name)
        return name

    def emit(self, op: str, *inputs: Value | None, name: str = "", **attributes: Attribute) -> Value:
        """Append a node whose operands are those inputs that are not None, and return its output.

        Raises:
            InvalidGraph: the operator does not take such operands.
        """
        operands = [value for value in inputs if value is not None]
        self.nodes.append(make_node(op, operands, attributes, name=self.fresh(name or op), origin=self.origin))
        return self.nodes[-1].output

    def full(self, value: float | Expr, dtype: str, shape: Sequence[Expr] = ()) -> Value:
        """One number everywhere; by default a scalar, which broadcasts."""
        return self.emit("full", value=value, shape=tuple(shape), dtype=dtype)

    def cast(self, value: Value, dtype: str) -> Value:
        """The value in a dtype; itself where it has that already."""
        return value if value.dtype == dtype else self.emit("cast", value, dtype=dtype)

    def reshape(self, value: Value, shape: Sequence[Expr | int]) -> Value:
        """The value in another shape."""
        return self.emit("reshape", value, shape=as_shape(shape))
