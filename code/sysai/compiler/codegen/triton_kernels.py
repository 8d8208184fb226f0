"""Three shapes of Triton kernel, into which fused groups fall.

    pointwise   a program computes BLOCK elements of the output, whatever its shape
    rows        a program computes BLOCK_R rows: all that is reduced along a row stays in registers where the row fits;
                else each level of reductions is a pass over the row in blocks of BLOCK_C (softmax: max, sum, result)
    matmul      a program computes a tile of BLOCK_M x BLOCK_N, walking along K; then what follows elementwise

Block sizes are powers of two, as Triton demands: pointwise 8 elements a thread, two vector loads of 16 bytes in
float32; rows 16 elements a thread; matmul tiles as small as the matrix, not below 16: what tensor cores take.

Memory traffic, of operands of S_in bytes and results of S_out: pointwise and rows that fit, S_in + S_out; rows that
don't, S_in times the passes; matmul, about 2 M N K / BLOCK elements, of which the second-level cache serves those that
programs running at the same time share. Their order is therefore grouped (Triton's tutorial on matrix products).
Inductor also splits a reduction between programs where there are few rows, and tunes the blocks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sysai.compiler.codegen.triton_expressions import KernelBlock, Scope, compute_dtype, number
from sysai.compiler.errors import UnsupportedGroup
from sysai.compiler.graph import Graph, Node, Value
from sysai.compiler.graph.sizes import Indices, broadcast_indices, product, reshape_indices, same
from sysai.compiler.tir.expr import FLOATS, ZERO, Const, Expr, Var
from sysai.compiler.tir.statement import identity

RESIDENT_COLUMNS = 8192
"""Rows up to this length are held in registers: 16 elements a thread, with 16 warps."""
LOOP_BLOCK = 2048
"""The block in which longer rows are walked."""
TILES = {"float16": (128, 64), "bfloat16": (128, 64), "float32": (128, 32), "float64": (64, 16)}
"""The largest BLOCK_M = BLOCK_N, and BLOCK_K, by the dtype of a product's operands."""

POINTWISE_LAUNCH = """\
BLOCK = min(1024, triton.next_power_of_2(max(count, 1)))
grid = (triton.cdiv(count, BLOCK),)
constants = {"BLOCK": BLOCK, "WIDE": wide, "num_warps": 4}"""
ROWS_LAUNCH = """\
BLOCK_R = max(1, min(triton.next_power_of_2(max(rows, 1)), 2048 // BLOCK_C))
grid = (triton.cdiv(rows, BLOCK_R),)
num_warps = min(16, max(1, BLOCK_R * BLOCK_C // 512))
constants = {"BLOCK_R": BLOCK_R, "BLOCK_C": BLOCK_C, "WIDE": wide, "num_warps": num_warps}"""
MATMUL_LAUNCH = """\
BLOCK_M, BLOCK_N, BLOCK_K = (min(limit, max(16, triton.next_power_of_2(size))) for size, limit in limits)
grid = (batch * triton.cdiv(M, BLOCK_M) * triton.cdiv(N, BLOCK_N),)
num_warps = 8 if BLOCK_M * BLOCK_N >= 128 * 128 else 4
constants = {
    "BLOCK_M": BLOCK_M, "BLOCK_N": BLOCK_N, "BLOCK_K": BLOCK_K, "GROUP_M": 8, "WIDE": wide,
    "num_warps": num_warps, "num_stages": 3,
}"""


@dataclass(frozen=True)
class KernelText:
    """The text of one kernel, and what its launch needs.

    Attributes:
        suffix: the end of its name.
        lines: the body.
        block: names, and which tensors are read.
        constants: names of the block sizes, its parameters.
        extents: of what programs cover, by the names that `launch` gives them.
        launch: the text that makes `grid` and `constants` of the extents.
        when: a condition on the extents for its being launched, or ''.
    """

    suffix: str
    lines: list[str]
    block: KernelBlock
    constants: tuple[str, ...]
    extents: dict[str, Expr]
    launch: str
    when: str = ""


