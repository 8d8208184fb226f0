"""The argument of every translation of an ATen operator: the graph so far, and what torch says of the result.

A translation is a function `(t, *arguments, **keywords)` that emits nodes by `t` and returns the result, see
`operators/operator.py`. torch names a dynamic size s77 (SymInt, SymPy); a graph gives it the user's name, or that of
the axis.
"""

from functools import partial, reduce

import sympy
import torch
from torch import Tensor

from sysai.compiler.errors import UnsupportedOperator
from sysai.compiler.graph import Value
from sysai.compiler.graph.interpret import TORCH_DTYPES
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.operators.operator import NotTranslatable
from sysai.compiler.graph.sizes import canonical
from sysai.compiler.tir.expr import DTYPES, FLOATS, HALF, INDEX, Const, Expr, Var, as_expr, binary

_RELATIONS = {
    sympy.Eq: ("eq", False), sympy.Ne: ("ne", False), sympy.Lt: ("lt", False), sympy.Le: ("le", False),
    sympy.Gt: ("lt", True), sympy.Ge: ("le", True),
}  # fmt: skip
_FUNCTIONS = {
    "Add": "add", "Mul": "mul", "Max": "max", "Min": "min", "FloorDiv": "floordiv", "CleanDiv": "floordiv",
    "Mod": "mod", "PythonMod": "mod", "And": "and", "Or": "or",
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
            UnsupportedOperator: it is computed by a function that sizes do not have, or depends on elements of tensors.
        """
        return canonical(self.expression(value.node.expr) if isinstance(value, torch.SymInt) else as_expr(int(value)))

    def shape(self, tensor: torch.Tensor) -> tuple[Expr, ...]:
        """The sizes of a (fake) tensor."""
        return tuple(self.size(size) for size in tensor.shape)

    def value(self, name: str, tensor: torch.Tensor) -> Value:
        """The value that a (fake) tensor of any of torch's dtypes stands for; errors as for `size`."""
        return Value(name, self.shape(tensor), any_dtype_name(tensor.dtype))

    def expression(self, formula: sympy.Basic) -> Expr:
        """A formula of SymPy: integers, symbols, arithmetic, comparisons, and, or.

        Raises:
            UnsupportedOperator: it holds a symbol that no input's shape binds, or another function.
        """
        if formula in (sympy.true, sympy.false):
            return Const(bool(formula), "bool")
        if formula.is_Integer:
            return Const(int(formula), INDEX)
        if formula.is_Symbol:
            if formula.name not in self.names:
                raise UnsupportedOperator(f"size {formula} is not the size of an axis of an input: pass it as one")
            return self.names[formula.name]
        operands = [self.expression(argument) for argument in formula.args]
        if formula.is_Pow and isinstance(operands[1], Const) and operands[1].value > 0:
            return reduce(partial(binary, "mul"), [operands[0]] * operands[1].value)
        if type(formula) in _RELATIONS:
            op, swapped = _RELATIONS[type(formula)]
            return binary(op, *(reversed(operands) if swapped else operands))
        if (name := type(formula).__name__) in _FUNCTIONS:
            return reduce(partial(binary, _FUNCTIONS[name]), operands)
        raise UnsupportedOperator(f"no size can be computed by {name} ({formula})")


class Translator(Builder):
    """A graph's builder during the translation of one operator.

    Attributes:
        result: the fake tensor (or a tuple of them) that torch says the operator gives.
        symbols: names of dynamic sizes.
    """

    def __init__(self, symbols: Symbols) -> None:
        super().__init__()
        self.symbols = symbols
        self.result: object = None

    @property
    def dtype(self) -> str:
        """The result's dtype."""
        return dtype_name(self.result.dtype)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtype of each of several results."""
        return tuple(dtype_name(fake.dtype) for fake in self.result)

    @property
    def precision(self) -> float:
        """The distance of 1 from the next number in the result's dtype."""
        return torch.finfo(self.result.dtype).eps

    @property
    def shape(self) -> tuple[Expr, ...]:
        """The result's shape."""
        return self.symbols.shape(self.result)

    def operand(self, operand: Value | Expr | float, dtype: str, wide: bool = False) -> Value:
        """A tensor cast to the dtype, a number or size as a scalar of it.

        Args:
            wide: of 16 bits, leave a number as it is: torch rounds products and quotients only.
        """
        if isinstance(operand, Value):
            return self.cast(operand, dtype)
        return self.full(operand if wide and dtype in HALF else self.number(operand, dtype), dtype)

    def number(self, number: Expr | float, dtype: str) -> Expr | float:
        """A number as an element of a tensor of the dtype; a size as it is.

        Raises:
            NotTranslatable: an infinity or NaN as an integer.
        """
        if isinstance(number, Expr):
            return number
        if dtype in HALF:
            return torch.tensor(number, dtype=torch.float64).to(TORCH_DTYPES[dtype]).item()
        try:
            return bool(number) if dtype == "bool" else float(number) if dtype in FLOATS else int(number)
        except (OverflowError, ValueError):
            raise NotTranslatable(f"{number} as {dtype}") from None

    def common_dtype(self, a: Value | Expr | float, b: Value | Expr | float) -> str:
        """The dtype to which torch promotes operands: tensors before scalars, floats before integers."""
        return dtype_name(torch.result_type(_sample(a), _sample(b)))


def _sample(operand: Value | Expr | float) -> Tensor | float:
    """Something that torch promotes as it would the operand."""
    if isinstance(operand, Value):
        return torch.empty([1] * len(operand.shape), dtype=TORCH_DTYPES[operand.dtype], device="meta")
    return 0 if isinstance(operand, Expr) else operand


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype that the compiler has.

    Raises:
        NotTranslatable: it has not this one.
    """
    if (name := any_dtype_name(dtype)) not in DTYPES:
        raise NotTranslatable(f"the compiler has no {dtype}, only {', '.join(DTYPES)}")
    return name


def any_dtype_name(dtype: torch.dtype) -> str:
    """The name of any of torch's dtypes, of which fallbacks may be."""
    return str(dtype).removeprefix("torch.")
