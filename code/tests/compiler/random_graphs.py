"""Random graphs of small tensors, and inputs for them, for the tests of passes."""

import math

import torch
from hypothesis import strategies as st
from sysai.compiler.errors import InvalidGraph
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.interpret import TORCH_DTYPES
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.sizes import as_shape, canonical, evaluate, product
from sysai.compiler.tir.expr import Const, Var

B, T = Var("B"), Var("T")
SHAPES = ((B, T, 4), (T, 4), (4,), (B, 1, 4), (4, 4), ())
SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1, 1e30, math.inf, -math.inf, math.nan)
UNARY = ("exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sigmoid", "sin", "cos", "abs", "floor", "pow2")
EXACT_COMPOSITES = ("neg", "square", "reciprocal")
ALONG_AXES = ("softmax", "log_softmax", "cumsum", "mean", "var", "layer_norm", "rms_norm")
BINARY = ("add", "sub", "mul", "div", "min", "max")


@st.composite
def graphs(
    draw, steps: int = 10, composites: tuple[str, ...] = EXACT_COMPOSITES, along_axes: tuple[str, ...] = ()
) -> Graph:
    """A valid graph over sizes B and T. Its outputs are its last values, so that some nodes are dead, or all ends.

    Args:
        steps: how many nodes there are at most, about.
        composites: of one operand, without attributes.
        along_axes: composites of ALONG_AXES.
    """
    grower = _Grower(draw, composites, along_axes)
    for _ in range(draw(st.integers(1, steps))):
        grower.grow()
    return grower.graph()


def inputs_for(draw, graph: Graph, finite: bool = False) -> tuple[torch.Tensor, ...]:
    """Tensors for the inputs of a graph, with sizes of 1 to 3."""
    sizes = {"B": draw(st.integers(1, 3)), "T": draw(st.integers(1, 3))}
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    return tuple(_tensor(value, sizes, generator, finite) for value in graph.inputs)


def _tensor(value: Value, sizes: dict[str, int], generator: torch.Generator, finite: bool) -> torch.Tensor:
    shape = [evaluate(size, sizes) for size in value.shape]
    if value.dtype == "bool":
        return torch.rand(shape, generator=generator) < 0.5
    if value.dtype == "int64":
        return torch.randint(-4, 5, shape, generator=generator)
    tensor = torch.randn(shape, generator=generator, dtype=TORCH_DTYPES[value.dtype])
    chosen = torch.tensor(SPECIAL)[torch.randint(0, len(SPECIAL), shape, generator=generator)].to(tensor.dtype)
    return tensor if finite else torch.where(torch.rand(shape, generator=generator) < 0.3, chosen, tensor)


