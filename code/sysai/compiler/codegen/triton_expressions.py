"""Scalar expressions as lines of a Triton kernel, with torch's results for NaN, infinities and negative numbers.

`Elements` follows the graph from a result back to what is in memory, as it does for C; here an expression becomes one
line for each operator. A line computes a block of elements at once: indices are expressions of the block's variables
(`r`, `c`, ...), of which each has a mask that says where it lies within the tensor. Equal expressions are computed
once, and what does not depend on the variable of a loop is computed before it.

Half precision is computed in float32 and rounded where it is stored or cast, so a fused kernel is more accurate than
operators that run one after another. What takes more than one line is a function of HELPERS, which the module gets if
it calls it. No function of Triton's library that is itself a kernel is called (`tl.sum`, `tl.sigmoid`): those were made
for the interpreter or for the compiler when Triton was first imported, anywhere in the process.
"""

import keyword
import math
import re
from collections.abc import Iterable, Sequence

from sysai.compiler import tir
from sysai.compiler.errors import UnsupportedGroup
from sysai.compiler.graph import Graph, Value
from sysai.compiler.graph.operators import operator_of
from sysai.compiler.graph.sizes import Indices, product, reshape_indices
from sysai.compiler.lowering.elements import Elements
from sysai.compiler.passes.groups import Group
from sysai.compiler.schedule.tree import numbered
from sysai.compiler.tir.arith import proves, simplify, size_ranges
from sysai.compiler.tir.expr import HALF, INDEX, Expr, Var

SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", **tir.COMPARISONS, "and": "&", "or": "|"}
QUOTIENTS = {"floordiv": "//", "mod": "%"}  # Triton rounds towards 0, which is the same for what is not negative
CALLS = {name: f"tl.{name}({{}})" for name in ("exp", "log", "sqrt", "rsqrt", "erf", "sin", "cos", "abs", "floor")}
CALLS |= {op: f"tl.{op}imum({{}}, {{}}, propagate_nan=tl.PropagateNan.ALL)" for op in tir.EXTREMES}
CALLS |= {"pow2": "tl.exp2({})", "sigmoid": "1.0 / (1.0 + tl.exp(-{}))", "tanh": "torch_tanh({})"}
CALLS |= {"nonzero": "{}", "mod": "torch_mod({}, {})", "floordiv": "torch_floordiv({}, {})"}
HELPERS = {
    **{f"combine_{op}(a, b)": f"return a {SYMBOLS[op]} b" for op in ("add", "mul")},
    **{f"combine_{op}(a, b)": f"return {CALLS[op].format('a', 'b')}" for op in tir.EXTREMES},
    "torch_mod(a, b)": """\
rest = a % b  # with the sign of the dividend; torch's has the divisor's
return tl.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)""",
    "torch_floordiv(a, b)": """\
inexact = (a % b != 0) & ((a < 0) != (b < 0))
return tl.where(inexact, a // b - 1, a // b)  # // goes towards 0, torch towards minus infinity""",
    "torch_floordiv_float(a, b)": """\
rest = a % b  # exact, where a / b may round up to the next integer
quotient = (a - rest) / b
quotient = tl.where((rest != 0) & ((rest < 0) != (b < 0)), quotient - 1.0, quotient)
floor = tl.floor(quotient)
return tl.where(b == 0, a / b, tl.where(quotient - floor > 0.5, floor + 1.0, floor))""",
    "torch_tanh(x)": """\
square = x * x  # near 0, where 1 - exp(-2x) would lose digits, a rational function (Moshier's Cephes library)
top = (-0.964399179425052238628 * square - 99.2877231001918586564) * square - 1614.68768441708447952
bottom = ((square + 112.81167849163293) * square + 2235.4883906010045) * square + 4844.0630532512549
near = x + x * square * (top / bottom)
decay = tl.exp(-2.0 * tl.abs(x))
far = tl.where(x < 0, decay - 1.0, 1.0 - decay) / (1.0 + decay)
return tl.where(square < 0.390625, near, far)""",
}
"""Functions of the generated module, by signature."""
CONSTANTS = ("WIDE", "BLOCK", "BLOCK_R", "BLOCK_C", "BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP_M", "DOT_TYPE")
RESERVED = {*keyword.kwlist, *CONSTANTS, "tl", "triton", "torch", "range", "float", "max", "min", "pid", "start"}
RESERVED |= {"tiles_m", "tiles_n", "first_m", "group_m", "within", "tile_m", "tile_n", "launch", "kernel", "grid"}
RESERVED |= {"constants", *(signature.split("(")[0] for signature in HELPERS)}