def pointwise(graph: Graph) -> list[KernelText]:
    """Elements that depend on no other element of the output."""
    block = KernelBlock(graph, rank=1)
    count = product(graph.outputs[0].shape)
    i = block.variable("i", count)
    scope = Scope(block)
    scope.lines += _program(block) + _place(block, i, "pid * BLOCK + tl.arange(0, BLOCK)")
    for output in graph.outputs:
        if not same(product(output.shape), count):
            raise UnsupportedGroup(f"{output} has another number of elements than the other outputs: split the group")
        _store(scope, output, i, [i], ("reshape",))
    return [KernelText("kernel", scope.lines, block, ("BLOCK",), {"count": count}, POINTWISE_LAUNCH)]


def rows(graph: Graph) -> list[KernelText]:
    """Reductions along the same axes, and elementwise work before, between and after them."""
    reductions = [node for node in graph.nodes if node.op == "reduce"]
    columns = product(reductions[0].inputs[0].shape[axis] for axis in reductions[0].attributes["axes"])
    if isinstance(columns, Const):
        return [_rows(graph, reductions, looped=columns.value > RESIDENT_COLUMNS)]
    resident, looped = (_rows(graph, reductions, looped) for looped in (False, True))
    return [replace(resident, when=f"columns <= {RESIDENT_COLUMNS}"), looped]


def _rows(graph: Graph, reductions: list[Node], looped: bool) -> KernelText:
    block = KernelBlock(graph, rank=2)
    shape, axes = reductions[0].inputs[0].shape, tuple(sorted(reductions[0].attributes["axes"]))
    kept_axes = [axis for axis in range(len(shape)) if axis not in axes]
    r = block.variable("r", product(shape[axis] for axis in kept_axes))
    c = block.variable("c", product(shape[axis] for axis in axes))
    at = dict(zip(kept_axes, block.unravel(r, [shape[axis] for axis in kept_axes]), strict=True))
    at |= zip(axes, block.unravel(c, [shape[axis] for axis in axes]), strict=True)
    domain = tuple(at[axis] for axis in range(len(shape)))
    row = Scope(block)
    row.lines += _program(block) + _place(block, r, "pid * BLOCK_R + tl.arange(0, BLOCK_R)[:, None]")
    row.lines += [] if looped else _place(block, c, "tl.arange(0, BLOCK_C)[None, :]")
    levels = _levels(graph, reductions)
    for level in sorted(set(levels.values())):
        _reduce([node for node in reductions if levels[node.output.name] == level], row, domain, axes, c, looped)
    _store_rows(graph, row, domain, shape, c, looped)
    extents = {"rows": block.extents[r], "columns": block.extents[c]}
    launch = f"BLOCK_C = {LOOP_BLOCK if looped else 'triton.next_power_of_2(max(columns, 1))'}\n{ROWS_LAUNCH}"
    suffix = "looped_kernel" if looped else "kernel"
    return KernelText(suffix, row.lines, block, ("BLOCK_R", "BLOCK_C"), extents, launch)


def _levels(graph: Graph, reductions: list[Node]) -> dict[str, int]:
    """How many reductions, each of the result of another, lead to each reduction."""
    levels: dict[str, int] = {}
    for node in graph.nodes:
        level = max((levels.get(value.name, 0) for value in node.inputs), default=0)
        levels[node.output.name] = level + (node.op == "reduce")
    return {node.output.name: levels[node.output.name] for node in reductions}


