"""Values as a reader wants to see them: short, exact where it matters, tensors by dtype and shape."""

import dataclasses
import sys
import textwrap
import unicodedata
from collections.abc import Mapping

_ITEMS = 12
_CHARACTERS = 400


def show(value: object) -> str:
    """`value` in one line of Python, shortened."""
    return shorten(_show(value))


def shorten(text: str, characters: int = _CHARACTERS) -> str:
    """At most `characters` of `text`."""
    return text if len(text) <= characters else text[:characters] + " …"


def show_call(function: str, args: tuple, kwargs: Mapping[str, object]) -> str:
    """The call, one argument a line if it is long."""
    parts = [_show(x) for x in args] + [f"{name}={_show(x)}" for name, x in kwargs.items()]
    line = f"{function}({', '.join(parts)})"
    if len(line) <= 80:
        return line
    return f"{function}(\n" + "".join(_indented(f"{part},") for part in parts) + ")"


def _indented(part: str) -> str:
    lines = textwrap.wrap(part, 84, break_long_words=False, break_on_hyphens=False, subsequent_indent="    ")
    return "".join(f"    {line}\n" for line in lines)


def show_pair(got: object, expected: object) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart."""
    for digits in (6, 9, 12, 17):
        texts = number(got, digits), number(expected, digits)
        if texts[0] != texts[1]:
            break
    return texts


def plain(text: str) -> str:
    """`text` without control characters, which could rewrite a terminal's screen or turn the direction of writing."""
    return "".join("�" if unicodedata.category(c)[0] == "C" and c not in "\n\t" else c for c in text)


def number(value: object, digits: int = 6) -> str:
    """1,234,567 and 0.00123457, and anything else as `show` writes it."""
    if type(value) is int:
        return f"{value:,}"
    if type(value) is not float:
        return show(value)
    if value == value and 1 <= abs(value) < 1e15:
        before_point = len(str(int(abs(value))))
        return f"{value:,.{max(0, digits - before_point)}f}" if before_point < digits else f"{value:,.0f}"
    return f"{value:.{digits}g}"


def _show(value: object) -> str:
    torch = sys.modules.get("torch")
    if type(value) is float:
        return _show_float(value)
    if torch and isinstance(value, torch.Tensor):
        return _show_tensor(value)
    if torch and isinstance(value, torch.nn.Module):
        count = sum(p.numel() for p in value.parameters())
        return f"{type(value).__name__}<{count:,} parameters>"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _show_dataclass(value)
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return _show_items(value)
    if type(value) is dict:
        pairs = [f"{_show(k)}: {_show(x)}" for k, x in list(value.items())[:_ITEMS]]
        return "{" + ", ".join(pairs + ["…"] * (len(value) > _ITEMS)) + "}"
    return repr(value)


def _show_float(value: float) -> str:
    """3.35e+12 rather than 3350000000000.0, where that is the same number."""
    short = f"{value:.6g}"
    if float(short) != value:
        return repr(value)
    return short if set(".en") & set(short) else short + ".0"


def _show_items(value: list | tuple) -> str:
    items = [_show(x) for x in value[:_ITEMS]]
    if len(value) > _ITEMS:
        items.append(f"… {len(value):,} items")
    inside = ", ".join(items)
    if type(value) is list:
        return f"[{inside}]"
    return f"({inside},)" if len(value) == 1 else f"({inside})"


def _show_tensor(tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.numel() <= _ITEMS and tensor.device.type != "meta":
        return f"tensor({_show(tensor.tolist())}, {dtype})"
    return f"tensor<{dtype} {list(tensor.shape)}>"


def _show_dataclass(value: object) -> str:
    """The fields that are not at their defaults; one that is called name needs no label."""
    parts = []
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if field.repr and not (field.default is not dataclasses.MISSING and content == field.default):
            parts.append(_show(content) if field.name == "name" else f"{field.name}={_show(content)}")
    return f"{type(value).__name__}({', '.join(parts)})"
