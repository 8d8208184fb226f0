"""Small valid tensor programs for hypothesis: elementwise, broadcast, moved, padded, reduced blocks behind one another.

    @given(programs(), st.data())
    def test(function, data):
        sizes = data.draw(sizes_of(function))
        arrays = arrays_for(function, sizes)
        interpret(function, arrays)

Integers add up to the same in any order (they wrap around), so that a schedule of a program of integers must give
equal bits. Floats are multiples of 1/4 near 0: short sums of them are exact too, products of products are not.
"""

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st
from sysai.compiler.tir.expr import INDEX, Buffer, Call, Const, Expr, Load, Select, Var, binary
from sysai.compiler.tir.interpret import infer_sizes, numpy_dtype
from sysai.compiler.tir.statement import REDUCE, SPATIAL, Allocate, Axis, Block, For, PrimFunc, Seq, Stmt

DTYPES = ("float32", "float64", "int32", "int64")
FLOAT_CALLS = ("exp", "tanh", "sigmoid", "erf", "abs", "floor", "sin")
ZERO, ONE = Const(0, INDEX), Const(1, INDEX)
Shape = tuple[Expr, ...]


@st.composite
def programs(
    draw: st.DrawFn,
    dtypes: tuple[str, ...] = DTYPES,
    max_blocks: int = 3,
    symbolic: bool = True,
    calls: bool = True,
    combiners: tuple[str, ...] = ("add", "max", "min", "mul"),
    min_blocks: int = 1,
    reduces: bool = False,
) -> PrimFunc:
    """A function of one dtype, of `min_blocks` to `max_blocks` blocks, each in a loop nest of its own.

    Args:
        dtypes: one of them is drawn.
        max_blocks: the most there are; later ones read what earlier ones store.
        symbolic: whether extents may be the sizes N and M; else all are constants.
        calls: whether values of floats contain functions such as exp.
        combiners: what reductions may combine with.
        min_blocks: the least there are.
        reduces: whether the last block is a reduction.
    """
    grower = _Grower(draw, draw(st.sampled_from(dtypes)), symbolic, calls, combiners)
    for missing in reversed(range(draw(st.integers(min_blocks, max_blocks)))):
        grower.add_block(reduces and missing == 0)
    return grower.finish()


def sizes_of(function: PrimFunc, least: int = 1, most: int = 5) -> st.SearchStrategy[dict[str, int]]:
    """Values of the sizes."""
    return st.fixed_dictionaries({size.name: st.integers(least, most) for size in function.sizes})