def _reduce(nodes: list[Node], row: Scope, domain: Indices, axes: tuple[int, ...], c: Var, looped: bool) -> None:
    """Reductions of one level: in registers, or in one loop along the row."""
    block = row.block
    inside = Scope(block, row, [c]) if looped else row
    totals = []
    for node in nodes:
        (x,), combine, dtype = node.inputs, node.attributes["combine"], compute_dtype(node.output.dtype)
        if tuple(sorted(node.attributes["axes"])) != axes or len(x.shape) != len(domain):
            raise UnsupportedGroup(f"{node.output.name} is reduced along other axes: give it a group of its own")
        neutral = number(identity(combine, dtype).value, dtype)
        neutral = neutral if dtype in FLOATS else block.full(neutral, dtype)
        total = f"tl.where({block.masks[c]}, {inside.element(x, broadcast_indices(x.shape, domain))}, {neutral})"
        if looped:
            partials = row.emit(f"{node.output.name}_parts", f"tl.full((BLOCK_R, BLOCK_C), {neutral}, tl.{dtype})")
            inside.lines.append(f"{partials} = combine_{combine}({partials}, {total})")
            total = partials
        totals.append(total)
    if looped:
        row.lines += _loop(inside, c)
    for node, total in zip(nodes, totals, strict=True):
        combine, keepdim = node.attributes["combine"], node.attributes["keepdim"]
        name = row.emit(node.output.name, f"tl.reduce({total}, 1, combine_{combine}, keep_dims=True)")
        kept_indices = [ZERO if axis in axes else at for axis, at in enumerate(domain) if keepdim or axis not in axes]
        block.accumulate(node.output, tuple(kept_indices), name)


def _loop(inside: Scope, c: Var) -> list[str]:
    """Walk along the row in blocks."""
    head = _place(inside.block, c, "start + tl.arange(0, BLOCK_C)[None, :]")
    return [f"for start in range(0, {inside.block.extents[c]}, BLOCK_C):", *_indented(head + inside.lines)]


def _store_rows(graph: Graph, row: Scope, domain: Indices, shape: tuple[Expr, ...], c: Var, looped: bool) -> None:
    block = row.block
    inside = Scope(block, row, [c]) if looped else row
    index = block.ravel(domain, shape)
    (r,) = (var for var in block.extents if var != c)
    for output in graph.outputs:
        if same(product(output.shape), product(shape)):
            _store(inside, output, index, [r, c])
        elif same(product(output.shape), block.extents[r]):
            _store(row, output, r, [r])
        else:
            raise UnsupportedGroup(f"{output} is neither as large as what is reduced nor one element a row")
    if looped and inside.lines:
        row.lines += _loop(inside, c)


def matmul(graph: Graph) -> list[KernelText]:
    """A matrix product, elementwise work on its operands, and elementwise work on its result."""
    (node,) = (node for node in graph.nodes if node.op == "matmul")
    (a, b), shape = node.inputs, node.output.shape
    if a.dtype not in FLOATS:
        raise UnsupportedGroup(f"matmul {node.output.name} is of {a.dtype}: only floats have tensor cores here")
    block = KernelBlock(graph, rank=2)
    M, N, K, batch_shape = shape[-2], shape[-1], a.shape[-1], shape[:-2]
    m, n, kr, kc = (block.variable(*axis) for axis in (("m", M), ("n", N), ("k_row", K), ("k_column", K)))
    batch = block.variable("batch", product(batch_shape), masked=False)
    batch_indices = block.unravel(batch, batch_shape)
    scope = Scope(block)
    scope.lines += _program(block) + _tiles(M, N, batch if batch_shape else None)
    scope.lines += _place(block, m, "tile_m * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]")
    scope.lines += _place(block, n, "tile_n * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]")
    inside = Scope(block, scope, [kr, kc])
    a_text = _factor(inside, a, (*batch_indices, m, kr), "(BLOCK_M, BLOCK_K)", {m, kr}, block.masks[kr])
    b_indices = (n, kc) if node.attributes["transpose_b"] else (kc, n)
    b_text = _factor(inside, b, (*batch_indices, *b_indices), "(BLOCK_K, BLOCK_N)", {kc, n}, block.masks[kc])
    dtype = compute_dtype(a.dtype)
    total = scope.emit(node.output.name, f"tl.full((BLOCK_M, BLOCK_N), 0.0, tl.{dtype})")
    options = {"float32": ', input_precision="ieee"', "float64": ", out_dtype=tl.float64"}.get(a.dtype, "")
    inside.lines.append(f"{total} = tl.dot({a_text}, {b_text}, {total}{options})")
    k_lines = _place(block, kr, "start + tl.arange(0, BLOCK_K)[None, :]")
    k_lines += _place(block, kc, "start + tl.arange(0, BLOCK_K)[:, None]")
    scope.lines += [f"for start in range(0, {K}, BLOCK_K):", *_indented(k_lines + inside.lines)]
    indices = broadcast_indices(shape, (*batch_indices, m, n))
    block.accumulate(node.output, indices, total)
    index = block.ravel(indices, shape)
    for output in graph.outputs:
        if not same(product(output.shape), product(shape)):
            raise UnsupportedGroup(f"{output} has another number of elements than the product: split the group")
        _store(scope, output, index, [m, n])
    constants = ("BLOCK_M", "BLOCK_N", "BLOCK_K", "GROUP_M")
    extents = {"batch": product(batch_shape), "M": M, "N": N, "K": K}
    most, most_k = TILES[a.dtype]
    launch = f"limits = ((M, {most}), (N, {most}), (K, {most_k}))\n{MATMUL_LAUNCH}"
    return [KernelText("kernel", scope.lines, block, constants, extents, launch)]


