"""Which operators may become one kernel, and why not.

A group is a set of nodes that runs as one loop nest: what one node hands to another inside stays in registers or in
a row that the cache holds. `classify` decides whether a set of nodes is one, from the operators' classes alone:

    elementwise   injective operators only. All results have one shape; each element is computed from the group's
                  inputs at the place where it is stored
    reduction     reductions over the same axes of one domain, injective operators before them, and after them
                  elementwise ones that need of a reduction only their own row's result (softmax, LayerNorm, RMSNorm)
    matmul        one product (or convolution), movements of its operands before it, elementwise operators on the
                  elements of the product after it, and at the very end a permutation; a right operand of fewer bits
                  (weights stored in 8 or 16) is widened as it is read, by one instruction for a vector
    pooling       one pooling, injective operators before it
    view          one reshape: no kernel, another name for the same memory
    opaque        one call of an operator that torch runs, with all its results

A costly element may not be computed many times because its readers are many, and an expression may not grow
without bound. Production: TVM's four classes and dominator tree (Chen et al., OSDI 2018, arXiv 1802.04799, section
3), Inductor's scheduler, XLA's multi-output fusion, which weigh with cost models what these rules decide outright.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sysai.compiler.errors import IllegalFusion
from sysai.compiler.graph import Graph, Node, Value
from sysai.compiler.graph.operators import ELEMENTWISE, MATMUL, OPAQUE, REDUCTION, operator_of
from sysai.compiler.graph.sizes import axis_variables, is_affine, moved_indices, same_shape, typical
from sysai.compiler.tir.expr import MATH, Const, Expr

COSTLY = tuple(name for name in MATH if name not in ("abs", "floor"))
LARGEST_EXPRESSION = 300  # operators in the expression of one element, repeated ones counted as often as they stand
NARROW_DTYPES = ("int8", "float16", "bfloat16")  # which a vector instruction widens to float32
CHEAP_EXPRESSION = 8  # operators that may be computed again for every reader
FULL, ROW = "full", "row"
Shape = tuple[Expr, ...]


@dataclass(frozen=True)
class Group:
    """Nodes that run as one kernel.

    Attributes:
        kind: one of the classes above.
        nodes: in the graph's order.
        inputs: what is read from memory.
        outputs: what is written to memory: read outside the group, or an output of the graph.
        domain: the shape that the loops go over.
        axes: those of the domain that are reduced, in a reduction.
        roles: in a reduction, FULL for values with an element at each index of the domain, ROW for those with one
            for each row, by name.
    """

    kind: str
    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    domain: tuple[Expr, ...]
    axes: tuple[int, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def anchor(self) -> Node:
        """The product, pooling, first reduction or fallback that the group is built around; else its last node."""
        anchors = [node for node in self.nodes if not operator_of(node).injective]
        return anchors[0] if anchors else self.nodes[-1]


class Context:
    """A graph's uses of values, looked up once for many questions."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.users = graph.users()
        self.position = {node.output.name: position for position, node in enumerate(graph.nodes)}
        self.outputs = dict.fromkeys(value.name for value in graph.outputs)  # in order, which fusion keeps

    def escapes(self, value: Value, names: Iterable[str]) -> bool:
        """Whether a value is needed outside the nodes called `names`."""
        users = self.users.get(value.name, ())
        return value.name in self.outputs or any(user.output.name not in names for user in users)


def classify(context: Context, names: Iterable[str], stored: Iterable[str] | None = None) -> Group:
    """The group of the nodes whose outputs are called `names`.

    Args:
        stored: which of their values go to memory; by default those that are needed outside.

    Raises:
        IllegalFusion: they are no group; the message says why.
    """
    names = set(names)
    nodes = tuple(sorted((context.producers[name] for name in names), key=lambda n: context.position[n.output.name]))
    if stored is None:
        stored = [node.output.name for node in nodes if context.escapes(node.output, names)]
    outputs = tuple(node.output for node in nodes if node.output.name in set(stored)) or (nodes[-1].output,)
    inputs = {value.name: value for node in nodes for value in node.inputs if value.name not in names}
    candidate = _Candidate(nodes, tuple(inputs.values()), outputs)
    anchors = [node for node in nodes if not operator_of(node).injective]
    kinds = {operator_of(node).kind for node in anchors}
    if OPAQUE in kinds:
        return _opaque(candidate)
    if len(kinds) > 1:
        first = anchors[0]
        other = next(node for node in anchors if operator_of(node).kind != operator_of(first).kind)
        raise IllegalFusion(
            f"{first.op} and {other.op} both need many elements for each of theirs: one loop nest cannot "
            f"hold both without computing the first again and again, or storing it"
        )
    candidate.check_expressions(candidate.dependents(node for node in anchors if node.op == "reduce"))
    if MATMUL in kinds:
        return _matmul(candidate, anchors)
    if any(node.op == "pool2d" for node in anchors):
        return _pooling(candidate, anchors)
    if REDUCTION in kinds:
        return _reduction(candidate, anchors)
    return _elementwise(candidate)


