"""The body of a Triton kernel: from an element of a value at given coordinates to lines of text that compute it.

`Scope.element(value, place)` works backwards from what is wanted, and emits one line for each value that it comes
by: a load where the value is an operand of the group, arithmetic where a node of the group makes it. A "line" of
Triton computes a block of elements at once; coordinates are expressions of the block's variables (`rows`, `cols`,
...), of which each has a mask that says where it lies within the tensor. Elementwise chains, broadcasting and movement
are fused by nothing but this recursion; values wanted twice at the same place are computed once.

Half precision is computed in float32 and rounded where it is stored or cast, so a fused kernel is more accurate than
operators that run one after another.
"""

import keyword
import re
from collections.abc import Iterable, Sequence

from sysai.compiler.codegen.triton_operators import SYMBOLS, compute_dtype, emit_elementwise, number
from sysai.compiler.graph.graph import Graph, Node, Value
from sysai.compiler.graph.sizes import product
from sysai.compiler.passes.access import Indices, broadcast_indices, moved_indices, reshape_indices
from sysai.compiler.tir.arith import simplify, size_ranges
from sysai.compiler.tir.expr import (
    FALSE,
    TRUE,
    ZERO,
    Expr,
    Var,
    as_expr,
    binary,
    row_major,
    variables,
)

MOVED = ("reshape", "permute", "expand", "slice")
CONSTANTS = ("WIDE", "BLOCK", "BLOCK_R", "BLOCK_C", "BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP_M", "DOT_TYPE")
RESERVED = {*keyword.kwlist, *CONSTANTS, "tl", "triton", "torch", "range", "float", "max", "min", "pid", "start"}
RESERVED |= {"tiles_m", "tiles_n", "first_m", "group_m", "within", "tile_m", "tile_n", "combine_add", "combine_mul"}
RESERVED |= {"combine_max", "combine_min", "launch", "kernel", "grid", "constants", "device"}

Condition = tuple[str, frozenset[Var]]
"""A mask by its name, and the block's variables that it depends on."""


class UnsupportedGroup(ValueError):  # noqa: N818
    """A group of nodes that the Triton backend has no kernel for; the message says which node, and what to do."""


class Names:
    """Names for Python's variables: what is asked for, or that with a number."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = RESERVED | set(taken)

    def fresh(self, wanted: str) -> str:
        """A name that nobody has yet."""
        base = re.sub(r"\W", "_", wanted)
        base = f"_{base}" if base[:1].isdigit() or not base else base
        name, count = base, 1
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name


class Block:
    """What all scopes of one kernel share.

    Attributes:
        variables: the block's variables: their extents, and the names of their masks.
        rank: dimensions of a block.
        pointers, stored: parameters for tensors that are read and written, by the value's name.
        anchors: by the name of a value that is accumulated: the only place where it is known, and its name there.
    """

    def __init__(self, graph: Graph, rank: int) -> None:
        self.producers = graph.producers()
        self.sizes = [size.name for size in graph.sizes]
        self.ranges = size_ranges(graph.sizes, least=1)  # where an element exists
        self.names = Names(self.sizes)
        self.rank = rank
        self.pointers: dict[str, str] = {}
        self.stored: dict[str, str] = {}
        self.read: dict[str, Value] = {}
        self.extents: dict[Var, Expr] = {}
        self.masks: dict[Var, str] = {}
        self.depends: dict[Var, frozenset[Var]] = {}
        self.anchors: dict[str, tuple[Indices, str]] = {}

    def variable(self, name: str, extent: Expr) -> Var:
        """A variable of the block, with its mask."""
        var = Var(self.names.fresh(name))
        self.extents[var] = extent
        self.masks[var] = self.names.fresh(f"{name}_mask")
        self.depends[var] = frozenset({var})
        return var

    def pointer(self, value: Value) -> str:
        """The kernel's parameter for a tensor."""
        if value.name not in self.pointers:
            self.pointers[value.name] = self.names.fresh(f"{value.name}_ptr")
        return self.pointers[value.name]

    def depends_on(self, *exprs: Expr) -> frozenset[Var]:
        """The block's variables that expressions depend on, also by way of a gathered index."""
        found = (self.depends.get(var, frozenset()) for var in variables(*exprs))
        return frozenset().union(*found)

    def simple(self, indices: Iterable[Expr]) -> Indices:
        """Indices as simple as the extents of the block's variables allow."""
        ranges = {**self.ranges, **{var: (0, extent) for var, extent in self.extents.items()}}
        return tuple(simplify(index, ranges) for index in indices)

    def index(self, place: Indices, shape: Sequence[Expr]) -> Expr:
        """The row-major index of an element."""
        return self.simple([row_major(place, shape)])[0]

    def place(self, index: Expr, shape: Sequence[Expr]) -> Indices:
        """The element that has a row-major index."""
        return self.simple(reshape_indices([product(shape)], shape, (index,)))

    def unit(self) -> str:
        """The shape of one element that broadcasts to the block."""
        return f"({', '.join(['1'] * self.rank)}{',' if self.rank == 1 else ''})"


