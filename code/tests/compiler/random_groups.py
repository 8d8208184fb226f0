"""Random groups of nodes for hypothesis: elementwise, moved, broadcast, reduced along the last axes.

Operations and numbers (multiples of a quarter) are such that results are exact, and comparisons can't go wrong by them.
"""

import torch
from hypothesis import strategies as st
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.sizes import as_shape, evaluate, product, same
from sysai.compiler.tir.expr import Const, Expr, Var

BINARY = ("add", "sub", "mul", "min", "max")
UNARY = ("abs", "floor")
MOVES = ("reshape", "permute", "slice", "pad", "concat", "expand", "gather")
DTYPES = ("float64", "float32", "int64", "int32")


@st.composite
def pointwise_groups(draw: st.DrawFn) -> tuple[Graph, tuple[torch.Tensor, ...]]:
    """A group of injective nodes with one or two outputs of one shape, and inputs for it."""
    grower = Grower(draw, draw(st.sampled_from(DTYPES)))
    value = grower.input(grower.shape(draw(st.integers(1, 3))))
    for _ in range(draw(st.integers(1, 6))):
        value = grower.step(value)
    outputs = (value,) if draw(st.booleans()) else (value, grower.elementwise(value))
    return grower.finish(tuple(dict.fromkeys(v for v in outputs if v.shape == outputs[0].shape)))


@st.composite
def row_groups(draw: st.DrawFn) -> tuple[Graph, tuple[torch.Tensor, ...]]:
    """A group with reductions along the last axes, one behind the other or side by side."""
    grower = Grower(draw, draw(st.sampled_from(("float64", "int64", "int32"))))
    shape = grower.shape(draw(st.integers(2, 3)))
    axes = tuple(range(draw(st.integers(1, len(shape) - 1)), len(shape)))
    value = grower.elementwise(grower.input(shape))
    for _ in range(draw(st.integers(1, 3))):
        combine = draw(st.sampled_from(("add", "max", "min")))
        if draw(st.booleans()):
            row = grower.builder.emit("reduce", value, combine=combine, axes=axes, keepdim=True)
        else:
            row = grower.builder.emit("reduce", value, combine=combine, axes=axes, keepdim=False)
            row = grower.builder.reshape(row, (*shape[: axes[0]], *[1] * len(axes)))
        value = grower.builder.emit(draw(st.sampled_from(("sub", "max", "add"))), value, grower.elementwise(row))
        value = grower.elementwise(value)
    return grower.finish((row,) if draw(st.booleans()) else (value, row))