Guard = tuple[str, frozenset[Var]]
"""A mask by its name, and the block's variables that it depends on."""


def compute_dtype(dtype: str) -> str:
    """The dtype in which a value is computed: float32 for half precision."""
    return "float32" if dtype in HALF else dtype


def number(value: float, dtype: str) -> str:
    """A number as Triton's language writes it."""
    if dtype == "bool":
        return str(bool(value))
    if dtype not in tir.FLOATS:
        return str(int(value))
    return repr(float(value)) if math.isfinite(value) else f'float("{float(value)}")'


class Names:
    """Fresh names for Python's variables: the wanted one, or that with a number."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = RESERVED | set(taken)

    def fresh(self, wanted: str) -> str:
        """A name that nothing has yet."""
        base = re.sub(r"\W", "_", wanted)
        name = numbered(f"_{base}" if base[:1].isdigit() or not base else base, self.taken)
        self.taken.add(name)
        return name


def operands_of(graph: Graph) -> list[Value]:
    """The tensors that a kernel of the graph may read: inputs, then constants, each once."""
    produced = graph.producers()
    used = [value for node in graph.nodes for value in node.inputs] + list(graph.outputs)
    return list({value.name: value for value in (*graph.inputs, *used) if value.name not in produced}.values())


class KernelBlock:
    """The block of elements that a program computes: what all scopes of one kernel share.

    Attributes:
        elements: the expressions of the graph's values.
        rank: dimensions of the block.
        extents, masks: of the block's variables.
        pointers, stored: parameters for tensors that are read and written, by the value's name.
    """

    def __init__(self, graph: Graph, rank: int) -> None:
        operands = tuple(operands_of(graph))
        self.elements = Elements(Group("elementwise", graph.nodes, operands, graph.outputs, ()))
        self.operands = {self.elements.inputs[value.name].name: value for value in operands}
        self.sizes = [size.name for size in graph.sizes]
        self.ranges = dict(size_ranges(graph.sizes, least=1))  # where an element exists
        self.names = Names(self.sizes)
        self.rank = rank
        self.pointers: dict[str, str] = {}
        self.stored: dict[str, str] = {}
        self.extents: dict[Var, Expr] = {}
        self.masks: dict[Var, str] = {}
        self._variables: dict[Expr, frozenset[Var]] = {}
        for node in graph.nodes:
            if not operator_of(node).injective:
                self.elements.set_computed(node.output, lambda _, node=node: _refuse(node.op, node.output))

    def variable(self, name: str, extent: Expr, masked: bool = True) -> Var:
        """A variable of the block, with its mask; one that has a single value in a program needs none."""
        var = Var(self.names.fresh(name))
        self.extents[var], self.ranges[var] = extent, (0, extent)
        if masked:
            self.masks[var] = self.names.fresh(f"{name}_mask")
        return var

    def accumulate(self, value: Value, known_indices: Indices, name: str) -> None:
        """Let `name` hold the elements of a value, which are known at `known_indices` only."""

        def element(indices: Indices) -> Expr:
            if self.simple(indices) != known_indices:
                raise UnsupportedGroup(f"{value.name} is wanted at more than its own place: end the group after it")
            return tir.Load(tir.Buffer(name, value.shape, value.dtype, "local"), known_indices)

        self.elements.set_computed(value, element)

    def pointer(self, value: Value) -> str:
        """The kernel's parameter for a tensor."""
        if value.name not in self.pointers:
            self.pointers[value.name] = self.names.fresh(f"{value.name}_ptr")
        return self.pointers[value.name]

    def variables(self, expr: Expr) -> frozenset[Var]:
        """The masked variables of the block that an expression depends on."""
        if expr not in self._variables:
            own = {expr} if expr in self.masks else ()
            self._variables[expr] = frozenset(own).union(*map(self.variables, tir.children(expr)))
        return self._variables[expr]

    def simple(self, indices: Iterable[Expr]) -> Indices:
        """Indices as simple as the extents of the block's variables allow."""
        return tuple(simplify(index, self.ranges) for index in indices)

    def ravel(self, indices: Indices, shape: Sequence[Expr]) -> Expr:
        """The row-major index of an element."""
        return self.simple([tir.row_major(indices, shape)])[0]

    def unravel(self, index: Expr, shape: Sequence[Expr]) -> Indices:
        """The indices of the element that has a row-major index."""
        return self.simple(reshape_indices([product(shape)], shape, (index,)))

    def rounds_down(self, a: Expr, b: Expr) -> bool:
        """Whether Triton's quotient and remainder are Python's: neither number is negative."""
        return proves(a >= 0, self.ranges) and proves(b >= 0, self.ranges)

    def full(self, value: object, dtype: str) -> str:
        """A number as a tensor of one element that broadcasts to the block."""
        unit = f"({', '.join(['1'] * self.rank)}{',' if self.rank == 1 else ''})"
        return f"tl.full({unit}, {value}, tl.{'int1' if dtype == 'bool' else dtype})"