class _Grower:
    """A graph to which random nodes are added."""

    def __init__(self, draw, composites: tuple[str, ...], along_axes: tuple[str, ...]) -> None:
        self.draw, self.composites, self.along_axes = draw, composites, along_axes
        self.builder = Builder(["B", "T"])
        self.inputs = (self._input("x", (B, T, 4), "float32"), *(self._random_input(name) for name in "yz"))
        self.values = list(self.inputs)
        self.constants = {}
        if draw(st.booleans()):
            self.constants["weight"] = torch.tensor([[1.0, -0.0, 0.5, 2.0]] * 4)
            self.builder.fresh("weight")
            self.values.append(Value("weight", as_shape((4, 4)), "float32"))

    def _input(self, name: str, shape: tuple, dtype: str) -> Value:
        return Value(self.builder.fresh(name), as_shape(shape), dtype)

    def _random_input(self, name: str) -> Value:
        dtype = self.draw(st.sampled_from(["float32", "float32", "int64", "bool"]))
        return self._input(name, self.draw(st.sampled_from(SHAPES)), dtype)

    def graph(self) -> Graph:
        read = {value.name for node in self.builder.nodes for value in node.inputs}
        ends = [node.output for node in self.builder.nodes if node.output.name not in read]
        last = self.values[-self.draw(st.integers(1, 2)) :]
        outputs = tuple(ends if ends and self.draw(st.booleans()) else last)
        return Graph("random", (B, T), self.inputs, self.constants, tuple(self.builder.nodes), outputs)

    def grow(self) -> None:
        """Add what one of the ways below makes, if the drawn operands fit."""
        ways = (
            self._unary, self._binary, self._binary, self._literal, self._literal, self._compare, self._choose,
            self._cast, self._move, self._move, self._move, self._join, self._look_up, self._combine, self._multiply,
            self._detour,
        )  # fmt: skip
        ways += (self._along_axis, self._along_axis) if self.along_axes else ()
        mark = len(self.builder.nodes)
        try:
            self.values.append(self.draw(st.sampled_from(ways))())
        except InvalidGraph:
            del self.builder.nodes[mark:]

    def _any(self, *dtypes: str) -> Value:
        fitting = [value for value in self.values if not dtypes or value.dtype in dtypes]
        if not fitting:
            raise InvalidGraph("no value of these dtypes yet")
        return self.draw(st.sampled_from(fitting))

    def _alike(self, x: Value) -> Value:
        return self._any(x.dtype)

    def _unary(self) -> Value:
        return self.builder.emit(self.draw(st.sampled_from((*UNARY, *self.composites))), self._any("float32"))

    def _binary(self) -> Value:
        x = self._any()
        ops = ("and", "or") if x.dtype == "bool" else BINARY
        return self.builder.emit(self.draw(st.sampled_from(ops)), x, self._alike(x))

    def _literal(self) -> Value:
        """An operand that rules look for: a number."""
        x = self._any()
        if x.dtype == "bool":
            ops, number = ("and", "or", "eq", "ne"), self.draw(st.booleans())
        elif x.dtype == "int64":
            ops, number = ("add", "sub", "mul", "floordiv", "mod"), self.draw(st.sampled_from([1, -1, 2, 3]))
        else:
            ops, number = BINARY, self.draw(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 3.0, math.inf, -math.inf]))
        shape = self.draw(st.sampled_from([(), (), x.shape]))
        operands = [x, self.builder.full(number, x.dtype, shape)]
        if self.draw(st.booleans()) and x.dtype != "int64":
            operands.reverse()
        return self.builder.emit(self.draw(st.sampled_from(ops)), *operands)

    def _compare(self) -> Value:
        x = self._any()
        return self.builder.emit(self.draw(st.sampled_from(["lt", "le", "eq", "ne"])), x, self._alike(x))

    def _choose(self) -> Value:
        x = self._any()
        return self.builder.emit("select", self._any("bool"), x, self._alike(x))

    def _cast(self) -> Value:
        x = self._any()
        wider = {"float32": ["float32", "float64"], "float64": ["float32", "float64"]}
        return self.builder.emit("cast", x, dtype=self.draw(st.sampled_from(wider.get(x.dtype, ["int64", "float32"]))))

    def _move(self) -> Value:
        x = self._any()
        rank, emit = len(x.shape), self.builder.emit
        axis = self.draw(st.integers(0, max(rank - 1, 0)))
        match self.draw(st.sampled_from(["flat", "one", "permute", "expand", "slice", "pad", "full"])):
            case "flat":
                return emit("reshape", x, shape=(product(x.shape),))
            case "one":
                return emit("reshape", x, shape=(*x.shape[:axis], Const(1, "int64"), *x.shape[axis:]))
            case "permute":
                return emit("permute", x, order=tuple(self.draw(st.permutations(range(rank)))))
            case "expand":
                return emit("expand", x, shape=as_shape((self.draw(st.sampled_from([1, 2, B])), *x.shape)))
            case "slice" if rank:
                start = self.draw(st.integers(0, 1))
                stop = self.draw(st.sampled_from([x.shape[axis], canonical(x.shape[axis] - start)]))
                return emit("slice", x, axis=axis, start=start, stop=stop, step=self.draw(st.integers(1, 2)))
            case "pad":
                before, after = ([self.draw(st.integers(0, 1)) for _ in range(rank)] for _ in range(2))
                value = x.dtype == "bool" if x.dtype == "bool" else 0
                return emit("pad", x, before=tuple(before), after=tuple(after), value=value)
        return self.builder.full(1.0, "float32", x.shape)

    def _join(self) -> Value:
        x = self._any()
        axis = self.draw(st.integers(0, max(len(x.shape) - 1, 0)))
        return self.builder.emit("concat", *[x] * self.draw(st.integers(1, 2)), axis=axis)

    def _look_up(self) -> Value:
        table = self._any("float32")
        if not table.shape:
            raise InvalidGraph("a scalar is no table")
        indices = self.builder.emit("iota", axis=0, shape=table.shape[:1])
        return self.builder.emit("gather", table, indices, axis=0)

    def _combine(self) -> Value:
        x = self._any("float32", "int64")
        axes = self.draw(st.sets(st.integers(0, max(len(x.shape) - 1, 0)))) if x.shape else ()
        combine = self.draw(st.sampled_from(["add", "max", "min", "mul"]))
        return self.builder.emit("reduce", x, combine=combine, axes=tuple(axes), keepdim=self.draw(st.booleans()))

    def _along_axis(self) -> Value:
        x, op = self._any("float32"), self.draw(st.sampled_from(self.along_axes))
        if not x.shape:
            raise InvalidGraph("a scalar has no axis")
        axis = self.draw(st.integers(0, len(x.shape) - 1))
        match op:
            case "softmax" | "log_softmax" | "cumsum":
                return self.builder.emit(op, x, axis=axis)
            case "mean":
                return self.builder.emit(op, x, axes=(axis,), keepdim=self.draw(st.booleans()))
            case "var":
                keepdim, correction = self.draw(st.booleans()), self.draw(st.integers(0, 1))
                return self.builder.emit(op, x, axes=(axis,), keepdim=keepdim, correction=correction)
        return self.builder.emit(op, x, axes=(len(x.shape) - 1,), eps=1e-5)

    def _multiply(self) -> Value:
        a, b = self._any("float32"), self._any("float32")
        return self.builder.emit("matmul", a, b, transpose_b=self.draw(st.booleans()))

    def _detour(self) -> Value:
        """A value goes into a product, and past it: fused with what is made of it later, it would wait for itself."""
        emit, square = self.builder.emit, as_shape((4, 4))
        start = emit(self.draw(st.sampled_from(("abs", "tanh", "sigmoid"))), self._any("float32"))
        matrices = [value for value in self.values if (value.shape, value.dtype) == (square, "float32")]
        matrix = self.draw(st.sampled_from(matrices)) if matrices else self.builder.full(0.5, "float32", square)
        product = emit("matmul", start, matrix, transpose_b=self.draw(st.booleans()))
        past = emit("mul", start, self.builder.full(2.0, "float32", ()))
        self.values += [start, product, past]
        return emit("add", past, product)
