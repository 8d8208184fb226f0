"""Values as bytes that are safe to read from a process that is not trusted: JSON, then the raw bytes of tensors.

    | 8 bytes: length of the JSON | JSON | bytes of tensor 0 | bytes of tensor 1 | ...

Reading never runs code of the sender, unlike pickle. None, bool, int, float and str stand for themselves in the
JSON; everything else is an object with a single key that names its type. Only exact types pass: a subclass could
carry behaviour that does not survive the journey, so its sender is told instead.
"""

import json
import math
import struct
import sys

MESSAGE_BYTES = 64 * 2**20
_JSON_BYTES = 16 * 2**20
_MAX_DEPTH = 64
_MAX_INT_BITS = 8192  # JSON writes decimals, and Python reads at most 4300 of them
_DTYPES = {
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
}
_LENGTH = struct.Struct("<Q")


class Unsendable(Exception):  # noqa: N818
    """A value that cannot be sent. `type_name` is its type, `where` its place, e.g. ``[0]['loss']``, `why` a word."""

    def __init__(self, type_name: str, where: str = "", why: str = "type"):
        super().__init__(type_name, where, why)
        self.type_name, self.where, self.why = type_name, where, why


class Garbled(ValueError):  # noqa: N818
    """Bytes that `encode` did not write."""


def encode(value: object) -> bytes:
    """The bytes of `value`.

    Raises:
        Unsendable: a type that is not listed above (`why` "type"), or a value that is too large or nested too
            deeply (`why` "size", "depth").
    """
    blobs: list[bytes] = []
    text = json.dumps(_pack(value, blobs, "", 0)).encode()
    size = _LENGTH.size + len(text) + sum(map(len, blobs))
    if len(text) > _JSON_BYTES or size > MESSAGE_BYTES:
        raise Unsendable(_type_name(value), "", "size")
    return b"".join([_LENGTH.pack(len(text)), text, *blobs])


def decode(data: bytes) -> object:
    """The value whose bytes `encode` wrote; tensors come back on the CPU.

    Raises:
        Garbled: other bytes.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        start = _LENGTH.size + length
        if length > _JSON_BYTES or start > len(data):
            raise Garbled("length")
        reader = _Reader(memoryview(data)[start:])
        value = reader.unpack(json.loads(data[_LENGTH.size : start]))
        if reader.rest:
            raise Garbled("more bytes than tensors")
    except Garbled:
        raise
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, RecursionError, RuntimeError) as error:
        raise Garbled(type(error).__name__) from None
    return value


def _pack(value: object, blobs: list[bytes], where: str, depth: int) -> object:
    kind = type(value)
    if depth > _MAX_DEPTH:
        raise Unsendable(_type_name(value), where, "depth")
    if value is None or kind in (bool, float, str):
        return value
    if kind is int:
        if value.bit_length() > _MAX_INT_BITS:
            raise Unsendable("int", where, "size")
        return value
    if kind in (list, tuple):
        return {kind.__name__: [_pack(x, blobs, f"{where}[{i}]", depth + 1) for i, x in enumerate(value)]}
    if kind is dict:
        pairs = [
            [_pack(key, blobs, where, depth + 1), _pack(x, blobs, f"{where}[{key!r}]", depth + 1)]
            for key, x in value.items()
            if _is_key(key, where)
        ]
        return {"dict": pairs}
    return _pack_array(value, blobs, where, depth)


def _pack_array(value: object, blobs: list[bytes], where: str, depth: int) -> object:
    """Pack a value of torch or NumPy; neither is imported for it."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    kind = type(value)
    if numpy and isinstance(value, numpy.generic) and kind.__module__ == "numpy":
        return _pack(value.item(), blobs, where, depth + 1)
    if torch and kind is torch.Size:
        return _pack(tuple(value), blobs, where, depth)
    if torch and kind is torch.dtype and _dtype_name(value) in _DTYPES:
        return {"dtype": _dtype_name(value)}
    if torch and numpy and kind is numpy.ndarray and value.dtype.kind in "fiubc":
        value = torch.from_numpy(numpy.ascontiguousarray(value))
        kind = torch.Tensor
    if torch and kind in (torch.Tensor, torch.nn.Parameter) and _is_dense(value, torch):
        return _pack_tensor(value, blobs, where, torch)
    raise Unsendable(_type_name(value), where)


def _is_dense(tensor, torch) -> bool:
    return tensor.layout is torch.strided and tensor.device.type != "meta" and _dtype_name(tensor.dtype) in _DTYPES


def _pack_tensor(tensor, blobs: list[bytes], where: str, torch) -> object:
    if tensor.numel() * tensor.element_size() > MESSAGE_BYTES:
        raise Unsendable(f"tensor {list(tensor.shape)}", where, "size")
    # A copy, as views may be conjugated or negated, and one of a single element strided and yet contiguous.
    plain = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    blobs.append(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return {"tensor": [_dtype_name(tensor.dtype), list(tensor.shape)]}


def _is_key(key: object, where: str) -> bool:
    plain = type(key) in (str, int, float, bool) or key is None
    if plain or (type(key) is tuple and all(_is_key(part, where) for part in key)):
        return True
    raise Unsendable(_type_name(key), f"{where} (key)")


class _Reader:
    """Checks every node as it is read: the JSON may come from anybody."""

    def __init__(self, blobs: memoryview):
        self.rest = blobs

    def unpack(self, node: object, depth: int = 0) -> object:
        if depth > 2 * _MAX_DEPTH:
            raise Garbled("depth")
        if not isinstance(node, dict):
            if isinstance(node, list):
                raise Garbled("bare list")
            return node
        ((kind, content),) = node.items()
        if kind in ("list", "tuple"):
            items = [self.unpack(x, depth + 1) for x in content]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            return {self.unpack(key, depth + 1): self.unpack(x, depth + 1) for key, x in content}
        if kind == "dtype":
            return _dtype(content)
        if kind == "tensor":
            return self._tensor(*content)
        raise Garbled("kind")

    def _tensor(self, name: str, shape: list[int]) -> object:
        import torch

        dtype = _dtype(name)
        if len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
            raise Garbled("shape")
        size = math.prod(shape) * dtype.itemsize
        if size > len(self.rest):
            raise Garbled("tensor")
        blob, self.rest = self.rest[:size], self.rest[size:]
        flat = torch.frombuffer(bytearray(blob), dtype=dtype) if size else torch.empty(0, dtype=dtype)
        return flat.reshape(shape)


def _dtype(name: str):
    import torch

    if name not in _DTYPES:
        raise Garbled("dtype")
    return getattr(torch, name)


def _dtype_name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ in ("builtins", "answer") else f"{kind.__module__}.{kind.__name__}"
