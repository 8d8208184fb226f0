"""Where an element comes from: for the operators that move elements, the index of the operand that is read.

An element of a movement's result is an element of one of its operands elsewhere. Composed along a chain, the index
says at once where in memory the element lies, so that no step of the chain need be carried out.

Of a reshape, groups of axes that have the same number of elements on both sides are matched first: [B, T, 12, 64] as
[B, T, 768] reads index (b, t, h, d) at (b, t, 64 h + d), and only where axes are split is there a division.
"""

from collections.abc import Sequence

from sysai.compiler.graph.graph import Node, Value
from sysai.compiler.graph.sizes import evaluate, product, same
from sysai.compiler.tir.expr import ZERO, Binary, Expr, Var, row_major, variables, walk

Indices = tuple[Expr, ...]
TYPICAL_SIZE = 97  # of a size that is known at run time only, where one must guess which of two products is larger


def typical(shape: Sequence[Expr]) -> int:
    """The number of elements, with a guess for sizes that only the run time knows."""
    count = product(shape)
    return evaluate(count, {var.name: TYPICAL_SIZE for var in variables(count)})


def broadcast_indices(shape: Sequence[Expr], indices: Indices) -> Indices:
    """The index of an operand of `shape` that numpy's rules pair with `indices`."""
    aligned = indices[len(indices) - len(shape) :]
    return tuple(ZERO if same(size, 1) else index for size, index in zip(shape, aligned, strict=True))


def moved_indices(node: Node, indices: Indices) -> Indices:
    """The index of the operand that a reshape, permute, expand or slice reads for its own index `indices`."""
    (source,), attributes = node.inputs, node.attributes
    match node.op:
        case "reshape":
            return reshape_indices(node.output.shape, source.shape, indices)
        case "permute":
            return tuple(indices[attributes["order"].index(axis)] for axis in range(len(indices)))
        case "expand":
            return broadcast_indices(source.shape, indices)
        case "slice":
            axis = attributes["axis"]
            moved = indices[axis] * attributes["step"] + attributes["start"]
            return (*indices[:axis], moved, *indices[axis + 1 :])
    raise ValueError(f"{node.op} does not only move elements")


def reshape_indices(shape: Sequence[Expr], source: Sequence[Expr], indices: Indices) -> Indices:
    """The index in `source` of the element that stands at `indices` in `shape`; both have as many elements."""
    result: list[Expr] = []
    wide = [(size, index) for size, index in zip(shape, indices, strict=True) if not same(size, 1)]
    rest = [size for size in source if not same(size, 1)]
    while rest:
        ours, theirs = [wide.pop(0)], [rest.pop(0)]
        while not same(count := product(size for size, _ in ours), others := product(theirs)) and (wide or rest):
            if rest and (not wide or typical([others]) <= typical([count])):
                theirs.append(rest.pop(0))
            else:
                ours.append(wide.pop(0))
        result += _split(row_major([index for _, index in ours], [size for size, _ in ours]), theirs)
    found = iter(result)
    return tuple(ZERO if same(size, 1) else next(found) for size in source)


def _split(place: Expr, sizes: Sequence[Expr]) -> list[Expr]:
    if len(sizes) == 1:
        return [place]
    *outer, last = sizes
    return [*_split(place // last, outer), place % last]


def is_affine(indices: Indices, axes: Sequence[Var]) -> bool:
    """Whether addresses grow evenly along the axes: no division, remainder or extreme of them."""
    return not any(
        isinstance(part, Binary) and part.op not in ("add", "sub", "mul") and set(axes) & set(walk(part))
        for index in indices
        for part in walk(index)
    )


def axis_variables(value: Value, prefix: str = "i") -> tuple[Var, ...]:
    """A variable for each axis of a value."""
    return tuple(Var(f"{prefix}{axis}") for axis in range(len(value.shape)))
