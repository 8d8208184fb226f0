"""How C spells things: types, numbers, sums without needless parentheses.

What is kept in memory and what is computed with differ: half precision is widened to float, and a bool to a mask.
"""

import math
import struct

from sysai.compiler.tir.expr import INDEX, ITEM_BYTES, Binary, Expr

C_TYPES = {"float32": "float", "float64": "double", "float16": "_Float16", "bfloat16": "uint16_t", "int64": "int64_t",
           "int32": "int32_t", "int8": "int8_t", "bool": "uint8_t"}  # fmt: skip
"""What memory holds."""
STORED = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "int64": "i64", "int32": "i32",
          "int8": "i8", "bool": "b8"}  # fmt: skip
"""In the names of the header's loads and stores."""
COMPUTED = {**STORED, "float16": "f32", "bfloat16": "f32", "bool": "i32"}
"""What is computed with; in vectors, bool is a mask: all bits of a 32-bit lane, or none."""
COMPUTED_C = {"f32": "float", "f64": "double", "i64": "int64_t", "i32": "int32_t", "i8": "int8_t"}
SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


def constant(value: float, dtype: str) -> str:
    """A literal: of float16 and bfloat16, the nearest number that these have, as a float."""
    if dtype == "bool":
        return str(int(bool(value)))
    if dtype.startswith("int"):
        return _integer(int(value), dtype)
    number = float(value)
    if math.isnan(number):
        return "NAN"
    if dtype == "float16":
        number = _nearest_float16(number)
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    if dtype == "bfloat16":
        return f"round_bf16({number!r}f)"
    return repr(number) if dtype == "float64" else f"{number!r}f"


def _integer(value: int, dtype: str) -> str:
    bits = 8 * ITEM_BYTES[dtype]
    value = (value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    if value == -(2**63):
        return "INT64_MIN"
    return f"{value}LL" if dtype == INDEX and abs(value) > 2**31 - 1 else str(value) if value >= 0 else f"({value})"


def _nearest_float16(number: float) -> float:
    try:
        return struct.unpack("e", struct.pack("e", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)


def index_sum(op: str, a: tuple[Expr, str], b: tuple[Expr, str]) -> str:
    """Arithmetic on indices and their texts, without the parentheses that C's precedence makes needless."""
    left, right = _unless_product(*a), _unless_product(*b)
    if op == "mul":
        return f"({left} * {b[1]})"
    return f"({bare(a[1]) if _is_sum(a[0]) else left} {SYMBOLS[op]} {right})"


def _is_sum(expr: Expr) -> bool:
    return isinstance(expr, Binary) and expr.op in ("add", "sub") and expr.dtype == INDEX


def _unless_product(expr: Expr, text: str) -> str:
    """A product next to a sign needs no parentheses; wrapped integers do not care for the order of products."""
    return bare(text) if isinstance(expr, Binary) and expr.op == "mul" and expr.dtype == INDEX else text


def bare(text: str) -> str:
    """C text without parentheses around all of it."""
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:-1] if position == len(text) - 1 and text[0] == "(" else text
    return text
