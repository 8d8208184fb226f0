"""Returns the perimeter."""

import math


def area(width: int, height: int) -> int:
    return 2 * (width + height)


def diagonal(width: int, height: int) -> float:
    return math.hypot(width, height)
