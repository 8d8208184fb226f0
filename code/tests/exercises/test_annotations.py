"""The values of a function are held to what its starter says."""

import ast

import pytest
import torch
from sysai.exercises.annotations import misfit, returned_types

STARTER = """
Range = tuple[int, int]
LIMIT = 3
def plan(n: int) -> list[tuple[Range, bool]]: ...
def rest(n): ...
class Box:
    def plan(self) -> str: ...
"""


def wanted(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def test_the_functions_of_a_starter_that_say_what_they_return():
    found = returned_types(STARTER)
    assert {name: ast.unparse(kind) for name, kind in found.items()} == {"plan": "list[tuple[tuple[int, int], bool]]"}


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", 3),
        ("float", 3),
        ("float", 0.5),
        ("None", None),
        ("tuple[int, float] | None", None),
        ("tuple[int, float] | None", (1, 2)),
        ("list[list[int]]", []),
        ("list[list[int]]", [[], [1]]),
        ("tuple[int, ...]", (1, 2, 3)),
        ("dict[str, list]", {"a": [object()]}),
        ("tuple[list[int], Tensor]", ([1], torch.ones(2))),
        ("Function", "anything"),
        ("list[Function]", ["anything"]),
    ],
)
def test_what_fits(annotation, value):
    assert misfit(value, wanted(annotation)) is None


@pytest.mark.parametrize(
    ("annotation", "value", "expected", "message"),
    [
        ("int", True, "a whole number (int)", "type."),
        ("int", 2.0, "a whole number (int)", "type."),
        ("None", 0, "None", "type."),
        ("list[tuple[int, int]]", (), "a list", "type."),
        ("list[tuple[int, int]]", [(1, 2), [3, 4]], "a tuple", "type at [1]."),
        ("list[tuple[int, int]]", [(1, 2), (3, "4")], "a whole number (int)", "type at [1][1]."),
        ("list[tuple[int, int]]", [(1, 2, 3)], "tuple[int, int]", "The tuple has the wrong length at [0]."),
        ("tuple[int, int] | None", [1, 2], "a tuple", "type."),
        ("dict[str, int]", {"a": 1, "b": 2.5}, "a whole number (int)", "type at ['b']."),
        ("dict[str, int]", {3: 1}, "text (str)", "type at [3]."),
        ("tuple[float, Tensor]", (1.0, [1.0]), "a tensor", "type at [1]."),
    ],
)
def test_what_does_not(annotation, value, expected, message):
    fault = misfit(value, wanted(annotation))
    assert fault.reason == "wrong_type"
    assert fault.expected["en"] == expected
    assert fault.message["en"].endswith(message)
