"""The meaning of a tensor program: element after element, in numpy's arithmetic of the declared dtype.

This is the reference that schedules and generated code are compared with, so it is slow and obvious. Loops of every
kind run serially and in order. It refuses what would be undefined in C: an index outside, a read of an element of an
allocated buffer that nothing has been stored in, an integer divided by zero. And it refuses a reduction over an empty
axis that begins in its first iteration, which never comes; a decomposed one gives its initial value.
"""

import math
from collections.abc import Mapping

import numpy as np

from sysai.compiler import tir
from sysai.compiler.errors import EmptyReduction, UndefinedResult

Scalar = np.generic | int | bool

_BINARY = {name: row.function for name, row in tir.OPERATORS.items()} | {
    "min": lambda a, b: b if b < a or b != b else a,
    "max": lambda a, b: b if b > a or b != b else a,
}
_MATH = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "tanh": np.tanh,
    "erf": math.erf, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "sin": np.sin, "cos": np.cos, "abs": np.abs,
    "floor": np.floor, "pow2": np.exp2, "nonzero": lambda x: x,
}  # fmt: skip


def interpret(
    function: tir.PrimFunc, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Run the function on `arrays`, by buffer name; outputs are stored in place.

    Args:
        arrays: one for each of the function's buffers, of its dtype (bfloat16 as float32, rounded after each
            operation) and shape.
        sizes: values of the sizes by name; those that are a dimension of a buffer are found from the shapes.

    Returns:
        The sizes.

    Raises:
        ValueError: an array is missing, or has a wrong dtype or shape; a size is not known.
        UndefinedResult: an index is outside, an element is read before it is stored, an integer divided by zero, or
            elements that are reduced over an empty axis never initialized.
    """
    values = infer_sizes(function, {name: array.shape for name, array in arrays.items()}, sizes)
    require_initialized(function, values)
    for buffer in function.buffers:
        if arrays[buffer.name].dtype != numpy_dtype(buffer.dtype):
            raise ValueError(f"{buffer.name} is {buffer.dtype}, the array is {arrays[buffer.name].dtype}: convert it")
    run = _Interpreter(values, arrays)
    with np.errstate(all="ignore"):
        run.statement(function.body)
    return values


def infer_sizes(
    function: tir.PrimFunc, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The function's sizes, by name, from the shapes of its buffers.

    Raises:
        ValueError: a shape is missing or does not fit the others, or a size is in none as a dimension of its own.
    """
    values = dict(sizes or {})
    names = [buffer.name for buffer in function.buffers]
    for buffer in function.buffers:
        if buffer.name not in shapes:
            raise ValueError(f"no array for buffer {buffer.name}: {function.name} takes {', '.join(names)}")
        shape = shapes[buffer.name]
        if len(shape) != len(buffer.shape):
            raise ValueError(f"{buffer.name} has {len(buffer.shape)} dimensions, the array has shape {list(shape)}")
        for dimension, extent in zip(buffer.shape, shape, strict=True):
            if isinstance(dimension, tir.Var):
                values.setdefault(dimension.name, extent)
    for size in function.sizes:
        if size.name not in values:
            raise ValueError(f"the shapes don't tell {size.name}: pass sizes={{'{size.name}': ...}}")
    run = _Interpreter(values, {})
    for buffer in function.buffers:
        expected = [int(run.value(dimension)) for dimension in buffer.shape]
        if list(shapes[buffer.name]) != expected:
            raise ValueError(f"{buffer.name} should have shape {expected}, but has {list(shapes[buffer.name])}")
    return {size.name: values[size.name] for size in function.sizes}


def require_initialized(function: tir.PrimFunc, sizes: Mapping[str, int]) -> None:
    """Refuse sizes for which a reduction would not even initialize its elements.

    Raises:
        EmptyReduction: a block reduces over an empty axis, and has its init in the first iteration.
    """
    run = _Interpreter(sizes, {})
    for block in (block for block in tir.blocks(function.body) if block.init is not None):
        empty = {axis.kind for axis in block.axes if run.value(axis.extent) == 0}
        if empty == {tir.REDUCE}:
            raise EmptyReduction(
                f"{function.name}: block {block.name} reduces over an empty axis, so that its first iteration, which "
                "initializes, never comes: decompose the reduction"
            )


def numpy_dtype(dtype: str) -> np.dtype:
    """The dtype of the arrays of a buffer: bfloat16, which numpy lacks, stands in float32."""
    return np.dtype("float32" if dtype == "bfloat16" else dtype)


