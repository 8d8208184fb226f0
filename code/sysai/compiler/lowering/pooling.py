"""Pooling: for each place of the result, combine the elements of a window.

y[b, c, i, j] = combine over p, q of x[b, c, i * stride + p - padding, j * stride + q - padding], where it is inside
"""

from sysai.compiler.lowering.elements import Elements
from sysai.compiler.lowering.elementwise import size_attributes
from sysai.compiler.lowering.nest import Loop, around, block, function, indices, spatial
from sysai.compiler.lowering.reduction import identity
from sysai.compiler.passes.groups import Group
from sysai.compiler.tir.expr import INDEX, TRUE, Const, Expr, Select, binary
from sysai.compiler.tir.statement import PrimFunc


def lower_window(group: Group, name: str) -> PrimFunc:
    """The function of a group around a pooling: buffers are its inputs, then its output."""
    node, elements = group.anchor, Elements(group)
    (x,), attributes = node.inputs, node.attributes
    loops = spatial(group.domain)
    window = [Loop(letter, Const(size, INDEX), True) for letter, size in zip("rs", attributes["kernel"], strict=True)]
    place: list[Expr] = []
    inside: Expr = TRUE
    for axis, (loop, offset) in enumerate(zip(loops[2:], window, strict=True)):
        stride, padding = attributes["stride"][axis], attributes["padding"][axis]
        place.append(loop.index * stride + offset.index - padding)
        if padding:
            here = binary("and", place[-1] >= 0, place[-1] < x.shape[2 + axis])
            inside = here if inside == TRUE else binary("and", inside, here)
    neutral = identity(attributes["combine"], x.dtype)
    element = elements.of(x, (*indices(loops[:2]), *place))
    value = element if inside == TRUE else Select(inside, element, neutral)
    (output,) = elements.outputs.values()
    pooled = block("pool", [*loops, *window], output, indices(loops), value, attributes["combine"], neutral)
    return function(name, elements.buffers, around([*loops, *window], pooled), size_attributes(group))
