"""Walks along two sides instead of across."""


def area(width: int, height: int) -> int:
    return width * height


def diagonal(width: int, height: int) -> float:
    return float(width + height)
