"""Groups over rows: reductions, and the elementwise operators on their results, one row at a time.

For each row, one after the other while the row is in the nearest cache:

    for each reduction          one pass over the row: acc = combine(acc, element), and on the way each costly element
                                that a later pass needs too is kept, where a result's row will be or in a buffer
    for each result             its elements, or its one element

Inputs and outputs are moved once; softmax operator by operator moves four times as much. Where the last axis is not
reduced, a row's elements lie far apart, but those of neighbouring rows side by side. Each pass then goes over all rows,
these innermost: for the elements of a row, for the rows, acc[row] = combine(...). A library has softmax and LayerNorm
written like this; rows that come out of fusion may hold anything.
"""

from dataclasses import replace

from sysai.compiler.graph import Node, Value
from sysai.compiler.graph.operators import ELEMENTWISE, operator_of
from sysai.compiler.graph.sizes import Indices, product, same
from sysai.compiler.lowering.elements import Elements, Loop, allocate, block, indices, mergeable_axes, nested, spatial
from sysai.compiler.passes.groups import COSTLY, FULL, ROW, Group
from sysai.compiler.tir.expr import INDEX, ONE, TRUE, ZERO, Buffer, Const, Expr, Load, Select, binary
from sysai.compiler.tir.statement import Block, PrimFunc, Stmt, identity, sequence

LONGEST_BUFFER = 8192  # elements of a row that are kept on the stack


def lower_reduction(group: Group, name: str) -> PrimFunc:
    """The function of a group over rows: buffers are its inputs, then its outputs."""
    return _Rows(group).lower(name)


