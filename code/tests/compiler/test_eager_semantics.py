"""Kernels fail as torch fails, and give its values where numbers are special; each function is compiled once."""

from functools import lru_cache

import pytest
import sysai.compiler
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from sysai.compiler.errors import UnsupportedOperator
from torch import nn
from torch.nn import functional as F

ROWS, COLUMNS = 5, 3
TABLE = torch.arange(1.0, 1 + ROWS * COLUMNS).reshape(ROWS, COLUMNS)
FAR = (2**31 - 1, -(2**31))
INDICES = st.lists(st.integers(-ROWS - 2, ROWS + 1) | st.sampled_from(FAR), max_size=6)
INTEGERS = {"int64": torch.int64, "int32": torch.int32, "int8": torch.int8}
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, float("inf"), -float("inf"), float("nan"), 1e-45, -1e-45, 2.0**24, -6.0)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


@lru_cache
def compiled(function, *dtypes, fallback=False):
    """The function of vectors of one dynamic length."""
    example = [torch.ones(4, dtype=dtype) for dtype in dtypes]
    sizes = {position: {0: "N"} for position in range(len(dtypes))}
    return sysai.compiler.compile(Function(function), example, sizes, fallback=fallback)


def outcome(function, *inputs):
    """What it gives, as a list of tensors, or the class of its error."""
    try:
        with torch.no_grad():
            result = function(*inputs)
    except (IndexError, RuntimeError) as error:
        return type(error).__name__
    return list(result) if isinstance(result, tuple) else [result]


def check(function, *inputs, fallback=False):
    expected = outcome(function, *inputs)
    got = outcome(compiled(function, *(tensor.dtype for tensor in inputs), fallback=fallback), *inputs)
    if isinstance(expected, str) or isinstance(got, str):
        assert got == expected, inputs
        return
    for found, exact in zip(got, expected, strict=True):
        torch.testing.assert_close(found, exact, rtol=0, atol=0, equal_nan=True)
        number = ~exact.isnan()
        assert torch.equal(found[number].signbit(), exact[number].signbit()), (inputs, found, exact)


INDEXED = {
    "embedding": lambda i: F.embedding(i, TABLE),
    "index": lambda i: TABLE[i],
    "index_select": lambda i: TABLE.index_select(0, i),
    "columns": lambda i: TABLE[:, i],
    "two axes": lambda i: TABLE[i, i % COLUMNS],
    "second axis": lambda i: TABLE[i % ROWS, i],
    "broadcast": lambda i: TABLE[i[:, None], torch.arange(COLUMNS)],
    "chain of kernels": lambda i: (F.embedding(i, TABLE).sum(0) @ TABLE.T).relu().amax(),
    "computed": lambda i: TABLE[torch.where(i > 100, 0, i) * 2].sum(-1),
    "chosen": lambda i: torch.where((i > 0)[:, None], TABLE[i], 0.0),
}


@pytest.mark.parametrize("name", INDEXED)
@examples(25)
@given(INDICES, st.sampled_from((torch.int64, torch.int32)))
def test_indices_outside_are_refused_as_torch_does(name, indices, dtype):
    check(INDEXED[name], torch.tensor(indices, dtype=dtype))


def test_an_empty_table_has_no_index():
    table = torch.zeros(0, COLUMNS)
    for function in (lambda i: table[i], lambda i: table.index_select(0, i)):
        run = compiled(function, torch.int64)
        assert run(torch.zeros(0, dtype=torch.int64)).shape == (0, COLUMNS)
        with pytest.raises(IndexError, match="index out of range"):
            run(torch.zeros(2, dtype=torch.int64))


def test_an_index_that_is_known_fails_at_the_call():
    run = compiled(lambda x: x + TABLE[torch.tensor([1, ROWS])].sum(), torch.float32)
    with pytest.raises(IndexError, match="index out of range"):
        run(torch.ones(2))


