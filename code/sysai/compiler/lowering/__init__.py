"""Lowering: from a group of operators to a tensor program."""

from sysai.compiler.lowering.elements import lower_elementwise
from sysai.compiler.lowering.matmul import lower_product
from sysai.compiler.lowering.reduction import lower_pooling, lower_reduction
from sysai.compiler.passes.groups import Group
from sysai.compiler.tir.statement import PrimFunc

__all__ = ["lower"]


def lower(group: Group, name: str, packed: bool = False) -> PrimFunc:
    """The tensor program of a group, not scheduled yet: its buffers are the group's inputs, then its outputs.

    Args:
        group: of any class but view and opaque, which have no program.
        name: a C identifier.
        packed: the right operand of the group's product comes packed, see `matmul.pack`.
    """
    if group.kind == "matmul":
        return lower_product(group, name, packed)
    by_kind = {"elementwise": lower_elementwise, "reduction": lower_reduction, "pooling": lower_pooling}
    return by_kind[group.kind](group, name)
