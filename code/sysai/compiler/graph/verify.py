"""The rules of every graph; they are checked after each pass."""

from keyword import iskeyword

from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.operators import infer
from sysai.compiler.graph.operators.operator import require
from sysai.compiler.graph.sizes import canonical
from sysai.compiler.tir.expr import Const, Expr, Var, variables


def verify(graph: Graph) -> None:
    """Check a graph.

    1. Every name is given once: sizes, inputs, constants, outputs of nodes.
    2. A node uses values that come before it, with the shape and dtype that they were made with.
    3. The shape and dtype of a node's output are those that its operator gives, sizes in canonical form.
    4. Every size variable is the size of some axis of an input.
    5. Constants are tensors of fixed shape; outputs are values of the graph.

    Raises:
        InvalidGraph: one of these does not hold; the message names the node and its origin.
    """
    defined: dict[str, Value] = {}
    names = {size.name for size in graph.sizes}
    require(len(names) == len(graph.sizes), f"sizes {', '.join(map(str, graph.sizes))} name one twice")
    # A size that no input's shape shows alone could not be bound at a call.
    bound = {size for value in graph.inputs for size in value.shape if isinstance(size, Var)}
    require(set(graph.sizes) <= bound, f"sizes {sorted(names)} must be sizes of inputs' axes, which are {bound}")

    def define(value: Value) -> None:
        require(value.name.isidentifier() and not iskeyword(value.name), f"{value.name!r} is no identifier")
        require(value.name not in names, f"the name {value.name} is given twice")
        names.add(value.name)
        defined[value.name] = value
        for size in value.shape:
            _check_size(graph, size, value)

    for value in graph.inputs:
        define(value)
    for name in graph.constants:
        define(constant_value(graph, name))
    for node in graph.nodes:
        where = f"{node.output.name} = {node.op} (from {node.origin or 'a pass'})"
        for operand in node.inputs:
            require(operand.name in defined, f"{where}: {operand.name} does not come before it")
            definition = defined[operand.name]
            if operand != definition:
                raise InvalidGraph(f"{where}: uses {operand}, which is made as {definition}")
        try:
            inferred = infer(node.op, node.inputs, node.attributes)
        except InvalidGraph as error:
            raise InvalidGraph(f"{where}: {error}") from None
        output = Value(node.output.name, *inferred)
        if node.output != output:
            raise InvalidGraph(f"{where}: is said to give {node.output}, gives {output}")
        define(node.output)
    for value in graph.outputs:
        require(defined.get(value.name) == value, f"output {value} is no value of the graph")
    for condition in graph.conditions:
        _check_size(graph, condition, condition)


def constant_value(graph: Graph, name: str) -> Value:
    """The value of a constant."""
    tensor = graph.constants[name]
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Value(name, tuple(Const(size, "int64") for size in tensor.shape), dtype)


def _check_size(graph: Graph, size: Expr, where: object) -> None:
    """A size, or a condition on sizes, of what `where` says."""
    if isinstance(size, Const):
        return
    require(isinstance(size, Expr), lambda: f"{where}: {size!r} is no expression")
    unknown = variables(size) - set(graph.sizes)
    require(not unknown, lambda: f"{where}: {', '.join(map(str, unknown))} is no size of the graph")
    canonical_size = canonical(size) if size.dtype == "int64" else size
    require(canonical_size == size, lambda: f"{where}: {size} is not in canonical form, {canonical_size}")
