"""An area."""


def area(width: int, height: int) -> int:
    """Area, in cm², of a rectangle of `width` by `height` cm."""
    raise NotImplementedError


def diagonal(width: int, height: int) -> float:
    """Length of the diagonal, in cm."""
    raise NotImplementedError