@dataclass(frozen=True)
class _Candidate:
    """Nodes of which `classify` asks whether they are a group; attributes as those of Group."""

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def group(self, kind: str, domain: Shape, **details: object) -> Group:
        return Group(kind, self.nodes, self.inputs, self.outputs, domain, **details)

    def dependents(self, anchors: Iterable[Node]) -> set[str]:
        """Names of the values that depend on the anchors, these included."""
        names = {node.output.name for node in anchors}
        for node in self.nodes:
            if _any_in(node.inputs, names):
                names.add(node.output.name)
        return names

    def check_expressions(self, stored: set[str]) -> None:
        """Refuse expressions that grow without bound, and costly ones that many readers would compute, unless `stored`.

        Raises:
            IllegalFusion: there is one.
        """
        operators: dict[str, int] = {}
        costly: set[str] = set()
        for node in self.nodes:
            name, injective = node.output.name, operator_of(node).injective
            operators[name] = 1 + sum(operators.get(value.name, 0) for value in node.inputs)
            if operators[name] > LARGEST_EXPRESSION:
                raise IllegalFusion(
                    f"an element of {name} would be an expression of {operators[name]} operators, "
                    f"more than {LARGEST_EXPRESSION}: what is used many times is better stored"
                )
            for value in node.inputs if injective else ():
                if value.name in costly - stored and typical(node.output.shape) > typical(value.shape):
                    raise IllegalFusion(
                        f"{node.op} repeats each element of {value.name}, whose expression is costly: computed once "
                        f"and stored, it is read instead"
                    )
            if not injective:
                operators[name] = 0  # computed once, whoever reads it
            elif node.op in COSTLY or operators[name] > CHEAP_EXPRESSION or _any_in(node.inputs, costly):
                costly.add(name)


def _any_in(values: Iterable[Value], names: Iterable[str]) -> bool:
    return any(value.name in names for value in values)


def _opaque(candidate: _Candidate) -> Group:
    if len({node.attributes.get("call") for node in candidate.nodes}) > 1:
        (target, *_) = [node.attributes["target"] for node in candidate.nodes if node.op == "fallback"]
        raise IllegalFusion(f"{target} is run by torch: nothing is known of which elements it needs")
    outputs = tuple(node.output for node in candidate.nodes)
    return replace(candidate, outputs=outputs).group("opaque", outputs[0].shape)


def _elementwise(candidate: _Candidate) -> Group:
    if len(candidate.nodes) == 1 and candidate.nodes[0].op == "reshape":
        return candidate.group("view", candidate.nodes[0].output.shape)
    domain = candidate.outputs[-1].shape
    _require_shape(candidate.outputs, domain)
    return candidate.group("elementwise", domain)


def _require_shape(values: Iterable[Value], domain: Shape) -> None:
    for value in values:
        if not same_shape(value.shape, domain):
            raise IllegalFusion(
                f"{value} is needed outside as well, but its shape is not that of the loops, "
                f"[{', '.join(map(str, domain))}]: it is stored by a kernel of its own"
            )


def _pooling(candidate: _Candidate, anchors: list[Node]) -> Group:
    (anchor, *others) = anchors
    if others or anchor is not candidate.nodes[-1] or candidate.outputs != (anchor.output,):
        raise IllegalFusion("windows overlap: what reads the result of a pooling would compute it several times")
    return candidate.group("pooling", anchor.output.shape)


def _reduction(candidate: _Candidate, reductions: list[Node]) -> Group:
    domain, axes = reductions[0].inputs[0].shape, tuple(sorted(reductions[0].attributes["axes"]))
    for node in reductions[1:]:
        if not same_shape(node.inputs[0].shape, domain) or tuple(sorted(node.attributes["axes"])) != axes:
            raise IllegalFusion(
                f"{reductions[0].output.name} and {node.output.name} reduce other axes, or tensors of other shapes: "
                f"their rows are not the same"
            )
    roles = _roles(candidate, reductions, domain, axes)
    stored = {name for name, role in roles.items() if role == FULL}
    for value in candidate.outputs:
        if value.name not in roles:
            _require_shape([value], domain)
            roles[value.name] = FULL
            stored.add(value.name)
    trailing = axes == tuple(range(len(domain) - len(axes), len(domain)))
    if _any_in(candidate.outputs, stored) and not trailing:
        raise IllegalFusion(
            f"axes {list(axes)} of [{', '.join(map(str, domain))}] are not the last ones: a row's elements lie far "
            f"apart, and to go over it twice reads every cache line for one element"
        )
    return candidate.group("reduction", domain, axes=axes, roles=roles)


