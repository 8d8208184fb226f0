"""Elementwise operators in Triton's language, with torch's results for NaN, infinities and negative numbers.

Only Triton's built-in functions are used, no function of its library that is itself a kernel (`tl.sum`, `tl.sigmoid`):
those were made for the interpreter or for the compiler when Triton was first imported, by whoever did it.
"""

import math
from collections.abc import Callable, Sequence

from sysai.compiler.graph.graph import Node
from sysai.compiler.tir.expr import COMPARISONS, FLOATS

HALF = ("float16", "bfloat16")
SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", **COMPARISONS, "and": "&", "or": "|",
}  # fmt: skip
FUNCTIONS = {name: f"tl.{name}" for name in ("exp", "log", "sqrt", "rsqrt", "erf", "sin", "cos", "abs", "floor")}
FUNCTIONS["pow2"] = "tl.exp2"

Emit = Callable[..., str]
"""emit(text, part) adds a line that assigns `text`, and returns the name; `part` ends the name of what is passed on."""


def compute_dtype(dtype: str) -> str:
    """In which dtype a value is computed: half precision in float32."""
    return "float32" if dtype in HALF else dtype


def number(value: float, dtype: str) -> str:
    """A number as Triton's language writes it."""
    if dtype == "bool":
        return str(bool(value))
    if dtype not in FLOATS:
        return str(int(value))
    return repr(float(value)) if math.isfinite(value) else f'float("{float(value)}")'


def emit_elementwise(node: Node, operands: Sequence[str], emit: Emit) -> str:
    """Add the lines that compute an elementwise node from its operands' names; return the result's name."""
    op, floating = node.op, node.inputs[0].dtype in FLOATS
    if op in SYMBOLS:
        return emit(f"{operands[0]} {SYMBOLS[op]} {operands[1]}")
    if op in FUNCTIONS:
        return emit(f"{FUNCTIONS[op]}({operands[0]})")
    match op:
        case "min" | "max":
            nan = ", propagate_nan=tl.PropagateNan.ALL" if floating else ""
            return emit(f"tl.{op}imum({operands[0]}, {operands[1]}{nan})")
        case "select":
            return emit(f"tl.where({', '.join(operands)})")
        case "cast":
            return _cast(node, operands[0], emit)
        case "sigmoid":
            return emit(f"1.0 / (1.0 + tl.exp(-{operands[0]}))")
        case "tanh":
            return _tanh(operands[0], emit)
        case "mod":
            return _mod(*operands, emit)
        case "floordiv":
            return _floordiv_floats(*operands, emit) if floating else _floordiv_integers(*operands, emit)
    raise ValueError(f"no elementwise operator {op!r} in Triton: decompose the graph first")


def _cast(node: Node, x: str, emit: Emit) -> str:
    source, target = node.inputs[0].dtype, node.output.dtype
    if target == "bool":
        return x if source == "bool" else emit(f"{x} != 0")
    if target in HALF:
        return emit(f"{x}.to(tl.{target}).to(tl.float32)")
    return x if compute_dtype(source) == target else emit(f"{x}.to(tl.{target})")


def _tanh(x: str, emit: Emit) -> str:
    """A rational function near 0, where 1 - exp(-2x) would lose digits (Moshier's Cephes library), else by exp."""
    square = emit(f"{x} * {x}", "_square")
    top = emit(
        f"(-0.964399179425052238628 * {square} - 99.2877231001918586564) * {square} - 1614.68768441708447952", "_top"
    )
    bottom = emit(
        f"(({square} + 112.81167849163293) * {square} + 2235.4883906010045) * {square} + 4844.0630532512549", "_bottom"
    )
    near = emit(f"{x} + {x} * {square} * ({top} / {bottom})", "_near")
    decay = emit(f"tl.exp(-2.0 * tl.abs({x}))", "_decay")
    far = emit(f"tl.where({x} < 0, {decay} - 1.0, 1.0 - {decay}) / (1.0 + {decay})", "_far")
    return emit(f"tl.where({square} < 0.390625, {near}, {far})")


def _mod(a: str, b: str, emit: Emit) -> str:
    """With the divisor's sign; Triton's % has the dividend's."""
    rest = emit(f"{a} % {b}", "_rest")
    return emit(f"tl.where(({rest} != 0) & (({rest} < 0) != ({b} < 0)), {rest} + {b}, {rest})")


def _floordiv_integers(a: str, b: str, emit: Emit) -> str:
    """Towards minus infinity; Triton's // goes towards 0."""
    quotient = emit(f"{a} // {b}", "_quotient")
    return emit(f"tl.where(({a} % {b} != 0) & (({a} < 0) != ({b} < 0)), {quotient} - 1, {quotient})")


def _floordiv_floats(a: str, b: str, emit: Emit) -> str:
    """As torch: from the exact remainder, because a / b may round up to the next integer."""
    rest = emit(f"{a} % {b}", "_rest")
    exact = emit(f"({a} - {rest}) / {b}", "_exact")
    exact = emit(f"tl.where(({rest} != 0) & (({rest} < 0) != ({b} < 0)), {exact} - 1.0, {exact})", "_exact")
    floor = emit(f"tl.floor({exact})", "_floor")
    nearest = emit(f"tl.where({exact} - {floor} > 0.5, {floor} + 1.0, {floor})", "_nearest")
    return emit(f"tl.where({b} == 0, {a} / {b}, {nearest})")
