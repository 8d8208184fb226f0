"""Tensors from numbers: full, arange, triangles."""

from sysai.compiler.graph.aten.translator import Translator, translates
from sysai.compiler.graph.graph import Value
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.tir.expr import FLOATS, Expr


def _full(t: Translator, value: float | Expr) -> Value:
    if not isinstance(value, Expr):
        value = bool(value) if t.dtype == "bool" else float(value) if t.dtype in FLOATS else int(value)
    return t.full(value, t.dtype, t.shape)


@translates("full.default", "full_like.default", "new_full.default")
def full(t: Translator, *arguments: object, **_) -> Value:
    """A number everywhere: the last argument by position."""
    return _full(t, arguments[-1])


@translates("scalar_tensor.default")
def scalar_tensor(t: Translator, value: float, **_) -> Value:
    """A number."""
    return _full(t, value)


@translates("zeros.default", "zeros_like.default", "new_zeros.default")
def zeros(t: Translator, *_, **__) -> Value:
    """Zeros."""
    return _full(t, 0)


@translates("ones.default", "ones_like.default", "new_ones.default")
def ones(t: Translator, *_, **__) -> Value:
    """Ones."""
    return _full(t, 1)


@translates("arange.default")
def arange(t: Translator, end: float | Expr, **keywords) -> Value:
    """From 0."""
    return arange_step(t, 0, end, **keywords)


@translates("arange.start", "arange.start_step")
def arange_step(t: Translator, start: float | Expr, end: float | Expr, step: float | Expr = 1, **_) -> Value:
    """start + step * index, in integers where all are, as torch computes it."""
    index = t.emit("iota", axis=0, shape=t.shape)
    integral = all(isinstance(number, int | Expr) for number in (start, end, step))
    dtype = "int64" if integral else t.dtype
    index = t.cast(index, dtype)
    if step != 1:
        index = t.emit("mul", index, t.operand(step, dtype))
    if start != 0:
        index = t.emit("add", index, t.operand(start, dtype))
    return t.cast(index, t.dtype)


def _triangle(t: Translator, x: Value, diagonal: int, lower: bool) -> Value:
    """x on one side of a diagonal, the diagonal included, and 0 on the other."""
    shape = as_shape(x.shape[-2:])
    row, column = (t.emit("iota", axis=axis, shape=shape) for axis in (0, 1))
    edge = t.emit("add", row, t.operand(diagonal, "int64")) if diagonal else row
    kept = t.emit("le", column, edge) if lower else t.emit("le", edge, column)
    return t.emit("select", kept, x, t.operand(0, x.dtype))


@translates("triu.default")
def triu(t: Translator, x: Value, diagonal: int = 0) -> Value:
    """The upper triangle."""
    return _triangle(t, x, diagonal, lower=False)


@translates("tril.default")
def tril(t: Translator, x: Value, diagonal: int = 0) -> Value:
    """The lower triangle."""
    return _triangle(t, x, diagonal, lower=True)


@translates("empty.memory_format", "empty_like.default", "new_empty.default")
def empty(t: Translator, *_, **__) -> Value:
    """Whatever stands there; zeros here."""
    return _full(t, 0)
