"""Tensor programs as text in Python's syntax, which `parser.py` reads back.

    def matmul(M: size, A: float32[M, 64], B: float32[64, 32], C: float32[M, 32]):
        for i in parallel(M):
            for j in vectorized(32):
                for k in range(64):
                    with block("C"):
                        vi = spatial(M, i)
                        vj = spatial(32, j)
                        vk = reduce(64, k)
                        C[vi, vj] = init(float32(0.0))
                        C[vi, vj] += A[vi, vk] * B[vk, vj]

A block's predicate is `where(condition)`; a buffer inside is `with allocate(float32[8, 8], "local") as T:`; the
reductions that have no operator of assignment are `C[vi] = combine(max, A[vi, vk])`. A Seq inside a Seq is printed as
part of it. TVM's TVMScript, which this resembles, is parsed from Python as well.
"""

from collections.abc import Iterator

from sysai.compiler.tir.expr import TRUE, Buffer, print_expr
from sysai.compiler.tir.statement import SERIAL, Allocate, Block, For, If, PrimFunc, Seq, Stmt

ASSIGNMENTS = {"add": "+=", "mul": "*="}
"""Combiners that Python has an assignment for."""
WIDTH = 120
INDENT = "    "


def print_function(function: PrimFunc) -> str:
    """The function's text, lines ended."""
    parameters = [f"{size.name}: size" for size in function.sizes]
    parameters += [f"{buffer.name}: {_type(buffer)}" for buffer in function.buffers]
    head = f"def {function.name}({', '.join(parameters)}):"
    if len(head) > WIDTH:
        head = f"def {function.name}(\n" + "".join(f"{INDENT}{parameter},\n" for parameter in parameters) + "):"
    return "\n".join([head, *(INDENT + line for line in _lines(function.body))]) + "\n"


def _lines(stmt: Stmt) -> Iterator[str]:
    match stmt:
        case For(var, extent, body, kind):
            yield f"for {var.name} in {'range' if kind == SERIAL else kind}({print_expr(extent)}):"
            yield from (INDENT + line for line in _lines(body))
        case If(condition, body):
            yield f"if {print_expr(condition)}:"
            yield from (INDENT + line for line in _lines(body))
        case Allocate(buffer, body):
            yield f'with allocate({_type(buffer)}, "{buffer.scope}") as {buffer.name}:'
            yield from (INDENT + line for line in _lines(body))
        case Seq(parts):
            inside = [line for part in parts if part != Seq(()) for line in _lines(part)]
            yield from inside or ["pass"]
        case Block():
            yield f'with block("{stmt.name}"):'
            yield from (INDENT + line for line in _block(stmt))


def _block(block: Block) -> Iterator[str]:
    for axis in block.axes:
        yield f"{axis.var.name} = {axis.kind}({print_expr(axis.extent)}, {print_expr(axis.binding)})"
    if block.predicate != TRUE:
        yield f"where({print_expr(block.predicate)})"
    target, value = print_expr(block.target), print_expr(block.value)
    if block.init is not None:
        yield f"{target} = init({print_expr(block.init)})"
    if block.combine in ASSIGNMENTS:
        yield f"{target} {ASSIGNMENTS[block.combine]} {value}"
    else:
        yield f"{target} = " + (f"combine({block.combine}, {value})" if block.combine else value)


def _type(buffer: Buffer) -> str:
    return f"{buffer.dtype}[{', '.join(map(print_expr, buffer.shape)) or '()'}]"
