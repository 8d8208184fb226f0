"""Injective groups: one loop nest over the results' shape, one block for each result.

    bytes moved    inputs + outputs, each once

Where the result is a concat, each part gets loops of its own: a choice between parts for every element would cost
more than the copy.
"""

from sysai.compiler.lowering.elements import Elements, mergeable_axes, operand_starts
from sysai.compiler.lowering.nest import block, function, indices, spatial, wrap_in_loops
from sysai.compiler.passes.groups import Group
from sysai.compiler.tir.statement import PrimFunc, sequence


def lower_elementwise(group: Group, name: str) -> PrimFunc:
    """The function of an elementwise group: buffers are its inputs, then its outputs."""
    last = group.nodes[-1]
    if last.op == "concat" and group.outputs == (last.output,):
        return _concat(group, name)
    elements = Elements(group, mergeable_axes(group))
    loops = spatial(elements.shape(group.outputs[0]))
    blocks = [
        block(label(elements, value.name), loops, buffer, indices(loops), elements.of(value, indices(loops)))
        for value, buffer in zip(group.outputs, elements.outputs.values(), strict=True)
    ]
    return function(name, elements.buffers, wrap_in_loops(loops, sequence(*blocks)), size_attributes(group))


def _concat(group: Group, name: str) -> PrimFunc:
    node, elements = group.nodes[-1], Elements(group)
    axis, nests = node.attributes["axis"], []
    (buffer,) = elements.outputs.values()
    for number, (value, start) in enumerate(zip(node.inputs, operand_starts(node), strict=True)):
        loops = spatial(value.shape)
        at = [index + start if k == axis else index for k, index in enumerate(indices(loops))]
        copy = block(f"part{number}", loops, buffer, at, elements.of(value, indices(loops)))
        nests.append(wrap_in_loops(loops, copy))
    return function(name, elements.buffers, sequence(*nests), size_attributes(group))


def label(elements: Elements, value: str) -> str:
    """The name of the block that computes a value: its operator, and which of the results it is."""
    position = list(elements.outputs).index(value) if value in elements.outputs else 0
    return f"{elements.producers[value].op}_{position}"


def size_attributes(group: Group) -> list:
    """Sizes that the operators of a group mention in attributes and in shapes of values that are not in memory."""
    sizes = []
    for node in group.nodes:
        for attribute in (*node.attributes.values(), *node.output.shape):
            sizes.extend(attribute if isinstance(attribute, tuple) else (attribute,))
    return sizes
