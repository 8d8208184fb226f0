"""The operators of a graph: for each its class, what shape and dtype it gives; `references.py` says what it means.

    core        what is left after decomposition, and what the lowering knows: about forty operators, of which most
                are elementwise and look alike
    composite   what models are written in (softmax, layer_norm, gelu, ...); `passes/decompose.py` says what each is
                made of, and a library would rather have it whole

The class of an operator is all that fusion has to know about it: which elements of its operands an element of its
output needs (TVM, Chen et al., OSDI 2018, arXiv 1802.04799, section 3, has the same idea with four classes).

    elementwise   those at the same place; operands are broadcast by numpy's rules
    movement      one element of one operand, elsewhere: reshape, permute, expand, slice, concat, gather, pad
    source        none: full, iota
    reduction     many elements of one operand: reduce, pool2d
    matmul        rows of one operand with columns of another: matmul, conv2d
    composite     as what it is made of
    opaque        nothing is known: fallback

The first three are `injective`: whoever reads the output can as well compute it where it is read.

Attributes, beside the operands in the order given:
    elementwise   the names of expr.py's ARITHMETIC, EXTREMES, COMPARISONS, LOGIC and MATH, without attributes;
                  select (condition, a, b); cast {dtype}
    full          {value, shape, dtype}: value is a number, or a size (an expression of the graph's size variables)
    iota          {axis, shape}: int64, the index along the axis
    reduce        {combine: add | max | min | mul, axes, keepdim}
    matmul        {transpose_b}: [..., M, K] x [..., K, N], transposed [..., N, K]; the dimensions before are broadcast
    conv2d        {stride, padding, dilation, groups}: [B, C, H, W] with [O, C / groups, h, w]
    pool2d        {combine: max | add, kernel, stride, padding}: what is padded does not count
    reshape {shape}, permute {order}, expand {shape}, concat {axis}, gather {axis}: (table, int64 indices)
    slice         {axis, start, stop, step}: 0 <= start <= stop <= the axis's size, step > 0
    pad           {before, after, value}: for each axis
    fallback      {target, arguments, keywords, result, shape, dtype}: see `references.py`
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sysai.compiler.graph import shapes
from sysai.compiler.graph.graph import Attribute, Node, Value
from sysai.compiler.graph.shapes import InvalidGraph, Type
from sysai.compiler.graph.sizes import as_shape, canonical
from sysai.compiler.tir.expr import (
    ARITHMETIC,
    COMPARISONS,
    EXTREMES,
    FLOATS,
    LOGIC,
    MATH,
    Const,
    Expr,
    as_expr,
)

ELEMENTWISE, MOVEMENT, SOURCE = "elementwise", "movement", "source"
REDUCTION, MATMUL, OPAQUE, COMPOSITE = "reduction", "matmul", "opaque", "composite"
INJECTIVE = (ELEMENTWISE, MOVEMENT, SOURCE)


@dataclass(frozen=True)
class Operator:
    """What is known about an operator.

    Attributes:
        name: what `Node.op` says.
        kind: its class.
        operands: how many there may be, at least and at most.
        attributes: the names of its attributes; all are required.
        infer: (operands' values, attributes) -> (shape, dtype) of the output; raises InvalidGraph.
    """

    name: str
    kind: str
    operands: tuple[int, int]
    attributes: tuple[str, ...]
    infer: Callable[[Sequence[Value], Mapping[str, Attribute]], Type]

    @property
    def injective(self) -> bool:
        """Whether an element of the output needs at most one element of each operand."""
        return self.kind in INJECTIVE


MANY = 1 << 16
SIZES = ("shape", "start", "stop", "before", "after")
"""Attributes that are sizes, or tuples of such: they hold expressions, also where the number is known."""
OPERATORS: dict[str, Operator] = {}


def _define(name: str, kind: str, operands: int | tuple[int, int], attributes: str = "") -> None:
    """Register an operator whose inference is the function of its name in `shapes`."""
    operands = operands if isinstance(operands, tuple) else (operands, operands)
    infer = getattr(shapes, name, None) or shapes.elementwise(name)
    OPERATORS[name] = Operator(name, kind, operands, tuple(attributes.split()), infer)


for _name in (*ARITHMETIC, *EXTREMES, *COMPARISONS, *LOGIC):
    _define(_name, ELEMENTWISE, 2)
for _name in MATH:
    _define(_name, ELEMENTWISE, 1)
_define("select", ELEMENTWISE, 3)
_define("cast", ELEMENTWISE, 1, "dtype")
_define("full", SOURCE, 0, "value shape dtype")
_define("iota", SOURCE, 0, "axis shape")
_define("reduce", REDUCTION, 1, "combine axes keepdim")
_define("pool2d", REDUCTION, 1, "combine kernel stride padding")
_define("matmul", MATMUL, 2, "transpose_b")
_define("conv2d", MATMUL, 2, "stride padding dilation groups")
_define("reshape", MOVEMENT, 1, "shape")
_define("permute", MOVEMENT, 1, "order")
_define("expand", MOVEMENT, 1, "shape")
_define("slice", MOVEMENT, 1, "axis start stop step")
_define("concat", MOVEMENT, (1, MANY), "axis")
_define("gather", MOVEMENT, 2, "axis")
_define("pad", MOVEMENT, 1, "before after value")
_define("fallback", OPAQUE, (0, MANY), "target arguments keywords result shape dtype")
_define("linear", COMPOSITE, (2, 3))
_define("softmax", COMPOSITE, 1, "axis")
_define("log_softmax", COMPOSITE, 1, "axis")
_define("layer_norm", COMPOSITE, (1, 3), "axes eps")
_define("rms_norm", COMPOSITE, (1, 2), "axes eps")
_define("batch_norm", COMPOSITE, 5, "eps")
_define("scaled_dot_product_attention", COMPOSITE, (3, 4), "is_causal scale")
_define("mean", COMPOSITE, 1, "axes keepdim")
_define("var", COMPOSITE, 1, "axes keepdim correction")
_define("cumsum", COMPOSITE, 1, "axis")
_define("avg_pool2d", COMPOSITE, 1, "kernel stride padding count_include_pad")
_define("gelu", COMPOSITE, 1, "approximate")
_define("pow", COMPOSITE, 1, "exponent")
_define("silu", COMPOSITE, 1)
_define("relu", COMPOSITE, 1)
_define("neg", COMPOSITE, 1)
_define("square", COMPOSITE, 1)
_define("reciprocal", COMPOSITE, 1)
_define("not", COMPOSITE, 1)

CORE = tuple(name for name, operator in OPERATORS.items() if operator.kind != COMPOSITE)


def operator_of(node: Node) -> Operator:
    """The operator of a node.

    Raises:
        InvalidGraph: there is none of this name.
    """
    if node.op not in OPERATORS:
        raise InvalidGraph(f"no operator {node.op!r}: it is none of {', '.join(OPERATORS)}")
    return OPERATORS[node.op]


def infer(op: str, inputs: Sequence[Value], attributes: Mapping[str, Attribute]) -> Type:
    """(shape, dtype) of `op(inputs, attributes)`, sizes in canonical form.

    Raises:
        InvalidGraph: unknown operator, wrong number of operands, missing or unknown attributes, shapes or dtypes
            that do not go together.
    """
    if op not in OPERATORS:
        raise InvalidGraph(f"no operator {op!r}: it is none of {', '.join(OPERATORS)}")
    operator = OPERATORS[op]
    low, high = operator.operands
    if not low <= len(inputs) <= high:
        expected = str(low) if low == high else f"{low} to {high}"
        raise InvalidGraph(f"{op} takes {expected} operands, not {len(inputs)}")
    if set(attributes) != set(operator.attributes):
        raise InvalidGraph(f"{op} has the attributes {list(operator.attributes)}, not {sorted(attributes)}")
    try:
        shape, dtype = operator.infer(inputs, attributes)
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
    attributes = {name: normal_attribute(name, value) for name, value in (attributes or {}).items()}
    if op == "full" and attributes.get("dtype") in FLOATS and type(attributes.get("value")) is int:
        attributes["value"] = float(attributes["value"])
    shape, dtype = infer(op, inputs, attributes)
    return Node(op, tuple(inputs), Value(name, shape, dtype), attributes, origin)


def normal_attribute(name: str, value: Attribute) -> Attribute:
    """Sizes as canonical expressions in the attributes of SIZES, and as integers elsewhere, where they are known."""
    if isinstance(value, tuple):
        return tuple(normal_attribute(name, part) for part in value)
    if name in SIZES:
        return canonical(as_expr(value))
    if isinstance(value, Expr):
        value = canonical(value)
    return value.value if isinstance(value, Const) else value
