"""Groups of nodes as fusion makes them: small graphs for the tests of what generates kernels."""

from collections.abc import Callable, Sequence

from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.operators import Builder
from sysai.compiler.graph.sizes import as_shape
from sysai.compiler.tir.expr import Expr, Var

T = Var("T")
Size = int | Expr


def group(
    name: str, inputs: dict[str, tuple[Sequence[Size], str]], build: Callable[..., Value | tuple[Value, ...]]
) -> Graph:
    """A graph with the inputs given as name: (shape, dtype), and what `build(builder, *values)` makes of them."""
    builder = Builder(inputs)
    values = tuple(Value(key, as_shape(shape), dtype) for key, (shape, dtype) in inputs.items())
    outputs = build(builder, *values)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sizes = dict.fromkeys(size for value in values for size in value.shape if isinstance(size, Var))
    return Graph(name, tuple(sizes), values, {}, tuple(builder.nodes), outputs)


def softmax(shape: Sequence[Size], dtype: str = "float32") -> Graph:
    axes = (len(shape) - 1,)

    def build(g: Builder, x: Value) -> Value:
        top = g.emit("reduce", x, combine="max", axes=axes, keepdim=True)
        weights = g.emit("exp", g.emit("sub", x, top))
        return g.emit("div", weights, g.emit("reduce", weights, combine="add", axes=axes, keepdim=True))

    return group("softmax", {"x": (shape, dtype)}, build)


def column_sums(shape: Sequence[Size], dtype: str = "float32") -> Graph:
    return group(
        "column_sums", {"x": (shape, dtype)}, lambda g, x: g.emit("reduce", x, combine="add", axes=(0,), keepdim=True)
    )


def layer_norm(shape: Sequence[Size], dtype: str = "float32") -> Graph:
    """With statistics in float32, as torch has them."""
    axes, columns = (len(shape) - 1,), shape[-1]

    def build(g: Builder, x: Value, weight: Value, bias: Value) -> Value:
        wide = dtype if dtype == "float64" else "float32"
        number = g.full(columns, wide)
        x = g.cast(x, wide)
        mean = g.emit("div", g.emit("reduce", x, combine="add", axes=axes, keepdim=True), number)
        centred = g.emit("sub", x, mean)
        squares = g.emit("reduce", g.emit("mul", centred, centred), combine="add", axes=axes, keepdim=True)
        scale = g.emit("rsqrt", g.emit("add", g.emit("div", squares, number), g.full(1e-5, wide)))
        normal = g.emit("mul", centred, scale)
        return g.cast(g.emit("add", g.emit("mul", normal, g.cast(weight, wide)), g.cast(bias, wide)), dtype)

    return group("layer_norm", {"x": (shape, dtype), "weight": ((columns,), dtype), "bias": ((columns,), dtype)}, build)


def rms_norm_residual(shape: Sequence[Size], dtype: str = "float32") -> Graph:
    """The sum with the residual is an output as well; the mean loses its axis and gets it back by a reshape."""
    axes, columns = (len(shape) - 1,), shape[-1]

    def build(g: Builder, x: Value, residual: Value, weight: Value) -> tuple[Value, ...]:
        total = g.emit("add", x, residual)
        squares = g.emit("reduce", g.emit("mul", total, total), combine="add", axes=axes, keepdim=False)
        mean = g.emit("div", squares, g.full(columns, dtype))
        scale = g.reshape(g.emit("rsqrt", g.emit("add", mean, g.full(1e-6, dtype))), (*shape[:-1], 1))
        return g.emit("mul", g.emit("mul", total, scale), weight), total

    inputs = {"x": (shape, dtype), "residual": (shape, dtype), "weight": ((columns,), dtype)}
    return group("rms_norm", inputs, build)


def gelu_tanh(g: Builder, x: Value) -> Value:
    dtype = x.dtype
    cube = g.emit("mul", g.emit("mul", x, x), x)
    inner = g.emit("add", x, g.emit("mul", cube, g.full(0.044715, dtype)))
    gate = g.emit("tanh", g.emit("mul", inner, g.full(0.7978845608028654, dtype)))
    return g.emit("mul", g.emit("mul", x, g.full(0.5, dtype)), g.emit("add", gate, g.full(1.0, dtype)))


def gelu_erf(g: Builder, x: Value) -> Value:
    gate = g.emit("erf", g.emit("mul", x, g.full(0.7071067811865476, x.dtype)))
    return g.emit("mul", g.emit("mul", x, g.full(0.5, x.dtype)), g.emit("add", gate, g.full(1.0, x.dtype)))


def bias_gelu(
    shape: Sequence[Size], dtype: str = "float32", gelu: Callable[[Builder, Value], Value] = gelu_erf
) -> Graph:
    def build(g: Builder, x: Value, bias: Value) -> Value:
        return gelu(g, g.emit("add", x, bias))

    return group("bias_gelu", {"x": (shape, dtype), "bias": (shape[-1:], dtype)}, build)


def linear_gelu(rows: Sequence[Size], K: Size, N: Size, dtype: str = "float32") -> Graph:
    """x [rows..., K], weight [N, K]: the product with a transposed matrix, bias, GELU; two rows are made one for it."""

    def build(g: Builder, x: Value, weight: Value, bias: Value) -> Value:
        flat = x if len(rows) == 1 else g.reshape(x, (rows[0] * rows[1], K))
        product = g.emit("matmul", flat, weight, transpose_b=True)
        product = product if len(rows) == 1 else g.reshape(product, (*rows, N))
        return gelu_tanh(g, g.emit("add", product, bias))

    return group("linear_gelu", {"x": ((*rows, K), dtype), "weight": ((N, K), dtype), "bias": ((N,), dtype)}, build)


def product(a: Sequence[Size], b: Sequence[Size], transpose_b: bool = False, dtype: str = "float32") -> Graph:
    return group(
        "product", {"a": (a, dtype), "b": (b, dtype)}, lambda g, a, b: g.emit("matmul", a, b, transpose_b=transpose_b)
    )