class Scope:
    """Lines that run one after another, and what they have computed.

    Attributes:
        own: variables that exist in this scope only; what depends on none of them is computed in the parent.
    """

    def __init__(self, block: Block, parent: "Scope | None" = None, own: Iterable[Var] = ()) -> None:
        self.block = block
        self.parent = parent
        self.own = frozenset(own)
        self.lines: list[str] = []
        self.known: dict[tuple[str, Indices, tuple[Condition, ...], bool], str] = {}

    def element(self, value: Value, place: Indices, under: tuple[Condition, ...] = (), stored: bool = False) -> str:
        """The name of a variable with the element of `value` at `place`.

        Args:
            under: conditions under which alone the place exists.
            stored: in the dtype in which it is stored, not in that in which it is computed.

        Raises:
            UnsupportedGroup: a node of another kind, or a sum that is wanted at more than its own place.
        """
        if self.parent and not under and not self.block.depends_on(*place) & self.own:
            return self.parent.element(value, place, under, stored)
        key = (value.name, place, under, stored)
        if key not in self.known:
            self.known[key] = self._compute(value, place, under, stored)
        return self.known[key]

    def emit(self, name: str, text: str) -> str:
        """A line `name = text`, with a fresh name, which is returned."""
        name = self.block.names.fresh(name)
        self.lines.append(f"{name} = {text}")
        return name

    def mask(self, *exprs: Expr, under: Sequence[Condition] = ()) -> str:
        """The conjunction of the masks of all variables of the expressions, and of conditions on these; '' if none."""
        variables = self.block.depends_on(*exprs)
        names = [mask for var, mask in self.block.masks.items() if var in variables]
        names += [name for name, needs in under if needs <= variables]
        return " & ".join(dict.fromkeys(names))

    def operand(self, value: Value, place: Indices, shape: str, needed: frozenset[Var], mask: str) -> str:
        """A whole block of `shape` in the dtype that is stored, 0 where the mask does not hold: what tl.dot wants.

        A plain load is left as it is, so that it can go to shared memory without passing through registers.
        """
        element = self.element(value, place, stored=True)
        while (node := self.block.producers.get(value.name)) is not None and node.op in MOVED:
            value, place = node.inputs[0], self.block.simple(moved_indices(node, place))
        if node is None and self.block.depends_on(self.block.index(place, value.shape)) == needed:
            return element
        return self.emit(f"{value.name}_block", f"tl.broadcast_to(tl.where({mask}, {element}, 0.0), {shape})")

    def _compute(self, value: Value, place: Indices, under: tuple[Condition, ...], stored: bool) -> str:
        if value.name in self.block.anchors:
            known_at, name = self.block.anchors[value.name]
            if place != known_at:
                raise UnsupportedGroup(f"{value.name} is wanted at more than its own place: end the group behind it")
            return name
        node = self.block.producers.get(value.name)
        if node is None:
            return self._load(value, place, under, stored)
        if stored and node.op not in MOVED and compute_dtype(value.dtype) != value.dtype:
            return f"{self.element(value, place, under)}.to(tl.{value.dtype})"
        match node.op:
            case "full":
                return self.emit(value.name, self._full(node))
            case "iota":
                zero = f"tl.full({self.block.unit()}, 0, tl.int64)"
                return self.emit(value.name, f"{zero} + {place[node.attributes['axis']]}")
            case "gather":
                return self._gather(node, place, under)
            case "concat":
                return self._concat(node, place, under)
            case "pad":
                return self._pad(node, place, under)
            case op if op in MOVED:
                return self.element(node.inputs[0], self.block.simple(moved_indices(node, place)), under, stored)
            case op if op in ("reduce", "matmul", "conv2d", "pool2d", "fallback"):
                raise UnsupportedGroup(f"{op} {value.name} does not go with the rest of its group: give it its own")
        texts = [
            self._literal(v) if self._is_literal(node, v) else self.element(v, broadcast_indices(v.shape, place), under)
            for v in node.inputs
        ]
        return emit_elementwise(node, texts, lambda text, part="": self.emit(f"{value.name}{part}", text))

    def _is_literal(self, node: Node, value: Value) -> bool:
        """A number that can stand in the text, because an operator between symbols gives it the other's dtype."""
        known = [self._is_number(operand) for operand in node.inputs]
        return node.op in SYMBOLS and not all(known) and self._is_number(value) and value.dtype != "bool"

    def _is_number(self, value: Value) -> bool:
        node = self.block.producers.get(value.name)
        return node is not None and node.op == "full" and not isinstance(node.attributes["value"], Expr)

    def _literal(self, value: Value) -> str:
        return number(self.block.producers[value.name].attributes["value"], value.dtype)

    def _full(self, node: Node) -> str:
        value, dtype = node.attributes["value"], compute_dtype(node.output.dtype)
        text = str(value) if isinstance(value, Expr) else number(value, dtype)
        return f"tl.full({self.block.unit()}, {text}, tl.{'int1' if dtype == 'bool' else dtype})"

    def _load(self, value: Value, place: Indices, under: tuple[Condition, ...], stored: bool) -> str:
        self.block.read.setdefault(value.name, value)
        index = self.block.index(place, value.shape)
        mask = self.mask(index, under=under)
        masked = f", mask={mask}, other=0" if mask else ""
        wide = "" if stored or compute_dtype(value.dtype) == value.dtype else ".to(tl.float32)"
        return self.emit(value.name, f"tl.load({self.block.pointer(value)} + {index}{masked}){wide}")

    def _gather(self, node: Node, place: Indices, under: tuple[Condition, ...]) -> str:
        table, indices = node.inputs
        axis, rank = node.attributes["axis"], len(indices.shape)
        where = place[axis : axis + rank]
        index = Var(self.element(indices, where, under))
        self.block.depends[index] = self.block.depends_on(*where)
        return self.element(table, (*place[:axis], index, *place[axis + rank :]), under)

    def _pad(self, node: Node, place: Indices, under: tuple[Condition, ...]) -> str:
        (operand,) = node.inputs
        source = tuple(at - as_expr(before) for at, before in zip(place, node.attributes["before"], strict=True))
        unpadded = [
            as_expr(before) == ZERO and as_expr(after) == ZERO
            for before, after in zip(node.attributes["before"], node.attributes["after"], strict=True)
        ]
        tests = [
            test
            for at, size, whole in zip(source, operand.shape, unpadded, strict=True)
            if not whole
            for test in (binary("le", 0, at), binary("lt", at, size))
        ]
        dtype = compute_dtype(node.output.dtype)
        fill = f"tl.full({self.block.unit()}, {number(node.attributes['value'], dtype)}, tl.{dtype})"
        return self._choose(node, tests, operand, source, fill, under)

    def _concat(self, node: Node, place: Indices, under: tuple[Condition, ...]) -> str:
        axis = node.attributes["axis"]
        start: Expr = ZERO
        pieces = []
        for operand in node.inputs:
            end = start + operand.shape[axis]
            at = place[axis]
            pieces.append((operand, (*place[:axis], at - start, *place[axis + 1 :]), start, end))
            start = end
        dtype = compute_dtype(node.output.dtype)
        chosen = f"tl.full({self.block.unit()}, 0, tl.{'int1' if dtype == 'bool' else dtype})"
        for operand, source, low, high in reversed(pieces):
            tests = [binary("le", low, place[axis]), binary("lt", place[axis], high)]
            chosen = self._choose(node, tests, operand, source, chosen, under)
        return chosen

    def _choose(
        self,
        node: Node,
        tests: list[Expr],
        operand: Value,
        source: Indices,
        otherwise: str,
        under: tuple[Condition, ...],
    ) -> str:
        """The operand's element where all tests hold, else another."""
        tests = [test for test in tests if test != TRUE]
        if FALSE in tests:
            return self.emit(node.output.name, otherwise)
        if not tests:
            return self.element(operand, source, under)
        inside = self.emit(f"{node.output.name}_inside", " & ".join(f"({test})" for test in tests))
        value = self.element(operand, source, (*under, (inside, self.block.depends_on(*tests))))
        return self.emit(node.output.name, f"tl.where({inside}, {value}, {otherwise})")
