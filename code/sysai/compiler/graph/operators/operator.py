"""A row of the table of operators, and what rows are written with: checks of shapes, and arguments of ATen's operators.

In the files of the rows `_softmax_type` would infer, `_softmax_tensor` be the reference and `_softmax` translate, where
that takes more than a line. An operator of ATen that becomes several nodes, or none, stands in `TRANSLATIONS` there.

The class of an operator is all that fusion has to know about it: which elements of its operands an element of its
output needs (TVM, Chen et al., OSDI 2018, arXiv 1802.04799, section 3, has the same idea with four classes).

    elementwise   those at the same place; operands are broadcast by numpy's rules
    movement      one element of one operand, elsewhere: reshape, permute, expand, slice, concat, gather, pad
    source        none: full, iota
    reduction     many elements of one operand: reduce, pool2d
    matmul        rows of one operand with columns of another: matmul, conv2d
    composite     those of the operators that it is made of
    opaque        nothing is known: fallback

The first three are `injective`: whoever reads the output can as well compute it where it is read.

torch is handed to the references, and the `t` of a translation is the importer's `Translator` (`translator.py`): the
table itself imports neither, as it is read in pages of a browser, which has no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Value
from sysai.compiler.graph.sizes import as_shape, canonical, same
from sysai.compiler.tir.expr import FLOATS, Const, Expr, as_expr

if TYPE_CHECKING:
    from torch import Tensor

ELEMENTWISE, MOVEMENT, SOURCE = "elementwise", "movement", "source"
REDUCTION, MATMUL, OPAQUE, COMPOSITE = "reduction", "matmul", "opaque", "composite"
INJECTIVE = (ELEMENTWISE, MOVEMENT, SOURCE)
MANY = 1 << 16

Type = tuple[tuple[Expr, ...], str]
Axes = int | Sequence[int] | None
Translation = Callable[..., object]


class NotTranslatable(Exception):  # noqa: N818
    """This use of an ATen operator has no translation, for the reason given: a fallback, or UnsupportedOperator."""


class Decomposition(NamedTuple):
    """A rule of `passes/rewrite.py` as text; not `exact` where it rounds otherwise than the reference."""

    pattern: str
    replacement: str
    where: str = "True"
    exact: bool = False


@dataclass(frozen=True)
class Operator:
    """All that is known about an operator.

    Attributes:
        name: as `Node.op` has it.
        kind: its class.
        operands: how many there are, or at least and at most.
        attributes: their names; all are required.
        infer: (*operands, **attributes) -> (shape, dtype) of the output; raises InvalidGraph. Sizes may be
            expressions; where two must be equal, they must be so for all sizes.
        reference: (torch, *operands, **attributes) -> the output as torch computes it, from tensors, and attributes
            in which sizes have become numbers. Everything that the compiler generates is compared with it.
        decomposition: what a composite is made of, by one rule or several.
        in_float32: whether torch computes it in float32 where the operands are of half precision.
        aten: the operators of ATen that are this one; "add.Tensor" is short for "aten.add.Tensor".
        translate: (t, *arguments, **keywords) of those -> the result. Tensors are `Value`s here, dynamic
            sizes are expressions, the rest is as torch has it; raises NotTranslatable.
    """

    name: str
    kind: str
    operands: int | tuple[int, int]
    attributes: tuple[str, ...] = ()
    _: KW_ONLY
    infer: Callable[..., Type]
    reference: "Callable[..., Tensor]"
    decomposition: Decomposition | tuple[Decomposition, ...] = ()
    in_float32: bool = False
    aten: tuple[str, ...] = ()
    translate: Translation | None = None

    @property
    def arity(self) -> tuple[int, int]:
        """How many operands there are at least and at most."""
        return self.operands if isinstance(self.operands, tuple) else (self.operands, self.operands)

    @property
    def decompositions(self) -> tuple[Decomposition, ...]:
        """The rules that take it apart; none for core operators."""
        return (self.decomposition,) if isinstance(self.decomposition, Decomposition) else self.decomposition

    @property
    def injective(self) -> bool:
        """Whether an element of the output needs at most one element of each operand."""
        return self.kind in INJECTIVE


def require(condition: bool, message: str | Callable[[], str]) -> None:
    """Raise InvalidGraph unless the condition holds; a message that takes time to write is given as a function."""
    if not condition:
        raise InvalidGraph(message if isinstance(message, str) else message())


def refuse(condition: object, reason: str) -> None:
    """Raise NotTranslatable where the condition holds."""
    if condition:
        raise NotTranslatable(reason)


def broadcast(*shapes: Sequence[Expr]) -> tuple[Expr, ...]:
    """The shape that shapes have together by numpy's rules: a size of 1, or a missing one, fits any other."""
    rank = max(map(len, shapes))
    result = []
    for axis in range(-rank, 0):
        sizes = [shape[axis] for shape in shapes if len(shape) >= -axis]
        wide = [size for size in sizes if not same(size, 1)]
        if not all(same(size, wide[0]) for size in wide[1:]):
            words = ", ".join(map(str, sizes))
            raise InvalidGraph(f"sizes {words} of axis {axis} do not fit together (equal ones or 1 do)")
        result.append(wide[0] if wide else Const(1, "int64"))
    return as_shape(result)


