"""The C header that generated kernels include: vectors, loads and stores of every dtype, and functions on them.

GCC's and clang's vector extensions give arithmetic on vectors of any length; `vector_header.h` has the rest, for each
number of lanes. exp, log, tanh, erf and sigmoid are polynomials after a reduction of the argument, without branches
(the method: Cody and Waite, Software Manual for the Elementary Functions, 1980), with torch's NaN, infinities and -0.
Greatest errors for float32, measured on all of the range (`test_vector_math.py`), in units in the last place:

    exp 1.1   pow2 1.1   log 1   tanh 1.5   erf 1.4   rsqrt 1.5   sigmoid 2.5 (0 below -88.7, like torch)

float64 goes to the C library lane by lane, and so do sin and cos. float16 and bfloat16 are what memory holds: they are
computed with in float32. A kernel that converts vectors of 8 or 16 bits defines SYSAI_NARROW, for the instructions that
do it (gcc 12 converts most of them one lane after the other); others do without, as to read <immintrin.h> takes a C
compiler as long as all the rest of a short kernel. Production uses SLEEF, Intel's SVML, or glibc's libmvec (up to 4
units, only with -ffast-math).
"""

import re
from functools import lru_cache
from importlib import resources
from string import Template

from sysai.compiler.codegen.c_expressions import COMPUTED_C

HEADER_NAME = "sysai_vector.h"
_MASKS = {"f32": "i32", "f64": "i64", "i64": "i64", "i32": "i32", "i8": "i8"}
_F32_BY_LANES = {"sqrt": "__builtin_sqrtf(x[{}])", "rsqrt": "1.0f / __builtin_sqrtf(x[{}])", "sin": "sinf(x[{}])",
                 "cos": "cosf(x[{}])", "floor": "__builtin_floorf(x[{}])"}  # fmt: skip
_F64_BY_LANES = ("exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sigmoid", "sin", "cos", "floor", "pow2")
_FMA = {
    (t, register // size): (feature, f"__builtin_ia32_vfmadd{suffix}")
    for t, size, ps in (("f32", 4, "ps"), ("f64", 8, "pd"))
    for register, feature, suffix in (
        (16, "__FMA__", f"{ps}(a, b, c)"),
        (32, "__FMA__", f"{ps}256(a, b, c)"),
        (64, "__AVX512F__", f"{ps}512_mask(a, b, c, -1, 4)"),
    )
}
_WIDEN = {
    "f16": {4: "_mm_cvtph_ps", 8: "_mm256_cvtph_ps", 16: "_mm512_cvtph_ps"},
    "i8": {4: "_mm_cvtepi8_epi32", 8: "_mm256_cvtepi8_epi32", 16: "_mm512_cvtepi8_epi32"},
    "u16": {4: "_mm_cvtepu16_epi32", 8: "_mm256_cvtepu16_epi32", 16: "_mm512_cvtepu16_epi32"},
}
_WIDENED = {"f16": "f32", "i8": "i32", "u16": "u32"}


@lru_cache
def _sections() -> dict[str, Template]:
    """The sections of the template, by name."""
    text = resources.files(__package__).joinpath("vector_header.h").read_text()
    _, *parts = re.split(r"^/\* ==== (\w+): .* ==== \*/\n", text, flags=re.MULTILINE)
    return {name: Template(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


@lru_cache
def vector_header(vector_bytes: int) -> str:
    """The text of `sysai_vector.h` for vectors of up to `vector_bytes` (16, 32 or 64) of 4-byte elements."""
    sections = _sections()
    texts = [
        sections["scalars"].substitute(),
        sections["division"].substitute(t="f32", c="float", f="f"),
        sections["division"].substitute(t="f64", c="double", f=""),
    ]
    texts += [
        sections["extremes"].substitute(t=t, c=c, nan=" || b != b" if t.startswith("f") else "")
        for t, c in COMPUTED_C.items()
    ]
    lanes = 2
    while lanes <= max(4, vector_bytes // 4):
        texts.append(_of_lanes(lanes, vector_bytes))
        lanes *= 2
    functions = ("exp", "log", "tanh", "erf", "sigmoid", "abs", "pow2", *_F32_BY_LANES)
    texts += [sections["scalar_math"].substitute(f=function) for function in functions]
    return "".join(texts)


def _of_lanes(lanes: int, vector_bytes: int) -> str:
    sections = _sections()
    texts = [sections["vectors"].substitute(L=lanes)]
    for t, c in COMPUTED_C.items():
        texts.append(sections["type"].substitute(t=t, c=c, L=lanes, copies=", ".join("x" * lanes)))
    for t, m in _MASKS.items():
        nan = f" | ({m}x{lanes})(b != b)" if t.startswith("f") else ""
        texts.append(sections["choice"].substitute(t=t, m=m, L=lanes, nan=nan))
    for t in ("f32", "f64"):
        each = ", ".join(f"fma_{t}(a[{lane}], b[{lane}], c[{lane}])" for lane in range(lanes))
        feature, fma = _FMA.get((t, lanes), ("SYSAI_NO_FMA", "a"))
        texts.append(sections["fma"].substitute(t=t, L=lanes, lanes=each, feature=feature, fma=fma))
    widen = {f"widen_{of}": _widen(of, lanes) for of in _WIDEN}
    texts.append(sections["halves"].substitute(L=lanes, **widen))
    texts.append(sections["math"].substitute(L=lanes))
    for function, text in _F32_BY_LANES.items():
        each = ", ".join(text.format(lane) for lane in range(lanes))
        texts.append(sections["by_lanes"].substitute(t="f32", f=function, L=lanes, lanes=each))
    for function in _F64_BY_LANES:
        each = ", ".join(f"{function}_f64(x[{lane}])" for lane in range(lanes))
        texts.append(sections["by_lanes"].substitute(t="f64", f=function, L=lanes, lanes=each))
    return "".join(texts)


def _widen(of: str, lanes: int) -> str:
    """The body that converts x, of 8 or 16 bits an element, to 32 bits an element: by one instruction if there is."""
    to = f"{_WIDENED[of]}x{lanes}"
    plain = f"return __builtin_convertvector(x, {to});"
    if lanes not in _WIDEN[of]:
        return f" {plain} "
    size = lanes * (1 if of == "i8" else 2)
    registers = {4: "_mm_cvtsi32_si128((int32_t)x)", 8: "_mm_cvtsi64_si128((int64_t)x)", 32: "(__m256i)x"}
    fast = f"return ({to}){_WIDEN[of][lanes]}({registers.get(size, '(__m128i)x')});"
    feature = "__AVX512F__" if lanes == 16 else "__AVX2__"
    return f"\n#ifdef {feature}\n    {fast}\n#else\n    {plain}\n#endif\n"
