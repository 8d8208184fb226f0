import json
import math
import random
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sysai.exercises.encoding import MESSAGE_BYTES, Garbled, Unsendable, decode, encode

scalars = st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats() | st.text()
keys = st.text() | st.integers() | st.tuples(st.integers(), st.text())
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=20,
)
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]


def same(a: object, b: object) -> bool:
    """Equal in value and exact type; NaN equals NaN, and -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return list(map(repr, a)) == list(map(repr, b)) and all(same(a[k], b[k]) for k in a)
    return repr(a) == repr(b)


@given(values)
def test_values_come_back_with_their_exact_types(value):
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_tensors_come_back_bit_by_bit(dtype, shape):
    tensor = (torch.randn(shape, dtype=torch.float64) * 3).to(dtype)
    back = decode(encode([tensor, "between", tensor]))[2]
    assert back.dtype == dtype
    assert back.shape == tensor.shape
    assert torch.equal(back.reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_a_conjugate_and_its_imaginary_part_come_back_as_they_are_seen():
    """Torch keeps both as a view with a flag, over numbers that are others."""
    x = torch.tensor([1 + 2j, 3 - 4j]).conj()
    assert x.is_conj()
    assert x.imag.is_neg()
    back, imaginary, first = decode(encode([x, x.imag, x.imag[:1]]))
    assert back.tolist() == [1 - 2j, 3 + 4j]
    assert (imaginary.tolist(), first.tolist()) == ([-2.0, 4.0], [-2.0])


def test_one_element_of_every_second_comes_back():
    """Torch calls it contiguous, whatever its stride."""
    x = torch.arange(6.0)[::2][1:2]
    assert (x.is_contiguous(), x.stride()) == (True, (2,))
    assert torch.equal(decode(encode(x)), x)


def test_views_gradients_and_nan_in_tensors():
    x = torch.randn(4, 6, requires_grad=True)
    back = decode(encode({"t": x.t()[1:, ::2], "nan": torch.tensor([math.nan, math.inf])}))
    assert torch.equal(back["t"], x.detach().t()[1:, ::2])
    assert not back["t"].requires_grad
    assert back["nan"].isnan().tolist() == [True, False]
    assert torch.equal(decode(encode(torch.nn.Parameter(torch.ones(2)))), torch.ones(2))


def test_numpy_becomes_python_and_torch():
    assert same(decode(encode([np.float64(0.5), np.int32(3), np.bool_(True)])), [0.5, 3, True])
    assert torch.equal(decode(encode(np.arange(6.0).reshape(2, 3)[:, ::2])), torch.tensor([[0.0, 2.0], [3.0, 5.0]]))
    assert decode(encode((torch.float16, torch.Size([2, 3])))) == (torch.float16, (2, 3))


class Int(int):
    pass


class Float(float):
    pass


@pytest.mark.parametrize(
    ("value", "where", "type_name"),
    [
        ([1, {"a": (object(),)}], "[1]['a'][0]", "object"),
        (Int(3), "", "test_encoding.Int"),
        ([Float(3)], "[0]", "test_encoding.Float"),
        ({Int(3): 1}, " (key)", "test_encoding.Int"),
        ({1, 2}, "", "set"),
        (b"bytes", "", "bytes"),
        (print, "", "builtin_function_or_method"),
        (torch.ones(2).as_subclass(type("Odd", (torch.Tensor,), {"__module__": "answer"})), "", "Odd"),
        (torch.eye(2).to_sparse(), "", "torch.Tensor"),
        (torch.empty(2, device="meta"), "", "torch.Tensor"),
        (np.array(["a"]), "", "numpy.ndarray"),
    ],
)
def test_other_types_are_named_with_their_place(value, where, type_name):
    with pytest.raises(Unsendable) as caught:
        encode(value)
    assert caught.value.why == "type"
    assert caught.value.where == where
    assert type_name in caught.value.type_name


def test_what_is_too_large_or_too_deep_is_refused():
    deep: list = []
    for _ in range(100):
        deep = [deep]
    for value, why in (
        (deep, "depth"),
        (torch.empty(MESSAGE_BYTES), "size"),
        ("x" * 2**25, "size"),
        (1 << 10**5, "size"),
    ):
        with pytest.raises(Unsendable) as caught:
            encode(value)
        assert caught.value.why == why


def frame(text: str, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + rest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**60) + b"{}",
        frame("{"),
        frame("[1, 2]"),
        frame('{"list": 3}'),
        frame('{"list": [], "tuple": []}'),
        frame("{}"),
        frame('{"set": []}'),
        frame('{"dict": [[{"list": []}, 1]]}'),
        frame('{"tensor": ["float32", [2]]}', bytes(7)),
        frame('{"tensor": ["float32", [2]]}', bytes(9)),
        frame('{"tensor": ["float32", [-1]]}'),
        frame('{"tensor": ["float32", [true]]}', bytes(4)),
        frame('{"tensor": ["float32", [1e9]]}', bytes(4)),
        frame('{"tensor": ["float32", [1099511627776, 1099511627776]]}'),
        frame('{"tensor": ["__class__", [1]]}', bytes(4)),
        frame('{"dtype": "load"}'),
        frame("[" * 10**6),
        frame('{"list":[' * 1000 + "]}" * 1000),
        frame("1" * 5000),
    ],
)
def test_bytes_that_no_encoder_wrote_are_refused(data):
    with pytest.raises(Garbled):
        decode(data)


def test_damaged_messages_are_read_or_refused_but_never_do_anything_else():
    good = encode({"a": [1, 2.5, "x", (None, True)], "t": torch.arange(4.0)})
    rng = random.Random(0)
    for _ in range(2000):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        try:
            decode(bytes(bad))
        except Garbled:
            continue


def test_the_text_of_a_message_is_json():
    data = encode({"x": [1, (2,)]})
    assert json.loads(data[8:]) == {"dict": [["x", {"list": [1, {"tuple": [2]}]}]]}
