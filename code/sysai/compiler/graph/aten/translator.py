"""What a translation of an ATen operator works with: the graph so far, and what torch says of the result.

A translation is a function `(t, *arguments, **keywords)` that emits nodes and returns the result. Among the arguments
tensors are `Value`s, dynamic sizes are expressions, and the rest is as torch has it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sysai.compiler.graph.builder import Builder
from sysai.compiler.graph.graph import Value
from sysai.compiler.graph.references import TORCH_DTYPES
from sysai.compiler.graph.sizes import canonical
from sysai.compiler.graph.symbols import Symbols
from sysai.compiler.tir.expr import Expr, as_expr

DTYPES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
Translation = Callable[..., object]
TRANSLATIONS: dict[str, Translation] = {}
IGNORED = {"aten._assert_tensor_metadata.default", "aten._assert_scalar.default", "aten._assert_async.msg"}
"""Checks of what export has assumed; `Graph.conditions` holds what of them concerns sizes."""


class UnsupportedOperator(ValueError):  # noqa: N818
    """The user's module applies an operator that the compiler lacks; the message names it and its line."""


class NotTranslatable(Exception):  # noqa: N818
    """This use of an operator has no translation, for the reason given; becomes a fallback or UnsupportedOperator."""


def translates(*targets: str) -> Callable[[Translation], Translation]:
    """Register the translation of operators; "add.Tensor" is short for "aten.add.Tensor"."""

    def register(function: Translation) -> Translation:
        for target in targets:
            TRANSLATIONS[target if target.count(".") == 2 else f"aten.{target}"] = function
        return function

    return register


class Translator(Builder):
    """A graph's builder during the translation of one operator.

    Attributes:
        result: the fake tensor (or a tuple of them) that torch says the operator gives.
        symbols: names of dynamic sizes.
    """

    def __init__(self, symbols: Symbols, taken: Sequence[str]) -> None:
        super().__init__(taken)
        self.symbols = symbols
        self.result: object = None

    @property
    def dtype(self) -> str:
        """Of the result."""
        return dtype_name(self.result.dtype)

    @property
    def shape(self) -> tuple[Expr, ...]:
        """Of the result."""
        return self.symbols.shape(self.result)

    def operand(self, operand: Value | Expr | float, dtype: str) -> Value:
        """A tensor cast to the dtype, a number or size as a scalar of it."""
        if isinstance(operand, Value):
            return self.cast(operand, dtype)
        if isinstance(operand, bool | int) and dtype not in ("int64", "int32", "int8", "bool"):
            operand = float(operand)
        return self.full(operand, dtype)


def dtype_name(dtype: torch.dtype) -> str:
    """The compiler's name of torch's dtype.

    Raises:
        NotTranslatable: it has none.
    """
    if dtype not in DTYPES:
        raise NotTranslatable(f"the compiler has no {dtype}, only {', '.join(TORCH_DTYPES)}")
    return DTYPES[dtype]


def common_dtype(*operands: Value | Expr | float) -> str:
    """The dtype to which torch promotes operands: tensors before scalars, floats before integers."""
    samples = [_sample(operand) for operand in operands]
    result = samples[0]
    for sample in samples[1:]:
        dtype = torch.result_type(result, sample)
        rank = max(item.dim() if isinstance(item, Tensor) else 0 for item in (result, sample))
        result = torch.empty([1] * rank, dtype=dtype, device="meta")
    return dtype_name(result.dtype if isinstance(result, Tensor) else torch.tensor(result).dtype)


def _sample(operand: Value | Expr | float) -> Tensor | float:
    if isinstance(operand, Value):
        return torch.empty([1] * len(operand.shape), dtype=TORCH_DTYPES[operand.dtype], device="meta")
    return 0 if isinstance(operand, Expr) else operand


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front."""
    return axis + rank if axis < 0 else axis


def axes_of(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in order; all where none are given."""
    if isinstance(axes, int):
        axes = [axes]
    return tuple(sorted(axis_of(axis, rank) for axis in axes)) if axes else tuple(range(rank))


def pair(numbers: int | Sequence[int]) -> tuple[int, int]:
    """One number for both spatial axes, or one for each."""
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    return numbers * 2 if len(numbers) == 1 else numbers


def is_number(size: Expr | int) -> bool:
    """Whether a size is known now."""
    return not isinstance(size, Expr) or hasattr(canonical(size), "value")


def number(size: Expr | int) -> int:
    """A size that is known now, as an int."""
    return canonical(as_expr(size)).value
