"""Wrong answers that the check must refuse."""

from sysai.core.language import Text
from sysai.exercises.faults import Fault

FAULTS = [
    Fault(
        "perimeter",
        "Returns the perimeter.",
        edits=[
            ("return width * height", "return 2 * (width + height)"),
        ],
        hint=Text("That is the perimeter: `width * height` is the area.", "这是周长。"),
    ),
    Fault(
        "two_sides",
        "Walks along two sides instead of across.",
        text="""\
def area(width: int, height: int) -> int:
    return width * height


def diagonal(width: int, height: int) -> float:
    return float(width + height)
""",
    ),
]
