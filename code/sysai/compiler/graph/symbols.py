"""Sizes and conditions of torch (SymInt, SymPy) as expressions of the compiler.

torch names a dynamic size s77; a graph gives it the user's name, or that of the axis.
"""

import sympy
import torch

from sysai.compiler.graph.sizes import canonical
from sysai.compiler.tir.expr import INDEX, Const, Expr, Var, as_expr, binary

_RELATIONS = {
    sympy.Eq: ("eq", False), sympy.Ne: ("ne", False), sympy.Lt: ("lt", False), sympy.Le: ("le", False),
    sympy.Gt: ("lt", True), sympy.Ge: ("le", True),
}  # fmt: skip
_FUNCTIONS = {
    "Add": "add", "Mul": "mul", "Max": "max", "Min": "min", "FloorDiv": "floordiv", "CleanDiv": "floordiv",
    "Mod": "mod", "PythonMod": "mod",
}  # fmt: skip


class Symbols:
    """The size variable of each of torch's symbols."""

    def __init__(self) -> None:
        self.names: dict[str, Var] = {}

    def bind(self, symbol: str, name: str) -> Var:
        """Give a symbol a name, unless it has one."""
        return self.names.setdefault(symbol, Var(name))

    def size(self, value: int | torch.SymInt) -> Expr:
        """A size, in canonical form.

        Raises:
            ValueError: it is computed by a function that sizes do not have.
        """
        return canonical(self.expression(value.node.expr) if isinstance(value, torch.SymInt) else as_expr(int(value)))

    def shape(self, tensor: torch.Tensor) -> tuple[Expr, ...]:
        """The sizes of a (fake) tensor."""
        return tuple(self.size(size) for size in tensor.shape)

    def expression(self, formula: sympy.Basic) -> Expr:
        """A formula of SymPy: integers, symbols, arithmetic, comparisons, and, or.

        Raises:
            ValueError: it holds a symbol that no input's shape binds, or another function.
        """
        if formula in (sympy.true, sympy.false):
            return Const(bool(formula), "bool")
        if formula.is_Integer:
            return Const(int(formula), INDEX)
        if formula.is_Symbol:
            if formula.name not in self.names:
                raise ValueError(f"size {formula} is not the size of an axis of an input: pass it as one")
            return self.names[formula.name]
        operands = [self.expression(argument) for argument in formula.args]
        if formula.is_Pow and isinstance(operands[1], Const) and operands[1].value > 0:
            return _chain("mul", [operands[0]] * operands[1].value)
        if type(formula) in _RELATIONS:
            op, swapped = _RELATIONS[type(formula)]
            return binary(op, *(reversed(operands) if swapped else operands))
        if isinstance(formula, sympy.And | sympy.Or):
            return _chain("and" if isinstance(formula, sympy.And) else "or", operands)
        if (name := type(formula).__name__) in _FUNCTIONS:
            return _chain(_FUNCTIONS[name], operands)
        raise ValueError(f"no size can be computed by {name} ({formula})")


def _chain(op: str, operands: list[Expr]) -> Expr:
    result, *rest = operands
    for operand in rest:
        result = binary(op, result, operand)
    return result