class Grower:
    """A graph that grows by random nodes; every dimension of an input may be a size that only its shape tells."""

    def __init__(self, draw: st.DrawFn, dtype: str) -> None:
        self.draw, self.dtype = draw, dtype
        self.builder = Builder({"T"})
        self.inputs: list[Value] = []
        self.T = draw(st.integers(1, 5))

    def shape(self, rank: int) -> tuple[Expr, ...]:
        sizes = [self.draw(st.integers(1, 5)) for _ in range(rank)]
        symbolic = self.draw(st.integers(-1, rank - 1))
        return as_shape(Var("T") if axis == symbolic else size for axis, size in enumerate(sizes))

    def input(self, shape: tuple[Expr, ...]) -> Value:
        value = Value(self.builder.fresh("x"), shape, self.dtype)
        self.inputs.append(value)
        return value

    def operand(self, shape: tuple[Expr, ...]) -> Value:
        """What broadcasts to the shape: a number, or an input that lacks some of its axes."""
        if self.draw(st.booleans()):
            number = self.draw(st.integers(-3, 3)) if "int" in self.dtype else self.draw(st.integers(-12, 12)) / 4
            return self.builder.full(number, self.dtype)
        kept = [size if self.draw(st.booleans()) else Const(1, "int64") for size in shape]
        return self.input(tuple(kept[self.draw(st.integers(0, len(kept))) :]))

    def elementwise(self, value: Value) -> Value:
        emit, floating = self.builder.emit, self.dtype.startswith("float")
        kind = self.draw(st.sampled_from(("unary", "binary", "select", "index") if floating else ("binary", "select")))
        if kind == "unary":
            return emit(self.draw(st.sampled_from(UNARY)), value)
        if kind == "index" and value.shape:
            axis = self.draw(st.integers(0, len(value.shape) - 1))
            return emit("mul", value, self.builder.cast(emit("iota", axis=axis, shape=value.shape), self.dtype))
        other = self.operand(value.shape)
        if kind == "select":
            return emit("select", emit(self.draw(st.sampled_from(("lt", "le", "ne"))), value, other), other, value)
        op = self.draw(st.sampled_from(BINARY))
        return emit(op, value, other) if self.draw(st.booleans()) else emit(op, other, value)

    def step(self, value: Value) -> Value:
        move = self.draw(st.sampled_from((*MOVES, *["elementwise"] * len(MOVES))))
        return getattr(self, move)(value)

    def reshape(self, value: Value) -> Value:
        axis = self.draw(st.integers(0, max(0, len(value.shape) - 2)))
        merged = (*value.shape[:axis], product(value.shape[axis : axis + 2]), *value.shape[axis + 2 :])
        return self.builder.reshape(value, self.draw(st.sampled_from((merged, (*value.shape, 1), (1, *value.shape)))))

    def permute(self, value: Value) -> Value:
        return self.builder.emit("permute", value, order=tuple(self.draw(st.permutations(range(len(value.shape))))))

    def expand(self, value: Value) -> Value:
        shape = tuple(Const(2, "int64") if same(size, 1) else size for size in value.shape)
        return self.builder.emit("expand", value, shape=as_shape((self.draw(st.integers(1, 2)), *shape)))

    def slice(self, value: Value) -> Value:
        fixed = [axis for axis, size in enumerate(value.shape) if isinstance(size, Const) and size.value > 1]
        if not fixed:
            return value
        axis = self.draw(st.sampled_from(fixed))
        start = self.draw(st.integers(0, value.shape[axis].value - 1))
        stop, step = self.draw(st.integers(start + 1, value.shape[axis].value)), self.draw(st.integers(1, 2))
        return self.builder.emit("slice", value, axis=axis, start=start, stop=stop, step=step)

    def pad(self, value: Value) -> Value:
        sizes = [tuple(self.draw(st.integers(0, 2)) for _ in value.shape) for _ in range(2)]
        return self.builder.emit("pad", value, before=sizes[0], after=sizes[1], value=self.draw(st.integers(-1, 1)))

    def concat(self, value: Value) -> Value:
        axis = self.draw(st.integers(0, len(value.shape) - 1))
        return self.builder.emit("concat", value, self.elementwise(value), axis=axis)

    def gather(self, value: Value) -> Value:
        axis = self.draw(st.integers(0, len(value.shape) - 1))
        size, emit = value.shape[axis], self.builder.emit
        count = self.builder.full(size, "int64")
        indices = emit("iota", axis=0, shape=as_shape((self.draw(st.integers(1, 4)),)))
        return emit("gather", value, emit("mod", emit("sub", indices, self.builder.full(2, "int64")), count), axis=axis)

    def finish(self, outputs: tuple[Value, ...]) -> tuple[Graph, tuple[torch.Tensor, ...]]:
        """The graph, and an input for each of its inputs."""
        bound = any(size == Var("T") for value in self.inputs for size in value.shape)
        generator = torch.Generator().manual_seed(self.draw(st.integers(0, 99)))
        tensors = []
        for value in self.inputs:
            shape = [evaluate(size, {"T": self.T}) for size in value.shape]
            numbers = torch.randint(-8, 9, shape, generator=generator)
            tensors.append((numbers / 4 if self.dtype.startswith("float") else numbers).to(getattr(torch, self.dtype)))
        sizes = (Var("T"),) if bound else ()
        graph = Graph("group", sizes, tuple(self.inputs), {}, tuple(self.builder.nodes), outputs)
        return graph, tuple(tensors)