def _refuse(op: str, value: Value) -> Expr:
    raise UnsupportedGroup(f"{op} {value.name} does not go with the rest of its group: give it its own")


class Scope:
    """Lines that run one after another, and the values that they have computed.

    Attributes:
        own: variables that exist in this scope only; what depends on none of them is computed in the parent.
    """

    def __init__(self, block: KernelBlock, parent: "Scope | None" = None, own: Iterable[Var] = ()) -> None:
        self.block = block
        self.parent = parent
        self.own = frozenset(own)
        self.lines: list[str] = []
        self.values: dict[tuple[object, tuple[Guard, ...]], str] = {}

    def element(self, value: Value, indices: Indices) -> str:
        """The name of a variable with the elements of a value of the graph.

        Raises:
            UnsupportedGroup: there is a node of another kind, or a sum is wanted at more than its own place.
        """
        return self.value(self.block.elements.of(value, indices))

    def value(self, expr: Expr, guards: tuple[Guard, ...] = ()) -> str:
        """The name of a variable with the values of an expression, in the dtype in which it is computed.

        Args:
            guards: masks under which alone the elements exist that the expression loads.
        """
        if isinstance(expr, tir.Load) and expr.buffer.scope == "local":
            return expr.buffer.name
        if guards and not tir.depends_on_data(expr):
            guards = ()
        if self.parent and not guards and not self.block.variables(expr) & self.own:
            return self.parent.value(expr)
        if (expr, guards) not in self.values:
            self.values[expr, guards] = self._compute(expr, guards)
        return self.values[expr, guards]

    def emit(self, name: str, text: str) -> str:
        """A line `name = text`, with a fresh name, which is returned."""
        name = self.block.names.fresh(name)
        self.lines.append(f"{name} = {text}")
        return name

    def mask(self, index: Expr, guards: Sequence[Guard] = ()) -> str:
        """The conjunction of the masks of all variables of an index, and of guards that depend on these; '' if none."""
        variables = self.block.variables(index)
        names = [mask for var, mask in self.block.masks.items() if var in variables]
        names += [name for name, needs in guards if needs <= variables]
        return " & ".join(dict.fromkeys(names))

    def load(self, load: tir.Load, guards: tuple[Guard, ...] = ()) -> str:
        """The text that loads elements of a tensor, in the dtype in which they are stored."""
        value = self.block.operands[load.buffer.name]
        index = self.block.ravel(load.indices, load.buffer.shape)
        mask = self.mask(index, guards)
        masked = f", mask={mask}, other=0" if mask else ""
        return f"tl.load({self.block.pointer(value)} + {self.address(index, guards)}{masked})"

    def address(self, index: Expr, guards: tuple[Guard, ...] = ()) -> str:
        """An index as text, in 32 bits where tensors are small; what is not arithmetic in it gets lines of its own."""

        def named(part: Expr) -> Expr:
            match part:
                case tir.Const() | Var():
                    return part
                case tir.Binary("add" | "sub" | "mul" as op, a, b):
                    return tir.binary(op, named(a), named(b))
                case tir.Binary("floordiv" | "mod" as op, a, b) if self.block.rounds_down(a, b):
                    return tir.binary(op, named(a), named(b))
            return Var(self.value(part, guards))

        return str(named(index))

    def dot_operand(self, expr: Expr, dtype: str, shape: str, needed: frozenset[Var], mask: str) -> str:
        """A whole block of `shape` in the dtype that is stored, 0 where the mask does not hold: what tl.dot wants.

        A plain load is left as it is, so that it can go to shared memory without passing through registers.
        """
        if isinstance(expr, tir.Load):
            text = self.emit(self.block.operands[expr.buffer.name].name, self.load(expr))
            if self.block.variables(self.block.ravel(expr.indices, expr.buffer.shape)) == needed:
                return text
        else:
            text = self.value(expr) + (f".to(tl.{dtype})" if dtype in HALF else "")
        return self.emit("operand", f"tl.broadcast_to(tl.where({mask}, {text}, 0.0), {shape})")

    def _compute(self, expr: Expr, guards: tuple[Guard, ...]) -> str:
        if expr.dtype in (INDEX, "bool") and not tir.depends_on_data(expr):
            (expr,) = self.block.simple([expr])
        match expr:
            case tir.Const(value, dtype):
                return self.emit("full", self.block.full(number(value, dtype), compute_dtype(dtype)))
            case Var(name):
                return self.emit(f"{name}_wide", f"{self.block.full(0, INDEX)} + {name}")
            case tir.Load():
                name = self.block.operands[expr.buffer.name].name
                return self.emit(name, self.load(expr, guards) + (".to(tl.float32)" if expr.dtype in HALF else ""))
            case tir.Binary():
                return self._binary(expr, guards)
            case tir.Call(function, argument):
                return self.emit(self._name(expr, function), CALLS[function].format(self.value(argument, guards)))
            case tir.Select():
                return self._select(expr, guards)
            case tir.Cast(_, operand):
                return self._cast(expr, self.value(operand, guards))
        raise TypeError(f"not an expression: {expr!r}")

    def _name(self, expr: Expr, otherwise: str) -> str:
        """The name of the graph's value that an expression computes."""
        return self.block.elements.names.get(expr, otherwise)

    def _binary(self, expr: tir.Binary, guards: tuple[Guard, ...]) -> str:
        op, operands, dtype = expr.op, (expr.a, expr.b), expr.a.dtype
        symbol = SYMBOLS.get(op)
        if op in QUOTIENTS and dtype == INDEX and self.block.rounds_down(*operands):
            symbol = QUOTIENTS[op]
        # Between symbols a number can stand in the text, as it gets the other operand's dtype.
        if op == "within":  # not checked: a kernel on a GPU can report no error but end the process
            return self.value(expr.a, guards)
        constants = [isinstance(operand, tir.Const) for operand in operands]
        literal = symbol and dtype != "bool" and not all(constants)
        a, b = (
            number(operand.value, dtype) if constant and literal else self.value(operand, guards)
            for operand, constant in zip(operands, constants, strict=True)
        )
        text = f"{a} {symbol} {b}" if symbol else CALLS[op].format(a, b)
        if op == "floordiv" and dtype in tir.FLOATS:
            text = f"torch_floordiv_float({a}, {b})"
        return self.emit(self._name(expr, op), text)

    def _select(self, expr: tir.Select, guards: tuple[Guard, ...]) -> str:
        condition, a, b, name = expr.condition, expr.a, expr.b, self._name(expr, "select")
        if tir.depends_on_data(condition):
            texts = [self.value(operand, guards) for operand in (condition, a, b)]
            return self.emit(name, f"tl.where({', '.join(texts)})")
        # A condition on indices says which elements exist, of padding or of the parts of a concat: the others must
        # not be loaded, though Triton computes both sides.
        (condition,) = self.block.simple([condition])
        if condition in (tir.TRUE, tir.FALSE):
            return self.value(a if condition == tir.TRUE else b, guards)
        inside, needs = self.value(condition, guards), self.block.variables(condition)
        chosen = self.value(a, (*guards, (inside, needs)))
        if tir.depends_on_data(b):
            guards = (*guards, (self.emit("outside", f"~{inside}"), needs))
        return self.emit(name, f"tl.where({inside}, {chosen}, {self.value(b, guards)})")

    def _cast(self, expr: tir.Cast, x: str) -> str:
        target, source, name = expr.dtype, expr.value.dtype, self._name(expr, "cast")
        if target == "bool":
            return x if source == "bool" else self.emit(name, f"{x} != 0")
        if target in HALF:
            return self.emit(name, f"{x}.to(tl.{target}).to(tl.float32)")
        return x if compute_dtype(source) == target else self.emit(name, f"{x}.to(tl.{target})")
