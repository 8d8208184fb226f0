"""Comparisons, and what a report says about two values that differ."""

import math
import sys

from sysai.core.language import Text
from sysai.exercises.failure import Failed, both
from sysai.exercises.pictures import right_and_wrong
from sysai.exercises.show import show, show_pair

_TYPE_NAMES = {
    "int": Text("a whole number (int)", "整数（int）"),
    "float": Text("a number (float)", "数（float）"),
    "bool": Text("True or False (bool)", "True或False（bool）"),
    "str": Text("text (str)", "字符串（str）"),
    "list": Text("a list", "列表（list）"),
    "tuple": Text("a tuple", "元组（tuple）"),
    "dict": Text("a dict", "字典（dict）"),
    "Tensor": Text("a tensor", "张量（Tensor）"),
    "NoneType": both("None"),
}


def is_number(value: object) -> bool:
    """Whether the type is int or float exactly: bool is not."""
    return type(value) in (int, float)


def as_float(value: float) -> float:
    """`value`, infinite if it is a whole number beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def close(got: float, expected: float, rel: float, abs_: float) -> bool:
    """Within `rel` of `expected` or within `abs_`; NaN is close to NaN, infinity to itself."""
    got, expected = as_float(got), as_float(expected)
    if math.isnan(expected) or math.isnan(got):
        return math.isnan(expected) and math.isnan(got)
    if math.isinf(expected) or math.isinf(got):
        return got == expected
    return abs(got - expected) <= max(rel * abs(expected), abs_)


def first_difference(got: object, expected: object, where: str = "") -> tuple[str, object, object] | None:
    """(place, got there, expected there) of the first difference in value or type, or None."""
    here = (where, got, expected)
    if type(got) is not type(expected):
        return here
    if type(got) in (list, tuple):
        if len(got) != len(expected):
            return here
        pairs = zip(range(len(got)), got, expected, strict=True)
        return next(filter(None, (first_difference(a, b, f"{where}[{i}]") for i, a, b in pairs)), None)
    if type(got) is dict:
        if got.keys() != expected.keys():
            return here
        differences = (first_difference(got[key], expected[key], f"{where}[{key!r}]") for key in expected)
        return next(filter(None, differences), None)
    torch = sys.modules.get("torch")
    if torch and isinstance(got, torch.Tensor):
        same = got.dtype == expected.dtype and got.shape == expected.shape
        return None if same and tensor_fault(got, expected, 0.0, 0.0) is None else here
    return None if got == expected or (got != got and expected != expected) else here


def alike(a: object, b: object) -> bool:
    """Equal in type and shape, numbers within rounding."""
    if is_number(a) and is_number(b):
        return close(a, b, 1e-6, 1e-12)
    if type(a) is not type(b):
        return False
    if type(a) in (list, tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if type(a) is dict:
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    torch = sys.modules.get("torch")
    if torch and isinstance(a, torch.Tensor):
        return tensor_fault(a, b, 1e-3, 1e-4) is None
    return a == b


def wrong_type(got: object, types: tuple[type, ...], where: str = "") -> Failed:
    """The failure of a value that has none of `types`."""
    at = Text(f" at {where}" if where else "", f"（位于{where}）" if where else "")
    names = [_TYPE_NAMES.get(kind.__name__, both(kind.__name__)) for kind in types]
    hint = None
    if got is None:
        hint = Text("Does every path through your function end in a return?", "函数的每条路径都以return结束吗？")
    elif type(got) is float and types == (int,):
        hint = Text(
            "A whole number is wanted: // divides without a fraction, round() and int() convert.",
            "要的是整数：//是整除，round()和int()可以转换。",
        )
    elif type(got).__name__ == "Tensor" and types[0] in (int, float):
        hint = Text("A tensor with one element becomes a number by .item().", "只有一个元素的张量可用.item()变成数。")
    return Failed(
        "wrong_type",
        Text(f"The result has the wrong type{at['en']}.", f"结果的类型不对{at['zh']}。"),
        expected=Text(" or ".join(n["en"] for n in names), "或".join(n["zh"] for n in names)),
        got=both("None" if got is None else f"{type(got).__name__}  {show(got)}"),
        hint=hint,
    )


def tensor_fault(got: object, expected, rtol: float, atol: float) -> Failed | None:
    """The first difference between two tensors: type, shape, dtype, then values; None if nothing does."""
    import torch

    if type(got) is not torch.Tensor:
        return wrong_type(got, (torch.Tensor,))
    if got.shape != expected.shape:
        message = Text("The tensor has the wrong shape.", "张量的形状不对。")
        return Failed("wrong_type", message, both(str(list(expected.shape))), both(str(list(got.shape))))
    if got.dtype != expected.dtype:
        message = Text("The tensor has the wrong dtype.", "张量的数据类型（dtype）不对。")
        return Failed("wrong_type", message, both(str(expected.dtype)), both(str(got.dtype)))
    wrong = ~torch.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return None
    return _wrong_elements(got, expected, wrong)


def _wrong_elements(got, expected, wrong) -> Failed:
    """Counts them and shows the one that is farthest off; a NaN is farther off than any number."""
    import torch

    wide = torch.complex128 if got.is_complex() else torch.float64
    distance = (got.to(wide) - expected.to(wide)).abs().nan_to_num(nan=math.inf)
    distance[~wrong] = -1.0
    index = tuple(int(i) for i in torch.unravel_index(distance.argmax(), got.shape))
    count, total = int(wrong.sum()), wrong.numel()
    where = f"[{', '.join(map(str, index))}]"
    message = Text(
        f"{count:,} of {total:,} elements are wrong. The one farthest off is at {where}.",
        f"{total:,}个元素中有{count:,}个不对。相差最大的位于{where}。",
    )
    hint = None
    if got.is_floating_point() and bool(torch.isnan(got).any()) and not bool(torch.isnan(expected).any()):
        hint = Text(
            "There are NaNs. Usual causes: 0/0, infinity minus infinity, a softmax over a row that is all -inf.",
            "结果中有NaN。常见原因：0/0、无穷减无穷、对整行都是-inf的数据做softmax。",
        )
    picture = right_and_wrong(~wrong)
    texts = show_pair(expected[index].item(), got[index].item())
    return Failed("wrong_value", message, both(texts[0]), both(texts[1]), hint, picture=picture and both(picture))


def about(what: Text, message: Text) -> Text:
    """`message`, headed by what was compared."""
    return Text(f"{what['en']}: {message['en']}", f"{what['zh']}：{message['zh']}")