def _factor(inside: Scope, value: Value, indices: Indices, shape: str, needed: set[Var], mask: str) -> str:
    element = inside.block.elements.of(value, broadcast_indices(value.shape, indices))
    text = inside.dot_operand(element, value.dtype, shape, frozenset(needed), mask)
    return f"{text}.to(DOT_TYPE)" if value.dtype == "bfloat16" else text


def _tiles(M: Expr, N: Expr, batch: Var | None) -> list[str]:
    """Which tile a program computes: GROUP_M rows of tiles are finished column by column before the next ones."""
    lines = [f"tiles_m = ({M} + BLOCK_M - 1) // BLOCK_M", f"tiles_n = ({N} + BLOCK_N - 1) // BLOCK_N"]
    if batch:
        lines += [f"{batch} = pid // (tiles_m * tiles_n)", "pid = pid % (tiles_m * tiles_n)"]
    return [
        *lines,
        "first_m = pid // (GROUP_M * tiles_n) * GROUP_M",
        "group_m = min(tiles_m - first_m, GROUP_M)",
        "within = pid % (GROUP_M * tiles_n)",
        "tile_m = first_m + within % group_m",
        "tile_n = within // group_m",
    ]


def _program(block: KernelBlock) -> list[str]:
    """The program's number; it and the sizes are of 64 bits where a tensor has 2^31 elements or more."""
    wide = [f"    {name} = tl.cast({name}, tl.int64)" for name in ("pid", *block.sizes)]
    return ["pid = tl.program_id(0)", "if WIDE:", *wide]


def _place(block: KernelBlock, var: Var, text: str) -> list[str]:
    """Set a variable of the block, and its mask."""
    return [f"{var} = {text}", f"{block.masks[var]} = {var} < {block.extents[var]}"]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _store(
    scope: Scope, output: Value, index: Expr, variables: list[Var], moves: tuple[str, ...] = ("reshape", "permute")
) -> None:
    """Store the block of `output` that extends along `variables`.

    Args:
        index: the row-major index of the block's elements before what `moves` names, at the end of the group, puts
            them elsewhere; what is before these is computed where it is, so that a product may be stored permuted.
    """
    block, root, moved = scope.block, output, []
    while (node := block.elements.producers.get(root.name)) is not None and node.op in moves:
        root, moved = node.inputs[0], [node, *moved]
    indices = block.unravel(index, root.shape)
    text = scope.element(root, indices)
    for node in moved:
        indices = block.simple(_target(node, indices))
    address = block.ravel(indices, output.shape)
    for var in variables:  # one along which there is but one element is 0 where the mask holds
        address = address if var in block.variables(address) else address + var
    pointer = block.stored.setdefault(output.name, block.names.fresh(f"{output.name}_ptr"))
    scope.lines.append(f"tl.store({pointer} + {scope.address(address)}, {text}, mask={scope.mask(address)})")


def _target(node: Node, indices: Indices) -> Indices:
    """Where a reshape or permute puts the element at `indices` of its operand."""
    if node.op == "permute":
        return tuple(indices[axis] for axis in node.attributes["order"])
    return reshape_indices(node.inputs[0].shape, node.output.shape, indices)
