"""The vector functions of the header against float64: dense ranges, every binade, special values, all lane counts."""

import ctypes

import numpy as np
import pytest
import torch
from sysai.compiler import cpu
from sysai.compiler.codegen.toolchain import compile_c
from sysai.compiler.codegen.vector_header import HEADER_NAME, vector_header

FUNCTIONS = {
    "exp": (torch.exp, 1.1), "pow2": (torch.exp2, 1.1), "log": (torch.log, 1.0), "tanh": (torch.tanh, 1.5),
    "erf": (torch.erf, 1.4), "sigmoid": (torch.sigmoid, 2.5), "sqrt": (torch.sqrt, 0.51), "rsqrt": (torch.rsqrt, 1.5),
    "sin": (torch.sin, 1.0), "cos": (torch.cos, 1.0), "abs": (torch.abs, 0.0), "floor": (torch.floor, 0.0),
}  # fmt: skip
SMALLEST_NORMAL = np.float32(2.0**-126)
LARGEST_SMALL_SIGMOID = np.float32(-87.0)  # below, results are not normal numbers, or 0
SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.2e-38, 88.72, 88.73, -87.4, -103.9, -104.1, 128, -150, 3e38,
     -3e38, 1, -1, 0.5, -0.5, 0.625, 0.92773, 2.5, -2.5], np.float32,
)  # fmt: skip


def _loop(name: str, lanes: int) -> str:
    if lanes == 1:
        step = f"y[i] = {name}_f32(x[i])"
    else:
        step = f"store_f32x{lanes}(y + i, {name}_f32x{lanes}(load_f32x{lanes}(x + i)))"
    return (
        f"void {name}_{lanes}(const float *x, float *y, int64_t n)"
        f"{{ for (int64_t i = 0; i + {lanes} <= n; i += {lanes}) {step}; }}\n"
    )


@pytest.fixture(scope="module")
def library(module_cache):
    width = cpu.vector_bytes()
    lanes = (1, 2, 4, *(n for n in (8, 16) if n <= width // 4))
    source = f'#include "{HEADER_NAME}"\n' + "".join(_loop(name, n) for name in FUNCTIONS for n in lanes)
    return ctypes.CDLL(str(compile_c(source, {HEADER_NAME: vector_header(width)}))), lanes


def evaluate(library, name: str, lanes: int, x: np.ndarray) -> np.ndarray:
    padded = np.concatenate([x, np.zeros(-len(x) % lanes, np.float32)])
    y = np.empty_like(padded)
    library[f"{name}_{lanes}"](
        ctypes.c_void_p(padded.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(len(y))
    )
    return y[: len(x)]


def errors(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """In units in the last place of the exact result; of numbers below the normal ones, of the smallest normal one."""
    nearest = exact.astype(np.float32)
    unit = np.spacing(np.maximum(np.abs(nearest), SMALLEST_NORMAL)).astype(np.float64)
    return np.abs(y.astype(np.float64) - exact) / unit


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_stays_below_what_the_header_says(library, name):
    function, limit = FUNCTIONS[name]
    every_binade = np.arange(0, 2**32, 5003, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([every_binade, *(np.linspace(-r, r, 200_001, dtype=np.float32) for r in (1, 10, 100))])
    x = x[x > LARGEST_SMALL_SIGMOID] if name == "sigmoid" else x
    y = evaluate(library[0], name, library[1][-1], x)
    exact = function(torch.from_numpy(x.astype(np.float64))).numpy()
    nearest = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(nearest))
    np.testing.assert_array_equal(y[np.isinf(nearest)], nearest[np.isinf(nearest)])
    finite = np.isfinite(nearest)
    assert np.isfinite(y[finite]).all()
    worst = errors(y[finite], exact[finite])
    assert worst.max() <= limit, f"{worst.max():.3f} at {x[finite][worst.argmax()]}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_and_signs_of_zero_are_torchs(library, name):
    expected = FUNCTIONS[name][0](torch.from_numpy(SPECIAL)).numpy()
    for lanes in library[1]:
        got = evaluate(library[0], name, lanes, SPECIAL)
        np.testing.assert_allclose(got, expected, rtol=4e-7, atol=1e-44)
        zero = SPECIAL == 0
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


def test_lane_counts_agree_to_the_bit(library):
    x = np.random.default_rng(0).normal(0, 5, 4096).astype(np.float32)
    for name in ("exp", "log", "tanh", "erf", "sigmoid", "pow2"):
        results = [evaluate(library[0], name, lanes, np.abs(x) if name == "log" else x) for lanes in library[1]]
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0])
