"""Coordinates: which element of an operand an element of the output comes from.

An element is named by one integer expression for each axis. Movement operators (reshape, permute, ...) compute
nothing: they only rename elements, so that a fused kernel reads the operand at other coordinates and no copy is made.
The row-major index of an element ties shapes together:

    linearise((i, j), [M, N]) = i * N + j          delinearise(e, [M, N]) = (e // N, e % N)

The two undo one another, and the functions below see to it that they do so in the text as well: a division that
only takes apart what a multiplication put together never reaches a kernel. All sizes are at least 1 where an element
exists, and all coordinates of elements that exist are 0 or more.
"""

from collections.abc import Mapping, Sequence

from sysai.compiler.graph.graph import Node
from sysai.compiler.graph.sizes import canonical, product, same
from sysai.compiler.program.expr import INDEX, Binary, Const, Expr, Var, as_expr, binary, children

Place = tuple[Expr, ...]
ZERO = Const(0, INDEX)


def linearise(place: Sequence[Expr], shape: Sequence[Expr]) -> Expr:
    """The row-major index of the element at `place`."""
    index: Expr = ZERO
    for coordinate, size in zip(place, shape, strict=True):
        index = _join(index, size, coordinate)
    return index


def delinearise(index: Expr, shape: Sequence[Expr], extents: Mapping[Var, Expr]) -> Place:
    """The coordinates of the element whose row-major index is given.

    Args:
        index: from 0 to the number of elements.
        shape: sizes of the axes.
        extents: variables of `index` that stay below a size, and which.
    """
    place: list[Expr] = []
    significant = [axis for axis, size in enumerate(shape) if not same(size, 1)]
    for axis in reversed(range(len(shape))):
        if axis not in significant:
            place.append(ZERO)
        elif axis == significant[0]:
            place.append(index)
        else:
            index, rest = divide(index, shape[axis], extents)
            place.append(rest)
    return tuple(reversed(place))


def divide(index: Expr, size: Expr, extents: Mapping[Var, Expr]) -> tuple[Expr, Expr]:
    """(index // size, index % size), simplified: with size 4 and c below 4, `r * 4 + c` gives r and c."""
    if _is_below(index, size, extents):
        return ZERO, index
    match index:
        case Binary("add", high, low):
            quotient, rest = _divide_product(high, size)
            if rest == ZERO:
                more, rest = divide(low, size, extents)
                return quotient + more, rest
        case Binary("mul"):
            quotient, rest = _divide_product(index, size)
            if rest == ZERO:
                return quotient, rest
    return binary("floordiv", index, size), binary("mod", index, size)


def broadcast_place(place: Place, shape: Sequence[Expr]) -> Place:
    """Where an operand of `shape` is read for the element at `place`, by numpy's rules."""
    last = place[len(place) - len(shape) :]
    return tuple(ZERO if same(size, 1) else coordinate for coordinate, size in zip(last, shape, strict=True))


def source_place(node: Node, place: Place, extents: Mapping[Var, Expr]) -> Place:
    """Where a reshape, permute, expand or slice finds, in its operand, the element at `place` of its output.

    Raises:
        ValueError: the node is none of these, so that there is no one such place.
    """
    shape = node.inputs[0].shape
    match node.op:
        case "reshape":
            return delinearise(linearise(place, node.output.shape), shape, extents)
        case "permute":
            by_axis = dict(zip(node.attributes["order"], place, strict=True))
            return tuple(by_axis[axis] for axis in range(len(shape)))
        case "expand":
            return broadcast_place(place, shape)
        case "slice":
            axis, start, step = (node.attributes[name] for name in ("axis", "start", "step"))
            return (*place[:axis], place[axis] * step + as_expr(start), *place[axis + 1 :])
    raise ValueError(f"{node.op} does not read one element at a place: it is no reshape, permute, expand or slice")


def target_place(node: Node, place: Place, extents: Mapping[Var, Expr]) -> Place:
    """Where a reshape or permute puts, in its output, the element at `place` of its operand."""
    if node.op == "permute":
        return tuple(place[axis] for axis in node.attributes["order"])
    return delinearise(linearise(place, node.inputs[0].shape), node.output.shape, extents)


def loop_variables(*exprs: Expr) -> set[Var]:
    """All variables of expressions (sizes among them)."""
    found: set[Var] = set()
    for expr in exprs:
        found |= {expr} if isinstance(expr, Var) else loop_variables(*children(expr))
    return found


def _join(high: Expr, size: Expr, low: Expr) -> Expr:
    """high * size + low, where (e // size) * size + e % size is e again."""
    match high:
        case Binary("floordiv", whole, divisor) if same(divisor, size) and low == binary("mod", whole, divisor):
            return whole
        case Binary("add", Binary("mul", rows, columns), rest) if isinstance(rest, Binary) and rest.op == "floordiv":
            joined = _join(rest, size, low)
            if joined == rest.a:
                return rows * product((columns, size)) + joined
    return high * size + low


def _divide_product(index: Expr, size: Expr) -> tuple[Expr, Expr]:
    """index // size and 0 where `index` is a product with a multiple of `size`; else (0, index)."""
    match index:
        case Binary("mul", high, factor):
            quotient = _quotient(factor, size)
            if quotient is not None:
                return high * quotient, ZERO
    return ZERO, index


def _quotient(size: Expr, divisor: Expr) -> Expr | None:
    """size // divisor where nothing remains."""
    quotient = canonical(binary("floordiv", size, divisor))
    return quotient if same(product((quotient, divisor)), size) else None


def _is_below(index: Expr, size: Expr, extents: Mapping[Var, Expr]) -> bool:
    extent = _extent(index, extents)
    if isinstance(extent, Const) and isinstance(size, Const):
        return extent.value <= size.value
    return index == ZERO or (extent is not None and same(extent, size))


def _extent(index: Expr, extents: Mapping[Var, Expr]) -> Expr | None:
    """A size below which an index stays, if one is known."""
    match index:
        case Const(value) if value >= 0:
            return Const(value + 1, INDEX)
        case Var():
            return extents.get(index)
        case Binary("mod", _, divisor):
            return divisor
        case Binary("floordiv", whole, divisor):
            extent = _extent(whole, extents)
            return None if extent is None else _quotient(extent, divisor)
    return None
