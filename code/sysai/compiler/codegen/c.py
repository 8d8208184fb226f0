"""C from a scheduled function: loops, OpenMP, vectors, registers.

    parallel loop       #pragma omp parallel for
    vectorized loop     as many vectors as it takes: 40 iterations are 16 + 16 + 8 with AVX-512
    local buffer        variables, if all its elements are addressed by constants (a register tile), else an array on
                        the stack
    other buffer        a part of one piece of memory that the function allocates when it is called; one for each thread

A register tile needs its loops unrolled or vectorized, and its vectors must not overlap in part: a part of one can be
read, as a half of it is where lanes are added up, but only all of it be written. Then C's compiler sees variables,
which it can keep in registers. TVM and Halide leave that to LLVM's passes (SROA).

    float32 c[6, 16], rows unrolled, columns vectorized, AVX2    12 variables of 8 lanes
    float32 s[1]                                                 one scalar
"""

import keyword
import math
from collections.abc import Iterator

from sysai.compiler import cpu, tir
from sysai.compiler.codegen.c_expressions import C_TYPES, COMPUTED, COMPUTED_C, STORED, Expressions, Lanes, bare
from sysai.compiler.codegen.loop_partition import partition_loops
from sysai.compiler.codegen.vector_header import HEADER_NAME
from sysai.compiler.cpu import ALIGNMENT
from sysai.compiler.tir.arith import bounds, size_ranges

_WORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while threads "
    "scratch thread main exp log tanh erf sin cos floor sqrt fabs abs pow NAN INFINITY y0 y1 yn j0 j1 jn gamma failed"
)
_PARALLEL = "#pragma omp parallel for num_threads(threads) schedule(static)"
REGISTERS = 128  # variables of one buffer at most; a compiler keeps in memory what is too much


def generate_c(function: tir.PrimFunc, vector_bytes: int | None = None) -> str:
    """The C source of a function: `int name(buffers in order, sizes in order, int threads)`; see `kernel.build`.

    It returns 0, or what failed, see `kernel.raise_failure`. It includes `sysai_vector.h` (`vector_header.py`).

    Args:
        function: scheduled; sizes and shapes as they will be when called.
        vector_bytes: of the machine's vectors, 16, 32 or 64; this machine's by default.

    Raises:
        ValueError: the size of a buffer depends on loops in a way that is not understood.
    """
    return _Writer(partition_loops(function), vector_bytes or cpu.vector_bytes()).write()