class _Rows:
    def __init__(self, group: Group) -> None:
        rank = len(group.domain)
        trailing = group.axes == tuple(range(rank - len(group.axes), rank))
        merge = mergeable_axes(group, border=group.axes[0]) if trailing and group.axes else frozenset()
        self.group, self.elements = group, Elements(group, merge)
        last_of_run = [axis for axis in range(rank) if axis not in merge]
        reduced = [axis in group.axes for axis in last_of_run]
        domain = self.elements.shape(next(node for node in group.nodes if node.op == "reduce").inputs[0])
        self.loops = [replace(loop, reduces=along) for loop, along in zip(spatial(domain), reduced, strict=True)]
        self.row = [loop for loop in self.loops if not loop.reduces]
        self.along = [loop for loop in self.loops if loop.reduces]
        self.apart = bool(group.axes) and rank - 1 not in group.axes  # the elements of a row, in memory
        self.local: list[Buffer] = []
        self.body: list[Stmt] = []
        self.blocks = 0
        self.done: set[str] = set()
        self.stages = self._stages()
        self.scratch = ""  # the result whose row holds, until it is made, another value

    def lower(self, name: str) -> PrimFunc:
        group = self.group
        for node in group.nodes:
            if node.op == "reduce":
                stored = self._keep_shared(node.output.name)
                self._emit(*stored, self._reduce(node), elements=True)
            elif group.roles.get(node.output.name) == ROW and self._is_read_by_elements(node.output.name):
                self._store_row(node)
        for value in sorted(group.outputs, key=lambda value: value.name == self.scratch):
            if value.name not in self.done:
                self._store_output(value)
        body = allocate(self.local, sequence(*self.body))
        body = body if self.apart else nested(self.row, body)
        return self.elements.function(name, body)

    def _stages(self) -> dict[str, set[str]]:
        """For each value with an element everywhere, the passes over the row (reductions, results) that need it."""
        producers, roles = self.elements.producers, self.group.roles
        needed_by: dict[str, set[str]] = {}
        passes = [(node.output.name, node.inputs[0]) for node in self.group.nodes if node.op == "reduce"]
        passes += [(value.name, value) for value in self.group.outputs if roles[value.name] == FULL]
        for stage, root in passes:
            waiting = [root.name]
            while waiting:
                name = waiting.pop()
                if roles.get(name) == ROW or name not in producers or stage in needed_by.setdefault(name, set()):
                    continue
                needed_by[name].add(stage)
                waiting += [value.name for value in producers[name].inputs]
        return {name: stages for name, stages in needed_by.items() if roles.get(name) == FULL}

    def _is_shared(self, node: Node) -> bool:
        """Whether to keep a value's row: several passes need it, each element at its own place, and it is costly, or
        stored anyway.

        Of a chain that the same passes need, the end is kept.
        """
        name = node.output.name
        stages = self.stages.get(name, set())
        if len(stages) < 2 or self._is_moved(name):
            return False
        if name in self.elements.outputs:
            return True
        is_end = all(self.stages.get(user.output.name) != stages for user in self._readers(name))
        return is_end and self._is_costly(node)

    def _readers(self, name: str) -> list[Node]:
        return [user for user in self.group.nodes if any(value.name == name for value in user.inputs)]

    def _is_moved(self, name: str) -> bool:
        """Whether a reader, or a reader's, takes elements of other rows or places than its own, as a flip does."""
        readers = [user for user in self._readers(name) if user.op != "reduce"]
        return any(operator_of(user).kind != ELEMENTWISE or self._is_moved(user.output.name) for user in readers)

    def _is_read_by_elements(self, name: str) -> bool:
        return any(self.group.roles.get(user.output.name) == FULL for user in self._readers(name))

    def _is_costly(self, node: Node) -> bool:
        """Whether to make an element again would take more than two loads and cheap arithmetic."""
        waiting, loads = [node], set()
        while waiting:
            current = waiting.pop()
            if current.op in COSTLY or current.op in ("gather", "concat"):
                return True
            for value in current.inputs:
                if value.name in self.elements.computed:
                    loads.add(value.name)
                else:
                    waiting.append(self.elements.producers[value.name])
        return len(loads) > 2

    def _keep_shared(self, stage: str) -> list[Block]:
        """Blocks at the start of a pass that store the elements which later passes need too."""
        stored: list[Block] = []
        for node in () if self.apart else self.group.nodes:
            name = node.output.name
            if name not in self.done and stage in self.stages.get(name, ()) and self._is_shared(node):
                stored += self._keep(node)
        return stored

    def _keep(self, node: Node) -> list[Block]:
        value, row = node.output, self.along
        length = product(loop.extent for loop in row)
        element = self.elements.of(value, indices(self.loops))
        free = [
            other.name
            for other in self.group.outputs
            if self.group.roles[other.name] == FULL and other.dtype == value.dtype and other.name not in self.done
        ]
        if value.name in self.elements.outputs:
            buffer, at = self.elements.outputs[value.name], indices(self.loops)
        elif free and not self.scratch:
            self.scratch = free[-1]
            buffer, at = self.elements.outputs[self.scratch], indices(self.loops)
        elif isinstance(length, Const) and length.value <= LONGEST_BUFFER:
            buffer = Buffer(f"r{len(self.local)}", tuple(loop.extent for loop in row), value.dtype, "local")
            at = indices(row)
            self.local.append(buffer)
        else:
            return []
        self.done.add(value.name)
        self._is_known(value, buffer, at)
        return [block(self._name(node.op), self.loops, buffer, at, element)]

    def _store_output(self, value: Value) -> None:
        full = self.group.roles[value.name] == FULL
        buffer, at = self.elements.outputs[value.name], self._own(value)
        name = self._name(self.elements.producers[value.name].op)
        loops = self.loops if full else self.row
        self._emit(block(name, loops, buffer, at, self.elements.of(value, at)), elements=full)

    def _reduce(self, node: Node) -> Block:
        accumulator = self._row_result(node.output)
        value = self.elements.of(node.inputs[0], indices(self.loops))
        combine = node.attributes["combine"]
        at = self._at(node.output, accumulator)
        self._is_known(node.output, accumulator, at)
        start = identity(combine, value.dtype)
        return block(self._name(combine), self.loops, accumulator, at, value, combine, start)

    def _store_row(self, node: Node) -> None:
        value = self.elements.of(node.output, self._own(node.output))
        buffer = self._row_result(node.output)
        at = self._at(node.output, buffer)
        self._emit(block(self._name(node.op), self.row, buffer, at, value))
        self._is_known(node.output, buffer, at)

    def _row_result(self, value: Value) -> Buffer:
        """The buffer of a value that has one element for each row: an output, or a local one."""
        if value.name in self.elements.outputs:
            self.done.add(value.name)
            return self.elements.outputs[value.name]
        name, shape = f"r{len(self.local)}", self.elements.shape(value) or (ONE,)
        buffer = Buffer(name, shape, value.dtype) if self.apart else Buffer(name, (ONE,), value.dtype, "local")
        self.local.append(buffer)
        return buffer

    def _is_known(self, value: Value, buffer: Buffer, at: Indices) -> None:
        self.elements.set_computed(value, lambda _: Load(buffer, at))

    def _at(self, value: Value, buffer: Buffer) -> Indices:
        return (ZERO,) if buffer.scope == "local" else self._own(value) or (ZERO,)

    def _own(self, value: Value) -> Indices:
        """The index of the element of a value that belongs to the current iteration."""
        shape = self.elements.shape(value)
        loops = self.loops if len(shape) == len(self.loops) else self.row
        return tuple(ZERO if same(size, 1) else loop.index for size, loop in zip(shape, loops, strict=True))

    def _name(self, operator: str) -> str:
        self.blocks += 1
        return f"{operator}_{self.blocks - 1}"

    def _emit(self, *blocks: Block, elements: bool = False) -> None:
        along = self.along if elements else []
        loops = [*self.row[:-1], *along, *self.row[-1:]] if self.apart else along
        self.body.append(nested(loops, sequence(*blocks)))


def lower_pooling(group: Group, name: str) -> PrimFunc:
    """The function of a group around a pooling: buffers are its inputs, then its output.

    y[b, c, i, j] = combine over p, q of x[b, c, i * stride + p - padding, j * stride + q - padding], where it is inside
    """
    node, elements = group.anchor, Elements(group)
    (x,), attributes = node.inputs, node.attributes
    loops = spatial(group.domain)
    window = [Loop(letter, Const(size, INDEX), True) for letter, size in zip("rs", attributes["kernel"], strict=True)]
    pixel: list[Expr] = []
    inside: Expr = TRUE
    for axis, (loop, offset) in enumerate(zip(loops[2:], window, strict=True)):
        stride, padding = attributes["stride"][axis], attributes["padding"][axis]
        pixel.append(loop.index * stride + offset.index - padding)
        if padding:
            here = binary("and", pixel[-1] >= 0, pixel[-1] < x.shape[2 + axis])
            inside = here if inside == TRUE else binary("and", inside, here)
    neutral = identity(attributes["combine"], x.dtype)
    element = elements.of(x, (*indices(loops[:2]), *pixel))
    value = element if inside == TRUE else Select(inside, element, neutral)
    (output,) = elements.outputs.values()
    pooled = block("pool", [*loops, *window], output, indices(loops), value, attributes["combine"], neutral)
    return elements.function(name, nested([*loops, *window], pooled))