def one_dtype(*operands: Value) -> str:
    """The dtype of the operands, which must have the same."""
    dtypes = sorted({value.dtype for value in operands})
    require(len(dtypes) == 1, f"operands of {dtypes}: cast them to one dtype")
    return dtypes[0]


def number_dtype(*operands: Value) -> str:
    """The dtype of the operands, which must have the same, and not bool."""
    dtype = one_dtype(*operands)
    require(dtype != "bool", "does not take bool: cast first")
    return dtype


def float_dtype(*operands: Value) -> str:
    """The dtype of the operands, which must have the same one of FLOATS."""
    dtype = number_dtype(*operands)
    require(dtype in FLOATS, f"takes floats, not {dtype}: cast first")
    return dtype


def bool_dtype(*operands: Value) -> str:
    """bool, which all operands must be."""
    dtype = one_dtype(*operands)
    require(dtype == "bool", f"takes bool, not {dtype}: compare, or cast first")
    return dtype


def broadcast_type(check: Callable[..., str], *operands: Value, dtype: str = "") -> Type:
    """The type of an elementwise operator whose operands `check` accepts, of the dtype that it gives, or another."""
    accepted = check(*operands)
    return broadcast(*(value.shape for value in operands)), dtype or accepted


broadcast_numbers = partial(broadcast_type, number_dtype)
broadcast_floats = partial(broadcast_type, float_dtype)


def check_axes(axes: Sequence[int], shape: Sequence[Expr]) -> None:
    """Axes are numbered from 0 (no negative ones), each at most once."""
    require(all(0 <= axis < len(shape) for axis in axes), f"axes {list(axes)} must lie in 0..{len(shape) - 1}")
    require(len(set(axes)) == len(axes), f"axes {list(axes)} name one twice")


def reduced_shape(shape: Sequence[Expr], axes: Sequence[int], keepdim: bool) -> tuple[Expr, ...]:
    """A shape whose `axes` are gone, or of size 1."""
    check_axes(axes, shape)
    ones = [Const(1, "int64") if axis in axes else size for axis, size in enumerate(shape)]
    return tuple(size for axis, size in enumerate(ones) if keepdim or axis not in axes)


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front."""
    return axis + rank if axis < 0 else axis


def axes_of(axes: Axes, rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in order; all where none are given."""
    if isinstance(axes, int):
        axes = [axes]
    return tuple(sorted(axis_of(axis, rank) for axis in axes)) if axes else tuple(range(rank))


def pair(numbers: int | Sequence[int]) -> tuple[int, int]:
    """One number for both spatial axes, or one for each."""
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    return numbers * 2 if len(numbers) == 1 else numbers


def known(size: Expr | int) -> int | None:
    """A size as an int, or None where only the run time knows it."""
    size = canonical(as_expr(size))
    return size.value if isinstance(size, Const) else None