class _Writer:
    def __init__(self, function: tir.PrimFunc, vector_bytes: int) -> None:
        self.function, self.vector_bytes = function, vector_bytes
        self.lines: list[str] = []
        self.indent = 1
        self.names: dict[object, str] = {}
        self.taken: set[str] = {*_WORDS.split(), *keyword.kwlist, function.name}
        self.registers: dict[tir.Buffer, dict[tuple[int, int], str]] = {}  # variables by (first offset, lanes)
        self.scratch: dict[tir.Buffer, tuple[str, bool]] = {}
        self.text = Expressions(self.name, self.register)
        self.text.ranges = dict(size_ranges(function.sizes))
        self.in_parallel = False

    def write(self) -> str:
        function = self.function
        written = {block.buffer for block in tir.blocks(function.body)}
        parameters = [
            f"{'' if buffer in written else 'const '}{C_TYPES[buffer.dtype]} *restrict {self.name(buffer)}"
            for buffer in function.buffers
        ]
        parameters += [f"int64_t {self.name(size)}" for size in function.sizes]
        head = f"int {function.name}({', '.join([*parameters, 'int threads'])})\n{{"
        self.statement(function.body)
        body = self.lines
        self.lines = []
        self.allocate_scratch()
        tail = ["    free(scratch);"] if self.scratch else []
        checks = any("&failed" in line for line in body)
        end = f"    return {'failed' if checks else 0};"
        if checks:
            self.lines.insert(0, "    int failed = 0;")
            body = [line.replace(_PARALLEL, f"{_PARALLEL} reduction(|:failed)") for line in body]
        converts = any(mark in line for line in body for mark in ("_f16x", "_bf16x", "widen_i8x"))
        narrow = ["#define SYSAI_NARROW"] if converts else []
        return "\n".join([*narrow, f'#include "{HEADER_NAME}"', "", head, *self.lines, *body, *tail, end, "}", ""])

    # ---- names ----

    def name(self, of: tir.Var | tir.Buffer) -> str:
        if of not in self.names:
            self.names[of] = self.fresh(of.name)
        return self.names[of]

    def fresh(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self.taken or name.startswith("__"):
            name, number = f"{wanted.lstrip('_') or 'v'}_{number}", number + 1
        self.taken.add(name)
        return name

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    # ---- statements ----

    def statement(self, stmt: tir.Stmt, lanes: Lanes | None = None) -> None:
        """Print a statement, for some lanes where it stands in a vectorized loop."""
        match stmt:
            case tir.Block():
                self.store_vector(stmt, lanes) if lanes else self.store(stmt)
            case tir.Seq(stmts):
                for child in stmts:
                    self.statement(child, lanes)
            case tir.If(condition, body):
                self.braced(f"if ({self.text.plain(condition)}) {{", body, lanes)
            case _ if lanes:
                raise ValueError(f"loop {lanes.var.name} is vectorized and not the innermost: unroll those inside")
            case tir.Allocate():
                self.allocate(stmt)
            case tir.For() if stmt.kind == tir.VECTORIZED:
                self.vectorized(stmt)
            case tir.For():
                self.loop(stmt)

    def braced(self, head: str, body: tir.Stmt, lanes: Lanes | None = None) -> None:
        self.line(head)
        self.indent += 1
        self.statement(body, lanes)
        self.indent -= 1
        self.line("}")

    def loop(self, loop: tir.For) -> None:
        starts = loop.kind == tir.PARALLEL and not self.in_parallel
        if starts:
            self.line(_PARALLEL)
            self.in_parallel = True
        before = self.text.ranges
        self.text.ranges = {**before, loop.var: (0, loop.extent)}
        name, extent = self.name(loop.var), self.text.plain(loop.extent)
        self.braced(f"for (int64_t {name} = 0; {name} < {extent}; ++{name}) {{", loop.body)
        self.text.ranges = before
        if starts:
            self.in_parallel = False

    def vectorized(self, loop: tir.For) -> None:
        """All iterations, cut in vectors; a rest of one is a scalar."""
        before = self.text.ranges
        for base, count in _chunks(loop, self.vector_bytes):
            self.text.ranges = {**before, loop.var: (base, base + count)}
            self.statement(loop.body, Lanes(loop.var, base, count))
        self.text.ranges = before

    # ---- stores ----

    def store(self, block: tir.Block) -> None:
        value = self.multiply_add(block) or self.text.scalar(block.value)
        self.store_scalar(block.buffer, tir.row_major(block.indices, block.buffer.shape), value)

    def multiply_add(self, block: tir.Block, lanes: Lanes | None = None) -> str | None:
        """The text of an element plus a product, as a sum of products adds it; None for any other value."""
        match block.value:
            case tir.Binary("add", element, tir.Binary("mul", a, b)) if element == block.target:
                kind = COMPUTED[a.dtype]
                if kind.startswith("f"):
                    function = f"fma_{kind}x{lanes.count}" if lanes else f"fma_{kind}"
                    show = (lambda operand: self.text.vector(operand, lanes)) if lanes else self.text.scalar
                    return f"{function}({', '.join(map(show, (a, b, element)))})"
        return None

    def store_scalar(self, buffer: tir.Buffer, offset: tir.Expr, value: str) -> None:
        variable = self.register(buffer, offset, 1)
        if variable is not None:
            self.line(f"{variable} = {bare(value)};")
            return
        if buffer.dtype == "bfloat16":
            value = f"to_bf16({value})"
        self.line(f"{self.name(buffer)}[{self.text.plain(offset)}] = {bare(value)};")

    def store_vector(self, block: tir.Block, lanes: Lanes) -> None:
        buffer, offset = block.buffer, tir.row_major(block.indices, block.buffer.shape)
        if lanes.count == 1 or self.text.step(offset, lanes.var) != 1:
            self.store_lanes(block, offset, lanes)
            return
        first, value = tir.substitute(offset, lanes.start), self.multiply_add(block, lanes)
        value = value or self.text.vector(block.value, lanes)
        variable = self.register(buffer, first, lanes.count)
        if variable is not None:
            self.line(f"{variable} = {bare(value)};")
            return
        address = f"{self.name(buffer)} + {self.text.plain(first)}"
        self.line(f"store_{STORED[buffer.dtype]}x{lanes.count}({address}, {bare(value)});")

    def store_lanes(self, block: tir.Block, offset: tir.Expr, lanes: Lanes) -> None:
        """Store each lane at its own offset; lanes that may meet one after another, as the loop would do."""
        apart = self.text.step(offset, lanes.var) not in (0, None)
        reads_itself = any(isinstance(node, tir.Load) and node.buffer == block.buffer for node in tir.walk(block.value))
        if lanes.count == 1 or not apart or reads_itself:
            for number in range(lanes.count):
                value = self.text.scalar(tir.substitute(block.value, lanes.lane(number)))
                self.store_scalar(block.buffer, tir.substitute(offset, lanes.lane(number)), value)
            return
        kind, name = f"{COMPUTED[block.buffer.dtype]}x{lanes.count}", self.fresh("lanes")
        self.line(f"{kind} {name} = {bare(self.text.vector(block.value, lanes))};")
        sign = "-" if block.buffer.dtype == "bool" else ""
        for number in range(lanes.count):
            self.store_scalar(block.buffer, tir.substitute(offset, lanes.lane(number)), f"{sign}{name}[{number}]")

    # ---- buffers ----

    def allocate(self, allocation: tir.Allocate) -> None:
        buffer, body = allocation.buffer, allocation.body
        sizes = [extent.value for extent in buffer.shape if isinstance(extent, tir.Const)]
        if buffer.scope != "local" or len(sizes) != len(buffer.shape):
            self.scratch.setdefault(buffer, (self.fresh(buffer.name), self.in_parallel))
            self.use_scratch(buffer)
            self.statement(body)
            return
        self.line("{")
        self.indent += 1
        segments = _register_segments(buffer, body, self.vector_bytes, self.text)
        if segments is None:
            elements = max(1, math.prod(sizes))
            self.line(f"{C_TYPES[buffer.dtype]} {self.name(buffer)}[{elements}] __attribute__((aligned({ALIGNMENT})));")
        else:
            self.registers[buffer] = {segment: self.fresh(f"{buffer.name}_{segment[0]}") for segment in segments}
            kind = COMPUTED[buffer.dtype]
            for (_, lanes), name in self.registers[buffer].items():
                self.line(f"{f'{kind}x{lanes}' if lanes > 1 else COMPUTED_C[kind]} {name};")
        self.statement(body)
        self.registers.pop(buffer, None)
        self.indent -= 1
        self.line("}")

    def register(self, buffer: tir.Buffer, offset: tir.Expr, lanes: int) -> str | None:
        if buffer not in self.registers:
            return None
        wanted = _constant(offset)
        for (first, count), name in self.registers[buffer].items():
            if first <= wanted < first + count:
                if count == lanes:
                    return name
                if lanes > 1:
                    elements = ", ".join(f"{name}[{wanted - first + lane}]" for lane in range(lanes))
                    return f"({COMPUTED[buffer.dtype]}x{lanes}){{{elements}}}"
                sign = "-" if buffer.dtype == "bool" else ""
                return f"({sign}{name}[{wanted - first}])"
        raise AssertionError(f"{buffer.name} has no element {wanted} in a register")

    def use_scratch(self, buffer: tir.Buffer) -> None:
        """Declare the pointer to a buffer in the memory of this call, or of this thread."""
        variable, each_thread = self.scratch[buffer]
        self.names[buffer] = variable
        kind = C_TYPES[buffer.dtype]
        thread = f" + omp_get_thread_num() * {variable}_bytes" if each_thread else ""
        self.line(f"{kind} *restrict {variable} = ({kind} *)(scratch + {variable}_start{thread});")

    def allocate_scratch(self) -> None:
        """Allocate, at the function's start, the memory of all buffers that are not local."""
        if not self.scratch:
            return
        self.line("int64_t scratch_bytes = 0;")
        for buffer, (name, each_thread) in self.scratch.items():
            elements: tir.Expr = tir.Const(1, tir.INDEX)
            for extent in buffer.shape:
                elements = elements * self.greatest(extent, buffer)
            size = f"{self.text.scalar(elements)} * {tir.ITEM_BYTES[buffer.dtype]}"
            self.line(f"const int64_t {name}_bytes = ({size} + {ALIGNMENT - 1}) / {ALIGNMENT} * {ALIGNMENT};")
            self.line(f"const int64_t {name}_start = scratch_bytes;")
            self.line(f"scratch_bytes += {name}_bytes{' * threads' if each_thread else ''};")
        self.line(f"char *scratch = aligned_alloc({ALIGNMENT}, scratch_bytes + {ALIGNMENT});")
        self.line("if (!scratch) return 1;")

    def greatest(self, extent: tir.Expr, buffer: tir.Buffer) -> tir.Expr:
        """The length of a dimension, the longest one where it changes from iteration to iteration."""
        inner = {loop.var: (0, loop.extent) for loop in tir.statements(self.function.body) if isinstance(loop, tir.For)}
        if not any(var in tir.walk(extent) for var in inner):
            return extent
        most = bounds(extent, {**size_ranges(self.function.sizes), **inner})[1]
        if most is None or any(var in tir.walk(most) for var in inner):
            raise ValueError(f"buffer {buffer.name} has the length {extent}, which is not known before its loops run")
        return most - 1


def _chunks(loop: tir.For, vector_bytes: int) -> Iterator[tuple[int, int]]:
    """(first iteration, number of lanes) of the vectors that a vectorized loop is executed in."""
    doubles = any(node.dtype == "float64" for block in tir.blocks(loop.body) for node in _values(block))
    most = max(2, vector_bytes // (8 if doubles else 4))
    base, extent = 0, loop.extent.value
    while base < extent:
        count = most
        while count > extent - base:
            count //= 2
        yield base, count
        base += count


def _register_segments(
    buffer: tir.Buffer, body: tir.Stmt, vector_bytes: int, text: Expressions
) -> tuple[tuple[int, int], ...] | None:
    """The variables that a local buffer becomes, as (first offset, lanes); None where it has to be an array."""
    segments: set[tuple[int, int, bool]] = set()
    for offset, lanes, writes in _accesses(buffer, body, vector_bytes, text):
        if offset is None:
            return None
        segments.add((offset, lanes, writes))
        if len(segments) > 16 * REGISTERS:
            return None
    variables: list[tuple[int, int]] = []
    for first, lanes, writes in sorted(segments, key=lambda segment: (-segment[1], segment[0])):
        overlapping = [(f, n) for f, n in variables if f < first + lanes and first < f + n]
        if not overlapping:
            variables.append((first, lanes))
            continue
        (start, count), *others = overlapping
        is_part = count > lanes > 1
        if others or first < start or first + lanes > start + count or (is_part and writes):
            return None
    return tuple(sorted(variables)) if len(variables) <= REGISTERS else None


def _accesses(
    buffer: tir.Buffer, stmt: tir.Stmt, vector_bytes: int, text: Expressions, loop: tir.For | None = None
) -> Iterator[tuple[int | None, int, bool]]:
    """(constant offset, lanes, whether it writes) of each access to the buffer; None for an offset that varies."""
    match stmt:
        case tir.For():
            vector = stmt if stmt.kind == tir.VECTORIZED else loop
            yield from _accesses(buffer, stmt.body, vector_bytes, text, vector)
        case tir.If(condition, body):
            if any(isinstance(node, tir.Load) and node.buffer == buffer for node in tir.walk(condition)):
                yield None, 1, False
            yield from _accesses(buffer, body, vector_bytes, text, loop)
        case tir.Allocate() | tir.Seq():
            for child in tir.substatements(stmt):
                yield from _accesses(buffer, child, vector_bytes, text, loop)
        case tir.Block():
            nodes = [node for expr in (stmt.value, *stmt.indices) for node in tir.walk(expr)]
            for number, node in enumerate((stmt.target, *nodes)):
                if isinstance(node, tir.Load) and node.buffer == buffer:
                    offset = tir.row_major(node.indices, buffer.shape)
                    for first, lanes in _of_access(offset, loop, vector_bytes, text):
                        yield first, lanes, number == 0


def _of_access(
    offset: tir.Expr, loop: tir.For | None, vector_bytes: int, text: Expressions
) -> Iterator[tuple[int | None, int]]:
    if loop is None or loop.var not in tir.walk(offset):
        yield _constant(offset), 1
        return
    if text.step(offset, loop.var) != 1:
        yield None, 1
        return
    for base, count in _chunks(loop, vector_bytes):
        yield _constant(tir.substitute(offset, {loop.var: tir.Const(base, tir.INDEX)})), count


def _constant(offset: tir.Expr) -> int | None:
    return offset.value if isinstance(offset, tir.Const) else None


def _values(block: tir.Block) -> Iterator[tir.Expr]:
    """The nodes of a block's value, those of indices aside."""
    waiting = [block.value]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, tir.Load):
            waiting += tir.children(node)
