"""An area."""

import math


def area(width: int, height: int) -> int:
    return width * height


def diagonal(width: int, height: int) -> float:
    return math.hypot(width, height)