class _Interpreter:
    """Values of variables, arrays of buffers, and which elements of the allocated ones are stored."""

    def __init__(self, sizes: Mapping[str, int], arrays: Mapping[str, np.ndarray]):
        self.values = {tir.Var(name): value for name, value in sizes.items()}
        self.arrays = dict(arrays)
        self.stored: dict[str, np.ndarray] = {}
        self.where = ""

    def statement(self, stmt: tir.Stmt) -> None:
        match stmt:
            case tir.For(var, extent, body):
                for index in range(int(self.value(extent))):
                    self.values[var] = index
                    self.statement(body)
            case tir.Seq(stmts):
                for child in stmts:
                    self.statement(child)
            case tir.If(condition, body):
                if self.value(condition):
                    self.statement(body)
            case tir.Allocate(buffer, body):
                shape = tuple(int(self.value(extent)) for extent in buffer.shape)
                self.arrays[buffer.name] = np.zeros(shape, numpy_dtype(buffer.dtype))
                self.stored[buffer.name] = np.zeros(shape, bool)
                self.statement(body)
                del self.arrays[buffer.name], self.stored[buffer.name]
            case tir.Block():
                self.block(stmt)

    def block(self, block: tir.Block) -> None:
        self.where = f"block {block.name}"
        if not self.value(block.predicate):
            return
        bound = [int(self.value(axis.binding)) for axis in block.axes]
        for axis, index in zip(block.axes, bound, strict=True):
            self.values[axis.var] = index
            if not 0 <= index < self.value(axis.extent):
                raise UndefinedResult(f"{self.where}: axis {axis.var} is {index}, outside its extent {axis.extent}")
        starts = all(index == 0 for axis, index in zip(block.axes, bound, strict=True) if axis.kind == tir.REDUCE)
        if block.init is not None and starts:
            self.store(block.target, self.value(block.init))
        self.store(block.target, self.value(block.update))

    def store(self, target: tir.Load, value: Scalar) -> None:
        indices = self.indices(target)
        self.arrays[target.buffer.name][indices] = value
        if target.buffer.name in self.stored:
            self.stored[target.buffer.name][indices] = True

    def indices(self, load: tir.Load) -> tuple[int, ...]:
        indices = tuple(int(self.value(index)) for index in load.indices)
        shape = self.arrays[load.buffer.name].shape
        if not all(0 <= index < extent for index, extent in zip(indices, shape, strict=True)):
            raise UndefinedResult(f"{self.where}: {load} is {load.buffer.name}{list(indices)}, outside {list(shape)}")
        return indices

    def load(self, load: tir.Load) -> Scalar:
        indices = self.indices(load)
        stored = self.stored.get(load.buffer.name)
        if stored is not None and not stored[indices]:
            raise UndefinedResult(f"{self.where}: {load.buffer.name}{list(indices)} is read before it is stored")
        return self.arrays[load.buffer.name][indices]

    def value(self, expr: tir.Expr) -> Scalar:
        """The value of an expression: a Python integer for index arithmetic, else a numpy scalar of the dtype."""
        match expr:
            case tir.Const(value, dtype):
                return value if dtype == tir.INDEX else rounded(value, dtype)
            case tir.Var():
                return self.values[expr]
            case tir.Load():
                return self.load(expr)
            case tir.Select(condition, a, b):
                return self.value(a if self.value(condition) else b)
            case tir.Binary("and", a, b):
                return bool(self.value(a)) and bool(self.value(b))
            case tir.Binary("or", a, b):
                return bool(self.value(a)) or bool(self.value(b))
            case tir.Binary(op, a, b):
                left, right = self.value(a), self.value(b)
                if op in ("floordiv", "mod") and right == 0 and expr.dtype.startswith("int"):
                    raise UndefinedResult(f"{self.where}: division by zero in {expr}")
                if op == "within" and not 0 <= left < right:
                    raise UndefinedResult(f"{self.where}: {expr} of {left}, outside 0..{right - 1}")
                result = _BINARY[op](left, right)
                if op in tir.COMPARISONS:
                    return bool(result)
                return result if isinstance(result, int) else rounded(result, expr.dtype)
            case tir.Call(function, argument):
                return rounded(_MATH[function](self.value(argument)), expr.dtype)
            case tir.Cast(dtype, value):
                return rounded(self.value(value), dtype)
        raise TypeError(f"not an expression: {expr!r}")


def rounded(value: Scalar | float, dtype: str) -> Scalar:
    """The number in a dtype: rounded to even, or towards zero to integers, which wrap around as C's usually do."""
    if dtype == "bfloat16":
        bits = np.asarray(value, np.float32).view(np.uint32)
        nearest = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return np.float32(value) if np.isnan(value) else nearest.view(np.float32)[()]
    if isinstance(value, np.generic) and value.dtype == dtype:
        return value
    return np.asarray(value).astype(dtype)[()]