QUOTIENTS = {
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "floor": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "by a number": lambda a, b: (a // 3 + b, a % -4, (a - b) // -1),
    "of a number": lambda a, b: (7 // b, torch.remainder(torch.tensor(7), a)),
    "in a sum": lambda a, b: (a % b).sum() + (b // b).sum(),
    "natural": lambda a, b: a.clamp(min=0) // b.clamp(min=0),
    "chosen": lambda a, b: torch.where(b > 0, a // b, a),
}


@st.composite
def pairs_of_integers(draw):
    """Two vectors of one dtype: small numbers, zeros, the ends of the range."""
    dtype = INTEGERS[draw(st.sampled_from(sorted(INTEGERS)))]
    ends = torch.iinfo(dtype)
    number = st.integers(-9, 9) | st.sampled_from((ends.min, ends.max, -1))
    pairs = draw(st.lists(st.tuples(number, number), max_size=20))
    nonzero = draw(st.booleans())
    return [torch.tensor([pair[k] or (nonzero and k) for pair in pairs], dtype=dtype) for k in (0, 1)]


@pytest.mark.parametrize("name", QUOTIENTS)
@examples(25)
@given(pairs_of_integers())
def test_integers_are_divided_as_torch_does(name, operands):
    check(QUOTIENTS[name], *operands)


def test_division_by_a_zero_that_is_known_fails_at_the_call():
    for function in (lambda x: x // 0, lambda x: x % 0, lambda x: x + torch.arange(3).sum() // torch.arange(3)[0]):
        run = compiled(function, torch.int64)
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            run(torch.ones(3, dtype=torch.int64))


ZEROS = {
    "relu": F.relu,
    "from below": lambda x: (x.clamp(min=0.0), x.clamp(min=-0.0), x.clamp_min(0)),
    "from above": lambda x: (x.clamp(max=0.0), x.clamp(max=-0.0), x.clamp_max(0)),
    "between": lambda x: (x.clamp(0, 1), x.clamp(-1, 0), F.hardtanh(x, 0.0, 1.0), F.relu6(x)),
    "chosen": lambda x: (torch.where(x < 0, x, -x), F.leaky_relu(x), x.masked_fill(x > 0, -0.0)),
    "signs": lambda x: (x.abs(), -x, x * -1, x - 0.0, x - (-0.0), x + 0.0, x + (-0.0), 0.0 - x, x * 0, 1 / F.relu(x)),
    "whole": lambda x: (x.floor(), x // 1, x % 1, x % -1),
    "functions": lambda x: (x.tanh().sqrt(), x.sqrt(), x**3, x**2),
}


@pytest.mark.parametrize("name", ZEROS)
@examples(20)
@given(st.lists(st.sampled_from(SPECIAL), max_size=40), st.sampled_from((torch.float32, torch.float64)))
def test_special_values_keep_their_sign(name, numbers, dtype):
    if name == "functions":
        numbers = [number for number in numbers if number in (0, 1) or number != number]
    check(ZEROS[name], torch.tensor(numbers, dtype=dtype))


def extremes(a, b):
    return torch.maximum(a, b), torch.minimum(a, b)


@examples(20)
@given(st.lists(st.tuples(st.sampled_from(SPECIAL), st.sampled_from(SPECIAL)), max_size=3))
def test_of_equal_numbers_the_first_is_taken(pairs):
    """As torch's scalar code does; its vectors take the second."""
    a, b = (torch.tensor([pair[k] for pair in pairs]) for k in (0, 1))
    check(extremes, a, b)


ONCE = {
    "softmax": lambda x: x.mul(-1.7e14).softmax(-1),
    "distance": lambda x: (x * 1.1) - (x * 1.1).amax(-1, keepdim=True),
    "fraction": lambda x: x * 3.3 - (x * 3.3).floor(),
    "itself": lambda x: x * 0.7 - (x * 0.7 + 0.0),
    "log_softmax": lambda x: x.mul(3e20).log_softmax(-1),
}


@pytest.mark.parametrize("name", ONCE)
def test_a_product_has_one_value(name):
    for seed in range(3):
        x = torch.randn(10, 10, generator=torch.Generator().manual_seed(seed))
        found = sysai.compiler.compile(Function(ONCE[name]), (x,))(x)
        torch.testing.assert_close(found, ONCE[name](x))
        assert (found >= 0).all() if name == "fraction" else (found <= (name == "softmax")).all()


def scalar_operand(number):
    """Every use of a number beside a tensor that torch allows whatever the number."""
    return lambda x: (
        x * number, x + number, x - number, number - x, x / number, number / x, x % number, x < number, x == number,
        x.add(x, alpha=2) * number, torch.arange(4, dtype=x.dtype) * number, torch.ones((), dtype=x.dtype) * number,
        x * torch.tensor(number, dtype=torch.float64),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("number", [1e300, -1e300, 3.5e38, 70000.0, 1e-8, 1e-60, 0.1, float("inf")])
def test_numbers_beyond_a_dtype_are_what_torch_takes_them_for(dtype, number):
    x = torch.tensor([0.5, 1e-3, -2.0, 1000.0, 3.0, 0.0], dtype=dtype)
    function = scalar_operand(number)
    unit = 0 if dtype is torch.float32 else 2 * torch.finfo(dtype).eps
    for got, exact in zip(sysai.compiler.compile(Function(function), (x,))(x), function(x), strict=True):
        torch.testing.assert_close(got, exact, rtol=unit, atol=0, equal_nan=True)


@pytest.mark.parametrize("number", [300, 2**40, -(2**63), 256])
def test_integers_beyond_a_dtype_wrap_around(number):
    def function(x):
        return x * number, x + number, number - x, x < number, x == number

    for dtype in INTEGERS.values():
        x = torch.tensor([1, -3, 7, 0, 44], dtype=dtype)
        for got, exact in zip(sysai.compiler.compile(Function(function), (x,))(x), function(x), strict=True):
            torch.testing.assert_close(got, exact, rtol=0, atol=0)


MASKS = {
    "causal": lambda a: torch.ones(6, 6, dtype=torch.bool).tril() & a[:, None],
    "strictly above": lambda a: ~torch.ones(6, 6, dtype=torch.bool).triu(1) | a[:, None],
    "band": lambda a: torch.ones(6, 6, dtype=torch.bool).tril() ^ torch.ones(6, 6, dtype=torch.bool).tril(-3),
    "of a comparison": lambda a: (a[:, None] ^ a[:, :, None]).tril(-1),
    "diagonal": lambda a: (torch.eye(6, dtype=torch.bool) | a[:, None], 1 - torch.eye(6, 3)),
    "either": lambda a: torch.logical_xor(a[:, None], a.long()[:, :, None]),
    "reduced": lambda a: (a.max(), a.amin(-1), a.amax(0, keepdim=True), a.all(-1), a.any()),
    "lengths": lambda a: torch.arange(6) < a.sum(-1, keepdim=True),
    "positions": lambda a: ((a.long().cumsum(-1) - 1).clamp(min=0), (a.cumsum(-1) - 1).masked_fill(~a, 1)),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_compiled_without_a_fallback(name):
    a = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()
    found, expected = sysai.compiler.compile(Function(MASKS[name]), (a,))(a), MASKS[name](a)
    for got, exact in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, expected)), strict=True):
        assert torch.equal(got, exact)


def test_an_operator_that_sees_strides_gets_those_that_it_would_see_or_is_refused():
    x = torch.randn(8, 10)
    for moved in (lambda x: x.t() * 2, lambda x: x[1:], lambda x: x[:4], lambda x: x.expand(2, 8, 10)):
        function = Function(lambda x, moved=moved: torch.as_strided(moved(x), (3, 5), (4, 1)))
        with pytest.raises(UnsupportedOperator, match="lie in memory"):
            sysai.compiler.compile(function, (x,), fallback=True)
    function = Function(lambda x: torch.as_strided(torch.roll(x, -1, 0), (3, 5), (4, 1), 2) + 1)
    assert torch.equal(sysai.compiler.compile(function, (x,), fallback=True)(x), function(x))