def _roles(candidate: _Candidate, reductions: list[Node], domain: Shape, axes: tuple[int, ...]) -> dict[str, str]:
    """FULL or ROW for each value that depends on a reduction, and FULL for what the reductions read.

    Raises:
        IllegalFusion: one needs another row's result.
    """
    keepdim = tuple(Const(1, "int64") if axis in axes else size for axis, size in enumerate(domain))
    squeezed = tuple(size for axis, size in enumerate(domain) if axis not in axes)
    roles: dict[str, str] = {node.output.name: ROW for node in reductions}
    dependents = candidate.dependents(reductions)
    for node in candidate.nodes:
        name, shape = node.output.name, node.output.shape
        dependent = [value for value in node.inputs if value.name in dependents]
        if node in reductions:
            if dependent and roles[dependent[0].name] != FULL:
                raise IllegalFusion(f"{name} reduces {dependent[0].name}, of which each row has one element only")
        elif dependent:
            roles[name] = _role(node, dependent, roles, domain, keepdim, squeezed)
        elif same_shape(shape, domain):
            roles[name] = FULL
    return roles


def _role(
    node: Node, dependent: list[Value], roles: Mapping[str, str], domain: Shape, keepdim: Shape, squeezed: Shape
) -> str:
    """The role of a node, by those of its operands `dependent`.

    Args:
        keepdim, squeezed: the two shapes that a reduction's result may have, with axes of size 1 and without them.
    """
    shape = node.output.shape
    rows = [value for value in dependent if roles[value.name] == ROW]
    elementwise = operator_of(node).kind == ELEMENTWISE or node.op == "expand"
    if node.op == "reshape" and rows and any(same_shape(shape, form) for form in (keepdim, squeezed)):
        return ROW
    if elementwise and len(shape) == len(domain) and all(len(value.shape) == len(domain) for value in rows):
        if not rows or not same_shape(shape, keepdim):
            if same_shape(shape, domain):
                return FULL
        elif len(rows) == len(dependent):
            return ROW
    if elementwise and same_shape(shape, squeezed) and all(same_shape(value.shape, squeezed) for value in dependent):
        return ROW
    raise IllegalFusion(
        f"{node.op} ({node.output.name}) needs of {dependent[0].name} elements of other rows than its own: they are "
        f"not there before all rows are done"
    )


def _matmul(candidate: _Candidate, anchors: list[Node]) -> Group:
    (anchor, *others) = anchors
    if others:
        raise IllegalFusion(f"{others[0].op} needs whole rows of {anchor.op}: its operand is stored in between")
    domain, dependents, last = anchor.output.shape, candidate.dependents(anchors), candidate.nodes[-1]
    for node in candidate.nodes:
        name = node.output.name
        if name not in dependents or node is anchor:
            continue
        if node.op == "permute" and node is last and candidate.outputs == (node.output,):
            continue
        if operator_of(node).kind != ELEMENTWISE:
            raise IllegalFusion(f"{node.op} ({name}) moves elements of the product before others are applied to it")
        if not same_shape(node.output.shape, domain):
            raise IllegalFusion(f"{name} has not the shape of the product, so that elements would be computed again")
    if len(candidate.outputs) > 1:
        first, second = (value.name for value in candidate.outputs[:2])
        raise IllegalFusion(
            f"{first} is needed outside as well as {second}: a product stores one "
            f"result, and who needs the other makes it from that"
        )
    if outside := [value for value in candidate.outputs if value.name not in dependents]:
        raise IllegalFusion(f"{outside[0].name} does not depend on the product: it is stored by a kernel of its own")
    producers = {node.output.name: node for node in candidate.nodes}
    for value in anchor.inputs:
        _check_operand(producers, value, anchor)
    return candidate.group("matmul", domain)


def widens(node: Node) -> bool:
    """Whether a node makes 32 bits of a number of 8 or 16."""
    return node.op == "cast" and node.output.dtype == "float32" and node.inputs[0].dtype in NARROW_DTYPES


def _check_operand(producers: Mapping[str, Node], value: Value, anchor: Node) -> None:
    """A product may read its operands elsewhere, but anything else would be done again for every reader."""
    axes = indices = axis_variables(value)
    while value.name in producers:
        node = producers[value.name]
        if value is anchor.inputs[1] and widens(node) and anchor.op == "matmul":
            value = node.inputs[0]
            continue
        if anchor.op != "matmul" or node.op not in ("reshape", "permute", "expand", "slice"):
            raise IllegalFusion(f"{node.op} before {anchor.op}: elements read many times would be computed as often")
        indices, value = moved_indices(node, indices), node.inputs[0]
    if not is_affine(indices, axes[-2:]):
        element = f"{value.name}[{', '.join(map(str, indices))}]"
        raise IllegalFusion(f"the product would read {element}: a division for every element")