def arrays_for(function: PrimFunc, sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of small numbers for all buffers of the function, outputs as well."""
    values = {Var(name): value for name, value in sizes.items()}
    random = np.random.default_rng(seed)
    arrays = {}
    for buffer in function.buffers:
        shape = [extent.value if isinstance(extent, Const) else values[extent] for extent in buffer.shape]
        scale = 4 if buffer.dtype in ("float32", "float64", "float16", "bfloat16") else 1
        arrays[buffer.name] = np.asarray(random.integers(-6, 7, shape) / scale, numpy_dtype(buffer.dtype))
    assert infer_sizes(function, {name: array.shape for name, array in arrays.items()}, sizes) == dict(sizes)
    return arrays


class _Grower:
    """What there is to read, and the nests so far."""

    def __init__(self, draw: st.DrawFn, dtype: str, symbolic: bool, calls: bool, combiners: tuple[str, ...]):
        self.draw, self.dtype, self.calls, self.combiners = draw, dtype, calls, combiners
        self.float = dtype.startswith("float")
        self.sizes = (Var("N"), Var("M")) if symbolic else ()
        self.inputs: list[Buffer] = []
        self.results: list[Buffer] = []
        self.nests: list[Stmt] = []

    def finish(self) -> PrimFunc:
        body: Stmt = self.nests[0] if len(self.nests) == 1 else Seq(tuple(self.nests))
        outputs = [self.results[-1]]
        for buffer in self.results[:-1]:
            if self.draw(st.booleans()):
                outputs.append(buffer)
            else:
                body = Allocate(buffer, body)
        buffers = (*self.inputs, *outputs)
        sizes = {extent for buffer in buffers for extent in buffer.shape} & set(self.sizes)
        missing = {e for b in self.results for e in b.shape if e in self.sizes} - sizes
        if missing:  # a size that is only inside must be found from a shape as well
            sizes |= missing
            buffers = (Buffer("extra", tuple(sorted(missing, key=str)), self.dtype), *buffers)
        return PrimFunc("program", tuple(s for s in self.sizes if s in sizes), buffers, body)

    def extent(self) -> Expr:
        return self.draw(st.sampled_from((*self.sizes, *(Const(n, INDEX) for n in (1, 2, 3, 4, 5, 6)))))

    def shape(self, least: int = 1, most: int = 3) -> Shape:
        return tuple(self.extent() for _ in range(self.draw(st.integers(least, most))))

    def input(self, shape: Shape) -> Buffer:
        same = [buffer for buffer in self.inputs if buffer.shape == shape]
        if same and self.draw(st.booleans()):
            return same[0]
        self.inputs.append(Buffer(f"A{len(self.inputs)}", shape, self.dtype))
        return self.inputs[-1]

    def source(self) -> Buffer:
        """Something of one dimension or more, rather a result than an input."""
        candidates = [buffer for buffer in self.results if buffer.shape]
        return self.draw(st.sampled_from(candidates)) if candidates else self.input(self.shape())

    def number(self) -> Const:
        value = self.draw(st.integers(-3, 3))
        return Const(value / 2 if self.float else value, self.dtype)

    def add_block(self, reduces: bool) -> None:
        name = f"T{len(self.results)}"
        kinds = (self.pointwise, self.pointwise, self.reduction, self.product, self.moved, self.padded, self.flattened)
        kinds = (self.reduction, self.product) if reduces else kinds
        axes, indices, value, combine = self.draw(st.sampled_from(kinds))()
        init = None
        if combine:
            init = Const(
                {"add": 0, "mul": 1, "max": -100, "min": 100}[combine] * (1.0 if self.float else 1), self.dtype
            )
        shape = tuple(next(extent for var, extent, _ in axes if var == index) for index in indices)
        buffer = Buffer(name, shape, self.dtype)
        loops = {var: Var(f"{name.lower()}_{var.name}") for var, _, _ in axes}
        bound = tuple(Axis(var, extent, kind, loops[var]) for var, extent, kind in axes)
        nest: Stmt = Block(name, bound, buffer, indices, value, init, combine)
        for axis in self.draw(st.permutations(bound)):
            nest = For(loops[axis.var], axis.extent, nest)
        self.results.append(buffer)
        self.nests.append(nest)

    def axes(self, shape: Shape) -> list[tuple[Var, Expr, str]]:
        return [(Var(f"v{position}"), extent, SPATIAL) for position, extent in enumerate(shape)]

    def pointwise(self):
        axes = self.axes(self.source().shape)
        return axes, tuple(var for var, _, _ in axes), self.value(axes, depth=2), None

    def reduction(self):
        axes = self.axes(self.source().shape)
        reduced = self.draw(st.sets(st.sampled_from(range(len(axes))), min_size=1))
        axes = [(var, extent, REDUCE if i in reduced else kind) for i, (var, extent, kind) in enumerate(axes)]
        indices = tuple(var for var, _, kind in axes if kind == SPATIAL)
        return axes, indices, self.value(axes, depth=1), self.draw(st.sampled_from(self.combiners))

    def product(self):
        rows, columns, inner = self.extent(), self.extent(), self.extent()
        results = [buffer for buffer in self.results if len(buffer.shape) == 2]
        left = self.draw(st.sampled_from(results)) if results else self.input((rows, inner))
        right = self.input((left.shape[1], columns))
        i, j, k = Var("v0"), Var("v1"), Var("v2")
        axes = [(i, left.shape[0], SPATIAL), (j, columns, SPATIAL), (k, left.shape[1], REDUCE)]
        return axes, (i, j), left[i, k] * right[k, j], "add"

    def moved(self):
        source = self.source()
        order = self.draw(st.permutations(range(len(source.shape))))
        axes = self.axes(tuple(source.shape[position] for position in order))
        indices = {position: axes[place][0] for place, position in enumerate(order)}
        return axes, tuple(v for v, _, _ in axes), Load(source, tuple(indices[p] for p in sorted(indices))), None

    def padded(self):
        source = self.source()
        rows, *others = source.shape
        padded = rows + 2 if isinstance(rows, Const) else rows  # shapes are made of names and numbers
        axes = self.axes((padded, *others))
        first, *rest = (var for var, _, _ in axes)
        value = Select(binary("and", first > 0, first <= rows), Load(source, (first - 1, *rest)), self.number())
        return axes, (first, *rest), value, None

    def flattened(self):
        source = self.source()
        if len(source.shape) < 2 or not all(isinstance(extent, Const) for extent in source.shape[:2]):
            return self.pointwise()
        rows, columns, *others = source.shape
        axes = self.axes((rows * columns, *others))
        flat, *rest = (var for var, _, _ in axes)
        return axes, (flat, *rest), Load(source, (flat // columns, flat % columns, *rest)), None

    def value(self, axes: list[tuple[Var, Expr, str]], depth: int) -> Expr:
        if depth == 0:
            return self.leaf(axes)
        operation = self.draw(st.sampled_from(("add", "sub", "mul", "min", "max", "select", "call", "none")))
        if operation == "call" and self.float and self.calls:
            return Call(self.draw(st.sampled_from(FLOAT_CALLS)), self.value(axes, depth - 1))
        if operation == "select":
            a, b = self.value(axes, depth - 1), self.leaf(axes)
            return Select(a < self.number(), a, b)
        if operation in ("none", "call"):
            return self.value(axes, depth - 1)
        return binary(operation, self.value(axes, depth - 1), self.leaf(axes))

    def leaf(self, axes: list[tuple[Var, Expr, str]]) -> Expr:
        if self.draw(st.integers(0, 5)) == 0:
            return self.number()
        shape = tuple(extent for _, extent, _ in axes)
        candidates = [buffer for buffer in self.results if _broadcasts(buffer.shape, shape)]
        if candidates and self.draw(st.booleans()):
            buffer = self.draw(st.sampled_from(candidates))
        else:
            kept = axes[self.draw(st.integers(0, len(axes) - 1)) :]
            buffer = self.input(tuple(ONE if self.draw(st.integers(0, 4)) == 0 else extent for _, extent, _ in kept))
        last = axes[len(axes) - len(buffer.shape) :]
        pairs = zip(buffer.shape, last, strict=True)
        return Load(buffer, tuple(ZERO if extent == ONE else var for extent, (var, _, _) in pairs))


def _broadcasts(shape: Shape, to: Shape) -> bool:
    last = to[len(to) - len(shape) :]
    return len(shape) <= len(to) and all(a in (ONE, b) for a, b in zip(shape, last, strict=True))
